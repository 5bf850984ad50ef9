"""The lists of the admin: search, filters, numbers of statements, use of indexes, and the export."""

import csv
import io
import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import RequestFactory
from django.utils import timezone

from accounts.http import request_context
from accounts.models import SecurityEvent, SignIn, User
from api.blocklist.models import Entry
from tests.accounts.admin_pages import BLOCKLIST, EVENTS, SIGN_INS, USERS, make_staff, make_support, text_of
from tests.conftest import sign_in_of

pytestmark = pytest.mark.django_db

LISTS = [USERS, SIGN_INS, EVENTS, BLOCKLIST]


def shown(answer):
    return {row.pk for row in answer.context["cl"].result_list}


# Searching


@pytest.mark.parametrize("term", ["ann", "ANN", "an", "ann@example.org", "Ann@Example.org", "192.0.2.7", " ann "])
def test_staff_find_a_user(page, client_of, ann, bob, term):
    client_of(ann)
    SignIn.objects.filter(user=ann).update(ip_address="192.0.2.7")
    assert shown(page.get(USERS, {"q": term})) == {ann.pk}


def test_staff_find_a_user_by_a_sign_in(page, client_of, ann, bob):
    client_of(ann)
    assert shown(page.get(USERS, {"q": str(sign_in_of(ann).sid)})) == {ann.pk}


@pytest.mark.parametrize("term", ["ann", "ann@example.org", "192.0.2.7", "sid"])
@pytest.mark.parametrize("url", [SIGN_INS, EVENTS])
def test_staff_find_sign_ins_and_events(page, client_of, ann, bob, url, term):
    client_of(bob)
    page.post(
        "/api/token/",
        {"username": "ann", "password": "violet anchor hums at dawn"},
        "application/json",
        REMOTE_ADDR="192.0.2.7",
    )
    sign_in = sign_in_of(ann)
    found = shown(page.get(url, {"q": str(sign_in.sid) if term == "sid" else term}))
    assert found == ({sign_in.pk} if url == SIGN_INS else {SecurityEvent.objects.get(user=ann).pk})


@pytest.mark.parametrize("term", ["sid", "ann"])
def test_staff_find_an_entry_of_the_blocklist(page, client_of, ann, bob, term):
    for user in (ann, bob):
        client_of(user)
        sign_in_of(user).end(SignIn.Reason.ENDED_BY_STAFF)
    sid = sign_in_of(ann).sid
    assert shown(page.get(BLOCKLIST, {"q": str(sid) if term == "sid" else term})) == {
        Entry.objects.get(token_id=sid).pk
    }


@pytest.mark.parametrize("url", LISTS)
@pytest.mark.parametrize("term", ["\0", "\ud7ff\uffff", "%00", "' OR 1=1 --", "9" * 5000, "{}", "::1%eth0"])
def test_no_search_text_is_a_server_error(page, url, term):
    assert page.get(url, {"q": term}).status_code == 200


# Filtering


def test_sign_ins_are_filtered_by_state_kind_and_reason(page, client_of, browser_of, ann):
    client_of(ann)
    live_client = sign_in_of(ann)
    client_of(ann)
    ended_client = sign_in_of(ann)
    ended_client.end(SignIn.Reason.ENDED_BY_STAFF)
    browser_of(ann)
    live_browser = sign_in_of(ann)
    of_ann = {"user": ann.pk}
    assert shown(page.get(SIGN_INS, of_ann | {"state": "live"})) == {live_client.pk, live_browser.pk}
    assert shown(page.get(SIGN_INS, of_ann | {"state": "ended"})) == {ended_client.pk}
    assert shown(page.get(SIGN_INS, of_ann | {"kind": "browser"})) == {live_browser.pk}
    assert shown(page.get(SIGN_INS, of_ann | {"end_reason": "ended_by_staff"})) == {ended_client.pk}


