"""Error pages, the Content-Security-Policy, and the choice of language."""

import json
import logging
import re
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from django.conf import settings
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.db import OperationalError
from django.http import HttpResponse
from django.test import RequestFactory
from django.urls import include, path

from accounts.http.headers import with_policy
from project import error_pages


def fail_with(error):
    def view(request):
        raise error

    return view


@with_policy(img_src=["'self'", "data:"])
def pictures(request):
    return HttpResponse("pictures")


urlpatterns = [
    path("", include("project.urls")),
    path("bad/", fail_with(SuspiciousOperation("?"))),
    path("forbidden/", fail_with(PermissionDenied)),
    path("broken/", fail_with(ZeroDivisionError)),
    path("away/", fail_with(OperationalError)),
    path("pictures/", pictures),
]
handler400, handler403 = "project.error_pages.bad_request", "project.error_pages.permission_denied"
handler404, handler500 = "project.error_pages.not_found", "project.error_pages.server_error"

PAGES = [
    ("/bad/", 400, "request is not valid"),
    ("/forbidden/", 403, "not allowed to do this"),
    ("/nowhere/", 404, "no page at this address"),
    ("/broken/", 500, "error occurred on the server"),
    ("/away/", 503, "temporarily unavailable"),
]


@pytest.fixture
def visitor(browser, settings):
    settings.ROOT_URLCONF = __name__
    return browser(raise_request_exception=False)


@pytest.mark.parametrize(("address", "status", "words"), PAGES)
def test_an_error_page_says_what_to_do(visitor, address, status, words):
    response = visitor.get(address)
    assert response.status_code == status
    content = response.content.decode()
    assert words in content
    assert "Go to the home page" in content
    assert "Wristband &amp; Passport" in content


def test_a_server_error_is_logged_and_not_shown(visitor, caplog):
    answer = visitor.get("/broken/").content.decode()
    assert not re.search(r"ZeroDivision|Traceback|\.py", answer)
    [record] = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert record.exc_info[0] is ZeroDivisionError


@pytest.mark.parametrize(("address", "status"), [("/broken/", 500), ("/away/", 503)])
def test_the_page_of_a_server_error_needs_no_database(visitor, address, status):
    # This test has no database: pytest-django refuses every statement.
    visitor.cookies[settings.SESSION_COOKIE_NAME] = "f" * 32
    assert visitor.get(address).status_code == status


def test_a_server_error_has_a_retry_after_header(visitor):
    assert visitor.get("/away/").headers["Retry-After"] == "2"


def test_a_form_without_a_csrf_token_gets_an_explanation(visitor):
    visitor.handler.enforce_csrf_checks = True
    response = visitor.post("/accounts/login/", {})
    assert response.status_code == 403
    assert "The form has expired" in response.content.decode()


def test_the_page_of_too_many_attempts_shows_the_wait():
    response = error_pages.too_many_requests(RequestFactory().get("/accounts/login/"), 61)
    assert (response.status_code, response.headers["Retry-After"]) == (429, "61")
    assert "Too many attempts" in response.content.decode()


def test_too_many_attempts_at_the_api_answer_json():
    response = error_pages.too_many_requests(RequestFactory().get("/api/token/"), 61)
    assert (response.status_code, json.loads(response.content)["code"]) == (429, "throttled")


def test_error_pages_escape_the_address(visitor):
    assert "<script>" not in visitor.get("/<script>alert(1)</script>/").content.decode()
    assert "<b>" not in visitor.get("/broken/?<b>").content.decode()


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example/",
        "///evil.example",
        "/%5Cevil.example/",
        "/%5C/evil.example",
        "/%09/evil.example/",
        "/%0A/evil.example/",
        "/%2F/evil.example/",
        "/ordinary/%5C%5Cevil.example",
        "/a%22onclick=b",
        "/h%C3%A9llo/",
    ],
)
@pytest.mark.parametrize("code", [500, 503])
def test_an_error_page_links_to_its_own_path_only(path, code):
    request = RequestFactory().get("/")
    request.path = unquote(path)
    try:
        raise OperationalError if code == 503 else ZeroDivisionError
    except (OperationalError, ZeroDivisionError):
        content = error_pages.server_error(request).content.decode()
    [link] = re.findall(r'class="button" href="([^"]*)"', content)
    led_to = urlsplit(urljoin("https://www.example.org/there/", re.sub(r"[\t\r\n]", "", link).replace("\\", "/")))
    assert led_to.netloc == "www.example.org"
    # Proxies and servers merge "//" to "/".
    assert re.sub("^/+", "/", unquote(led_to.path)) == re.sub("^/+", "/", unquote(path))


# Content-Security-Policy

STRICT = {
    "default-src 'self'",
    "object-src 'none'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
    "form-action 'self'",
    "report-uri /csp-report/",
}


@pytest.mark.parametrize("address", ["/", "/accounts/login/", "/admin/login/", "/nowhere/", "/broken/", "/health/live"])
def test_every_response_has_the_strict_policy(visitor, address):
    headers = visitor.get(address).headers
    assert set(headers["Content-Security-Policy"].split("; ")) == STRICT
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "camera=()" in headers["Permissions-Policy"]
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_a_view_can_extend_its_policy(visitor):
    policy = visitor.get("/pictures/").headers["Content-Security-Policy"]
    assert set(policy.split("; ")) == STRICT | {"img-src 'self' data:"}


# Languages


@pytest.mark.parametrize(("asked", "language"), [("de", "de"), ("de-AT,en;q=0.5", "de"), ("en", "en"), ("xx", "en")])
def test_a_page_is_in_the_language_of_the_accept_header(visitor, asked, language):
    assert f'<html lang="{language}">' in visitor.get("/", headers={"accept-language": asked}).content.decode()


def test_the_chosen_language_overrides_the_accept_header(visitor):
    visitor.post("/accounts/language/", {"language": "de", "next": "/"})
    assert '<html lang="de">' in visitor.get("/", headers={"accept-language": "en"}).content.decode()


def test_choosing_a_language_redirects_within_this_site(visitor):
    there = visitor.post("/accounts/language/", {"language": "de", "next": "/accounts/login/"})
    away = visitor.post("/accounts/language/", {"language": "de", "next": "https://evil.example/"})
    assert (there.headers["Location"], away.headers["Location"]) == ("/accounts/login/", "/")


def test_the_language_cookie_is_secure_and_http_only(visitor):
    visitor.post("/accounts/language/", {"language": "de"})
    morsel = visitor.cookies["__Host-language"]
    assert (morsel["secure"], morsel["httponly"], morsel["samesite"]) == (True, True, "Lax")


def test_choosing_a_language_requires_a_csrf_token(visitor):
    visitor.handler.enforce_csrf_checks = True
    assert visitor.post("/accounts/language/", {"language": "de"}).status_code == 403
