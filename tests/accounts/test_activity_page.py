"""The activity page and its file, disputes of an event, the home page, and the deletion of the account."""

import csv
import io
import re
from datetime import UTC, datetime, timedelta
from itertools import count
from uuid import uuid4

import pytest
from django.apps import apps
from django.contrib.admin.models import CHANGE, LogEntry

from accounts import activity, ending
from accounts.models import SecurityEvent, SignIn, User
from accounts.models.event_sentences import Importance, importance_of
from tests.conftest import send_mails

pytestmark = pytest.mark.django_db

PAGE = "/accounts/activity/"


def event(user, type):
    return SecurityEvent.objects.filter(user=user, type=type).latest("id")


@pytest.fixture
def stranger(ann, client_of):
    """A client of an attacker who signed in as Ann."""
    return client_of(ann)


@pytest.fixture
def page(browser_of, ann, stranger):
    return browser_of(ann)


@pytest.mark.parametrize("type", SecurityEvent.Type.values)
def test_every_event_has_its_own_sentence(ann, type):
    written = SecurityEvent.objects.record(type, ann)
    assert written.sentence.endswith(".")


def test_an_event_of_a_newer_release_is_shown_everywhere(page, ann, staff, client_of, browser_of):
    """A node of a newer release has recorded it, during an update or before the way back."""
    SecurityEvent(user=ann, type="of_a_newer_release", details={}).save(force_insert=True)
    assert "cannot describe yet" in page.get(PAGE).content.decode()
    assert b"of_a_newer_release" in b"".join(page.post(f"{PAGE}download/").streaming_content)
    types = {each["type"] for each in client_of(ann).get("/api/events/").json()["results"]}
    assert "of_a_newer_release" in types
    assert page.get("/").status_code == 200
    assert browser_of(staff).get("/admin/accounts/securityevent/").status_code == 200


def test_the_page_describes_what_happened(page):
    content = page.get(PAGE).content.decode()
    assert content.index("A browser signed in.") < content.index("An app signed in.")


def test_the_page_shows_why_a_sign_in_ended(page):
    SignIn.objects.get(kind="client").end(SignIn.Reason.TOKEN_REUSED)
    assert "its refresh token was used twice" in page.get(PAGE).content.decode()


def test_the_page_takes_three_statements_for_any_number_of_events(page, ann, client_of, django_assert_num_queries):
    for _ in range(10):
        client_of(ann)
    ending.end_all(ann, "ended_by_staff", keep=SignIn.objects.get(kind="browser"))
    page.get(PAGE)
    # The session, the events, their sign-ins.
    with django_assert_num_queries(3):
        page.get(PAGE)


@pytest.mark.parametrize("show", Importance.values)
def test_a_filter_takes_one_statement_more(page, ann, django_assert_num_queries, show):
    for type in ("signed_in", "password_changed", "token_reused"):
        SecurityEvent.objects.record(type, ann, ann.sign_ins.first())
    # The session, the end of the search, the events, their sign-ins.
    with django_assert_num_queries(4):
        page.get(f"{PAGE}?show={show}")


def test_the_activity_page_lists_no_events_of_other_users(page, bob):
    SecurityEvent.objects.record(SecurityEvent.Type.EMAIL_CHANGED, bob)
    assert "e-mail address was changed" not in page.get(PAGE).content.decode()


@pytest.mark.parametrize("show", ["", *Importance.values])
def test_no_filter_lists_events_of_other_users(page, bob, show):
    for type in SecurityEvent.Type:
        SecurityEvent.objects.record(type, bob)
    listed = entries_of(page.get(f"{PAGE}?show={show}"))
    assert {event.user_id for entry in listed for event in entry.events} <= {user_id_of(page)}


def user_id_of(browser):
    return int(browser.session["_auth_user_id"])


# Days


def test_events_are_listed_by_day(clock, ann, browser_of, client_of):
    here = browser_of(ann)
    for _ in range(2):
        clock.shift(timedelta(days=1))
        client_of(ann)
    headings = re.findall(r'class="day" id="day-\d">([^<]+)<', browser_of(ann).get(PAGE).content.decode())
    assert headings[:2] == ["Today", "Yesterday"]
    assert headings[2] == f"{datetime.now(UTC) - timedelta(days=2):%b. %-d, %Y}".replace("May.", "May") or here


# Merged acts

MINUTE = timedelta(minutes=1)
START = datetime(2026, 11, 2, 12, tzinfo=UTC)


def entries_of(response):
    return response.context["page"].entries


