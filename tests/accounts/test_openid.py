"""Sign-in by others, with a provider on loopback: sign up, sign in, connect, confirm, disconnect, and faults."""

import json
import re
import sqlite3
import time
from contextlib import closing
from html import unescape
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import httpx
import pytest

from tests import openid_provider, servers

pytestmark = [pytest.mark.long, pytest.mark.once]

ACME = "/accounts/openid/acme/"
PASSWORD = "violet anchor hums at dawn"


@pytest.fixture(scope="module")
def provider():
    with openid_provider.running() as provider:
        yield provider


@pytest.fixture(scope="module")
def github():
    with openid_provider.github() as url:
        yield url


@pytest.fixture(scope="module")
def later_port():
    """The port of a provider that is not running yet."""
    return servers.free_port()


@pytest.fixture(scope="module")
def node(provider, github, later_port, tmp_path_factory):
    folder = tmp_path_factory.mktemp("openid")
    # As the document shows it, with other URLs, and one more provider.
    text = re.search(r"^ +(OPENID_PROVIDERS=.*)", (servers.ROOT / "project/OPENID.md").read_text(), re.MULTILINE)[1]
    text = text.replace("https://login.acme.example", provider.url)
    text = text.replace('"github"', f'"github", "server_url": "{github}"')
    later = {"id": "later", "name": "Later", "server_url": f"http://localhost:{later_port}"}
    more = json.dumps(later | {"client_id": "c", "secret": "s"})
    (folder / "env").write_text(text.replace("}]'", f"}}, {more}]'") + "\n")
    env = {
        "DATABASE_URL": f"sqlite:///{folder / 'db.sqlite3'}",
        "REDIS_URL": "",
        "ENV_FILE": str(folder / "env"),
        "DEBUG": "true",
        "DEMO": "false",
        "ACCOUNT_RATE": "1000/hour",
    }
    servers.manage(env, "migrate", "--verbosity=0")
    with servers.node(env, workers=1) as node:
        node.env = env
        yield node


class Visitor:
    """A browser of a person who has an account at the provider."""

    def __init__(self, node, provider) -> None:
        self.http = httpx.Client(base_url=node.url, timeout=20)
        self.provider = provider
        self.subject = f"s-{uuid4().hex}"
        self.name = f"u{uuid4().hex[:10]}"
        self.email = f"{self.name}@example.org"
        self.says()

    def says(self, **claims):
        """What the provider says about the person from now on."""
        claims = {"email": self.email, "email_verified": True, "preferred_username": self.name} | claims
        self.provider.claim(self.subject, **claims)

    def get(self, path):
        return self.http.get(path)

    def post(self, path, **data):
        if not any("csrftoken" in name for name in self.http.cookies):
            self.http.get("/accounts/login/")
        return self.http.post(path, data=data, headers={"X-CSRFToken": servers.csrf_token(self.http.cookies)})

    def start(self, path=ACME, **data):
        """Returns the URL at the provider to which the browser is sent."""
        return url_in(self.post(path, **data))

    def comes_back(self, path=ACME, **data):
        """Goes to the provider, signs in there, and returns the response of the callback."""
        return self.get(self.provider.sign_in(self.start(path, **data), self.subject))

    def signs_up(self):
        self.comes_back()
        response = self.post(f"{ACME}../sign-up/", username=self.name, email=self.email)
        assert response.status_code == 302, response.text
        return self

    def signs_out(self):
        self.post("/accounts/logout/")
        return self

    def signs_up_by_password(self):
        response = self.post("/accounts/signup/", username=self.name, email=self.email, password1=PASSWORD)
        assert response.status_code == 302, response.text
        return self

    def session(self):
        """The sign-in as the API shows it; None if the browser is not signed in."""
        response = self.http.get("/api/session/", headers={"Sec-Fetch-Site": "same-origin"})
        return response.json() if response.status_code == 200 else None

    def connected(self):
        """The ids of the connected accounts on the security page."""
        return re.findall(r"/accounts/openid/disconnect/([0-9a-f-]+)/", self.get("/accounts/security/").text)


def url_in(response):
    """The URL to which a page sends the browser."""
    assert response.status_code == 200, response.text
    return unescape(re.search(r'http-equiv="refresh" content="0; url=([^"]+)"', response.text)[1])


def execute(node, sql, *values):
    with closing(sqlite3.connect(node.env["DATABASE_URL"].removeprefix("sqlite:///"))) as connection, connection:
        return connection.execute(sql, values).fetchall()


