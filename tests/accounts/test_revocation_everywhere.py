"""Every way to end sign-ins is effective at the next request, in both modes."""

from contextlib import suppress

import pytest
from django.db import transaction

from accounts.models import SignIn, User
from tests.accounts.ways_to_end import (
    WAYS,
    change_the_password_on_the_page,
    change_the_password_over_the_api,
    deactivate_by_update,
    end_all,
    end_all_from_a_browser,
    end_each_over_the_api,
    end_the_others,
    end_the_others_from_a_browser,
    goes_to_sign_in,
    refresh,
)
from tests.conftest import ApiClient

pytestmark = pytest.mark.django_db


every_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


# Each way in both modes


@every_way
def test_each_way_revokes_the_sign_ins_of_one_user_only(world, way, subtests):
    renewed = world.client_of(world.ann)
    renewed.renew()
    assert not goes_to_sign_in(world.browser)
    assert world.client.get("/api/me/").status_code == 200
    assert renewed.get("/api/me/").status_code == 200
    key = ApiClient(world.her_program.post("/api/api-keys/", {"name": "report"}).json()["key"])
    assert key.get("/api/me/").status_code == 200
    of_session = world.browser.post("/api/session/token/", {}, content_type="application/json").json()["access"]
    assert ApiClient(of_session).get("/api/me/").status_code == 200
    way(world)
    with subtests.test("the browser is refused by the API"):
        assert world.browser.get("/api/me/").status_code in {401, 403}
    with subtests.test("the browser has to sign in again"):
        assert goes_to_sign_in(world.browser)
    with subtests.test("the access token is refused, and the client asks the user to sign in"):
        refusal = world.client.get("/api/me/")
        assert (refusal.status_code, refusal.json()["code"]) == (401, "sign_in_ended")
    with subtests.test("the access token of the session is refused"):
        assert ApiClient(of_session).get("/api/me/").status_code == 401
    with subtests.test("the API key is refused"):
        assert (key.get("/api/me/").status_code, key.get("/api/me/").json()["code"]) == (401, "api_key_not_valid")
    with subtests.test("the access token no longer verifies"):
        assert world.anonymous.post("/api/token/verify/", {"token": world.client.access}).status_code == 401
    with subtests.test("the refresh token is refused"):
        assert refresh(world, world.client.refresh) == 401
    with subtests.test("the tokens of a refresh made before are refused"):
        assert (renewed.get("/api/me/").status_code, refresh(world, renewed.refresh)) == (401, 401)
    with subtests.test("other users stay signed in"):
        assert not goes_to_sign_in(world.bobs_browser)
        assert world.bobs_client.get("/api/me/").status_code == 200
        assert refresh(world, world.bobs_client.refresh) == 200


# Sign-ins that stay valid


@pytest.mark.parametrize("way", [end_the_others, change_the_password_over_the_api, end_each_over_the_api])
def test_the_acting_client_stays_signed_in(world, way):
    way(world)
    assert world.her_program.get("/api/me/").status_code == 200


@pytest.mark.parametrize("way", [end_the_others, change_the_password_over_the_api, end_each_over_the_api])
def test_the_acting_client_can_refresh(world, way):
    way(world)
    assert refresh(world, world.her_program.refresh) == 200


@pytest.mark.parametrize("way", [end_the_others_from_a_browser, change_the_password_on_the_page])
def test_the_acting_browser_stays_signed_in(world, way):
    way(world)
    assert not goes_to_sign_in(world.her_page)


def test_ending_all_ends_the_acting_client(world):
    end_all(world)
    assert world.her_program.get("/api/me/").status_code == 401


def test_ending_all_ends_the_acting_browser(world):
    end_all_from_a_browser(world)
    assert goes_to_sign_in(world.her_page)


# Single sign-ins


def test_signing_out_on_the_page_revokes_that_browser(world):
    world.browser.post("/accounts/logout/")
    assert goes_to_sign_in(world.browser)


def test_signing_out_on_the_page_ends_that_sign_in(world):
    before = SignIn.objects.filter(user=world.ann, ended_at=None).count()
    world.browser.post("/accounts/logout/")
    assert SignIn.objects.filter(user=world.ann, ended_at=None).count() == before - 1


def test_signing_out_on_the_page_keeps_the_client(world):
    world.browser.post("/accounts/logout/")
    assert world.client.get("/api/me/").status_code == 200


def entry_of(world, kind):
    """Returns the id of the browser or the client on Ann's list."""
    rows = getattr(world, kind).get("/api/sign-ins/").json()["results"]
    return next(row["id"] for row in rows if row["current"])


def test_a_client_can_end_a_browser(world):
    world.client.delete(f"/api/sign-ins/{entry_of(world, 'browser')}/")
    assert goes_to_sign_in(world.browser)


def test_a_browser_can_end_a_client(world):
    world.browser.delete(f"/api/sign-ins/{entry_of(world, 'client')}/")
    assert (world.client.get("/api/me/").status_code, refresh(world, world.client.refresh)) == (401, 401)


@pytest.mark.parametrize("kind", ["browser", "client"])
def test_ending_one_sign_in_keeps_the_others(world, kind):
    world.her_program.delete(f"/api/sign-ins/{entry_of(world, kind)}/")
    assert not goes_to_sign_in(world.her_page)
    assert world.her_program.get("/api/me/").status_code == 200


# Changes that revoke nothing


def test_saving_another_field_revokes_no_sign_in(world):
    world.ann.first_name = "Zoë"
    world.ann.save()
    assert not goes_to_sign_in(world.browser)
    assert world.client.get("/api/me/").status_code == 200


def test_updating_another_field_revokes_no_sign_in(world):
    User.objects.update(first_name="Zoë")
    assert not goes_to_sign_in(world.browser)
    assert world.client.get("/api/me/").status_code == 200


def test_another_sign_in_revokes_no_sign_in(world):
    world.anonymous.sign_in("ann", world.password)
    assert not goes_to_sign_in(world.browser)
    assert world.client.get("/api/me/").status_code == 200


def test_a_rolled_back_change_revokes_no_sign_in(world):
    with suppress(ZeroDivisionError), transaction.atomic():
        deactivate_by_update(world)
        raise ZeroDivisionError
    assert not goes_to_sign_in(world.browser)
    assert world.client.get("/api/me/").status_code == 200
