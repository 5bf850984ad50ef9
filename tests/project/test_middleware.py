"""What our middleware remembers, or writes by a private API, is what Django's own code gives each time."""

import itertools
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import DisallowedHost
from django.http import HttpResponse
from django.middleware.security import SecurityMiddleware
from django.test import AsyncClient, RequestFactory, override_settings
from django.utils import translation
from django.utils.cache import patch_vary_headers
from django.views.decorators.clickjacking import xframe_options_exempt

from accounts import addresses
from accounts.http import headers, hosts
from accounts.http.middleware import SecurityHeadersMiddleware
from project.middleware import LanguageMiddleware

# Headers


def test_default_headers_are_stored_as_django_stores_them() -> None:
    values = {"X-Ours": "a", "Content-Language": "de", "X-Umlaut": "é"}
    ours, djangos = HttpResponse("x", headers={"x-ours": "view's"}), HttpResponse("x", headers={"x-ours": "view's"})
    headers.DefaultHeaders(values).set(ours)
    for name, value in values.items():
        djangos.headers.setdefault(name, value)
    assert dict(ours.headers) == dict(djangos.headers)
    assert ours.serialize_headers() == djangos.serialize_headers()
    assert ours["content-LANGUAGE"] == "de"
    ours["Content-Language"] = "en"
    assert ours.headers["content-language"] == "en"


def test_a_default_header_has_no_line_break() -> None:
    with pytest.raises(ValueError, match="newlines"):
        headers.DefaultHeaders({"X-Ours": "a\r\nSet-Cookie: b=c"})


def test_responses_do_not_share_their_headers() -> None:
    defaults = headers.DefaultHeaders({"X-Ours": "a"})
    changed, other = HttpResponse(), HttpResponse()
    defaults.set(changed)
    changed["X-Ours"] = "b"
    defaults.set(other)
    assert (changed["X-Ours"], other["X-Ours"]) == ("b", "a")


@pytest.mark.parametrize("vary", ["", "Cookie", "cookie, Origin", "*", "Accept-Language", "accept-language,  Cookie"])
@pytest.mark.parametrize("name", ["Accept-Language", "origin"])
def test_vary_is_what_django_makes_of_it(vary: str, name: str) -> None:
    ours, djangos = (HttpResponse(headers={"Vary": vary} if vary else {}) for _ in range(2))
    for _ in range(2):
        headers.add_vary(ours, name)
        patch_vary_headers(djangos, [name])
    assert ours["Vary"] == djangos["Vary"]


@pytest.mark.parametrize("is_https", [True, False])
def test_the_headers_of_djangos_security_middleware_are_set(rf: RequestFactory, is_https: bool) -> None:
    request = rf.get("/", secure=is_https)
    djangos = SecurityMiddleware(lambda request: HttpResponse()).process_response(request, HttpResponse())
    ours = SecurityHeadersMiddleware(lambda request: HttpResponse())(request)
    assert len(djangos.headers) == 4 + is_https
    assert djangos.headers.items() <= ours.headers.items()


def test_a_header_of_the_view_stays_as_it_is(rf: RequestFactory) -> None:
    own = dict.fromkeys(headers.security_headers() | headers.strict_transport_security(), "own")
    answer = SecurityHeadersMiddleware(lambda request: HttpResponse(headers=own))(rf.get("/", secure=True))
    assert answer.headers.items() >= own.items()
    framed = SecurityHeadersMiddleware(xframe_options_exempt(lambda request: HttpResponse()))(rf.get("/"))
    assert "X-Frame-Options" not in framed.headers
    assert "frame-ancestors 'none'" in framed["Content-Security-Policy"]


# What is remembered

HOSTS = [
    "www.example.org",
    "WWW.example.org:8443",
    "www.example.org.",
    "a.sub.example.org",
    "sub.example.org",
    "[::1]:80",
]
FOREIGN = ["", "evil.example", "www.example.org@evil.example", "www.example.org, evil.example", "a b", "x" * 3000, "*"]


@pytest.mark.parametrize("allowed", [["www.example.org", ".sub.example.org"], ["*"], [], ["[::1]"]], ids=str)
@pytest.mark.parametrize("host", [*HOSTS, *FOREIGN], ids=lambda host: host[:30])
def test_no_host_is_allowed_that_django_refuses(rf: RequestFactory, host: str, allowed: list[str]) -> None:
    with override_settings(ALLOWED_HOSTS=allowed):
        request = rf.get("/", HTTP_HOST=host)
        try:
            is_allowed = bool(request.get_host())
        except DisallowedHost:
            is_allowed = False
        # A host that is too long to be remembered is left to Django.
        assert [hosts.is_allowed(host) for _ in range(2)] == [is_allowed and len(host) <= hosts.MAX_LENGTH] * 2


COOKIES = ["", "de", "en", "xx", "de-AT", "d" * 300]
ACCEPTED = ["", "de", "de-AT,de;q=0.8,en;q=0.5", "en;q=0.1,de;q=0.9", "xx", "*", "de;q=x", "x" * 600 + ",de"]


@pytest.mark.parametrize(("cookie", "accepted"), list(itertools.product(COOKIES, ACCEPTED)), ids=lambda each: each[:30])
def test_the_language_is_the_one_that_django_finds(
    rf: RequestFactory, settings: Any, cookie: str, accepted: str
) -> None:
    request = rf.get("/", headers={"accept-language": accepted})
    request.COOKIES[settings.LANGUAGE_COOKIE_NAME] = cookie
    for _ in range(2):
        LanguageMiddleware(lambda request: HttpResponse())(request)
        assert translation.get_language_from_request(request) == request.LANGUAGE_CODE


def test_the_api_is_in_english_after_a_german_page(rf: RequestFactory) -> None:
    middleware = LanguageMiddleware(lambda request: HttpResponse(translation.get_language()))
    answers = [middleware(rf.get(path, headers={"accept-language": "de"})) for path in ("/", "/api/me/")]
    assert [(each.content, each["Content-Language"]) for each in answers] == [(b"de", "de"), (b"en", "en")]


def test_what_is_remembered_is_bounded() -> None:
    """Headers of strangers must not fill the memory."""
    for number in range(3000):
        addresses.canonical(f"2001:db8::{number:x}")
        addresses.is_within(f"2001:db8::{number:x}", ["10.0.0.0/8"])
        hosts.canonical(f"host-{number}.example", "https")
        hosts.is_allowed(f"host-{number}.example")
    for cache in (addresses._canonical, addresses._is_within, hosts._canonical, hosts._is_allowed):
        assert cache.cache_info().currsize == 1024
        before = cache.cache_info()
    long = "x" * 5000
    addresses.canonical(long), addresses.is_within(long, []), hosts.canonical(long, "https"), hosts.is_allowed(long)
    assert cache.cache_info() == before


# ASGI


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/accounts/login/", "/api/docs/", "/api/nowhere/", "/nowhere/", "/health/live"])
def test_asgi_gives_the_same_headers(browser: Any, path: str) -> None:
    of_wsgi = browser().get(path)
    of_asgi = async_to_sync(AsyncClient().get)(path, secure=True)
    assert of_asgi.status_code == of_wsgi.status_code
    differing = {"X-Request-ID", "Expires", "Content-Length"}
    ours, theirs = ({name: each[name] for name in each.headers if name not in differing} for each in (of_asgi, of_wsgi))
    assert ours == theirs