def proved_earlier(visitor, node):
    """Moves the visitor's proof into the past."""
    user_id = execute(node, "SELECT id FROM accounts_user WHERE username = ?", visitor.name)[0][0]
    execute(node, "UPDATE accounts_signin SET proved_at = '2026-01-01 00:00:00' WHERE user_id = ?", user_id)


@pytest.fixture
def visitor(node, provider):
    return Visitor(node, provider)


@pytest.fixture
def stranger(node, provider):
    return Visitor(node, provider)


def test_a_new_user_signs_up_with_a_confirmed_address(visitor):
    page = visitor.comes_back()
    assert (page.status_code, page.headers["Location"]) == (302, "/accounts/openid/sign-up/")
    form = visitor.get("/accounts/openid/sign-up/").text
    assert f'value="{visitor.name}"' in form
    visitor.post("/accounts/openid/sign-up/", username=visitor.name, email="other@example.org")
    assert visitor.session()["methods"] == ["openid"]
    assert f"Your e-mail address {visitor.email} is confirmed." in visitor.get("/").text


def test_an_address_that_is_not_verified_must_be_confirmed(visitor):
    visitor.says(email_verified=False)
    visitor.signs_up()
    assert f"Confirm your e-mail address {visitor.email}" in visitor.get("/").text


def test_a_second_factor_is_asked_for(visitor, node):
    visitor.signs_up()
    user_id = execute(node, "SELECT id FROM accounts_user WHERE username = ?", visitor.name)[0][0]
    add_app = (
        "INSERT INTO accounts_authenticatorapp (id, user_id, secret, created_at, confirmed_at) VALUES (?, ?, ?, ?, ?)"
    )
    execute(node, add_app, uuid4().hex, user_id, b"", "2026-01-01 00:00:00", "2026-01-01 00:00:00")
    response = visitor.signs_out().comes_back()
    assert response.headers["Location"].startswith("/accounts/second-step/")
    assert visitor.session() is None
    assert "<p>Your account also needs a second factor.</p>" in visitor.get("/accounts/second-step/").text


def test_a_user_can_stay_signed_in(visitor):
    visitor.signs_up().signs_out().comes_back(keep="on")
    assert next(each.expires for each in visitor.http.cookies.jar if "sessionid" in each.name)


def test_another_site_is_no_page_to_return_to(visitor):
    visitor.signs_up().signs_out()
    assert visitor.comes_back(next="https://evil.example/").headers["Location"] == "/"


def test_a_deleted_account_can_sign_up_again(visitor):
    visitor.signs_up().post("/accounts/delete/")
    assert visitor.comes_back().headers["Location"] == "/accounts/openid/sign-up/"


def test_one_address_starts_a_limited_number(visitor, node):
    visitor.start()
    execute(node, "UPDATE accounts_lock SET count = 300, until = '2099-01-01 00:00:00' WHERE kind = 'exchange'")
    response = visitor.post(ACME)
    execute(node, "DELETE FROM accounts_lock WHERE kind = 'exchange'")
    # For the tests that follow: the process remembers a refusal for a second.
    time.sleep(1.1)
    assert (response.status_code, response.headers["Retry-After"].isdigit()) == (429, True)


def test_a_connected_account_signs_in(visitor):
    visitor.signs_up().signs_out()
    assert visitor.session() is None
    response = visitor.comes_back(next="/accounts/profile/")
    assert (response.status_code, response.headers["Location"]) == (302, "/accounts/profile/")
    assert visitor.session()["methods"] == ["openid"]


def test_a_sign_in_is_on_the_list_with_its_method(visitor):
    page = visitor.signs_up().get("/accounts/sign-ins/").text
    assert "account of another site" in page


def test_a_sign_in_that_was_ended_is_refused(visitor, node):
    visitor.signs_up()
    other = Visitor(node, visitor.provider)
    other.subject = visitor.subject
    other.comes_back()
    assert other.session()
    visitor.post("/accounts/sign-ins/end-others/")
    assert other.session() is None
    assert visitor.session()


def test_an_equal_address_is_no_proof(visitor, stranger):
    visitor.signs_up_by_password()
    stranger.says(email=visitor.email)
    response = stranger.comes_back()
    assert (response.status_code, response.headers["Location"]) == (302, "/accounts/login/?next=/accounts/security/")
    assert stranger.session() is None
    assert f"An account with the e-mail address {visitor.email} exists." in stranger.get("/accounts/login/").text


