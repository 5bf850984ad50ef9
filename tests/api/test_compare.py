"""What stands behind /compare/: the token inspector, the costs, the throw-away users, the advice and the figures."""

import ast
import json
import os
import re
import subprocess
import sys
from datetime import timedelta
from itertools import product
from types import ModuleType
from uuid import uuid4

import jwt
import pytest
import time_machine
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from accounts import mail, passwords, registration
from accounts.models import SecurityEvent, Session, SignIn, User
from api.blocklist.models import Entry
from api.compare import choice, figures
from api.compare.inspector import MAX_BYTES
from api.keys import keyring
from project import urls
from tests.benchmarks import compare_page

pytestmark = pytest.mark.django_db

# The URLs as project.urls has them without DEMO.
without_demo = ModuleType("urls_without_demo")
without_demo.urlpatterns = [
    each for each in urls.urlpatterns if getattr(each, "pattern", None) and str(each.pattern) != "compare/"
]
without_demo.handler404 = urls.handler404
sys.modules[without_demo.__name__] = without_demo


@pytest.fixture
def clock():
    with time_machine.travel(timezone.now().replace(microsecond=0), tick=False) as traveller:
        yield traveller


@pytest.fixture
def paste(browser):
    """Submits a token to the inspector, anonymously unless a browser is given."""

    def send(token, by=None):
        return (by or browser()).post("/compare/token/", {"token": token})

    return send


@pytest.fixture
def verdicts(paste):
    def read(token):
        found = paste(token).context["inspection"].verdicts
        return found.signature.state, found.time.state, found.honoured.state

    return read


def claims_of(token):
    return jwt.decode(token, options={"verify_signature": False})


def signed(claims, key=None, **header):
    """Returns a token signed like ours, with the given claims."""
    key = key or keyring.signing_key
    return jwt.encode(claims, key.signing, key.algorithm, {"kid": key.kid, "typ": "at+jwt", **header})


def end(client):
    SignIn.objects.get(pk=claims_of(client.access)["sid"]).end(SignIn.Reason.SIGNED_OUT)


# The page


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


def test_the_page_shows_the_length_of_the_blocklist(browser, client_of, ann):
    end(client_of(ann))
    assert browser().get("/compare/").context["blocked"] == 1


# The inspector


@pytest.mark.parametrize("kind", ["access", "refresh"])
def test_a_valid_token_passes_every_check(verdicts, client_of, ann, kind):
    assert verdicts(getattr(client_of(ann), kind)) == ("good", "good", "good")


@pytest.mark.parametrize("kind", ["access", "refresh"])
def test_a_token_of_an_ended_sign_in_is_only_revoked(verdicts, client_of, ann, kind):
    client = client_of(ann)
    end(client)
    assert verdicts(getattr(client, kind)) == ("good", "good", "bad")


def test_a_spent_refresh_token_is_only_revoked(verdicts, client_of, ann, clock):
    client = client_of(ann)
    used = client.refresh
    client.renew()
    clock.shift(settings.REFRESH_GRACE)
    assert verdicts(used) == ("good", "good", "bad")


def test_an_expired_token_has_only_a_valid_signature(verdicts, client_of, ann, clock):
    access = client_of(ann).access
    clock.shift(settings.ACCESS_TOKEN + settings.JWT_LEEWAY)
    assert verdicts(access) == ("good", "bad", "unasked")


def test_a_token_issued_in_the_future_has_only_a_valid_signature(verdicts, client_of, ann):
    claims = claims_of(client_of(ann).access)
    assert verdicts(signed(claims | {"iat": claims["iat"] + 3600})) == ("good", "bad", "unasked")


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_changed_letter_breaks_the_signature(verdicts, client_of, ann, part):
    parts = client_of(ann).access.split(".")
    parts[part] = parts[part][:9] + ("x" if parts[part][9] != "x" else "y") + parts[part][10:]
    assert verdicts(".".join(parts)) == ("bad", "unasked", "unasked")