def insert(user, type, number=1, at=START, gap=timedelta(seconds=1), **fields):
    """Inserts equal events, a gap apart, the oldest at `at`."""
    events = [SecurityEvent(user=user, type=type, created_at=at + i * gap, **fields) for i in range(number)]
    return SecurityEvent.objects.bulk_create(events)


@pytest.fixture
def here(browser_of, ann):
    return browser_of(ann)


def test_ended_sign_ins_are_one_entry(here, ann, client_of):
    names = [f"tool {number}" for number in range(3)]
    for name in names:
        client_of(ann)
        SignIn.objects.filter(kind="client", name="").update(name=name)
    here.post("/accounts/sign-ins/end-others/")
    response = here.get(PAGE)
    assert entries_of(response)[0].sentence == "You signed out 3 devices."
    assert all(name in response.content.decode() for name in names)


@pytest.mark.parametrize(
    "other",
    [
        {"type": "signed_out"},
        {"ip_address": "192.0.2.9"},
        {"user_agent": "another/1"},
        {"details": {"reason": "password_changed"}},
        {"actor": True},
        {"created_at": START + timedelta(seconds=61)},
    ],
)
def test_events_that_differ_are_not_merged(here, ann, other):
    if other.get("actor"):
        other = {"actor": ann}
    insert(ann, "sign_in_ended", details={"reason": "ended_by_user"})
    same = {"type": "sign_in_ended", "created_at": START, "details": {"reason": "ended_by_user"}}
    SecurityEvent.objects.bulk_create([SecurityEvent(user=ann, **(same | other))])
    assert [len(entry.events) for entry in entries_of(here.get(PAGE))[:2]] == [1, 1]


@pytest.mark.parametrize("type", ["token_reused", "password_changed", "passkey_counter", "factor_removed"])
def test_important_events_stand_alone(here, ann, type):
    insert(ann, type, 3)
    assert [len(entry.events) for entry in entries_of(here.get(PAGE))[:3]] == [1, 1, 1]


def test_each_sign_in_of_an_entry_can_be_disputed(here, ann, client_of):
    for _ in range(3):
        client_of(ann)
    response = here.get(PAGE)
    [entry] = [each for each in entries_of(response) if len(each.events) == 3]
    content = response.content.decode()
    assert all(f"{PAGE}{event.pk}/not-me/" in content for event in entry.events)


def pages_of(browser, show=""):
    """Follows the link to older events, and yields the entries of each page."""
    path = f"{PAGE}?show={show}"
    while path:
        response = browser.get(path)
        yield entries_of(response)
        link = re.search(r'href="([^"]+)" rel="next"', response.content.decode())
        path = link and f"{PAGE}{link[1].replace('&amp;', '&')}"


@pytest.fixture
def small_pages(monkeypatch):
    monkeypatch.setattr(activity, "MAX_EVENTS_PER_PAGE", 20)
    monkeypatch.setattr(activity, "ENTRIES_PER_PAGE", 4)
    monkeypatch.setattr(activity, "MAX_EVENTS_SEARCHED", 15)


@pytest.mark.parametrize("show", ["", *Importance.values])
def test_each_event_is_on_exactly_one_page(small_pages, here, ann, show):
    times = count()
    for number, type in [(3, "sign_in_failed"), (9, "sign_in_ended"), (1, "locked"), (12, "second_step_failed")] * 4:
        insert(ann, type, number, at=START + next(times) * 2 * MINUTE, details={"reason": "ended_by_user"})
    listed = [event.pk for entries in pages_of(here, show) for entry in entries for event in entry.events]
    stored = SecurityEvent.objects.filter(user=ann)
    assert listed == [event.pk for event in stored if not show or event.importance == show]


def test_an_act_is_not_split_between_pages(small_pages, here, ann):
    times = count()
    for number in (7, 11, 2, 19, 1, 8):
        insert(ann, "sign_in_failed", number, at=START + next(times) * 2 * MINUTE)
    sizes = [len(entry.events) for entries in pages_of(here) for entry in entries if entry.newest.type != "signed_in"]
    assert sizes == [8, 1, 19, 2, 11, 7]


def test_an_act_larger_than_a_page_is_continued(small_pages, here, ann):
    insert(ann, "sign_in_failed", 45)
    found = [entry for entries in pages_of(here) for entry in entries if entry.newest.type == "sign_in_failed"]
    assert [(len(entry.events), entry.is_continued) for entry in found] == [(20, True), (20, True), (5, False)]


def test_a_page_lists_25_entries(here, ann):
    insert(ann, "email_confirmed", 30)
    assert [len(entries) for entries in pages_of(here)] == [25, 6]