def test_an_equal_address_that_is_not_verified_is_taken(visitor, stranger):
    visitor.signs_up_by_password()
    stranger.says(email=visitor.email, email_verified=False)
    stranger.comes_back()
    page = stranger.post("/accounts/openid/sign-up/", username=stranger.name, email=visitor.email)
    assert "A user with that e-mail address already exists." in page.text
    assert stranger.session() is None


def test_github_is_a_provider_without_openid(visitor):
    asked = parse_qs(urlsplit(visitor.start("/accounts/openid/github/")).query)
    assert (asked["code_challenge_method"], asked["scope"]) == (["S256"], ["user:email"])
    response = visitor.get(f"/accounts/openid/github/callback/?code=x&state={asked['state'][0]}")
    assert response.headers["Location"] == "/accounts/openid/sign-up/"
    visitor.post("/accounts/openid/sign-up/", username=visitor.name)
    assert "Your e-mail address octo@example.org is confirmed." in visitor.get("/").text


def test_a_signed_in_user_connects_an_account(visitor):
    visitor.signs_up_by_password()
    response = visitor.comes_back(f"{ACME}connect/")
    assert response.headers["Location"] == "/accounts/security/"
    assert len(visitor.connected()) == 1
    visitor.signs_out().comes_back()
    assert visitor.session()["methods"] == ["openid"]


def test_an_account_is_not_connected_to_two_users(visitor, stranger):
    visitor.signs_up()
    stranger.signs_up_by_password()
    stranger.subject = visitor.subject
    stranger.comes_back(f"{ACME}connect/")
    assert "already connected to another user" in stranger.get("/accounts/security/").text
    assert stranger.connected() == []


def test_a_stranger_cannot_have_their_account_connected(visitor, stranger):
    """The callback of an exchange that was started elsewhere (a forged or leaked URL) connects nothing."""
    visitor.signs_up_by_password()
    stranger.signs_up_by_password()
    callback = stranger.provider.sign_in(stranger.start(f"{ACME}connect/"), stranger.subject)
    assert visitor.get(callback).status_code == 400
    assert visitor.connected() == []


def test_a_connection_belongs_to_the_sign_in_that_began_it(visitor):
    visitor.signs_up_by_password()
    callback = visitor.provider.sign_in(visitor.start(f"{ACME}connect/"), visitor.subject)
    visitor.post("/accounts/login/", username=visitor.name, password=PASSWORD)
    assert visitor.get(callback).status_code == 400
    assert visitor.connected() == []


def test_a_user_who_cancels_returns_to_the_page(visitor):
    response = visitor.get(visitor.provider.deny(visitor.start()))
    assert (response.status_code, response.headers["Location"]) == (302, "/accounts/login/")
    assert "You cancelled at Acme." in visitor.get("/accounts/login/").text
    assert visitor.session() is None


@pytest.mark.parametrize("query", ["", "code=x", "code=x&state=forged", "error=access_denied", "state[]=1&code[]=2"])
def test_a_forged_callback_is_refused(visitor, query):
    visitor.start()
    assert visitor.get(f"{ACME}callback/?{query}").status_code == 400


def test_a_callback_is_valid_once(visitor):
    callback = visitor.provider.sign_in(visitor.start(), visitor.subject)
    assert visitor.get(callback).status_code == 302
    assert visitor.get(callback).status_code == 400


def test_a_code_of_another_browser_is_refused(visitor, stranger):
    """PKCE: the provider gives tokens only for the verifier of the browser that got the code."""
    stolen = parse_qs(urlsplit(visitor.provider.sign_in(visitor.start(), visitor.subject)).query)["code"][0]
    own_state = parse_qs(urlsplit(stranger.start()).query)["state"][0]
    response = stranger.get(f"{ACME}callback/?code={stolen}&state={own_state}")
    assert (response.status_code, "Acme gave an answer that cannot be used." in response.text) == (400, True)
    assert stranger.session() is None


@pytest.mark.parametrize(
    "claims",
    [{"nonce": "other"}, {"nonce": None}, {"aud": "other"}, {"iss": "http://other"}, {"exp": 1}, {"auth_time": 1e30}],
)
def test_an_id_token_for_another_exchange_is_refused(visitor, claims):
    visitor.signs_up().signs_out()
    visitor.says(**claims)
    response = visitor.comes_back()
    assert response.status_code == 400
    assert "Acme gave an answer that cannot be used." in response.text
    assert visitor.session() is None


def test_a_provider_that_is_away_is_named(visitor):
    response = visitor.post("/accounts/openid/later/")
    assert response.status_code == 502
    assert "Later does not answer at the moment." in response.text


