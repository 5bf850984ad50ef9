"""Whatever changes who may come in takes effect at the next request, in both modes, whichever way it was done."""

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

pytestmark = pytest.mark.django_db


every_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


# Each way, seen from each side


@every_way
def test_who_is_to_go_is_out_and_nobody_else_is_cut_off(world, way, subtests):
    renewed = world.client_of(world.ann)
    renewed.renew()
    assert not goes_to_sign_in(world.browser)
    assert world.client.get("/api/me/").status_code == 200
    assert renewed.get("/api/me/").status_code == 200
    way(world)
    with subtests.test("the browser is refused by the API"):
        assert world.browser.get("/api/me/").status_code in {401, 403}
    with subtests.test("the browser has to sign in again"):
        assert goes_to_sign_in(world.browser)
    with subtests.test("the access token is refused"):
        assert world.client.get("/api/me/").status_code == 401
    with subtests.test("the access token no longer verifies"):
        assert world.anonymous.post("/api/token/verify/", {"token": world.client.access}).status_code == 401
    with subtests.test("the refresh token is refused"):
        assert refresh(world, world.client.refresh) == 401
    with subtests.test("the tokens of a refresh made before are refused"):
        assert (renewed.get("/api/me/").status_code, refresh(world, renewed.refresh)) == (401, 401)
    with subtests.test("nobody else is cut off"):
        assert not goes_to_sign_in(world.bobs_browser)
        assert world.bobs_client.get("/api/me/").status_code == 200
        assert refresh(world, world.bobs_client.refresh) == 200


# Who stays


@pytest.mark.parametrize("way", [end_the_others, change_the_password_over_the_api, end_each_over_the_api])
def test_the_client_that_did_it_goes_on(world, way):
    way(world)
    assert world.her_program.get("/api/me/").status_code == 200


@pytest.mark.parametrize("way", [end_the_others, change_the_password_over_the_api, end_each_over_the_api])
def test_the_client_that_did_it_can_refresh(world, way):
    way(world)
    assert refresh(world, world.her_program.refresh) == 200


@pytest.mark.parametrize("way", [end_the_others_from_a_browser, change_the_password_on_the_page])
def test_the_browser_that_did_it_goes_on(world, way):
    way(world)
    assert not goes_to_sign_in(world.her_page)


def test_ending_all_ends_the_client_that_did_it(world):
    end_all(world)
    assert world.her_program.get("/api/me/").status_code == 401


def test_ending_all_ends_the_browser_that_did_it(world):
    end_all_from_a_browser(world)
    assert goes_to_sign_in(world.her_page)


# One alone


def test_signing_out_on_the_page_cuts_off_that_browser(world):
    world.browser.post("/accounts/logout/")
    assert goes_to_sign_in(world.browser)


def test_signing_out_on_the_page_ends_that_entry_of_the_list(world):
    before = SignIn.objects.filter(user=world.ann, ended_at=None).count()
    world.browser.post("/accounts/logout/")
    assert SignIn.objects.filter(user=world.ann, ended_at=None).count() == before - 1


def test_signing_out_on_the_page_leaves_the_client_alone(world):
    world.browser.post("/accounts/logout/")
    assert world.client.get("/api/me/").status_code == 200


def entry_of(world, kind):
    """The id of that browser or that client on Ann's list."""
    rows = getattr(world, kind).get("/api/sign-ins/").json()["results"]
    return next(row["id"] for row in rows if row["current"])


def test_a_client_ends_a_browser(world):
    world.client.delete(f"/api/sign-ins/{entry_of(world, 'browser')}/")
    assert goes_to_sign_in(world.browser)


def test_a_browser_ends_a_client(world):
    world.browser.delete(f"/api/sign-ins/{entry_of(world, 'client')}/")
    assert (world.client.get("/api/me/").status_code, refresh(world, world.client.refresh)) == (401, 401)


@pytest.mark.parametrize("kind", ["browser", "client"])
def test_ending_one_leaves_the_rest_of_hers(world, kind):
    world.her_program.delete(f"/api/sign-ins/{entry_of(world, kind)}/")
    assert not goes_to_sign_in(world.her_page)
    assert world.her_program.get("/api/me/").status_code == 200


# What changes nobody's right to come in


def test_another_field_saved_cuts_nobody_off(world):
    world.ann.first_name = "Zoë"
    world.ann.save()
    assert not goes_to_sign_in(world.browser)
    assert world.client.get("/api/me/").status_code == 200


def test_another_field_updated_cuts_nobody_off(world):
    User.objects.update(first_name="Zoë")
    assert not goes_to_sign_in(world.browser)
    assert world.client.get("/api/me/").status_code == 200


def test_a_sign_in_elsewhere_cuts_nobody_off(world):
    world.anonymous.sign_in("ann", world.password)
    assert not goes_to_sign_in(world.browser)
    assert world.client.get("/api/me/").status_code == 200


def test_a_change_that_was_rolled_back_cuts_nobody_off(world):
    with suppress(ZeroDivisionError), transaction.atomic():
        deactivate_by_update(world)
        raise ZeroDivisionError
    assert not goes_to_sign_in(world.browser)
    assert world.client.get("/api/me/").status_code == 200
