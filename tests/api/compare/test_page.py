"""The page /compare/ and its advice."""

import gzip
import re
from datetime import timedelta
from itertools import product
from pathlib import Path
from uuid import uuid4

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from api.blocklist.models import Entry
from api.compare import choice, recorded
from api.compare.meters import meters
from api.keys import Key

pytestmark = pytest.mark.django_db

STATIC = settings.BASE_DIR / "api" / "compare" / "static" / "compare"
MAX_BYTES = 80_000
MAX_SCRIPT_BYTES = 9_500


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
    assert "on the blocklist of this server now: <strong>1000</strong>" in page.content.decode()
    assert "(There are more.)" in page.content.decode()
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
        ("pages", "cross", "one", "wristband"),
        ("pages", "cross", "many", "both"),
        ("script", "cross", "one", "passport"),
        ("script", "cross", "many", "passport"),
        ("program", "same", "one", "passport"),
        ("program", "cross", "many", "passport"),
        ("mixed", "same", "one", "both"),
        ("mixed", "cross", "many", "passport"),
    ],
)
def test_the_advice_fits_the_answers(browser, client, origin, services, kind):
    answers = {"client": client, "origin": origin, "services": services, "end": "at_once"}
    assert browser().get("/compare/", answers).context["recommendation"].kind == kind


def test_every_combination_of_answers_gets_reasoned_advice():
    names = [question.name for question in choice.QUESTIONS]
    for options in product(*(question.options for question in choice.QUESTIONS)):
        advice = choice.recommend(dict(zip(names, (option.name for option in options), strict=True)))
        counted = 4 if options[0].name in ("script", "mixed") else 3
        assert len(set(map(str, advice.reasons))) == counted
        assert advice.examples


@pytest.mark.parametrize("client", ["pages", "program"])
@pytest.mark.parametrize("services", ["one", "many"])
def test_another_site_concerns_only_apps_in_javascript(client, services):
    same, cross = (
        choice.recommend({"client": client, "origin": origin, "services": services}) for origin in ("same", "cross")
    )
    assert same == cross


@pytest.mark.parametrize("end", ["at_once", "minutes"])
def test_advice_for_programs_does_not_name_cookies_or_sessions(end):
    advice = choice.recommend({"client": "program", "origin": "same", "services": "one", "end": end})
    assert not re.search(r"browser sends|session", " ".join(map(str, advice.reasons)))


@pytest.mark.parametrize("end", ["at_once", "minutes"])
def test_advice_for_a_session_does_not_name_signatures(end):
    advice = choice.recommend({"client": "pages", "services": "one", "end": end})
    assert not re.search(r"signature|token", " ".join(map(str, advice.reasons)))


@pytest.mark.parametrize(
    ("client", "kind"), [("pages", "wristband"), ("script", "wristband"), ("program", "passport"), ("mixed", "both")]
)
def test_the_first_answer_is_enough_for_advice(browser, client, kind):
    advice = browser().get("/compare/", {"client": client}).context["recommendation"]
    assert advice.kind == kind
    assert len(advice.reasons) == 1


def test_each_recommendation_has_code(browser):
    for client, code in (("pages", "fetch("), ("program", "Authorization"), ("mixed", "fetch(")):
        assert code in browser().get("/compare/", {"client": client}).content.decode()


@pytest.mark.parametrize("client", ["script", "mixed"])
def test_an_app_on_another_site_gets_the_code_of_the_client(browser, client):
    answers = {"client": client, "origin": "cross"}
    part = browser().get("/compare/", answers, headers={"X-Compare": "recommendation"}).content.decode()
    assert 'mode: "token"' in part
    assert "IndexedDB" in part
    assert 'fetch("/api/me/")' not in part
    assert ("requests.post" in part) == (client == "mixed")


def test_a_script_of_the_page_gets_one_part(browser):
    answers = {"client": "program"}
    part = browser().get("/compare/", answers, headers={"X-Compare": "recommendation"}).content.decode()
    assert "The passport: tokens" in part
    assert "<html" not in part
    assert "<html" in browser().get("/compare/", answers, headers={"X-Compare": "unknown"}).content.decode()