@pytest.mark.parametrize(("url", "model"), [(SIGN_INS, SignIn), (EVENTS, SecurityEvent)])
def test_rows_are_filtered_by_time(page, client_of, ann, url, model):
    now = timezone.now()
    client_of(ann)
    row = model.objects.filter(user=ann).get()
    fields = {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields} | {"id": None}
    if model is SignIn:
        fields["id"] = "7f3b8a52-0000-4000-8000-000000000000"
    model(**fields | {"created_at": now - timedelta(hours=30)}).save(force_insert=True)
    assert [
        len(shown(page.get(url, {"user": ann.pk, "within": within}))) for within in ("hour", "day", "2days", "week")
    ] == [1, 1, 2, 2]


def test_users_are_filtered_by_state_and_role(page, staff, ann, bob):
    User.objects.filter(pk=bob.pk).update(is_active=False)
    assert shown(page.get(USERS, {"state": "deactivated"})) == {bob.pk}
    assert shown(page.get(USERS, {"role": "superuser"})) == {staff.pk}


@pytest.mark.parametrize("url", LISTS)
@pytest.mark.parametrize(
    "query", ["password__startswith=a", "user__password__startswith=a", "id__lt=5", "auth_hash=x", "x=y"]
)
def test_unknown_filters_are_refused(page, url, query):
    assert page.get(f"{url}?{query}").status_code == 400


@pytest.mark.parametrize(
    "query", ["state=nonsense", "kind=%00", "within=ever", "user=zzz", "user=99999999999999999999", "p=99", "p=x"]
)
def test_invalid_filter_values_redirect_to_the_list(page, query):
    answer = page.get(f"{SIGN_INS}?{query}")
    assert answer.status_code in (200, 302)
    if answer.status_code == 302:
        assert page.get(answer["Location"]).status_code == 200


@pytest.mark.parametrize("url", LISTS)
def test_the_filters_are_above_the_list(page, url):
    text = page.get(url).content.decode()
    assert text.index('<select name="state"' if url != EVENTS else '<select name="type"') < text.index(
        'id="changelist-form"'
    )


def test_the_chosen_filter_is_selected_and_can_be_cleared(page):
    text = page.get(SIGN_INS, {"state": "live"}).content.decode()
    assert '<option value="live" selected>Live</option>' in text
    assert f'<a href="{SIGN_INS}">Clear</a>' in text


@pytest.mark.parametrize(("query", "kept"), [("q=&state=live&kind=", "state=live"), ("q=&state=", ""), ("q=ann", None)])
def test_empty_filters_are_removed_from_the_url(page, query, kept):
    answer = page.get(f"{SIGN_INS}?{query}")
    assert answer.get("Location") == (None if kept is None else f"{SIGN_INS}?{kept}")


@pytest.mark.parametrize("url", LISTS)
def test_times_in_a_list_are_short_and_complete_in_the_tooltip(page, client_of, ann, url):
    client_of(ann)
    User.objects.filter(pk=ann.pk).update(last_login=timezone.now())
    sign_in_of(ann).end(SignIn.Reason.ENDED_BY_STAFF)
    shown = re.findall(r'<time datetime="\S+" title="([^"]+)">([^<]+)</time>', page.get(url).content.decode())
    assert shown
    for complete, short in shown:
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d", short)
        assert re.fullmatch(r"\w+\.? \d+, \d{4}, \d\d:\d\d:\d\d UTC", complete)


@pytest.mark.parametrize("order", ["3", "-2.1", "0", "zzz"])
def test_a_long_list_has_a_fixed_order(page, order):
    ordering = page.get(EVENTS, {"o": order}).context["cl"].queryset.query.order_by
    assert set(ordering) == {"-created_at", "-pk"}


def test_a_long_list_stops_at_a_limit_and_shows_it(page, ann, monkeypatch):
    monkeypatch.setattr("accounts.admin.lists.MAX_COUNTED", 10)
    monkeypatch.setattr("accounts.admin.lists.BoundedList.list_per_page", 5)
    for _ in range(20):
        SecurityEvent.objects.record("signed_up", ann)
    answer = page.get(EVENTS)
    assert answer.context["cl"].paginator.num_pages == 2
    assert "More than 10 security events" in text_of(answer)