def test_the_page_of_many_events_is_small(here, ann):
    for i in range(25):
        fields = {"user_agent": f"tool-{i}/1", "details": {"kind": "client"}, "sid": uuid4()}
        insert(ann, "signed_in", 19, at=START + i * 3 * MINUTE, **fields)
    response = here.get(PAGE)
    assert sum(len(entry.events) for entry in entries_of(response)) == 25 * 19
    assert len(response.content) < 80_000


def test_an_entry_says_how_many_events_it_does_not_list(here, ann):
    insert(ann, "sign_in_failed", 40)
    [entry] = [each for each in entries_of(here.get(PAGE)) if not each.is_one]
    assert (len(entry.listed), entry.unlisted) == (25, 15)
    assert "and 15 more" in here.get(PAGE).content.decode()


# Filters


def test_each_type_is_found_by_one_filter(here, ann):
    for type in SecurityEvent.Type:
        insert(ann, type)
    for show in Importance.values:
        found = {event.type for event in events_of(here.get(f"{PAGE}?show={show}"))}
        assert found == {type for type in SecurityEvent.Type if importance_of(type) == show}


def events_of(response):
    return [event for entry in entries_of(response) for event in entry.events]


@pytest.mark.parametrize("query", ["show=other", "before=x", "before=0", f"before={2**63}", "before=-1", "before=1e3"])
def test_an_unknown_query_is_not_found(here, query):
    assert here.get(f"{PAGE}?{query}").status_code == 404


def test_a_filter_reads_a_bounded_number_of_events(monkeypatch, here, ann):
    monkeypatch.setattr(activity, "MAX_EVENTS_SEARCHED", 5)
    [alarm] = insert(ann, "token_reused")
    insert(ann, "email_confirmed", 12)
    first, *_middle, last = pages_of(here, "alarms")
    assert (first, [entry.newest for entry in last]) == ([], [alarm])


# The file

DOWNLOAD = f"{PAGE}download/"


def rows_of(response):
    return list(csv.DictReader(io.StringIO(b"".join(response.streaming_content).decode())))


def test_the_file_has_all_events_of_its_owner(here, ann, bob, client_of):
    client_of(bob)
    insert(ann, "sign_in_failed", 3)
    rows = rows_of(here.post(DOWNLOAD))
    assert [row["event"] for row in rows] == [event.type for event in SecurityEvent.objects.filter(user=ann)]
    assert rows[0]["description"] == "You downloaded your activity."


def test_the_file_is_sent_as_a_download(here):
    response = here.post(DOWNLOAD)
    assert re.fullmatch(r'attachment; filename="activity-\d{8}-\d{6}\.csv"', response["Content-Disposition"])
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert "no-store" in response["Cache-Control"]


def test_a_download_is_recorded(here, ann):
    here.post(DOWNLOAD)
    assert SecurityEvent.objects.filter(user=ann, actor=ann, type="events_exported").count() == 1


def test_a_download_needs_a_post_and_a_sign_in(here, browser):
    assert here.get(DOWNLOAD).status_code == 405
    assert browser().post(DOWNLOAD).headers["Location"].startswith("/accounts/login/")


@pytest.mark.parametrize("agent", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "a;=1", "\uff1d1"])
def test_no_cell_of_the_file_is_a_formula(here, ann, agent):
    insert(ann, "sign_in_failed", user_agent=agent)
    [cell] = [row["user agent"] for row in rows_of(here.post(DOWNLOAD)) if row["event"] == "sign_in_failed"]
    assert cell != agent
    assert cell.replace("'", "", 1) == agent or cell.replace(";'", ";") == agent


def test_the_file_hides_the_address_of_staff(here, ann, staff):
    insert(ann, "sign_in_ended", actor=staff, ip_address="198.51.100.7", user_agent="StaffTool/1")
    content = b"".join(here.post(DOWNLOAD).streaming_content).decode()
    assert "198.51.100.7" not in content
    assert "StaffTool" not in content


def test_the_file_is_read_in_pages(monkeypatch, here, ann, django_assert_num_queries):
    monkeypatch.setattr(activity, "EVENTS_PER_STATEMENT", 10)
    insert(ann, "sign_in_failed", 24)
    response = here.post(DOWNLOAD)
    with django_assert_num_queries(3):
        assert len(rows_of(response)) == 26


def test_the_file_ends_after_the_newest_events(monkeypatch, here, ann):
    monkeypatch.setattr(activity, "EVENTS_PER_STATEMENT", 10)
    monkeypatch.setattr(activity, "MAX_EVENTS_IN_FILE", 20)
    insert(ann, "sign_in_failed", 24)
    assert len(rows_of(here.post(DOWNLOAD))) == 20


