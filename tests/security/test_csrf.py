"""CSRF: another site cannot make a browser change anything, at every URL of the URL conf."""

import re

import pytest
from django.conf import settings
from django.db import transaction

from tests.conftest import Browser
from tests.security.urls import all_rows, all_urls

pytestmark = pytest.mark.django_db

EVIL = "https://evil.example"
OWN = "https://testserver"
FORM = "application/x-www-form-urlencoded"


class Victim:
    """A signed-in browser as another site can use it: it sends its cookies and stores none."""

    def __init__(self, browser):
        browser.get("/accounts/profile/")
        self.token = browser.cookies[settings.CSRF_COOKIE_NAME].value
        self.cookie = browser.cookies.output(attrs=[], header="", sep=";")
        self.http = Browser(enforce_csrf_checks=True)

    def send(self, method, path, body="", content_type=FORM, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.http.cookies.clear()
        return self.http.generic(method, path, body, content_type, headers={"cookie": self.cookie} | headers)


@pytest.fixture
def sue(browser_of, staff):
    """The browser of a superuser, with every permission."""
    return Victim(browser_of(staff))


@pytest.fixture
def eve(browser_of, ann):
    """The attacker's own browser, with a session and a CSRF token."""
    return Victim(browser_of(ann))


def attacks(victim, attacker):
    return {
        "no token": {"origin": OWN},
        "no token, from another site": {"origin": EVIL},
        "the token of another session": {"origin": OWN, "x_csrftoken": attacker.token},
        "the right token, from another site": {"origin": EVIL, "x_csrftoken": victim.token},
        "the right token, from nowhere": {"origin": "null", "x_csrftoken": victim.token},
        "the right token, on plain HTTP": {"origin": "http://testserver", "x_csrftoken": victim.token},
        "the right token, a sibling domain": {"origin": "https://evil.testserver", "x_csrftoken": victim.token},
        "the right token, a foreign referer": {"referer": f"{EVIL}/testserver/", "x_csrftoken": victim.token},
        "the right token, a referer that looks alike": {
            "referer": f"{OWN}.evil.example/",
            "x_csrftoken": victim.token,
        },
        "the right token, neither origin nor referer": {"x_csrftoken": victim.token},
        "a token in the address alone": {"origin": OWN, "query": f"?csrfmiddlewaretoken={victim.token}"},
    }


def attacks_on(place, victim, attacker):
    """The attacks that the place refuses. For the API, the Origin of the site is enough without a token."""
    found = attacks(victim, attacker)
    return {name: each for name, each in found.items() if not (place.is_api and each.get("origin") == OWN)}


RIDING_ON_A_COOKIE = [place for place in all_urls() if not place.reads_no_cookie]


def test_another_site_changes_nothing_with_a_cookie(sue, eve):
    assert len(RIDING_ON_A_COOKIE) > 80
    before, wrong = all_rows(), []
    for place in RIDING_ON_A_COOKIE:
        for method in place.methods:
            for name, headers in attacks_on(place, sue, eve).items():
                query = headers.pop("query", "")
                status = sue.send(method, place.path() + query, **headers).status_code
                # An unknown method: 405.
                if status not in (403, 405):
                    wrong.append((method, str(place), name, status))
    assert not wrong
    assert refused_as_forged(sue.send("POST", "/accounts/logout/"))
    assert refused_as_forged(sue.send("PATCH", "/api/me/", origin=EVIL))
    assert all_rows() == before


def test_every_url_accepts_the_right_token_from_this_site(sue):
    """Control for the test above."""
    wrong = []
    for place in RIDING_ON_A_COOKIE:
        for method in place.methods:
            with transaction.atomic():
                response = sue.send(method, place.path(), origin=OWN, x_csrftoken=sue.token)
                if response.status_code == 403 and refused_as_forged(response):
                    wrong.append((method, str(place)))
                transaction.set_rollback(True)
    assert not wrong


def refused_as_forged(response):
    return b"CSRF Failed" in response.content or b"The form has expired" in response.content


def test_a_get_request_changes_nothing(sue):
    """WSTG-SESS-05, including URLs that accept forms."""
    before = rows_but_messages()
    for place in all_urls():
        for method in ("GET", "HEAD", "OPTIONS"):
            sue.send(method, place.path(), referer=f"{EVIL}/")
    assert rows_but_messages() == before


def rows_but_messages():
    """The rows without sessions, in which the admin stores messages."""
    rows = all_rows()
    for session in rows["accounts.Session"]:
        del session["session_data"], session["expire_date"]
    return rows


def test_a_simple_request_of_another_site_is_refused_by_the_api(sue):
    """Requests that a form can send without preflight (ASVS 3.5.2), with the cookie."""
    before = all_rows()
    for place in all_urls():
        if not place.is_api:
            continue
        for content_type in (FORM, "multipart/form-data; boundary=x", "text/plain"):
            response = sue.send("POST", place.path(), '{"email": "sue@example.org"}', content_type, origin=EVIL)
            assert response.status_code >= 400 or str(place) == "/api/token/revoke/", place
            assert settings.SESSION_COOKIE_NAME not in response.cookies
    assert all_rows() == before


@pytest.mark.parametrize("door", ["/accounts/login/", "/admin/login/"])
def test_another_site_cannot_sign_a_browser_in(door, eve, staff, password):
    """Login CSRF (WSTG-SESS-05)."""
    form = f"username={staff.username}&password={password.replace(' ', '+')}"
    for headers in attacks(eve, eve).values():
        if headers.get("origin") == OWN and headers.get("x_csrftoken"):
            continue
        headers.pop("query", "")
        response = eve.send("POST", door, form, **headers)
        assert response.status_code == 403
        assert settings.SESSION_COOKIE_NAME not in response.cookies


# CSRF tokens change with a sign-in


class Visitor(Browser):
    """A browser that stores its cookies, on pages of the site."""

    def __init__(self):
        super().__init__(enforce_csrf_checks=True, headers={"origin": OWN})

    def token_of(self, page):
        """Returns the token of the form on a page: the secret in the cookie, masked anew each time."""
        found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self.get(page).content.decode())
        return found[1]

    @property
    def cookie(self):
        return self.cookies[settings.CSRF_COOKIE_NAME].value

    def fill_in(self, page, form, token):
        return self.post(page, form | {"csrfmiddlewaretoken": token})

    def rename(self, name, token):
        return self.fill_in("/accounts/profile/", {"first_name": name}, token)