# Numbers of statements


@pytest.mark.parametrize("url", ["/admin/", *LISTS, "a user", "a sign-in"])
def test_a_page_takes_the_same_statements_for_many_rows(page, client_of, ann, bob, url, django_assert_max_num_queries):
    client_of(ann)
    first = sign_in_of(ann)
    url = {"a user": f"{USERS}{ann.pk}/change/", "a sign-in": f"{SIGN_INS}{first.pk}/change/"}.get(url, url)
    SignIn.objects.filter(user=ann).end(SignIn.Reason.ENDED_BY_STAFF)
    page.get(url)
    # The page of a user has three panels, and asks which actions are available.
    with django_assert_max_num_queries(16) as captured:
        page.get(url)
        few = len(captured)
    for number in range(5):
        user = User.objects.create_user(f"user-{number}", f"user-{number}@example.org", "violet anchor hums at dawn")
        client_of(user)
        client_of(ann)
        sign_in_of(user).end(SignIn.Reason.ENDED_BY_STAFF)
        SecurityEvent.objects.record("signed_up", user, first)
    with django_assert_max_num_queries(few):
        page.get(url)


# Use of indexes


@pytest.fixture
def plan_of(db, rf: RequestFactory):
    """Returns a function that returns the query plan of a list, with sequential scans disabled."""
    from django.contrib import admin

    def plan(model, query):
        model_admin = admin.site.get_model_admin(model)
        request = rf.get("/", query)
        request.user = User(is_superuser=True, is_active=True)
        rows = model_admin.get_changelist_instance(request).queryset[:50]
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                # A table of few rows is always read as a whole. The test checks that an index can be used.
                cursor.execute("SET LOCAL enable_seqscan = off")
                cursor.execute("SET LOCAL enable_sort = off")
        return rows.explain()

    return plan


WHAT_STAFF_ASK = [
    (SignIn, {}),
    (SignIn, {"within": "day"}),
    (SignIn, {"end_reason": "token_reused"}),
    (SignIn, {"q": "192.0.2.7"}),
    (SignIn, {"q": "7f3b8a52-0000-4000-8000-000000000000"}),
    (SignIn, {"q": "ann"}),
    (SecurityEvent, {}),
    (SecurityEvent, {"within": "hour"}),
    (SecurityEvent, {"type": "token_reused"}),
    (SecurityEvent, {"type": "token_reused", "within": "month"}),
    (SecurityEvent, {"q": "192.0.2.7"}),
    (SecurityEvent, {"q": "7f3b8a52-0000-4000-8000-000000000000"}),
    (SecurityEvent, {"q": "ann"}),
    (Entry, {}),
    (Entry, {"q": "7f3b8a52-0000-4000-8000-000000000000"}),
    (Entry, {"state": "lifted"}),
    (Entry, {"state": "in_force"}),
    (User, {}),
    (User, {"q": "ann"}),
    (User, {"q": "192.0.2.7"}),
]


@pytest.mark.parametrize(("model", "query"), WHAT_STAFF_ASK)
def test_no_list_reads_a_whole_table(plan_of, ann, model, query):
    plan = plan_of(model, query)
    table = model._meta.db_table
    if connection.vendor == "postgresql":
        assert f"Seq Scan on {table}" not in plan, plan
        assert "Index" in plan, plan
    else:
        scans = [line for line in plan.splitlines() if f"SCAN {table}" in line and "INDEX" not in line]
        # The list of all entries is ordered by the integer key. On SQLite that is the table itself.
        by_key = model is Entry and "q" not in query
        assert by_key or not scans, plan


# Export


def exported(answer):
    return list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode())))


