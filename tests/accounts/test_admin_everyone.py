"""Staff end everyone's sign-ins: at once, by a moment, and whatever is left of the rows is marked later."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.utils import timezone

from accounts import ending
from accounts.models import SecurityEvent, Session, SignIn
from api.blocklist.models import Entry
from tests.accounts.admin_pages import SIGN_INS, make_staff, make_support, text_of

pytestmark = pytest.mark.django_db

END_EVERYONE = f"{SIGN_INS}end-everyone/"
WHY = "A key leaked."


@pytest.fixture
def erin(db, password):
    """No superuser, but one who may end everyone's."""
    return make_staff("erin", password, "accounts.view_signin", "accounts.end_signin", "accounts.end_everyone")


def agree(page, **fields):
    return page.post(END_EVERYONE, {"why": WHY, "confirmed": "yes", **fields})


def opens(client):
    return client.get("/api/me/").status_code == 200


def shows_profile(browser):
    return browser.get("/accounts/profile/").status_code == 200


def stays_out(client):
    return not opens(client) and client.renew().status_code == 401


def test_the_page_says_how_many_and_ends_nobody_before_it_was_agreed_to(browser_of, client_of, erin, ann):
    client = client_of(ann)
    page = browser_of(erin)
    text = text_of(page.get(END_EVERYONE))
    assert "2 sign-ins end at once" in text
    assert "1 of them a browser" in text
    assert "1 of them a client" in text
    assert agree(page, why="").status_code == 200
    assert opens(client)


def test_everyone_is_out_in_both_modes_by_two_entries(browser_of, client_of, erin, staff, ann, bob):
    clients, browsers = [client_of(user) for user in (ann, bob, staff)], [browser_of(ann), browser_of(staff)]
    page = browser_of(erin)
    answer = agree(page)
    assert "6 sign-ins are marked as ended" in text_of(answer)
    assert "This includes your own sign-in" in text_of(answer)
    assert all(map(stays_out, clients))
    assert not any(map(shows_profile, browsers))
    assert page.get(SIGN_INS).status_code == 302
    assert list(Entry.objects.values_list("kind", "why", "blocked_by")) == [("all", WHY, erin.pk)] * 2
    events = SecurityEvent.objects.filter(type="sign_in_ended", sid__in=SignIn.objects.values("pk"))
    assert {(event.details["why"], event.actor) for event in events} == {(WHY, erin)}


def test_who_signs_in_afterwards_is_let_in(browser_of, client_of, erin, ann, clock):
    page = browser_of(erin)
    agree(page)
    clock.shift(timedelta(milliseconds=1))
    assert opens(client_of(ann))
    assert shows_profile(browser_of(ann))


def test_those_up_to_a_moment_end_and_later_ones_go_on(browser_of, client_of, erin, ann, clock):
    before, moment = client_of(ann), timezone.now()
    clock.shift(timedelta(minutes=1))
    after, page = client_of(ann), browser_of(erin)
    clock.shift(timedelta(minutes=1))
    answer = agree(page, up_to=f"{moment:%Y-%m-%dT%H:%M:%S}")
    assert "1 sign-in is marked as ended" in text_of(answer)
    assert (opens(before), opens(after), shows_profile(page)) == (False, True, True)


@pytest.mark.parametrize("moment", ["2999-01-01T00:00", "soon", "\0"])
def test_a_moment_that_is_none_or_not_past_ends_nobody(browser_of, client_of, erin, ann, moment):
    client = client_of(ann)
    assert agree(browser_of(erin), up_to=moment).status_code == 200
    assert opens(client)


