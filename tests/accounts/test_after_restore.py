"""After a restore from a backup: clients that refreshed since are no thieves, and what was used since is refused."""

import logging
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.utils import timezone

from accounts.factors import removals
from accounts.models import FactorRemoval, SecurityEvent, SignIn, User, sign_in_querysets
from accounts.models.restores import SKIPPED_IDS
from tests.authenticator import Authenticator
from tests.conftest import ApiClient
from tests.second_factors import add_app, add_passkey, password_step

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)
# The columns that a refresh writes.
OF_REFRESHES = ("refresh_id", "previous_refresh_id", "refreshed_at", "last_seen_at", "expires_at")


def after_restore():
    """Returns the output of the command."""
    out = StringIO()
    call_command("after_restore", stdout=out)
    return out.getvalue()


# Refresh tokens, before the command has run


@pytest.fixture
def lost(clock, hers):
    """The tokens before and after a refresh that the database has lost."""
    first, row = hers.refresh, SignIn.objects.values(*OF_REFRESHES).get()
    clock.shift(MINUTE)
    assert hers.renew().status_code == 200
    SignIn.objects.update(**row)
    return first, hers.refresh


def refresh(token):
    return ApiClient().post("/api/token/refresh/", {"refresh": token})


def test_a_client_whose_refresh_is_lost_is_no_thief(lost, mails_of):
    assert mails_of(lambda: refresh(lost[1])) == []
    assert not SecurityEvent.objects.filter(type="token_reused").exists()


def test_a_client_whose_refresh_is_lost_must_sign_in(lost):
    response = refresh(lost[1])
    assert (response.status_code, response.json()["code"]) == (401, "token_not_valid")


def test_a_token_used_in_a_lost_refresh_is_then_refused(lost):
    refresh(lost[1])
    assert refresh(lost[0]).status_code == 401


def test_a_lost_refresh_is_logged_once(lost, caplog):
    sign_in_querysets._log_lost_changes.cache_clear()
    refresh(lost[1])
    refresh(lost[1])
    [record] = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert "after_restore" in record.getMessage()


def test_a_thief_is_detected_if_clocks_differ(clock, hers):
    """The token was issued by a node whose clock is ahead of the one that rotates it."""
    stolen = hers.refresh
    clock.shift(timedelta(seconds=-14))
    assert hers.renew().status_code == 200
    clock.shift(timedelta(seconds=11))
    assert refresh(stolen).status_code == 401
    assert SecurityEvent.objects.filter(type="token_reused").count() == 1


# What the command refuses


@pytest.fixture
def reset(anonymous, reset_link, ann):
    def post(link):
        body = {"uid": link[0], "token": link[1], "new_password": "copper bells roll on at dusk"}
        return anonymous.post("/api/password/reset/confirm/", body).status_code

    return post


def test_a_reset_link_from_before_is_refused(reset, reset_link, ann):
    link = reset_link(ann)
    after_restore()
    assert reset(link) == 400


def test_a_reset_link_from_after_it_works(clock, reset, reset_link, ann):
    after_restore()
    clock.shift(MINUTE)
    assert reset(reset_link(ann)) == 204


def finish_with_passkey(options, authenticator):
    credential = authenticator.get(options["publicKey"])
    return ApiClient().post("/api/token/passkey/", {"step": options["step"], "credential": credential})


def passkey_options():
    return ApiClient().post("/api/token/passkey/options/", {}).json()


@pytest.fixture
def key(hers):
    return add_passkey(hers, Authenticator())


def test_a_step_from_before_is_refused(key):
    options = passkey_options()
    after_restore()
    response = finish_with_passkey(options, key)
    assert (response.status_code, response.json()["code"]) == (400, "step_not_valid")


def test_a_step_from_after_it_works(clock, key):
    after_restore()
    clock.shift(timedelta(seconds=1))
    assert finish_with_passkey(passkey_options(), key).status_code == 200


@pytest.mark.parametrize(("minutes", "status"), [(0, 401), (1.5, 200)])
def test_codes_of_apps_work_again_after_a_minute(clock, hers, ann, password, minutes, status):
    app, _codes = add_app(hers)
    clock.shift(MINUTE)
    after_restore()
    clock.shift(minutes * MINUTE + timedelta(seconds=1))
    step = password_step(ann, password)["step"]
    assert ApiClient().post("/api/token/second-step/", {"step": step, "code": app.code()}).status_code == status


def test_a_pending_removal_of_factors_is_stopped(settings, hers, ann, staff):
    settings.SITE_URL = "https://www.example.org"
    add_app(hers)
    removals.request(ann, staff, "The phone was stolen.")
    output = after_restore()
    assert not FactorRemoval.objects.pending().exists()
    assert "were stopped (1)" in output


def test_an_account_used_since_the_backup_is_kept(clock, settings, anonymous, password):
    form = {"username": "eve", "email": "eve@example.org", "password": password}
    assert anonymous.post("/api/register/", form).status_code == 201
    clock.shift(max(settings.UNCONFIRMED_KEEP, settings.SIGN_IN_MAX) - MINUTE)
    after_restore()
    clock.shift(2 * MINUTE)
    call_command("prune", stdout=StringIO())
    assert User.objects.filter(username="eve").exists()


@pytest.mark.parametrize("model", [User, SecurityEvent])
def test_ids_of_lost_rows_are_not_assigned_again(ann, hers, model):
    lost = model.objects.latest("pk").pk + SKIPPED_IDS
    after_restore()
    User.objects.create_user("eve", "eve@example.org")
    SecurityEvent.objects.record("signed_up", ann)
    assert model.objects.latest("pk").pk > lost


@pytest.mark.parametrize("times", [1, 2])
def test_the_command_shows_the_time_of_the_last_event(clock, hers, times):
    last = timezone.now()
    for _ in range(times):
        clock.shift(MINUTE)
        output = after_restore()
    assert f"Changes since {last:%Y-%m-%d %H:%M:%S} UTC" in output