def test_the_filtered_events_are_exported(page, client_of, ann, bob):
    client_of(ann)
    client_of(bob)
    answer = page.post(f"{EVENTS}export/?user={ann.pk}")
    assert (answer.streaming, answer["Content-Type"]) == (True, "text/csv; charset=utf-8")
    assert answer["Content-Disposition"].startswith("attachment")
    (row,) = exported(answer)
    event = SecurityEvent.objects.get(user=ann)
    assert (row["id"], row["event"], row["user"], row["sid"]) == (str(event.pk), "signed_in", "ann", str(event.sid))


def test_an_export_is_an_event(page, staff, ann):
    exported(page.post(f"{EVENTS}export/?user={ann.pk}"))
    event = SecurityEvent.objects.get(type="events_exported")
    assert (event.actor, event.details["filter"]) == (staff, f"user={ann.pk}")


@pytest.mark.parametrize(
    ("evil", "cell"),
    [
        ('=HYPERLINK("http://evil.example")', '\'=HYPERLINK("http://evil.example")'),
        ("x;=cmd|' /C calc'!A0", "x;'=cmd|' /C calc'!A0"),
        ('x;"=1+2"', 'x;\'"=1+2"'),
        ("x; @SUM(1)", "x;' @SUM(1)"),
        ("a|-1", "a|'-1"),
        ("a,+1;-1", "a,'+1;'-1"),
        ("Mozilla/5.0 (X11; Linux x86_64)", "Mozilla/5.0 (X11; Linux x86_64)"),
        ("a=b+c-d@e", "a=b+c-d@e"),
    ],
)
def test_a_user_agent_cannot_add_a_formula_to_the_export(page, browser, ann, password, evil, cell):
    browser().post("/accounts/login/", {"username": "ann", "password": password}, headers={"user-agent": evil})
    (row,) = exported(page.post(f"{EVENTS}export/?user={ann.pk}"))
    assert row["user agent"] == cell


def test_no_cell_is_a_formula_with_any_separator(page, ann):
    for evil in ("x;=cmd", "x\t=cmd", "x|+1", "x,@a", ";-1", "\N{FULLWIDTH EQUALS SIGN}1", 'x;"=1'):
        with request_context.acting(evil):
            SecurityEvent.objects.record("signed_in", ann)
    text = b"".join(page.post(f"{EVENTS}export/?user={ann.pk}").streaming_content).decode()
    for separator in (";", ",", "\t", "|"):
        for row in csv.reader(io.StringIO(text), delimiter=separator):
            assert not [
                cell for cell in row if cell.strip('" ').startswith(("=", "+", "-", "@", "\N{FULLWIDTH EQUALS SIGN}"))
            ]


def test_an_export_by_get_is_not_allowed(page):
    assert page.get(f"{EVENTS}export/").status_code == 405


@pytest.mark.parametrize("query", ["user=zzz", "type=%00", "password=x", "within=ever"])
def test_an_export_with_invalid_filters_is_refused(page, query):
    assert page.post(f"{EVENTS}export/?{query}").status_code == 400


def test_support_can_read_but_not_export_events(browser_of, password, db):
    page = browser_of(make_support("dana", password))
    assert page.get(EVENTS).status_code == 200
    assert "Export" not in text_of(page.get(EVENTS))
    assert page.post(f"{EVENTS}export/").status_code == 403


def test_an_export_requires_the_view_permission(browser_of, password, db):
    exporter = make_staff("exporter", password, "accounts.export_securityevent")
    assert browser_of(exporter).post(f"{EVENTS}export/").status_code == 403


def test_a_visitor_cannot_export_events(browser, db):
    assert browser().post(f"{EVENTS}export/").status_code == 302


def test_the_list_of_users_masks_addresses(page, ann):
    assert "ann@example.org" not in page.get(USERS).content.decode()
    assert "a…@example.org" in page.get(USERS).content.decode()
    assert "ann@example.org" in page.get(f"{USERS}{ann.pk}/change/").content.decode()