def test_a_token_of_another_key_has_an_invalid_signature(verdicts, client_of, ann, settings):
    access = client_of(ann).access
    settings.SECRET_KEY = "another-key-of-another-site-3Kd8sLq0Zx7Vb5Nm2Ty9Rw4"
    assert verdicts(access) == ("bad", "unasked", "unasked")


@pytest.mark.parametrize("claims", [{"aud": "elsewhere"}, {"iss": "elsewhere"}, {"sid": "not an id"}, {"sub": 1}])
def test_a_signed_token_with_foreign_claims_is_refused(verdicts, client_of, ann, claims):
    assert verdicts(signed(claims_of(client_of(ann).access) | claims)) == ("good", "unasked", "bad")


def test_each_claim_is_explained(paste, client_of, ann):
    access = client_of(ann).access
    inspection = paste(access).context["inspection"]
    assert {claim.name for claim in inspection.claims} == claims_of(access).keys()
    assert {claim.name for claim in inspection.header} == {"alg", "kid", "typ"}
    assert not [claim for claim in inspection.claims if "Not a claim" in str(claim.meaning)]


def test_the_size_of_the_token_is_shown(paste, client_of, ann):
    access = client_of(ann).access
    assert paste(f"  {access}\n").context["inspection"].size == len(access)


def test_the_page_does_not_repeat_a_whole_token(paste, client_of, ann):
    access = client_of(ann).access
    page = paste(access).content.decode()
    assert access.split(".")[1] in page
    assert access.split(".")[2] not in page


def test_the_page_does_not_show_the_owner_of_a_token(paste, browser_of, client_of, ann, password):
    # The name is too long to be in the token.
    somebody = User.objects.create_user(
        "somebody-with-a-long-name", "private@example.org", password, last_name="Secret"
    )
    token = client_of(somebody).access
    page = paste(token, by=browser_of(ann)).content.decode()
    for private in (somebody.username, somebody.email, somebody.last_name):
        assert private not in page


def test_an_inspected_token_is_neither_stored_nor_logged(paste, browser_of, client_of, ann, caplog):
    browser, access = browser_of(ann), client_of(ann).access
    tables = (SignIn, SecurityEvent, Session, User)
    before = [list(table.objects.order_by("pk").values()) for table in tables]
    paste(access, by=browser)
    assert [list(table.objects.order_by("pk").values()) for table in tables] == before
    assert access.split(".")[1] not in caplog.text


def test_the_inspection_is_not_stored_by_caches(paste, client_of, ann):
    assert paste(client_of(ann).access)["Cache-Control"] == "no-store"


def test_an_inspection_takes_two_statements_at_most(paste, client_of, ann, django_assert_max_num_queries):
    access = client_of(ann).access
    # The blocklist for this token, where there is no mirror, and its length.
    with django_assert_max_num_queries(2):
        paste(access)


@pytest.mark.parametrize("path", ["/compare/token/", "/compare/"])
def test_a_token_in_a_url_is_ignored(browser, client_of, ann, path):
    response = browser().get(path, {"token": client_of(ann).access}, follow=True)
    assert response.redirect_chain in ([], [("/compare/", 302)])
    assert "inspection" not in response.context


def test_a_form_without_csrf_token_is_refused(browser, client_of, ann):
    strict = browser(enforce_csrf_checks=True)
    assert strict.post("/compare/token/", {"token": client_of(ann).access}).status_code == 403


@pytest.mark.parametrize("size", [MAX_BYTES + 1, 200_000])
def test_more_than_eight_kilobytes_are_refused(paste, size):
    response = paste("e" * size)
    assert response.status_code == 413
    assert "8 kB" in response.content.decode()
    assert "inspection" not in response.context


def test_eight_kilobytes_are_accepted(paste):
    assert paste("e" * MAX_BYTES).status_code == 200


def test_a_body_of_300_kb_is_refused(paste):
    assert paste("e" * 300_000).status_code in (400, 413)


@pytest.mark.parametrize("token", ["", " ", "\n\t"])
def test_an_empty_form_is_400(paste, token):
    assert paste(token).status_code == 400


