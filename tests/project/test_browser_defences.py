"""
Defences in the browser, at every address: headers, cookies, cross-site requests, redirects, hosts and error reports.
The addresses come from the URL conf, so that new ones are included.
"""

import itertools
import logging
import re
from urllib.parse import urlsplit

import django
import pytest
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.utils.log import AdminEmailHandler
from rest_framework.views import APIView

from accounts.models import SecurityEvent, SignIn, User
from tests.conftest import ApiClient, Browser, newest_link, send_mails
from tests.project.test_error_pages import STRICT
from tests.security.urls import all_urls

pytestmark = pytest.mark.django_db

# Public keys. (The status list is off.)
KEPT = {"/.well-known/jwks.json"}
# Swagger UI needs data: images and inline styles.
LESS_STRICT = {"/api/docs/"}


ADDRESSES = {place.path(): place.view for place in all_urls()}


def test_the_walk_covers_the_addresses():
    assert {"/", "/accounts/login/", "/admin/accounts/user/1/change/", "/api/sign-ins/end-all/"} <= ADDRESSES.keys()
    assert len(ADDRESSES) > 70


# Every response


def test_no_response_is_cached_or_has_a_lax_policy(browser_of, staff):
    page = browser_of(staff)
    for address in ADDRESSES:
        headers = page.get(address).headers
        assert ("no-store" in headers["Cache-Control"]) != (address in KEPT), address
        assert address in LESS_STRICT or set(headers["Content-Security-Policy"].split("; ")) == STRICT, address
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin", address
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin", address
        assert {"camera=()", "microphone=()", "payment=()"} <= set(headers["Permissions-Policy"].split(", ")), address
        assert headers["X-Content-Type-Options"] == "nosniff", address
        assert headers["Referrer-Policy"] in {"same-origin", "strict-origin"}, address


def test_every_cookie_belongs_to_this_host_only(browser, staff, password):
    page = browser()
    page.get("/accounts/login/")
    page.post("/accounts/language/", {"language": "de"})
    page.post("/accounts/theme/", {"theme": "dark"})
    page.post("/admin/login/?next=/admin/", {"username": staff.username, "password": password})
    kinds = {name.removeprefix("__Host-").partition("-")[0]: morsel for name, morsel in page.cookies.items()}
    assert kinds.keys() == {"csrftoken", "language", "theme", "sessionid", "device"}
    assert all(name.startswith("__Host-") for name in page.cookies)
    for name, morsel in kinds.items():
        assert (morsel["secure"], morsel["path"], morsel["domain"], morsel["samesite"]) == (True, "/", "", "Lax"), name
        # Pages of the project read the CSRF cookie by script.
        assert morsel["httponly"] or name == "csrftoken", name


# Cross-site requests


def rides_on_a_cookie(view):
    """Whether the view authenticates by cookie: API views with authentication, and all pages."""
    api = getattr(view, "cls", None)
    return not (api and issubclass(api, APIView)) or bool(api.authentication_classes)


def test_a_cross_site_page_cannot_use_the_cookie_for_changes(browser_of, staff):
    page = browser_of(staff)
    before = state()
    sites = itertools.cycle(["cross-site", "same-site", "something-new"])
    for address, view in ADDRESSES.items():
        if not rides_on_a_cookie(view):
            continue
        for method, site in zip(["POST", "PUT", "PATCH", "DELETE"], sites, strict=False):
            answer = page.generic(method, address, "{}", "application/json", headers={"sec-fetch-site": site})
            # Refused before the object is read (403), or handled as without a cookie (401), or the address does not
            # exist for this method.
            assert answer.status_code in {401, 403, 405}, (method, address, answer.status_code)
    assert state() == before
    assert page.get("/accounts/profile/").status_code == 200


def state():
    models = (User, SignIn, SecurityEvent, LogEntry)
    return [list(model._base_manager.order_by("pk").values()) for model in models]


@pytest.mark.parametrize("headers", [{}, {"sec-fetch-site": "same-origin"}, {"sec-fetch-site": "none"}])
def test_same_origin_pages_and_old_browsers_can_make_changes(browser_of, ann, headers):
    answer = browser_of(ann).post("/accounts/profile/", {"first_name": "Ann"}, headers=headers)
    assert answer.status_code == 302