CAROL = {"username": "carol", "email": "carol@example.org"}
NEW_PASSWORD = "a quite different passphrase"


@pytest.mark.parametrize("door", ["/accounts/login/", "/admin/login/", "/accounts/signup/"])
def test_a_csrf_token_from_before_a_sign_in_is_refused(door, staff, password):
    form = {"username": staff.username, "password": password}
    if door == "/accounts/signup/":
        form = CAROL | {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD}
    visitor = Visitor()
    # A page open in another tab, and the secret as an attacker who can read or set the cookie knows it.
    open_page, planted = visitor.token_of("/accounts/login/"), visitor.cookie
    assert visitor.fill_in(door, form, visitor.token_of(door)).status_code == 302
    assert visitor.cookie != planted
    for token in (open_page, planted):
        for refused in (
            visitor.rename("Mallory", token),
            visitor.fill_in("/accounts/logout/", {}, token),
        ):
            assert refused.status_code == 403
            assert refused_as_forged(refused)
    for token in (visitor.token_of("/accounts/profile/"), visitor.cookie):
        assert visitor.rename("Sue", token).status_code == 302
    assert visitor.get("/api/me/").json()["first_name"] == "Sue"


def test_a_csrf_token_of_the_previous_user_is_refused(ann, staff, password):
    visitor = Visitor()

    def sign_in(user):
        form = {"username": user.username, "password": password}
        assert visitor.fill_in("/accounts/login/", form, visitor.token_of("/accounts/login/")).status_code == 302

    sign_in(ann)
    of_anns_page, of_ann = visitor.token_of("/accounts/profile/"), visitor.cookie
    sign_in(staff)
    assert visitor.get("/api/me/").json()["username"] == staff.username
    assert [visitor.rename("Mallory", token).status_code for token in (of_anns_page, of_ann)] == [403, 403]
    assert visitor.get("/api/me/").json()["first_name"] == ""