def test_a_provider_that_goes_away_is_named(visitor, later_port):
    with openid_provider.running(later_port) as later:
        callback = later.sign_in(visitor.start("/accounts/openid/later/"), visitor.subject)
    response = visitor.get(callback)
    assert response.status_code == 502
    assert "Later does not answer at the moment." in response.text


def test_a_deactivated_account_cannot_sign_in(visitor, node):
    visitor.signs_up()
    execute(node, "UPDATE accounts_user SET is_active = false WHERE username = ?", visitor.name)
    assert visitor.session() is None
    response = visitor.comes_back()
    assert response.status_code == 403
    assert visitor.session() is None


def test_an_account_without_a_password_confirms_at_the_provider(visitor, node):
    visitor.signs_up()
    proved_earlier(visitor, node)
    path = "/accounts/delete/"
    page = visitor.get(path)
    assert page.headers["Location"].startswith("/accounts/confirm/")
    assert "/accounts/openid/acme/confirm/" in visitor.get(page.headers["Location"]).text
    url = visitor.start(f"{ACME}confirm/", next=path)
    asked = parse_qs(urlsplit(url).query)
    assert (asked["prompt"], asked["max_age"]) == (["login"], ["0"])
    response = visitor.get(visitor.provider.sign_in(url, visitor.subject))
    assert (response.status_code, response.headers["Location"]) == (302, path)
    assert visitor.get(path).status_code == 200


@pytest.mark.parametrize("auth_time", [None, int(time.time()) - 3600], ids=["unknown", "an hour ago"])
def test_an_earlier_sign_in_at_the_provider_confirms_nothing(visitor, auth_time):
    visitor.signs_up()
    visitor.says(auth_time=auth_time)
    response = visitor.comes_back(f"{ACME}confirm/")
    assert response.status_code == 403
    assert "did not ask you to sign in again" in response.text


def test_another_account_at_the_provider_confirms_nothing(visitor, stranger):
    visitor.signs_up()
    stranger.signs_up()
    visitor.subject = stranger.subject
    assert visitor.comes_back(f"{ACME}confirm/").status_code == 403


def test_the_only_way_in_is_not_disconnected(visitor):
    visitor.signs_up()
    assert "You have no password." in visitor.get("/accounts/security/").text
    path = f"/accounts/openid/disconnect/{visitor.connected()[0]}/"
    assert "It is your only way to sign in." in visitor.get(path).text
    visitor.post(path)
    assert len(visitor.connected()) == 1


def test_a_password_lets_the_account_be_disconnected(visitor):
    visitor.signs_up()
    response = visitor.post("/accounts/password_change/", new_password1=PASSWORD)
    assert response.headers["Location"] == "/accounts/password_change/done/", response.text
    visitor.post(f"/accounts/openid/disconnect/{visitor.connected()[0]}/")
    assert visitor.connected() == []
    visitor.signs_out().post("/accounts/login/", username=visitor.name, password=PASSWORD)
    assert visitor.session()["methods"] == ["password"]


def test_to_disconnect_needs_a_recent_proof(visitor, node):
    visitor.signs_up()
    path = f"/accounts/openid/disconnect/{visitor.connected()[0]}/"
    proved_earlier(visitor, node)
    assert visitor.post(path).headers["Location"].startswith("/accounts/confirm/")


def test_to_connect_needs_a_recent_proof(visitor, node):
    visitor.signs_up_by_password()
    proved_earlier(visitor, node)
    assert visitor.post(f"{ACME}connect/").headers["Location"].startswith("/accounts/confirm/")


def test_pages_allow_forms_to_this_site_only(visitor):
    page = visitor.get("/accounts/login/")
    assert 'formaction="/accounts/openid/acme/"' in page.text
    assert "form-action 'self';" in page.headers["Content-Security-Policy"]
    assert "form-action 'self';" in visitor.post(ACME).headers["Content-Security-Policy"]


@pytest.mark.parametrize("path", ["login/", "signup/", "password/change/", "social/connections/", "email/"])
def test_pages_of_allauth_are_off(visitor, node, path):
    assert visitor.get(f"{ACME}{path}").status_code == 404


@pytest.mark.parametrize("path", ["/accounts/openid/unknown/", "/accounts/openid/unknown/connect/"])
def test_an_unknown_provider_is_not_found(visitor, path):
    visitor.signs_up_by_password()
    assert visitor.post(path).status_code == 404