def test_the_file_is_in_the_language_of_its_owner(here, ann):
    insert(ann, "sign_in_failed")
    rows = rows_of(here.post(DOWNLOAD, HTTP_ACCEPT_LANGUAGE="de"))
    [text] = [row["description"] for row in rows if row["event"] == "sign_in_failed"]
    assert text == "Ein Anmeldeversuch ist fehlgeschlagen: falsches Passwort."


# Disputes


def not_me(ann, type="signed_in", **details):
    written = SecurityEvent.objects.filter(user=ann, type=type, **details).latest("id")
    return f"{PAGE}{written.pk}/not-me/"


def test_disputing_a_sign_in_ends_it_and_asks_for_a_new_password(page, stranger, ann):
    response = page.post(not_me(ann, details__kind="client"))
    assert response.headers["Location"] == "/accounts/password_change/"
    assert stranger.get("/api/me/").status_code == 401


def test_showing_the_question_ends_no_sign_in(page, stranger, ann):
    assert page.get(not_me(ann, details__kind="client")).status_code == 200
    assert stranger.get("/api/me/").status_code == 200


def test_disputing_requires_recent_authentication(clock, page, stranger, ann):
    clock.shift(timedelta(minutes=16))
    assert page.post(not_me(ann, details__kind="client")).headers["Location"].startswith("/accounts/confirm/")
    assert SignIn.objects.get(kind="client").ended_at is None


def test_the_current_sign_in_stays_valid(page, ann):
    page.post(not_me(ann, details__kind="browser"))
    assert page.get(PAGE).status_code == 200


def test_the_current_sign_in_has_no_dispute_link(page, ann):
    content = page.get(PAGE).content.decode()
    assert not_me(ann, details__kind="browser") not in content
    assert not_me(ann, details__kind="client") in content


def test_disputing_a_password_change_leads_to_a_password_change(page, ann):
    SecurityEvent.objects.record(SecurityEvent.Type.PASSWORD_CHANGED, ann)
    response = page.post(not_me(ann, "password_changed"))
    assert response.headers["Location"] == "/accounts/password_change/"


@pytest.mark.parametrize("method", ["get", "post"])
def test_an_event_of_another_user_is_not_found(page, client_of, bob, method):
    bobs = client_of(bob)
    assert getattr(page, method)(not_me(bob)).status_code == 404
    assert bobs.get("/api/me/").status_code == 200


def test_an_event_whose_sign_in_is_gone_is_no_error(page, ann):
    path = not_me(ann, details__kind="client")
    SignIn.objects.filter(kind="client").delete()
    assert page.get(path).status_code == 200
    assert page.post(path).status_code == 302


# The home page


def test_the_home_page_describes_the_project_to_visitors(browser, django_assert_num_queries):
    with django_assert_num_queries(0):
        content = browser().get("/").content.decode()
    assert "The wristband" in content
    assert "The passport" in content


# Deleting the account


def test_deleting_the_account_requires_the_password(browser_of, ann):
    browser_of(ann).post("/accounts/delete/", {"password": "not the right passphrase"})
    assert User.objects.filter(pk=ann.pk).exists()


def test_a_wrong_password_at_the_deletion_is_recorded(browser_of, ann):
    browser_of(ann).post("/accounts/delete/", {"password": "not the right passphrase"})
    assert SecurityEvent.objects.filter(user=ann, type="sign_in_failed").count() == 1


@pytest.fixture
def deleted(page, password):
    return page.post("/accounts/delete/", {"password": password})


def test_a_deleted_account_does_not_exist(deleted, ann):
    assert "Your account was deleted" in deleted.content.decode()
    assert not User.objects.filter(pk=ann.pk).exists()


def test_all_sign_ins_of_a_deleted_account_are_ended(deleted, page, stranger):
    assert page.get("/accounts/profile/").status_code == 302
    assert stranger.get("/api/me/").status_code == 401


def test_events_of_a_deleted_account_stay_without_a_user(deleted):
    events = SecurityEvent.objects.filter(type__in=["signed_in", "sign_in_ended"])
    assert set(events.values_list("user", "actor")) == {(None, None)}
    assert events.count() == 4


def test_no_name_or_address_of_a_deleted_account_is_stored(ann, staff, page, password):
    LogEntry.objects.log_actions(staff.pk, [ann], CHANGE, "a line of the admin's own")
    page.post("/accounts/delete/", {"password": password})
    # The queue has the address until the mail about the deletion is sent.
    send_mails()
    dump = str([list(model._base_manager.values()) for model in apps.get_models()])
    assert not re.search(r"\bann\b", dump)
    assert LogEntry.objects.exists()
