"""Refresh tokens of the site before: second factors, and what accounts require."""

import time
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.test import override_settings

from accounts.factors import removals
from accounts.models import SecurityEvent, SignIn, User
from tests import old_site
from tests.conftest import ApiClient, claims_of
from tests.old_site import code_now, exchange, is_refused, is_taken, refresh_token
from tests.second_factors import SECOND_STEP

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("old_tokens_taken")]


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


# Requirements of the account, and its limits


@override_settings(SIGN_INS_PER_USER=2)
def test_the_limit_of_sign_ins_does_not_count_the_one_of_before(carol):
    clients = [exchange(refresh_token()).json() for _ in range(3)]
    live = [ApiClient(each["access"]).get("/api/me/").status_code for each in clients]
    assert live == [401, 200, 200]
    assert is_taken(refresh_token())


@pytest.mark.parametrize("age", [timedelta(minutes=29), timedelta(minutes=31)])
def test_limits_of_staff_count_from_the_import(age, carol, clock):
    clock.shift(age)
    User.objects.filter(pk=carol.pk).update(is_staff=True)
    with override_settings(STAFF_IDLE=timedelta(minutes=30)):
        assert is_taken(refresh_token(exp=int(time.time()) + 60)) == (age < timedelta(minutes=30))


@pytest.mark.parametrize("age", [timedelta(minutes=29), timedelta(minutes=31)])
def test_limits_of_a_group_count_from_the_import(age, carol, clock):
    carol.groups.add(Group.objects.create(name="Editors"))
    clock.shift(age)
    with override_settings(GROUP_LIMITS={"Editors": (timedelta(minutes=30), timedelta(hours=8))}):
        assert is_taken(refresh_token(exp=int(time.time()) + 60)) == (age < timedelta(minutes=30))


def test_a_user_who_must_have_a_second_factor_signs_in_again(carol):
    with override_settings(SECOND_FACTOR="all"):
        assert is_refused(refresh_token())


def test_a_user_whose_tokens_must_be_bound_needs_a_proof(carol):
    User.objects.filter(pk=carol.pk).update(bound_tokens_only=True)
    assert exchange(refresh_token()).json()["code"] == "invalid_dpop_proof"