def test_one_request_shuts_all_out_and_the_next_prune_marks_the_rows(browser_of, client_of, erin, ann, monkeypatch):
    monkeypatch.setattr("accounts.admin.sign_ins.REQUEST_BUDGET_SECONDS", -1.0)
    clients, browser, page = [client_of(ann) for _ in range(3)], browser_of(ann), browser_of(erin)
    answer = agree(page)
    assert "The next run of manage.py prune marks them" in text_of(answer)
    assert SignIn.objects.unended().filter(user=ann).count() == 4
    assert all(map(stays_out, clients))
    assert not shows_profile(browser)
    assert not Session.objects.filter(sign_in__isnull=False).exists()
    dry, told = StringIO(), StringIO()
    call_command("prune", "--dry-run", stdout=dry)
    call_command("prune", stdout=told)
    assert "unfinished revocations: 4 sign-ins to be ended" in dry.getvalue()
    assert "unfinished revocations: 4 sign-ins ended" in told.getvalue()
    ended = SignIn.objects.filter(user=ann)
    assert set(ended.values_list("end_reason", "ended_by")) == {("ended_by_staff", erin.pk)}
    assert set(SecurityEvent.objects.filter(type="sign_in_ended", user=ann).values_list("details__why", "actor")) == {
        (WHY, erin.pk)
    }


def test_what_was_left_of_one_users_many_is_marked_by_prune_and_nobody_elses(browser_of, client_of, ann, bob, clock):
    hers, browser, his = client_of(ann), browser_of(ann), client_of(bob)
    clock.shift(timedelta(seconds=1))
    next(ending.end_all_in_batches(ann, SignIn.Reason.ENDED_BY_STAFF))
    assert SignIn.objects.unended().filter(user=ann).count() == 2
    assert stays_out(hers)
    assert not shows_profile(browser)
    clock.shift(timedelta(seconds=1))
    later = client_of(ann)
    call_command("prune", stdout=StringIO())
    assert (opens(later), opens(his)) == (True, True)
    assert list(SignIn.objects.filter(user=ann).unended()) == [SignIn.objects.latest("created_at")]


def test_all_that_a_list_without_filters_shows_is_everyone(browser_of, client_of, erin, ann):
    client_of(ann)
    page = browser_of(erin)
    form = {"action": "end_selected", "_selected_action": str(SignIn.objects.first().pk), "select_across": "1"}
    for query in ({}, {"state": "live"}, {"p": "1"}):
        assert page.post(SIGN_INS, form, query_params=query)["Location"] == END_EVERYONE
    assert page.post(SIGN_INS, form, query_params={"kind": "client"}).status_code == 200
    assert END_EVERYONE in page.get(SIGN_INS).content.decode()


@pytest.mark.parametrize("permissions", [["accounts.end_signin"], ["accounts.end_everyone"], []])
def test_it_takes_both_permissions(browser_of, client_of, password, ann, permissions):
    client = client_of(ann)
    page = browser_of(make_staff("max", password, "accounts.view_signin", *permissions))
    assert page.get(END_EVERYONE).status_code == 403
    assert agree(page).status_code == 403
    assert END_EVERYONE not in page.get(SIGN_INS).content.decode()
    assert opens(client)


def test_support_ends_all_but_superusers_and_one_by_one(browser_of, client_of, password, staff, ann):
    hers, superusers = client_of(ann), client_of(staff)
    page = browser_of(make_support("dana", password))
    assert agree(page).status_code == 403
    form = {"action": "end_selected", "_selected_action": str(SignIn.objects.first().pk), "select_across": "1"}
    page.post(SIGN_INS, form | {"confirmed": "yes", "why": WHY})
    assert stays_out(hers)
    assert opens(superusers)


def test_nobody_else_and_no_link_ends_everyone(browser_of, browser, client_of, erin, ann):
    client = client_of(ann)
    assert agree(browser_of(ann)).status_code == 302
    assert agree(browser()).status_code == 302
    browser_of(erin).get(END_EVERYONE, {"why": WHY, "confirmed": "yes"})
    page = browser_of(erin)
    page.handler.enforce_csrf_checks = True
    assert agree(page).status_code == 403
    assert opens(client)