STRANGE = {
    "NUL": "\0",
    "NULs in form": "\0.\0.\0",
    "dots": "..",
    "emoji": "🛂.🛂.🛂",
    "markup": "<script>alert(1)</script>",
    "surrogate": "\ud800",
    "not JSON": "e30.bm90.e30",
    "no letters": "!!!.???.###",
    "none": jwt.encode({"sub": "1"}, None, "none") + "x",
    "four parts": "e30.e30.e30.e30",
}


@pytest.mark.parametrize("token", STRANGE.values(), ids=STRANGE)
def test_an_invalid_token_has_an_invalid_signature(paste, token):
    response = paste(token.encode(errors="surrogatepass"))
    assert response.status_code == 200
    assert response.context["inspection"].verdicts.signature.state == "bad"


STRANGE_CLAIMS = {
    "surrogates": {"\ud800": "\udfff"},
    "NUL": {"a\0b": "c\0d"},
    "markup": {"<img src=x onerror=alert(1)>": "<script>alert(1)</script>"},
    "right to left": {"\u202e": "\u202egnirts"},
    "many": {str(number): number for number in range(250)},
    "long": {"a" * 1500: "b" * 1000},
    "huge number": {"exp": 10**400, "iat": -1, "nbf": True},
    "infinite": {"exp": float("1e308") * 10},
    "no numbers": {"exp": "soon", "iat": None, "nbf": [1]},
    "nested": {"a": [[[[{"b": [1]}]]]]},
}


@pytest.mark.parametrize("claims", STRANGE_CLAIMS.values(), ids=STRANGE_CLAIMS)
def test_strange_claims_are_shown_escaped(paste, claims):
    part = jwt.utils.base64url_encode(json.dumps(claims).encode()).decode()
    page = paste(f"{part}.{part}.{'e' * 43}")
    assert page.status_code == 200
    assert "<script>alert" not in page.content.decode()
    assert "\0" not in page.content.decode()


@hypothesis_settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(header=st.binary(max_size=60), claims=st.binary(max_size=200), signature=st.binary(min_size=1, max_size=40))
def test_any_bytes_shaped_like_a_token_are_200(browser, header, claims, signature):
    token = ".".join(jwt.utils.base64url_encode(part).decode() for part in (header, claims, signature))
    assert browser().post("/compare/token/", {"token": token}).status_code == 200


# The costs

ASKED = {"X-Compare": "1", "Sec-Fetch-Site": "same-origin"}


def told(response):
    """Returns the numbers of the Server-Timing header by name."""
    metrics = {}
    for metric in response["Server-Timing"].split(", "):
        name, *parameters = metric.split(";")
        metrics[name] = {key: float(value.strip('"')) for key, value in (each.split("=") for each in parameters)}
    return metrics


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Compare": "1"},
        {"Sec-Fetch-Site": "same-origin"},
        {"X-Compare": "1", "Sec-Fetch-Site": "same-site"},
        {"X-Compare": "1", "Sec-Fetch-Site": "cross-site"},
        {"X-Compare": "1", "Sec-Fetch-Site": "none"},
    ],
)
def test_costs_are_sent_only_to_the_compare_page(client_of, ann, headers):
    assert "Server-Timing" not in client_of(ann).get("/compare/who/", headers=headers)


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("/api/token/", {"username": "ann", "password": "a wrong one, quite wrong"}),
        ("/api/password/reset/", {"email": "ann@example.org"}),
        ("/api/register/", {"username": "ann", "email": "ann@example.org", "password": "x"}),
        ("/api/token/verify/", {"token": "x"}),
        ("/accounts/login/", {}),
    ],
)
def test_costs_are_not_sent_where_they_reveal_an_account(anonymous, ann, path, data):
    assert "Server-Timing" not in anonymous.post(path, data, headers=ASKED)


def test_a_browser_costs_one_statement(browser_of, ann):
    response = browser_of(ann).get("/compare/who/", headers=ASKED)
    assert response.json()["mode"] == "wristband"
    assert told(response)["sql"]["desc"] == 1
    assert told(response)["redis"]["desc"] == 0