@pytest.mark.parametrize("trusted", ["https://www.example.org", "https://*.example.org"])
def test_a_page_of_a_trusted_origin_can_send_forms(browser_of, ann, settings, trusted):
    settings.CSRF_TRUSTED_ORIGINS = [trusted]
    browser = browser_of(ann)

    def sent_from(origin):
        headers = {"sec-fetch-site": "same-site", "origin": origin}
        return browser.post("/accounts/profile/", {"first_name": "Ann"}, headers=headers).status_code

    assert sent_from("https://www.example.org") == 302
    for other in ("https://evil.example", "http://www.example.org", "https://wwwexample.org", "https://", "null", ""):
        assert sent_from(other) == 403, other


def test_a_token_can_make_changes_from_any_origin(client_of, ann, password):
    client = client_of(ann)
    headers = {"sec-fetch-site": "cross-site", "origin": "https://app.example.net"}
    assert client.patch("/api/me/", {"first_name": "Ann"}, headers=headers).status_code == 200
    form = {"username": ann.username, "password": password}
    assert ApiClient().post("/api/token/", form, headers=headers).status_code == 200


@pytest.mark.parametrize("address", ["/accounts/login/", "/accounts/signup/", "/admin/login/"])
def test_a_cross_site_page_cannot_sign_a_browser_in(browser, staff, password, address):
    """Login CSRF: a user must not work in the account of an attacker."""
    form = {"username": staff.username, "password": password, "email": "x@example.org"}
    form |= {"password1": "a quite different passphrase"}
    visitor = browser()
    assert visitor.post(address, form, headers={"sec-fetch-site": "cross-site"}).status_code == 403
    strict = Browser(enforce_csrf_checks=True)
    assert strict.post(address, form, headers={"sec-fetch-site": "same-origin"}).status_code == 403
    assert not SignIn.objects.exists()


# Sign-out


def test_signing_out_clears_the_cache_of_the_browser(browser_of, client_of, ann):
    def clears_cache(answer):
        return answer.headers.get("Clear-Site-Data") == '"cache"'

    here = browser_of(ann)
    assert clears_cache(here.post("/accounts/logout/"))
    here = browser_of(ann)
    assert clears_cache(here.post("/accounts/sign-ins/end-all/"))
    here, there = browser_of(ann), browser_of(ann)
    own, other = (
        here.get("/api/sign-ins/").json()["results"][index]["id"]
        for index in ([0, 1] if here.get("/api/sign-ins/").json()["results"][0]["current"] else [1, 0])
    )
    assert not clears_cache(here.delete(f"/api/sign-ins/{other}/"))
    assert there.get("/accounts/profile/").status_code == 302
    assert clears_cache(here.delete(f"/api/sign-ins/{own}/"))
    assert clears_cache(browser_of(ann).post("/api/sign-ins/end-all/"))
    assert not clears_cache(client_of(ann).post("/api/sign-ins/end-all/"))


# Redirects and hosts


FOREIGN = ["https://evil.example/", "//evil.example/", "/\\evil.example/", "javascript:alert(1)", "/\t/evil.example/"]


@pytest.mark.parametrize("target", FOREIGN)
def test_no_redirect_leads_to_another_site(browser_of, staff, password, target):
    page = browser_of(staff)
    answers = [
        page.post("/accounts/confirm/", {"password": password, "next": target}),
        page.post("/accounts/confirm/", {"password": password}, query_params={"next": target}),
        page.post("/accounts/language/", {"language": "en", "next": target}),
        page.post("/accounts/language/", {"language": "en"}, headers={"referer": target.replace("\t", "")}),
        page.get("/accounts/login/", query_params={"next": target}),
        page.get("/admin/login/", query_params={"next": target}),
        page.post("/accounts/logout/", query_params={"next": target}),
        page.post("/admin/logout/", {"next": target}),
        Browser().post("/admin/login/", {"username": staff.username, "password": password, "next": target}),
    ]
    for answer in answers:
        location = answer.headers.get("Location", "/")
        assert (urlsplit(location).netloc, location[:2]) in {("", "/"), ("", location[:2])}, location
        assert re.match(r"/(?![/\\\t])", location), location


HOSTS = [
    {"host": "evil.example"},
    {"host": "testserver.evil.example"},
    {"host": "testserver@evil.example"},
    {"host": "testserver:443@evil.example"},
    {"host": "evil.example#testserver"},
    {"host": "testserver, evil.example"},
    {"host": "testserver:evil.example"},
    {"x-forwarded-host": "evil.example"},
    {"forwarded": "host=evil.example"},
    {"x-host": "evil.example", "x-original-host": "evil.example", "x-forwarded-server": "evil.example"},
]


