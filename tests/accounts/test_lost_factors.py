"""Lost factors: staff remove those of a user after a delay that the user can stop; a command removes them at once."""

import re
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from accounts.factors import removals
from accounts.models import AuthenticatorApp, FactorRemoval, Passkey, RecoveryCode, SecurityEvent, SignIn, User
from tests.accounts.admin_pages import USERS, act, make_staff, text_of
from tests.accounts.conftest import is_accepted, is_revoked, latest_event
from tests.conftest import ApiClient
from tests.second_factors import add_app, add_passkey, password_step

pytestmark = pytest.mark.django_db

REMOVALS = "/admin/accounts/factorremoval/"
DAY = timedelta(hours=24)
MINUTE = timedelta(minutes=1)
WHY = "The phone was stolen."
HELPER_PERMISSIONS = ["accounts.view_user", "accounts.remove_factors"]


@pytest.fixture
def app(clock, hers):
    return add_app(hers)[0]


@pytest.fixture
def codes(clock, hers):
    return add_app(hers)[1]


@pytest.fixture
def helper(password, db):
    """A staff member who may remove factors, and is no superuser."""
    return make_staff("hal", password, *HELPER_PERMISSIONS)


@pytest.fixture
def requested(clock, app, browser_of, helper, ann):
    """The removal of Ann's factors, which was requested a minute after she added them."""
    clock.shift(MINUTE)
    act(browser_of(helper), USERS, "remove_factors", ann)
    return FactorRemoval.objects.get(user=ann)


@pytest.fixture
def link(clock, app, browser_of, helper, ann, mails_of):
    """The path of the link in the mail about a requested removal."""
    clock.shift(MINUTE)
    [letter] = mails_of(lambda: act(browser_of(helper), USERS, "remove_factors", ann))
    return re.search(r"https?://[^/]+(/accounts/factors/stop-removal/\S+)", letter.body).group(1)


def sign_in(user, password):
    return ApiClient().post("/api/token/", {"username": user.username, "password": password})


def has_factors(user):
    return any(model.objects.filter(user=user).exists() for model in (Passkey, AuthenticatorApp))


def prune():
    call_command("prune", stdout=StringIO())


# The request


def test_before_the_delay_nothing_is_removed(clock, requested, hers, ann, password):
    clock.shift(DAY - MINUTE)
    prune()
    assert sign_in(ann, password).json()["code"] == "second_step_required"
    assert has_factors(ann)


def test_a_request_is_an_event_with_staff_member_and_reason(requested, helper, ann):
    event = latest_event("factor_removal_asked")
    assert (event.user, event.actor, event.details["why"]) == (ann, helper, WHY)


def test_a_request_is_mailed_to_the_user(clock, app, browser_of, helper, ann, mails_of):
    [letter] = mails_of(lambda: act(browser_of(helper), USERS, "remove_factors", ann))
    assert letter.to == [ann.email]
    assert "in 24 hours" in letter.body


@pytest.mark.parametrize("why", ["", "two\nlines"])
def test_a_request_needs_a_reason(app, browser_of, helper, ann, why):
    act(browser_of(helper), USERS, "remove_factors", ann, why=why)
    assert not FactorRemoval.objects.pending().exists()


def test_a_request_asks_for_confirmation(app, browser_of, helper, ann):
    text = text_of(act(browser_of(helper), USERS, "remove_factors", ann, agree=False))
    assert "1 account loses its second factors in 24 hours" in text
    assert not FactorRemoval.objects.pending().exists()


def test_staff_without_the_permission_request_no_removal(app, browser_of, password, ann):
    other = make_staff("max", password, "accounts.view_user", "accounts.change_user", "accounts.deactivate_user")
    act(browser_of(other), USERS, "remove_factors", ann)
    assert not FactorRemoval.objects.pending().exists()


def test_factors_of_a_superuser_are_removed_by_superusers_only(browser_of, client_of, helper, staff):
    add_app(client_of(staff))
    act(browser_of(helper), USERS, "remove_factors", staff)
    assert not FactorRemoval.objects.pending().exists()


def test_staff_do_not_remove_their_own_factors_here(browser_of, client_of, helper):
    page = browser_of(helper)
    add_app(client_of(helper))
    page.post("/accounts/confirm/", {"password": "irrelevant"})
    User.objects.filter(pk=helper.pk).update(is_superuser=True)
    SignIn.objects.filter(user=helper).update(methods="password totp")
    act(page, USERS, "remove_factors", helper)
    assert not FactorRemoval.objects.pending().exists()


def test_an_account_without_a_factor_gets_no_request(browser_of, helper, ann):
    act(browser_of(helper), USERS, "remove_factors", ann)
    assert not FactorRemoval.objects.pending().exists()


def test_a_second_request_does_not_extend_the_delay(clock, requested, browser_of, helper, ann):
    clock.shift(timedelta(hours=3))
    act(browser_of(helper), USERS, "remove_factors", ann)
    assert FactorRemoval.objects.get().due_at == requested.due_at