@pytest.mark.django_db(transaction=True)
def test_a_token_costs_nothing_with_redis_and_one_statement_without(client_of, ann):
    client = client_of(ann)

    def statements():
        response = client.get("/compare/who/", headers=ASKED)
        assert response.status_code == 200, response.content
        assert response.json()["mode"] == "passport"
        assert told(response)["redis"]["desc"] == 0
        return told(response)["sql"]["desc"]

    if not settings.REDIS_URL:
        assert statements() == 1
        return
    # The mirror needs a moment to load.
    deadline = timezone.now() + timedelta(seconds=10)
    while statements() and timezone.now() < deadline:
        pass
    assert statements() == 0


def test_a_refresh_costs_two_statements(client_of, ann, anonymous):
    response = anonymous.post("/api/token/refresh/", {"refresh": client_of(ann).refresh}, headers=ASKED)
    assert told(response)["sql"]["desc"] == 2


@pytest.mark.django_db(transaction=True)
def test_an_end_costs_four_redis_round_trips_two_for_the_broadcast(client_of, ann, anonymous):
    response = anonymous.post("/api/token/blacklist/", {"refresh": client_of(ann).refresh}, headers=ASKED)
    # The throttle reads and writes its count; PUBLISH, and a PING that returns after delivery.
    assert told(response)["redis"]["desc"] == (4 if settings.REDIS_URL else 0)


def test_the_bytes_are_those_of_request_and_response(client_of, ann):
    client = client_of(ann)
    response = client.get("/compare/who/", headers=ASKED)
    costs = told(response)
    assert costs["credential"]["desc"] == len(f"Authorization: Bearer {client.access}\r\n")
    assert costs["sent"]["desc"] > costs["credential"]["desc"]
    assert costs["answered"]["desc"] > len(response.content)
    longer = told(client.get("/compare/who/?ten=letters", headers=ASKED))
    assert longer["sent"]["desc"] == costs["sent"]["desc"] + len("?ten=letters")


def test_the_response_is_the_same_with_and_without_costs(client_of, ann):
    client = client_of(ann)
    plain, asked = client.get("/compare/who/"), client.get("/compare/who/", headers=ASKED)
    assert plain.json() == asked.json()
    of_its_own = {name: asked[name] for name in ("Server-Timing", "X-Request-ID")}
    assert dict(asked.headers) == dict(plain.headers) | of_its_own


def test_a_refusal_has_costs_too(anonymous):
    anonymous.access = "e30.e30.e30"
    response = anonymous.get("/compare/who/", headers=ASKED)
    assert response.status_code == 401
    assert told(response)["sql"]["desc"] == 0


# The page's own client


def test_the_page_signs_in_as_a_listed_client(browser_of, ann):
    browser = browser_of(ann)
    response = browser.post("/compare/client/")
    assert response.status_code == 201
    assert response["Cache-Control"] == "no-store"
    kinds = [each["kind"] for each in browser.get("/api/sign-ins/").json()["results"]]
    assert sorted(kinds) == ["browser", "client"]


def test_the_clients_tokens_work_and_end_with_it(browser_of, ann, anonymous):
    tokens = browser_of(ann).post("/compare/client/").json()
    anonymous.access = tokens["access"]
    assert anonymous.get("/api/me/").json()["username"] == ann.username
    assert anonymous.post("/api/token/blacklist/", {"refresh": tokens["refresh"]}).status_code == 200
    assert anonymous.get("/api/me/").status_code == 401


def test_an_abandoned_client_expires_within_the_hour(browser_of, ann, clock):
    browser_of(ann).post("/compare/client/")
    clock.shift(timedelta(hours=1))
    assert not SignIn.objects.filter(kind=SignIn.Kind.CLIENT).live().exists()


def test_a_stale_password_gets_no_client(browser_of, ann, clock):
    browser = browser_of(ann)
    clock.shift(settings.REAUTHENTICATION_TIMEOUT)
    response = browser.post("/compare/client/")
    assert (response.status_code, response.json()["code"]) == (403, "proof_needed")
    assert "/accounts/confirm/?next=/compare/" in browser.get("/compare/").content.decode()
    assert not SignIn.objects.filter(kind=SignIn.Kind.CLIENT).exists()


