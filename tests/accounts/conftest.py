"""Fixtures for tests of accounts: endpoints that sign in, reset links, and sign-ins of several users."""

import re
from datetime import timedelta
from types import SimpleNamespace

import pytest

from accounts import places
from accounts.models import SecurityEvent
from tests import geoip_database
from tests.accounts.second_step_pages import SECOND_STEP, enter_password, leads_to
from tests.accounts.sign_in_endpoints import SignInEndpoint
from tests.conftest import newest_link
from tests.second_factors import add_app, add_passkey

LONG_AGO = timedelta(minutes=16)
FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:125.0) Gecko/20100101 Firefox/125.0"


def is_accepted(client):
    """Whether the access token of the client is accepted."""
    return client.get("/api/me/").status_code == 200


def is_revoked(client):
    """Whether the access token and the refresh token of the client are refused."""
    return client.get("/api/me/").status_code == 401 and client.renew().status_code == 401


def text_of(response):
    """Returns the text of a page in one line."""
    main = re.search(r"<main.*</main>", response.content.decode(), re.DOTALL).group()
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", main)).replace("&#x27;", "'")


def latest_event(type):
    return SecurityEvent.objects.filter(type=type).latest("id")


@pytest.fixture
def here(browser, ann, password):
    """Ann's browser, a Firefox."""
    firefox = browser(headers={"user-agent": FIREFOX})
    firefox.post("/accounts/login/", {"username": ann.username, "password": password}, REMOTE_ADDR="192.0.2.7")
    return firefox


@pytest.fixture(params=["/api/token/", "/accounts/login/", "/admin/login/"])
def endpoint(request, browser, anonymous):
    return SignInEndpoint(request.param, browser, anonymous)


@pytest.fixture
def api_endpoint(browser, anonymous):
    return SignInEndpoint("/api/token/", browser, anonymous)


@pytest.fixture
def app(hers):
    """Ann's authenticator app."""
    return add_app(hers)[0]


@pytest.fixture
def passkey(hers):
    """Ann's passkey."""
    return add_passkey(hers)


@pytest.fixture
def places_database(settings, tmp_path):
    """GEOIP_PATH is set to a small database. Returns its module, with the addresses that it has."""
    settings.GEOIP_PATH = str(geoip_database.write(tmp_path / "places.mmdb"))
    yield geoip_database
    places._of.cache_clear()
    places._database.cache_clear()


@pytest.fixture
def half(ann, password, app):
    """A browser in which Ann, who has an app, has entered her password."""
    browser, response = enter_password(ann, password)
    assert leads_to(response, SECOND_STEP)
    return browser


@pytest.fixture
def reset_link(anonymous, mailoutbox, django_capture_on_commit_callbacks):
    """Returns a function that requests a reset for a user and returns uid and token of the link in the mail."""

    def request_reset(user):
        with django_capture_on_commit_callbacks(execute=True):
            anonymous.post("/api/password/reset/", {"email": user.email})
        return newest_link(mailoutbox, r"/reset/([^/\s]+)/([^/\s]+)/").groups()

    return request_reset


@pytest.fixture
def world(ann, bob, staff, browser, browser_of, client_of, anonymous, password, reset_link):
    """Ann in a browser and in a client, and all users who can end her sign-ins."""
    return SimpleNamespace(
        ann=ann,
        bob=bob,
        password=password,
        # The sign-ins that end:
        browser=browser_of(ann),
        client=client_of(ann),
        # Ann's sign-ins that act:
        her_page=browser_of(ann),
        her_program=client_of(ann),
        # Other users:
        stranger=browser(),
        anonymous=anonymous,
        staff=browser_of(staff),
        bobs_browser=browser_of(bob),
        bobs_client=client_of(bob),
        reset_link=lambda: reset_link(ann),
        client_of=client_of,
    )
