"""The admin page that ends the sign-ins of everyone, and the rows that prune marks afterwards."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.utils import timezone

from accounts import ending
from accounts.models import SecurityEvent, Session, SignIn
from api.blocklist.models import Entry
from tests.accounts.admin_pages import SIGN_INS, make_staff, make_support, text_of
from tests.accounts.conftest import is_accepted, is_revoked

pytestmark = pytest.mark.django_db

END_EVERYONE = f"{SIGN_INS}end-everyone/"
WHY = "A key leaked."


@pytest.fixture
def erin(db, password):
    """A staff member with the permission to end all sign-ins who is not a superuser."""
    return make_staff("erin", password, "accounts.view_signin", "accounts.end_signin", "accounts.end_everyone")


def agree(page, **fields):
    return page.post(END_EVERYONE, {"why": WHY, "confirmed": "yes", **fields})


def shows_profile(browser):
    return browser.get("/accounts/profile/").status_code == 200


def test_the_page_counts_the_sign_ins_and_asks_for_a_reason(browser_of, client_of, erin, ann):
    client = client_of(ann)
    page = browser_of(erin)
    text = text_of(page.get(END_EVERYONE))
    assert "2 sign-ins end at once" in text
    assert "1 of them a browser" in text
    assert "1 of them a client" in text
    assert agree(page, why="").status_code == 200
    assert is_accepted(client)


def test_two_entries_revoke_everyone_in_both_modes(browser_of, client_of, erin, staff, ann, bob):
    clients, browsers = [client_of(user) for user in (ann, bob, staff)], [browser_of(ann), browser_of(staff)]
    page = browser_of(erin)
    answer = agree(page)
    assert "6 sign-ins are marked as ended" in text_of(answer)
    assert "This includes your own sign-in" in text_of(answer)
    assert all(map(is_revoked, clients))
    assert not any(map(shows_profile, browsers))
    assert page.get(SIGN_INS).status_code == 302
    assert list(Entry.objects.values_list("kind", "why", "blocked_by")) == [("all", WHY, erin.pk)] * 2
    events = SecurityEvent.objects.filter(type="sign_in_ended", sid__in=SignIn.objects.values("pk"))
    assert {(event.details["why"], event.actor) for event in events} == {(WHY, erin)}


def test_users_can_sign_in_after_an_end_of_all_by_staff(browser_of, client_of, erin, ann, clock):
    page = browser_of(erin)
    agree(page)
    clock.shift(timedelta(milliseconds=1))
    assert is_accepted(client_of(ann))
    assert shows_profile(browser_of(ann))


def test_sign_ins_before_a_moment_end_and_later_ones_stay(browser_of, client_of, erin, ann, clock):
    before, moment = client_of(ann), timezone.now()
    clock.shift(timedelta(minutes=1))
    after, page = client_of(ann), browser_of(erin)
    clock.shift(timedelta(minutes=1))
    answer = agree(page, up_to=f"{moment:%Y-%m-%dT%H:%M:%S}")
    assert "1 sign-in is marked as ended" in text_of(answer)
    assert (is_accepted(before), is_accepted(after), shows_profile(page)) == (False, True, True)


@pytest.mark.parametrize("moment", ["2999-01-01T00:00", "soon", "\0"])
def test_an_invalid_or_future_moment_ends_no_sign_in(browser_of, client_of, erin, ann, moment):
    client = client_of(ann)
    assert agree(browser_of(erin), up_to=moment).status_code == 200
    assert is_accepted(client)


def test_one_request_revokes_all_and_prune_marks_the_rows(browser_of, client_of, erin, ann, monkeypatch):
    monkeypatch.setattr("accounts.admin.sign_ins.REQUEST_BUDGET_SECONDS", -1.0)
    clients, browser, page = [client_of(ann) for _ in range(3)], browser_of(ann), browser_of(erin)
    answer = agree(page)
    assert "The next run of manage.py prune marks them" in text_of(answer)
    assert SignIn.objects.unended().filter(user=ann).count() == 4
    assert all(map(is_revoked, clients))
    assert not shows_profile(browser)
    assert not Session.objects.filter(sign_in__isnull=False).exists()
    dry_output, output = StringIO(), StringIO()
    call_command("prune", "--dry-run", stdout=dry_output)
    call_command("prune", stdout=output)
    assert "unfinished revocations: 4 sign-ins to be ended" in dry_output.getvalue()
    assert "unfinished revocations: 4 sign-ins ended" in output.getvalue()
    ended = SignIn.objects.filter(user=ann)
    assert set(ended.values_list("end_reason", "ended_by")) == {("ended_by_staff", erin.pk)}
    assert set(SecurityEvent.objects.filter(type="sign_in_ended", user=ann).values_list("details__why", "actor")) == {
        (WHY, erin.pk)
    }


def test_prune_finishes_the_wholesale_end_of_one_user_only(browser_of, client_of, ann, bob, clock):
    hers, browser, his = client_of(ann), browser_of(ann), client_of(bob)
    clock.shift(timedelta(seconds=1))
    next(ending.end_all_in_batches(ann, SignIn.Reason.ENDED_BY_STAFF))
    assert SignIn.objects.unended().filter(user=ann).count() == 2
    assert is_revoked(hers)
    assert not shows_profile(browser)
    clock.shift(timedelta(seconds=1))
    later = client_of(ann)
    call_command("prune", stdout=StringIO())
    assert (is_accepted(later), is_accepted(his)) == (True, True)
    assert list(SignIn.objects.filter(user=ann).unended()) == [SignIn.objects.latest("created_at")]


def test_selecting_all_rows_of_an_unfiltered_list_means_everyone(browser_of, client_of, erin, ann):
    client_of(ann)
    page = browser_of(erin)
    form = {"action": "end_selected", "_selected_action": str(SignIn.objects.first().pk), "select_across": "1"}
    for query in ({}, {"state": "live"}, {"p": "1"}):
        assert page.post(SIGN_INS, form, query_params=query)["Location"] == END_EVERYONE
    assert page.post(SIGN_INS, form, query_params={"kind": "client"}).status_code == 200
    assert END_EVERYONE in page.get(SIGN_INS).content.decode()


@pytest.mark.parametrize("permissions", [["accounts.end_signin"], ["accounts.end_everyone"], []])
def test_ending_everyone_requires_both_permissions(browser_of, client_of, password, ann, permissions):
    client = client_of(ann)
    page = browser_of(make_staff("max", password, "accounts.view_signin", *permissions))
    assert page.get(END_EVERYONE).status_code == 403
    assert agree(page).status_code == 403
    assert END_EVERYONE not in page.get(SIGN_INS).content.decode()
    assert is_accepted(client)


def test_support_ends_all_except_superusers_one_by_one(browser_of, client_of, password, staff, ann):
    hers, superusers = client_of(ann), client_of(staff)
    page = browser_of(make_support("dana", password))
    assert agree(page).status_code == 403
    form = {"action": "end_selected", "_selected_action": str(SignIn.objects.first().pk), "select_across": "1"}
    page.post(SIGN_INS, form | {"confirmed": "yes", "why": WHY})
    assert is_revoked(hers)
    assert is_accepted(superusers)


def test_ending_everyone_requires_staff_post_and_a_csrf_token(browser_of, browser, client_of, erin, ann):
    client = client_of(ann)
    assert agree(browser_of(ann)).status_code == 302
    assert agree(browser()).status_code == 302
    browser_of(erin).get(END_EVERYONE, {"why": WHY, "confirmed": "yes"})
    page = browser_of(erin)
    page.handler.enforce_csrf_checks = True
    assert agree(page).status_code == 403
    assert is_accepted(client)