def test_an_anonymous_user_gets_no_client(browser):
    assert browser().post("/compare/client/").status_code == 403
    assert not SignIn.objects.exists()


def test_a_token_cannot_create_a_client(client_of, ann):
    assert client_of(ann).post("/compare/client/").status_code == 403
    assert SignIn.objects.count() == 1


def test_another_site_gets_no_client(browser_of, ann):
    browser = browser_of(ann)
    browser.handler.enforce_csrf_checks = True
    assert browser.post("/compare/client/").status_code == 403
    assert not SignIn.objects.filter(kind=SignIn.Kind.CLIENT).exists()


# Throw-away users


@pytest.fixture
def guest(browser):
    """A browser signed in as a new throw-away user; `page` is the response with the password."""
    guest = browser()
    guest.page = guest.post("/compare/throw-away/")
    return guest


def test_one_click_creates_and_signs_in_a_user(guest):
    user = User.objects.get()
    assert guest.page.status_code == 200
    assert guest.page["Cache-Control"] == "no-store"
    assert guest.get("/api/me/").json()["username"] == user.username
    assert user.is_throw_away


def test_the_password_is_shown_once_and_works(guest, client_of, anonymous):
    password = guest.page.context["password"]
    assert password in guest.page.content.decode()
    assert password not in guest.get("/compare/").content.decode()
    assert anonymous.sign_in(User.objects.get().username, password).status_code == 200


def test_a_throw_away_user_gets_no_mail(guest, mailoutbox, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        passwords.change(User.objects.get(), "a quite different passphrase")
    mail.wait()
    assert not mailoutbox


def test_a_throw_away_user_and_its_sign_ins_end_after_a_day(guest, anonymous, clock, ann):
    anonymous.sign_in(User.objects.get(delete_after__isnull=False).username, guest.page.context["password"])
    clock.shift(timedelta(hours=23))
    assert registration.delete_expired_throw_away_users() == 0
    clock.shift(timedelta(hours=1, seconds=1))
    anonymous.renew()
    assert registration.delete_expired_throw_away_users() == 1
    assert list(User.objects.all()) == [ann]
    assert anonymous.get("/api/me/").status_code == 401
    assert guest.get("/api/me/").status_code == 401


def test_other_users_are_never_deleted(ann, clock):
    clock.shift(timedelta(days=10_000))
    assert registration.delete_expired_throw_away_users() == 0


def test_without_demo_there_are_no_throw_away_users(browser, settings):
    settings.ROOT_URLCONF = without_demo.__name__
    visitor = browser(raise_request_exception=False)
    assert visitor.post("/compare/throw-away/").status_code == 404
    assert "throw-away" not in visitor.get("/").content.decode()
    assert not User.objects.exists()


def test_a_signed_in_user_stays_signed_in(browser_of, ann):
    browser = browser_of(ann)
    assert browser.post("/compare/throw-away/").status_code == 302
    assert browser.get("/api/me/").json()["username"] == ann.username
    assert User.objects.count() == 1


def test_a_get_request_creates_no_throw_away_user(browser):
    assert browser().get("/compare/throw-away/").status_code == 302
    assert not User.objects.exists()


# The advice


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


# The figures


def numbers_in(benchmark):
    """Returns every number in the stored results of a benchmark."""

    def walk(value):
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list):
            for each in value:
                yield from walk(each)
        elif isinstance(value, int | float):
            yield value

    path = settings.BASE_DIR / "tests" / "benchmarks" / "results" / f"{benchmark}.json"
    return list(walk(json.loads(path.read_text())["results"]))


def shown(cell):
    """Yields each number in a cell, its number of decimals, and whether it is a percentage."""
    for text in re.findall(r"\d[\d,]*(?:\.\d+)?", cell):
        number = text.replace(",", "")
        yield float(number), len(number.partition(".")[2]), "%" in cell


