"""The page /compare/ and its advice."""

from datetime import timedelta
from itertools import product
from uuid import uuid4

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from api.blocklist.models import Entry
from api.compare import choice

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("path", ["/compare/", "/compare/?client=pages&origin=same&services=one&end=at_once"])
def test_the_page_needs_no_sign_in(browser, browser_of, ann, path):
    assert browser().get(path).status_code == 200
    assert browser_of(ann).get(path).status_code == 200


def test_a_long_list_of_parameters_is_not_parsed(browser):
    query = "&".join(f"p{number}" for number in range(900)) + "&client=pages"
    response = browser().get(f"/compare/?{query}")
    assert (response.status_code, response.context["answers"]) == (200, {})
    assert "GET" not in vars(response.wsgi_request), "it was parsed"


def test_unknown_parameters_are_ignored(browser):
    response = browser().get("/compare/?client=pages&color=red&user=1")
    assert response.context["answers"] == {"client": "pages"}


def test_a_long_blocklist_is_counted_up_to_a_limit(browser):
    until = timezone.now() + timedelta(hours=1)
    Entry.objects.bulk_create(Entry(kind=Entry.Kind.TOKEN, token_id=uuid4(), until=until) for _ in range(1_003))
    page = browser().get("/compare/")
    assert "more than <strong>1000</strong> entries on the blocklist now" in page.content.decode()
    with CaptureQueriesContext(connection) as statements:
        browser().get("/compare/")
    assert any("LIMIT 1001" in each["sql"] for each in statements)


def test_the_page_takes_three_statements(browser_of, ann, django_assert_num_queries):
    browser = browser_of(ann)
    browser.get("/compare/")
    # The session with its user, the row that is shown, the length of the blocklist.
    with django_assert_num_queries(3):
        browser.get("/compare/")


def test_the_page_never_shows_the_cookies_value(browser_of, ann):
    browser = browser_of(ann)
    page = browser.get("/compare/").content.decode()
    assert settings.SESSION_COOKIE_NAME in page
    assert browser.cookies[settings.SESSION_COOKIE_NAME].value not in page


def test_the_page_shows_the_size_of_the_cookie(browser_of, ann):
    browser = browser_of(ann)
    size = len(f"{settings.SESSION_COOKIE_NAME}={browser.cookies[settings.SESSION_COOKIE_NAME].value}")
    assert browser.get("/compare/").context["cookie"]["size"] == size


def test_the_page_shows_the_length_of_the_blocklist(browser, client_of, ann, end):
    end(client_of(ann))
    assert browser().get("/compare/").context["blocked"] == 1


# Advice


@pytest.mark.parametrize(
    ("client", "origin", "services", "kind"),
    [
        ("pages", "same", "one", "wristband"),
        ("script", "same", "one", "wristband"),
        ("pages", "same", "many", "both"),
        ("script", "same", "many", "both"),
        ("pages", "cross", "one", "passport"),
        ("script", "cross", "many", "passport"),
        ("program", "same", "one", "passport"),
        ("program", "cross", "many", "passport"),
        ("mixed", "same", "one", "both"),
        ("mixed", "cross", "many", "both"),
    ],
)
def test_the_advice_fits_the_answers(browser, client, origin, services, kind):
    answers = {"client": client, "origin": origin, "services": services, "end": "at_once"}
    assert browser().get("/compare/", answers).context["recommendation"].kind == kind


def test_every_combination_of_answers_gets_reasoned_advice():
    names = [question.name for question in choice.QUESTIONS]
    for options in product(*(question.options for question in choice.QUESTIONS)):
        advice = choice.recommend(dict(zip(names, (option.name for option in options), strict=True)))
        assert advice.reasons == [option.reason for option in options]


@pytest.mark.parametrize(
    "answers", [{}, {"client": "pages"}, {"client": "\0", "origin": "x"}, {"services": "🛂" * 999}]
)
def test_incomplete_answers_get_no_advice(browser, answers):
    response = browser().get("/compare/", answers)
    assert response.status_code == 200
    assert response.context["recommendation"] is None


def test_the_page_says_whether_a_session_is_read_each_time(browser, settings):
    page = browser().get("/compare/").content.decode()
    remembers, reads = "A process remembers a session", "so each check reads the row with one query"
    assert (remembers in page, reads in page) == (bool(settings.REDIS_URL), not settings.REDIS_URL)
