"""Requests of other origins: which ones may read responses, and that only tokens authenticate them."""

import pytest
from django.test import override_settings

ALLOWED_ORIGIN = "https://app.example.net"
LOOK_ALIKES = [
    "https://app.example.net.evil.example",
    "https://evil-app.example.net",
    "https://app.example.net:8443",
    "http://app.example.net",
    "https://APP.example.net",
    "https://example.net",
    "null",
    "*",
]
PREFLIGHT = {"access-control-request-method": "PATCH", "access-control-request-headers": "authorization,content-type"}


@pytest.fixture(autouse=True)
def allowed_origins():
    with override_settings(CORS_ALLOWED_ORIGINS=[ALLOWED_ORIGIN]):
        yield


def preflight(browser, origin, path="/api/me/"):
    return browser().options(path, headers={"origin": origin} | PREFLIGHT)


def words(header):
    return {word.strip().lower() for word in header.split(",")}


# Preflights


def test_a_preflight_of_an_allowed_origin_is_answered(browser):
    response = preflight(browser, ALLOWED_ORIGIN)
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == ALLOWED_ORIGIN


def test_a_preflight_reads_neither_session_nor_database(browser_of, ann, django_assert_num_queries):
    signed_in = browser_of(ann)
    with django_assert_num_queries(0):
        response = signed_in.options("/api/me/", headers={"origin": ALLOWED_ORIGIN} | PREFLIGHT)
    assert response.status_code == 200
    assert not response.cookies


def test_a_preflight_allows_only_what_token_mode_needs(browser):
    response = preflight(browser, ALLOWED_ORIGIN)
    assert words(response.headers["Access-Control-Allow-Headers"]) == {
        "accept",
        "authorization",
        "content-type",
        "dpop",
    }
    assert words(response.headers["Access-Control-Allow-Methods"]) == words("get,post,put,patch,delete,options")


def test_a_setting_allows_more_headers(browser, settings):
    settings.CORS_ALLOW_HEADERS = [*settings.CORS_ALLOW_HEADERS, "Idempotency-Key"]
    assert "idempotency-key" in words(preflight(browser, ALLOWED_ORIGIN).headers["Access-Control-Allow-Headers"])


def test_a_preflight_is_cached_by_the_browser(browser):
    assert preflight(browser, ALLOWED_ORIGIN).headers["Access-Control-Max-Age"] == "7200"


@pytest.mark.parametrize("origin", LOOK_ALIKES)
def test_a_preflight_of_another_origin_allows_nothing(browser, origin):
    assert "Access-Control-Allow-Origin" not in preflight(browser, origin).headers


@pytest.mark.parametrize("path", ["/", "/accounts/login/", "/admin/login/", "/health/live", "/apis/", "/x/api/me/"])
def test_pages_allow_no_origin(browser, path, db):
    assert "Access-Control-Allow-Origin" not in preflight(browser, ALLOWED_ORIGIN, path).headers


# Responses


@pytest.mark.parametrize("path", ["/api/me/", "/api/no-such-thing/"])
def test_an_allowed_origin_can_read_responses_and_refusals(browser, path, db):
    response = browser().get(path, headers={"origin": ALLOWED_ORIGIN})
    assert response.status_code in {401, 404}
    assert response.headers["Access-Control-Allow-Origin"] == ALLOWED_ORIGIN


def test_an_allowed_origin_can_read_the_challenge_and_retry_after(browser, db):
    response = browser().get("/api/me/", headers={"origin": ALLOWED_ORIGIN})
    assert words(response.headers["Access-Control-Expose-Headers"]) == {"dpop-nonce", "retry-after", "www-authenticate"}


@pytest.mark.parametrize("origin", LOOK_ALIKES)
def test_another_origin_can_read_nothing(browser, origin, db):
    response = browser().get("/api/me/", headers={"origin": origin})
    assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize("origin", [ALLOWED_ORIGIN, *LOOK_ALIKES])
def test_no_origin_is_allowed_to_send_cookies(browser, origin, db):
    for response in (preflight(browser, origin), browser().get("/api/me/", headers={"origin": origin})):
        assert "Access-Control-Allow-Credentials" not in response.headers


def test_caches_separate_responses_by_origin(browser, db):
    assert "origin" in words(browser().get("/api/me/").headers["Vary"])


# Cookies


@pytest.mark.parametrize("origin", [ALLOWED_ORIGIN, *LOOK_ALIKES])
@pytest.mark.parametrize("path", ["/api/me/", "/api/sign-ins/", "/api/events/"])
def test_a_cookie_from_another_origin_is_refused(browser_of, ann, origin, path):
    response = browser_of(ann).get(path, headers={"origin": origin})
    assert response.status_code == 401
    assert ann.email not in response.content.decode()


@pytest.mark.parametrize("site", ["same-site", "cross-site"])
def test_a_cookie_sent_by_a_foreign_page_is_refused(browser_of, ann, site):
    # As for <img src="…/api/me/"> on a page of a sibling domain: no Origin, and SameSite=Lax sends the cookie.
    assert browser_of(ann).get("/api/me/", headers={"sec-fetch-site": site}).status_code == 401


@pytest.mark.parametrize("headers", [{}, {"sec-fetch-site": "same-origin"}, {"sec-fetch-site": "none"}])
def test_a_cookie_from_a_page_of_the_site_is_accepted(browser_of, ann, headers):
    assert browser_of(ann).get("/api/me/", headers=headers).status_code == 200


def test_a_cookie_with_the_sites_origin_is_accepted(browser_of, ann):
    assert browser_of(ann).get("/api/me/", headers={"origin": "https://testserver"}).status_code == 200


@pytest.mark.parametrize("site", ["same-site", "cross-site"])
def test_a_token_is_accepted_from_any_origin(client_of, ann, site):
    response = client_of(ann).get("/api/me/", headers={"origin": ALLOWED_ORIGIN, "sec-fetch-site": site})
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == ALLOWED_ORIGIN
