"""The overview page of the admin: figures, and the permissions that each of them needs."""

import re
from datetime import timedelta
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import time_machine
from django.conf import settings
from django.db import connection
from django.utils import timezone

from accounts.models import SecurityEvent, SignIn, sign_in_querysets
from api.keys import keyring
from tests.accounts.admin_pages import make_staff, make_support, text_of

pytestmark = pytest.mark.django_db


def figures_of(answer):
    return {figure.title: figure for figure in answer.context["figures"]}


def test_it_counts_live_sign_ins_by_kind(page, client_of, browser_of, ann):
    for _ in range(3):
        client_of(ann)
    SignIn.objects.filter(user=ann)[0].end(SignIn.Reason.ENDED_BY_STAFF)
    browser_of(ann)
    figures = figures_of(page.get("/admin/"))
    assert (figures["Browsers signed in"].value, figures["Clients signed in"].value) == ("2", "2")


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no samples")
def test_large_counts_are_estimated_and_marked_as_estimates(page, monkeypatch, client_of, ann):
    client_of(ann)
    template = SignIn.objects.filter(user=ann).values().get()
    SignIn.objects.bulk_create(SignIn(**template | {"id": uuid4()}) for _ in range(5000))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE accounts_signin")
    monkeypatch.setattr(sign_in_querysets, "MAX_COUNTED_EXACTLY", 1000)
    monkeypatch.setattr(sign_in_querysets, "SAMPLE_ONE_IN", 2)
    counts, is_exact = SignIn.objects.live_by_kind()
    assert not is_exact
    assert 2500 < counts["client"] < 7500
    assert figures_of(page.get("/admin/"))["Clients signed in"].value.startswith("about ")
    assert "The figures are estimates" in text_of(page.get("/admin/accounts/signin/end-everyone/"))


def test_it_counts_sign_ins_and_failures_of_two_days_by_the_hour(browser_of, staff, client_of, anonymous, ann):
    now = timezone.now()
    for hours in (49, 5, 0):
        with time_machine.travel(now - timedelta(hours=hours), tick=False):
            client_of(ann)
    anonymous.sign_in("ann", "not the right passphrase")
    answer = browser_of(staff).get("/admin/")
    figures = figures_of(answer)
    assert (figures["Sign-ins"].value, figures["Failed sign-ins"].value) == ("3", "1")
    heights = [[bar.height for bar in hour.bars] for hour in answer.context["chart"].hours]
    assert len(heights) == 48
    assert sum(1 for signed_in, _failed in heights if signed_in) == 2
    assert heights[-1][1] > 0


@pytest.mark.parametrize(
    ("most", "axis"), [(1, [1, 0]), (3, [3, 2, 1, 0]), (7, [8, 6, 4, 2, 0]), (146, [150, 100, 50, 0])]
)
def test_the_axis_of_the_chart_has_round_numbers(page, ann, most, axis):
    SecurityEvent.objects.bulk_create(SecurityEvent(type="sign_in_failed", user=ann) for _ in range(most))
    assert page.get("/admin/").context["chart"].counts == axis


def test_the_chart_has_a_label_every_six_hours(browser_of, staff, clock):
    clock.move_to("2026-11-29T10:30:00+00:00")
    labels = browser_of(staff).get("/admin/").context["chart"].times
    assert [label.hour.hour for label in labels] == [11, 17, 23, 5, 11, 17, 23, 5]
    assert [label.has_date for label in labels] == [True, False, False, True, False, False, False, True]


def test_the_figures_of_the_chart_are_also_a_table(page, ann):
    SecurityEvent.objects.record(SecurityEvent.Type.SIGN_IN_FAILED, ann)
    rows = re.findall(
        r'<tr><th scope="row">[^<]+</th><td>(\d+)</td><td>(\d+)</td></tr>', page.get("/admin/").content.decode()
    )
    assert len(rows) == 48
    assert rows[0][1] == "1"


def test_it_shows_reused_tokens(page, ann):
    SecurityEvent.objects.record(SecurityEvent.Type.TOKEN_REUSED, ann)
    assert figures_of(page.get("/admin/"))["Refresh tokens used twice"].value == "1"


def test_it_shows_the_blocklist_and_refused_tokens(page, client_of, ann):
    before = int(figures_of(page.get("/admin/"))["Tokens refused"].value.replace(",", ""))
    client = client_of(ann)
    SignIn.objects.filter(user=ann).end(SignIn.Reason.ENDED_BY_STAFF)
    for _ in range(3):
        assert client.get("/api/me/").status_code == 401
    figures = figures_of(page.get("/admin/"))
    assert figures["Blocklist"].value == "1"
    assert int(figures["Tokens refused"].value.replace(",", "")) - before == 3


def test_it_shows_the_state_of_the_system(page):
    figures = figures_of(page.get("/admin/"))
    assert figures["Database"].value == "up"
    assert figures["Redis"].value == ("up" if settings.REDIS_URL else "not used")
    assert keyring.signing_key.kid in figures["Signing key"].note


def test_each_figure_links_to_its_list(page, client_of, ann):
    client_of(ann)
    SignIn.objects.filter(user=ann).end(SignIn.Reason.ENDED_BY_STAFF)
    for figure in figures_of(page.get("/admin/")).values():
        if figure.url:
            answer = page.get(figure.url)
            assert answer.status_code == 200, figure
            assert urlsplit(figure.url).path.startswith(("/admin/", "/health/"))


def test_each_figure_is_the_length_of_its_list(page, client_of, ann):
    for _ in range(3):
        client_of(ann)
    SignIn.objects.filter(user=ann)[0].end(SignIn.Reason.ENDED_BY_STAFF)
    figures = figures_of(page.get("/admin/"))
    for title in ("Browsers signed in", "Clients signed in", "Sign-ins", "Failed sign-ins", "Blocklist"):
        listed = page.get(figures[title].url).context["cl"].result_count
        assert figures[title].value == str(listed), title


def test_support_sees_figures_of_sign_ins_and_events_only(browser_of, password, db):
    figures = figures_of(browser_of(make_support("dana", password)).get("/admin/"))
    assert set(figures) == {
        "Browsers signed in",
        "Clients signed in",
        "Sign-ins",
        "Failed sign-ins",
        "Refresh tokens used twice",
    }


def test_staff_without_permissions_see_no_figures(browser_of, password, db):
    answer = browser_of(make_staff("new", password)).get("/admin/")
    assert (answer.status_code, answer.context["figures"], answer.context["chart"]) == (200, [], None)


def test_it_needs_seven_statements_or_six(page, staff, django_assert_num_queries):
    page.get("/admin/")
    # Session, one or two for sign-ins, events, entries, mails, and the admin's list of recent actions.
    with django_assert_num_queries(7 if connection.vendor == "postgresql" else 6):
        page.get("/admin/")


@pytest.mark.parametrize("url", ["/admin/", "/admin/accounts/signin/", "/admin/blocklist/entry/leaked/"])
def test_nothing_on_the_page_is_inline(page, url):
    text = page.get(url).content.decode()
    assert "style=" not in text
    assert "<style" not in text
    assert not re.search(r"<script(?![^>]*\bsrc=)[^>]*>", text)


def test_it_works_without_its_cache(page, settings):
    settings.CACHES = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "redis://127.0.0.1:1/0"}}
    answer = page.get("/admin/")
    assert (answer.status_code, figures_of(answer)["Tokens refused"].value.replace(",", "").isdigit()) == (200, True)