@pytest.mark.parametrize("row", range(len(figures.rows())))
def test_every_figure_is_in_the_stored_results(row):
    row = figures.rows()[row]
    measured = numbers_in(row.source)
    for number, decimals, is_share in (
        each for cell in (row.wristband, row.passport, row.usual) for each in shown(cell)
    ):
        assert any(round(each * (100 if is_share else 1), decimals) == number for each in measured), number


def test_the_figures_are_on_the_page(browser):
    page = browser().get("/compare/").content.decode()
    results = settings.BASE_DIR / "tests" / "benchmarks" / "results"
    requests = {each["name"]: each for each in json.loads((results / "requests.json").read_text())["results"]}
    for name in ("wristband", "passport HS256"):
        assert (
            f"{round(requests[name]['share'] * 100)}\xa0%" in page
            or f"{round(requests[name]['share'] * 100)} %" in page
        )


def test_the_figures_on_the_page_are_the_stored_results():
    kept = json.loads(figures.FILE.read_text())
    assert kept == compare_page.collect(), "Run: python -m tests.benchmarks compare_page"
    assert figures.measured() == kept


def test_stored_results_update_the_page(monkeypatch, tmp_path):
    monkeypatch.setattr(compare_page, "FILE", tmp_path / "measured.json")
    assert compare_page.write() == json.loads((tmp_path / "measured.json").read_text()) == figures.measured()


def test_production_code_does_not_import_tests():
    """Only `start --fleet` imports from tests, when it runs."""
    found = {
        (path.relative_to(settings.BASE_DIR).as_posix(), node.module or "")
        for app in ("accounts", "api", "project")
        for path in (settings.BASE_DIR / app).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "tests"
    }
    assert {path for path, _module in found} == {"project/management/commands/start.py"}


# With and without DEMO

INSTALLED = """
import json, sys
import django
django.setup()
from django.conf import settings
from django.core.cache import caches
from django.template import engines
from django.test import Client
from django.urls import NoReverseMatch, reverse

def url():
    try:
        return reverse("compare")
    except NoReverseMatch:
        return None

page = Client().get("/health/live", secure=True)
options = settings.CACHES["default"].get("OPTIONS", {})
print(json.dumps({
    "status": page.status_code,
    "url": url(),
    "app": "api.compare" in settings.INSTALLED_APPS,
    "middleware": [each for each in settings.MIDDLEWARE if "compare" in each],
    "pool": caches["default"].client.get_client().connection_pool.__class__.__module__,
    "tags": "compare" in engines["django"].engine.libraries,
    "modules": sorted(each for each in sys.modules if each.startswith("api.compare")) != [],
}))
"""


@pytest.mark.parametrize("cache", ["redis://127.0.0.1:1/0", "redis://master/0"], ids=["Redis", "Sentinel"])
@pytest.mark.parametrize("demo", [True, False])
def test_the_comparison_is_installed_only_with_demo(demo, cache):
    env = {"DEMO": str(demo), "REDIS_URL": cache, "DJANGO_SETTINGS_MODULE": "project.settings"}
    env["REDIS_SENTINELS"] = "redis://127.0.0.1:1" if "master" in cache else ""
    made = subprocess.run(
        [sys.executable, "-c", INSTALLED],
        env=os.environ | env,
        cwd=settings.BASE_DIR,
        stdout=subprocess.PIPE,
        check=True,
    )
    installed = json.loads(made.stdout)
    assert installed.pop("status") == 200
    redis_pool = "redis.sentinel" if env["REDIS_SENTINELS"] else "redis.connection"
    assert installed == {
        "url": "/compare/" if demo else None,
        "app": demo,
        "middleware": ["api.compare.costs.CostMiddleware"] if demo else [],
        "pool": "api.compare.costs" if demo else redis_pool,
        "tags": demo,
        "modules": demo,
    }


@pytest.mark.parametrize("demo", [True, False])
def test_pages_link_to_the_comparison_only_with_demo(browser, settings, demo):
    if not demo:
        settings.ROOT_URLCONF = without_demo.__name__
    page = browser().get("/")
    assert page.status_code == 200
    assert ("/compare/" in page.content.decode()) is demo
    assert browser(raise_request_exception=False).get("/compare/").status_code == (200 if demo else 404)
