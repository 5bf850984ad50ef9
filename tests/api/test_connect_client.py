"""Connecting a client from the browser: a named sign-in whose tokens are shown once."""

import html
import re
from datetime import timedelta

import pytest
from django.apps import apps

from accounts.models import SecurityEvent, SignIn
from tests.conftest import bearer, claims_of

pytestmark = pytest.mark.django_db

PAGE = "/accounts/clients/new/"


@pytest.fixture
def connect(browser_of, ann):
    """Connects a client for Ann and returns the page."""
    page = browser_of(ann)

    def connect(name="backup script"):
        return page.post(PAGE, {"name": name})

    return connect


def tokens_on(response):
    refresh, access = re.findall(r'<div class="secret"[^>]*>([^<]+)</div>', response.content.decode())
    return access, refresh


def test_the_access_token_works(connect, anonymous):
    anonymous.access, _ = tokens_on(connect())
    assert anonymous.get("/api/me/").json()["username"] == "ann"


def test_the_refresh_token_works(connect, anonymous):
    _, refresh = tokens_on(connect())
    assert anonymous.post("/api/token/refresh/", {"refresh": refresh}).status_code == 200


def test_it_is_listed_as_a_client_with_that_name(connect):
    connect("backup script")
    assert list(SignIn.objects.filter(kind="client").values_list("name", flat=True)) == ["backup script"]


def test_it_can_be_ended_from_the_list(connect, anonymous, browser_of, ann):
    anonymous.access, refresh = tokens_on(connect())
    sid = claims_of(refresh)["sid"]
    browser_of(ann).post(f"/accounts/sign-ins/{sid}/end/")
    assert anonymous.get("/api/me/").status_code == 401
    assert anonymous.post("/api/token/refresh/", {"refresh": refresh}).status_code == 401


def test_the_tokens_are_stored_nowhere(connect):
    response = connect()
    dump = str([list(model._base_manager.values()) for model in apps.get_models()])
    assert not [token for token in tokens_on(response) if token in dump or token.rsplit(".", 1)[1] in dump]


def test_the_tokens_are_not_stored_by_caches(connect):
    assert "no-store" in connect().headers["Cache-Control"]


def test_the_tokens_are_in_no_url(connect):
    response = connect()
    assert response.status_code == 200
    assert "Location" not in response.headers


def test_the_commands_contain_the_tokens_and_the_url(connect):
    response = connect()
    access, refresh = tokens_on(response)
    curl, python = (
        html.unescape(each) for each in re.findall(r"<code>(.*?)</code>", response.content.decode(), re.DOTALL)
    )
    assert f"ACCESS='{access}'" in curl
    assert "https://testserver/api/me/" in curl
    assert refresh in python
    compile(python, "client.py", "exec")


def test_connecting_is_an_event_of_that_sign_in(connect):
    connect()
    event = SecurityEvent.objects.filter(type="signed_in").latest("id")
    assert event.sid == SignIn.objects.get(kind="client").pk


@pytest.mark.parametrize("bad", ["", "   ", "x" * 61, "a\x00b", "two\nlines", "\u202etxet"])
def test_an_invalid_name_creates_nothing(connect, bad):
    assert connect(bad).status_code == 200
    assert not SignIn.objects.filter(kind="client").exists()


def test_an_anonymous_user_connects_nothing(browser, ann):
    assert browser().post(PAGE, {"name": "x"}).headers["Location"].startswith("/accounts/login/")


def test_a_token_connects_nothing(browser, client_of, ann):
    response = browser().post(PAGE, {"name": "x"}, headers=bearer(client_of(ann).access))
    assert response.headers["Location"].startswith("/accounts/login/")
    assert SignIn.objects.filter(kind="client").count() == 1


def test_it_expires_like_any_client(connect):
    connect()
    assert SignIn.objects.get(kind="client").idle_timeout == timedelta(days=14)


# Commands to copy


def files_on(response):
    code = html.unescape(
        re.sub(r"</?code>", "", "\n".join(re.findall(r"<pre[^>]*>(.*?)</pre>", response.content.decode(), re.S)))
    )
    return set(re.findall(r"refresh-token[\w-]*", code))


@pytest.mark.parametrize(
    "name",
    ["backup script", "../../etc/passwd", "a'; rm -rf / #", '"quoted" $HOME `id`', "Jürgens Telefon", "电话", "x" * 60],
)
def test_each_client_stores_its_token_in_its_own_file(connect, name):
    first, second = files_on(connect(name)), files_on(connect(name))
    assert len(first) == len(second) == 1, "all lines of one client name the same file"
    assert first != second
    assert all(re.fullmatch(r"refresh-token-[a-z0-9-]{12,60}", file) for file in first | second)


def test_each_example_contains_the_refresh_token_once(connect):
    """The programs share a file; each stores the token there only if the file is empty."""
    response = connect()
    _, refresh = tokens_on(response)
    lines = re.findall(r"<pre[^>]*>(.*?)</pre>", response.content.decode(), re.DOTALL)
    assert [each.count(refresh) for each in lines] == [1, 1]