# After the delay


def test_after_the_delay_the_password_alone_signs_in(clock, requested, ann, password):
    clock.shift(DAY)
    assert sign_in(ann, password).status_code == 200
    assert not has_factors(ann)
    assert not RecoveryCode.objects.exists()


def test_the_tokens_of_the_sign_in_after_the_delay_are_accepted(clock, requested, ann, password, client_of):
    clock.shift(DAY)
    client = client_of(ann)
    assert is_accepted(client)
    assert client.renew().status_code == 200


def test_a_page_carries_out_a_removal_that_is_due(clock, requested, ann, browser_of):
    clock.shift(DAY)
    assert browser_of(ann).get("/accounts/profile/").status_code == 200


def test_prune_carries_out_a_removal_that_is_due(clock, requested, ann):
    clock.shift(DAY)
    prune()
    assert not has_factors(ann)
    assert not FactorRemoval.objects.pending().exists()


def test_prune_counts_due_removals_in_a_dry_run(clock, requested, ann):
    clock.shift(DAY)
    out = StringIO()
    call_command("prune", "--dry-run", stdout=out)
    assert "due removals of second factors: 1 to be carried out" in out.getvalue()
    assert has_factors(ann)


def test_all_sign_ins_end_with_the_removal(clock, requested, hers, ann, settings):
    clock.shift(DAY)
    hers.renew()
    assert is_accepted(hers)
    prune()
    assert is_revoked(hers)
    assert SignIn.objects.filter(user=ann).latest("created_at").end_reason == "factor_removed"


def test_the_removal_is_an_event_of_the_staff_member(clock, requested, ann, helper):
    clock.shift(DAY)
    prune()
    event = latest_event("factor_removed")
    assert (event.user, event.actor, event.details["why"]) == (ann, helper, WHY)


def test_the_removal_is_mailed_to_the_user(clock, requested, ann, mails_of):
    clock.shift(DAY)
    letters = mails_of(prune)
    assert {letter.to[0] for letter in letters} == {ann.email}
    assert any("removed" in letter.subject for letter in letters)


def test_a_wrong_password_carries_out_nothing(clock, requested, ann):
    clock.shift(DAY)
    assert sign_in(ann, "not the right passphrase").status_code == 401
    assert has_factors(ann)


def test_a_user_who_must_have_a_factor_adds_one_after_the_removal(clock, requested, ann, password, settings):
    settings.SECOND_FACTOR = "all"
    clock.shift(DAY)
    assert sign_in(ann, password).json()["code"] == "second_factor_missing"
    assert not has_factors(ann)


def test_a_refused_second_step_takes_one_more_statement(app, ann, password, django_assert_num_queries):
    user = User.objects.get(pk=ann.pk)
    with django_assert_num_queries(1):
        assert not removals.carry_out_if_due(user)


# Stopping it


def test_the_link_in_the_mail_stops_the_removal(clock, link, browser, ann, password):
    assert browser().post(link).status_code == 200
    clock.shift(DAY)
    assert sign_in(ann, password).json()["code"] == "second_step_required"
    assert latest_event("factor_removal_stopped").details["cause"] == "link"


def test_opening_the_link_stops_nothing(link, browser, ann):
    assert browser().get(link).status_code == 200
    assert FactorRemoval.objects.of(ann).pending().exists()


def test_a_used_link_says_that_no_removal_is_pending(link, browser):
    browser().post(link)
    response = browser().get(link)
    assert response.status_code == 400
    assert "This link is not valid" in response.content.decode()


@pytest.mark.parametrize("token", ["x", "1:2", "a:b:c", "é", "a" * 5000])
def test_a_forged_link_stops_nothing(requested, browser, token):
    assert browser().post(f"/accounts/factors/stop-removal/{token}/").status_code == 400
    assert FactorRemoval.objects.pending().exists()


def test_a_step_is_no_link(requested, browser, ann, password):
    step = password_step(ann, password)["step"]
    assert browser().post(f"/accounts/factors/stop-removal/{step}/").status_code == 400


def test_the_link_stops_a_removal_that_is_due(clock, link, browser, ann):
    clock.shift(DAY + timedelta(hours=3))
    assert browser().post(link).status_code == 200
    prune()
    assert has_factors(ann)


def test_staff_cancel_the_removal(clock, requested, browser_of, helper, ann, password):
    act(browser_of(helper), USERS, "cancel_removal", ann)
    clock.shift(DAY)
    assert sign_in(ann, password).json()["code"] == "second_step_required"
    event = latest_event("factor_removal_stopped")
    assert (event.actor, event.details["cause"], event.details["why"]) == (helper, "staff", WHY)


def test_staff_cancel_the_removal_from_the_list(requested, browser_of, helper, ann):
    act(browser_of(helper), REMOVALS, "cancel", requested)
    assert not FactorRemoval.objects.pending().exists()