@pytest.mark.parametrize(
    "answers", [{}, {"origin": "same", "services": "one"}, {"client": "\0", "origin": "x"}, {"services": "🛂" * 999}]
)
def test_without_the_first_answer_there_is_no_advice(browser, answers):
    response = browser().get("/compare/", answers)
    assert response.status_code == 200
    assert response.context["recommendation"] is None


def test_the_page_says_whether_a_session_is_read_each_time(browser, settings):
    page = browser().get("/compare/").content.decode()
    remembers, reads = "A process remembers a session", "so each check reads the row with one query"
    assert (remembers in page, reads in page) == (bool(settings.REDIS_URL), not settings.REDIS_URL)


@pytest.mark.parametrize("is_public", [False, True])
def test_the_page_says_who_can_check_a_token(browser, settings, tmp_path, is_public):
    if is_public:
        (tmp_path / "1.pem").write_bytes(Key.generate("ES256").pem)
        settings.JWT_KEYS = str(tmp_path)
    page = browser().get("/compare/").content.decode()
    assert ("Each service that has our public keys." in page) == is_public
    assert ("it signs with a secret (HS256)" in page) == (not is_public)


# Without JavaScript


def test_a_visitor_sees_the_recorded_exchanges_of_each_act(browser):
    page = browser().get("/compare/").content.decode()
    for act, exchanges in recorded.acts().items():
        trace = page.partition(f'data-trace="{act}"')[2].partition("</ol>")[0]
        assert trace.count("<li") == len(exchanges)
        assert all(f"<strong>{each.status}</strong>" in trace for each in exchanges)


def test_each_act_has_a_still_picture(browser):
    page = browser().get("/compare/").content.decode()
    assert page.count('<noscript><figure class="still"><svg') == len(recorded.acts())


def test_each_button_of_a_visitor_starts_the_demo(browser):
    page = browser().get("/compare/").content.decode()
    acts = re.findall(r'<button(?: form="begin")? name="act" value="(\w+)"', page)
    assert {"who", "tamper", "out", "tabs", "lanes", "theft", "run"} == set(acts)
    assert "disabled" not in page


def test_the_mail_of_the_recording_is_that_of_the_template(browser):
    page = browser().get("/compare/").content.decode()
    assert "We signed out one of your apps" in page
    assert "A refresh token of your app &quot;Compare page&quot; was used a second time" in page


def test_the_costs_name_what_is_live_and_what_is_measured(browser, settings):
    page = browser().get("/compare/").content.decode()
    has, has_not = "This server has Redis: your requests show it live.", "This server has no Redis"
    assert (has in page, has_not in page) == (bool(settings.REDIS_URL), not settings.REDIS_URL)
    assert page.count('class="hatched"') == 1 + sum(not bar.live for meter in meters() for bar in meter.bars)
    assert page.count("data-live-bar=") == 6


def test_simplejwt_without_revocation_is_among_the_bars():
    labels = [bar.label for meter in meters() for bar in meter.bars]
    assert labels.count("SimpleJWT without revocation") == 2


# Sizes


def test_the_page_is_small(browser, guest):
    """As transferred: WhiteNoise compresses the static files."""
    statics = [*Path(STATIC).glob("*.js"), settings.BASE_DIR / "accounts/static/accounts/site.css"]
    compressed = sum(len(gzip.compress(each.read_bytes())) for each in statics)
    for page in (browser().get("/compare/"), guest.page):
        assert 10_000 < len(page.content) + compressed < MAX_BYTES


@pytest.mark.parametrize("module", sorted(Path(STATIC).glob("*.js")), ids=lambda path: path.name)
def test_each_script_is_small(module):
    assert module.stat().st_size < MAX_SCRIPT_BYTES


def test_a_script_is_loaded_by_the_page_or_by_another_script(browser, guest):
    """One that is loaded in both ways runs twice: the page names files with a hash, the scripts without."""
    modules = {path.name: path.read_text() for path in Path(STATIC).glob("*.js")}
    imported = {name for text in modules.values() for name in re.findall(r'^import .* from "\./(.+)";$', text, re.M)}
    loaded = set(re.findall(r"/static/compare/(\w+\.js)", guest.page.content.decode()))
    assert imported | loaded == modules.keys()
    assert not imported & loaded
    assert "acts.js" not in browser().get("/compare/").content.decode()
