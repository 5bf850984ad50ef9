"""API keys on the pages, in the admin and by command."""

import re
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from accounts import api_keys, registration
from accounts.models import SecurityEvent, SignIn
from tests.accounts.conftest import LONG_AGO, text_of
from tests.accounts.ways_to_end import end_sign_ins_in_the_admin
from tests.conftest import ApiClient

pytestmark = pytest.mark.django_db

PAGE = "/accounts/api-keys/new/"
FORM = {"name": "nightly report", "scopes": "read", "days": "90"}


@pytest.fixture
def here(browser_of, ann):
    """Ann's browser."""
    return browser_of(ann)


def key_on(response):
    [key] = re.findall(r'<div class="secret"[^>]*>([^<]+)</div>', response.content.decode())
    return key


def test_a_key_is_shown_once_and_works(here):
    response = here.post(PAGE, FORM)
    assert ApiClient(key_on(response)).get("/api/me/").json()["username"] == "ann"
    assert "no-store" in response["Cache-Control"]
    assert key_on(response) not in here.get("/accounts/developer/").content.decode()


def test_a_key_has_the_chosen_scopes_and_lifetime(here):
    here.post(PAGE, FORM | {"scopes": "read write", "days": "7"})
    sign_in = SignIn.objects.get(kind="key")
    assert (sign_in.scopes, (sign_in.expires_at - sign_in.created_at).days) == ("read write", 7)


@pytest.mark.parametrize(
    "wrong", [{"name": ""}, {"name": "a\u202eb"}, {"scopes": "admin"}, {"days": "366"}, {"days": "0"}, {"days": ""}]
)
def test_an_invalid_form_makes_no_key(here, wrong):
    assert here.post(PAGE, FORM | wrong).status_code == 200
    assert not SignIn.objects.filter(kind="key").exists()


def test_too_many_keys_are_an_error_of_the_form(here, monkeypatch):
    monkeypatch.setattr(api_keys, "MAX_KEYS", 1)
    here.post(PAGE, FORM)
    assert "End one of them first." in here.post(PAGE, FORM).content.decode()
    assert SignIn.objects.filter(kind="key").count() == 1


def test_making_a_key_needs_a_recent_proof(clock, here):
    clock.shift(LONG_AGO)
    assert here.post(PAGE, FORM)["Location"].startswith("/accounts/confirm/")


def test_without_api_keys_there_is_no_page(here, settings):
    settings.API_KEY_MAX -= settings.API_KEY_MAX
    assert here.get(PAGE).status_code == 404
    assert "Create an API key" not in here.get("/accounts/developer/").content.decode()


def test_a_key_is_listed_with_its_scopes(here):
    here.post(PAGE, FORM)
    for path in ("/accounts/sign-ins/", "/accounts/sign-ins/?kind=key"):
        text = text_of(here.get(path))
        assert "nightly report" in text
        assert "not used yet" in text
        assert "What it can do read" in text


def test_the_page_for_developers_lists_the_keys(here, django_assert_num_queries):
    here.post(PAGE, FORM)
    text = text_of(here.get("/accounts/developer/"))
    assert "nightly report" in text
    assert "1 key" in text


def test_a_key_ends_on_the_page(here):
    client = ApiClient(key_on(here.post(PAGE, FORM)))
    sid = SignIn.objects.get(kind="key").pk
    assert "next request with this API key is refused" in here.get(f"/accounts/sign-ins/{sid}/end/").content.decode()
    here.post(f"/accounts/sign-ins/{sid}/end/")
    assert client.get("/api/me/").status_code == 401
    assert "nightly report" in text_of(here.get("/accounts/sign-ins/ended/"))


def test_the_activity_shows_a_new_key(here):
    here.post(PAGE, FORM)
    assert "An API key was created." in text_of(here.get("/accounts/activity/"))


def test_staff_see_what_a_key_can_do_and_end_it(here, world):
    client = ApiClient(key_on(world.her_page.post(PAGE, FORM)))
    sid = SignIn.objects.get(kind="key").pk
    assert "read" in text_of(world.staff.get(f"/admin/accounts/signin/{sid}/change/"))
    end_sign_ins_in_the_admin(world)
    assert client.get("/api/me/").status_code == 401


# The command


@pytest.fixture
def service(db):
    return registration.create_service("gate", [])[0]


def make(*arguments):
    out = StringIO()
    call_command("make_api_key", *arguments, stdout=out, stderr=StringIO())
    return out.getvalue().strip()


def test_an_operator_makes_a_key_of_a_service(service):
    key = make("gate", "introspection", "--scope", "read", "--scope", "write", "--days", "30")
    assert ApiClient(key).get("/api/me/").json()["username"] == "gate"
    assert SignIn.objects.get(kind="key").scopes == "read write"
    assert SecurityEvent.objects.filter(type="api_key_made", user=service).exists()


@pytest.mark.parametrize("arguments", [("ann", "x"), ("gate", ""), ("gate", "x", "--days", "366"), ("gate", "x" * 61)])
def test_the_command_refuses_what_it_cannot_make(service, ann, arguments):
    with pytest.raises(CommandError):
        make(*arguments)
    assert not SignIn.objects.exists()
