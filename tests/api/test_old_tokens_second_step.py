"""Refresh tokens of the site before ask a user with a second factor for it, and prove nothing recent."""

import time
from datetime import timedelta

import pytest
from django.test import override_settings
from django.utils import timezone

from accounts.factors import removals
from accounts.models import SecurityEvent, SignIn, User
from tests import old_site
from tests.conftest import ApiClient, claims_of
from tests.old_site import code_now, exchange, refresh_token
from tests.second_factors import SECOND_STEP

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def legacy_settings():
    with override_settings(
        LEGACY_JWT_KEY=old_site.JWT_KEY, LEGACY_JWT_UNTIL=timezone.now() + timedelta(days=20), SECOND_FACTOR="offered"
    ):
        yield


@pytest.fixture
def with_app(tmp_path):
    app = {"id": 1, "user": 7, "type": "totp", "data": {"secret": old_site.APP_SECRET}}
    old_site.import_users(old_site.write_dump(tmp_path, [old_site.USER], mfa__authenticator=[app]))
    return User.objects.get(username="carol")


def test_a_user_with_a_second_factor_is_asked_for_it(with_app):
    token = refresh_token()
    response = exchange(token)
    assert (response.status_code, response.json()["code"]) == (403, "second_step_required")
    assert not SignIn.objects.filter(kind="client").exists()
    # The token is not used up until the second step is done.
    step = exchange(token).json()["step"]
    finished = ApiClient().post(SECOND_STEP, {"step": step, "code": code_now()})
    assert finished.status_code == 200
    claims = claims_of(finished.json()["access"])
    assert (claims["acr"], "amr" in claims) == ("aal1", False)
    assert claims["auth_time"] <= time.time() - 15 * 60
    assert exchange(token).status_code == 401


def test_a_second_step_after_an_old_token_is_no_recent_proof(with_app):
    step = exchange(refresh_token()).json()["step"]
    client = ApiClient(ApiClient().post(SECOND_STEP, {"step": step, "code": code_now()}).json()["access"])
    response = client.post("/api/sign-ins/end-all/")
    assert (response.status_code, response.json()["code"]) == (403, "recent_sign_in_required")
    assert SecurityEvent.objects.get(type="signed_in").details["methods"] == "totp"


@override_settings(SITE_URL="https://testserver")
def test_an_old_token_carries_out_no_removal_of_factors(with_app, staff, clock):
    # Later than the factor was added.
    clock.shift(timedelta(minutes=1))
    removals.request(with_app, staff, "The phone was stolen.")
    clock.shift(removals.DELAY + timedelta(minutes=1))
    response = exchange(refresh_token(exp=int(time.time()) + 60))
    assert (response.status_code, response.json()["code"]) == (403, "second_step_required")
    assert User.objects.with_second_factor().filter(pk=with_app.pk).exists()
    # The password does.
    assert ApiClient().sign_in("carol", old_site.PASSWORD).status_code == 200


def test_two_second_steps_of_one_token_give_one_sign_in(with_app, clock):
    token = refresh_token()
    steps = [exchange(token).json()["step"] for _ in range(2)]
    statuses = []
    for step in steps:
        statuses.append(ApiClient().post(SECOND_STEP, {"step": step, "code": code_now()}).status_code)
        clock.shift(timedelta(seconds=31))
    assert statuses == [200, 400]