def test_a_factor_that_is_used_meanwhile_stays(clock, requested, app, ann, password):
    step = password_step(ann, password)["step"]
    assert ApiClient().post("/api/token/second-step/", {"step": step, "code": app.code()}).status_code == 200
    clock.shift(DAY)
    prune()
    assert has_factors(ann)
    assert latest_event("factor_removal_stopped").details["cause"] == "factor_used"


def test_a_factor_that_is_added_meanwhile_stays(clock, requested, hers, ann):
    clock.shift(MINUTE)
    SignIn.objects.filter(user=ann).update(methods="password totp")
    add_passkey(hers)
    clock.shift(DAY)
    prune()
    assert Passkey.objects.filter(user=ann).exists()


@pytest.mark.parametrize("change", [{"is_active": False}, {"is_staff": False}])
def test_a_removal_ends_with_the_rights_of_its_staff_member(clock, requested, helper, ann, change):
    User.objects.filter(pk=helper.pk).update(**change)
    clock.shift(DAY)
    prune()
    assert has_factors(ann)
    assert latest_event("factor_removal_stopped").details["cause"] == "not_permitted"


def test_a_removal_ends_when_its_staff_member_is_deleted(clock, requested, helper, ann):
    helper.delete()
    clock.shift(DAY)
    prune()
    assert has_factors(ann)


def test_a_removal_ends_when_the_user_becomes_a_superuser(clock, requested, ann):
    User.objects.filter(pk=ann.pk).update(is_superuser=True)
    clock.shift(DAY)
    prune()
    assert has_factors(ann)


def test_the_factors_of_a_deactivated_account_stay(clock, requested, ann):
    User.objects.filter(pk=ann.pk).update(is_active=False)
    clock.shift(DAY)
    prune()
    assert has_factors(ann)
    assert not FactorRemoval.objects.pending().exists()


# What staff see


def test_the_page_of_a_user_lists_the_factors(app, browser_of, helper, ann, hers):
    AuthenticatorApp.objects.filter(user=ann).update(name="My blue phone")
    text = text_of(browser_of(helper).get(f"{USERS}{ann.pk}/change/"))
    assert "My blue phone" in text
    assert "recovery codes" in text


def test_no_page_of_the_admin_shows_a_secret_of_a_factor(codes, browser_of, staff, ann):
    hash = RecoveryCode.objects.first().hash
    secret = bytes(AuthenticatorApp.objects.get().secret).hex()
    page = browser_of(staff)
    pages = [page.get(url).content.decode() for url in (f"{USERS}{ann.pk}/change/", REMOVALS, "/admin/")]
    assert not [text for text in pages for each in (hash, secret, *codes) if each in text]


def test_the_page_of_a_user_shows_a_pending_removal(requested, browser_of, helper, ann):
    text = text_of(browser_of(helper).get(f"{USERS}{ann.pk}/change/"))
    assert f"{requested.due_at:%Y-%m-%d %H:%M} UTC" in text
    assert "Cancel removal of second factors" in text


def test_pending_removals_are_listed(requested, browser_of, helper):
    text = text_of(browser_of(helper).get(REMOVALS))
    assert "ann" in text
    assert WHY in text


def test_staff_without_the_permission_see_no_removals(requested, browser_of, password):
    assert browser_of(make_staff("max", password, "accounts.view_user")).get(REMOVALS).status_code == 403


def test_removals_are_not_added_or_changed_by_hand(requested, browser_of, staff):
    page = browser_of(staff)
    assert page.post(f"{REMOVALS}add/", {}).status_code == 403
    assert page.post(f"{REMOVALS}{requested.pk}/change/", {"why": "x"}).status_code == 403
    assert page.post(f"{REMOVALS}{requested.pk}/delete/", {"post": "yes"}).status_code == 403


# The command


def remove(*arguments):
    out = StringIO()
    call_command("remove_factors", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_removes_at_once(app, hers, ann, password):
    assert remove("--user", "ann", "--why", WHY) == "2 factors removed.\n"
    assert is_revoked(hers)
    assert sign_in(ann, password).status_code == 200
    assert latest_event("factor_removed").details["why"] == WHY


def test_the_command_ends_a_pending_removal(requested):
    remove("--user", "ann@example.org", "--why", WHY)
    assert not FactorRemoval.objects.pending().exists()


@pytest.mark.parametrize("arguments", [["--user", "ann"], ["--why", "x"], ["--user", "nobody", "--why", "x"]])
def test_the_command_needs_a_user_and_a_reason(ann, arguments):
    with pytest.raises(CommandError):
        remove(*arguments)


def test_the_command_refuses_an_empty_reason(app, ann):
    with pytest.raises(CommandError, match="--why"):
        remove("--user", "ann", "--why", " ")
    assert has_factors(ann)


def test_the_command_refuses_a_deactivated_account(app, ann):
    User.objects.filter(pk=ann.pk).update(is_active=False)
    with pytest.raises(CommandError, match="deactivated"):
        remove("--user", "ann", "--why", WHY)
    assert SecurityEvent.objects.filter(type="factor_removed").count() == 0