@pytest.mark.parametrize("headers", HOSTS, ids=str)
def test_a_forged_host_is_in_no_mail_and_no_response(ann, headers, mailoutbox, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        for address in ("/accounts/password_reset/", "/api/password/reset/"):
            kind = {"content_type": "application/json"} if "api" in address else {}
            answer = Browser().post(address, {"email": ann.email}, headers=headers, **kind)
            text = f"{answer.headers}{answer.content.decode()}"
            assert "evil" not in text
            assert answer.status_code == (400 if "host" in headers else answer.status_code)
    send_mails()
    assert not [each for each in mailoutbox if "evil" in str(each.message())]
    assert bool(mailoutbox) == ("host" not in headers)


# Error reports


class Broken(Exception):
    pass


SECRET = "quiet copper lantern drifts"


@pytest.fixture
def reports(settings, mailoutbox, caplog):
    """Returns a function that returns the log and the mails to ADMINS, with local variables, of errors."""
    address = "admin@example.org"
    settings.ADMINS = [address] if django.VERSION >= (6, 0) else [("Admin", address)]
    handler = AdminEmailHandler(include_html=True)
    logger = logging.getLogger("django.request")
    logger.addHandler(handler)
    [console] = [each for each in logging.root.handlers if each.name == "console"]
    handler.filters = console.filters

    def reports():
        assert mailoutbox, "no mail was sent"
        return "".join(each.body + each.alternatives[0].content for each in mailoutbox) + caplog.text

    yield reports
    logger.removeHandler(handler)


@pytest.fixture
def breaks(monkeypatch):
    """Returns a function that makes functions with a password or a token in their variables fail."""

    def fail(*args, **kwargs):
        raise Broken("something else")

    def breaks(*places):
        for place in places:
            monkeypatch.setattr(place, fail)

    return breaks


def test_an_error_report_has_no_password_token_or_cookie(
    reports, breaks, browser_of, client_of, ann, password, link_in_mail
):
    page, client = browser_of(ann), client_of(ann)
    link = link_in_mail(lambda: Browser().post("/accounts/password_reset/", {"email": ann.email}))
    breaks(
        "accounts.models.attempts.AttemptCounterManager.start_attempt",
        "accounts.password_validation.GuessablePasswordValidator.validate",
        "api.tokens.access.mirror.blocks",
    )
    page.raise_request_exception = False
    visitor = Browser(raise_request_exception=False)
    json = {"content_type": "application/json"}
    new = {"new_password1": SECRET}
    answers = [
        page.post("/accounts/password_change/", {"old_password": password} | new),
        visitor.post("/accounts/login/", {"username": "ann", "password": SECRET}),
        visitor.post("/admin/login/", {"username": "ann", "password": SECRET}),
        visitor.post("/accounts/signup/", {"username": "x", "password1": SECRET}),
        visitor.post(link, new),
        visitor.post("/api/token/", {"username": "ann", "password": SECRET}, **json),
        visitor.post("/api/register/", {"username": "x", "email": "x@example.org", "password": SECRET}, **json),
        visitor.get("/api/me/", headers={"authorization": f"Bearer {client.access}"}),
        visitor.post("/api/token/verify/", {"token": client.access}, **json),
        visitor.post("/api/token/revoke/", f"token={client.access}", "application/x-www-form-urlencoded"),
    ]
    assert [answer.status_code for answer in answers] == [500] * len(answers)
    secrets = [password, SECRET, client.access, client.access.rpartition(".")[2], link.split("/")[-2]]
    secrets += [morsel.value for morsel in page.cookies.values() if len(morsel.value) > 8]
    secrets += [settings.SECRET_KEY, settings.DATABASES["default"]["NAME"]]
    text = reports()
    assert "Broken" in text
    assert [secret for secret in secrets if secret in text] == []


@pytest.fixture
def link_in_mail(mailoutbox, django_capture_on_commit_callbacks):
    """Returns a function that runs a piece of work and returns the path of the link in its mail."""

    def run(work):
        with django_capture_on_commit_callbacks(execute=True):
            work()
        link = newest_link(mailoutbox, r"https://testserver(/accounts/(?:email|reset)/\S+)")[1]
        mailoutbox.clear()
        return link

    return run
