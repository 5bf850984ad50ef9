"""
The API and the session cookie by the page that sends the request (Sec-Fetch-Site, Origin): our own, an app of
APP_ORIGINS, a sibling, another site, none; safe, unsafe, preflight; with the cookie, a token, or both; and login CSRF.
"""

import json

import pytest
from django.conf import settings as django_settings

from accounts.models import SignIn
from tests.conftest import Browser, bearer

OWN, APP, SIBLING = "https://testserver", "https://app.testserver", "https://evil.testserver"
OTHER, TRUSTED = "https://evil.example", "https://forms.testserver"
SESSION = "/api/session/"
COOKIE = django_settings.SESSION_COOKIE_NAME
JSON = "application/json"


def page(site=None, origin=None):
    """The headers of a page's requests, as browsers send them; without Sec-Fetch-Site, as browsers before 2023."""
    found = {"sec-fetch-site": site, "origin": origin}
    return {name: value for name, value in found.items() if value is not None}


OURS = {
    "our page": page("same-origin", OWN),
    "our page, GET": page("same-origin"),
    "our page behind a proxy that changes Host": page("same-origin", "https://www.example.org"),
    "our page without Origin's value": page("same-origin", "null"),
    "our page, old browser": page(None, OWN),
    "an app": page("same-site", APP),
    "an app, old browser": page(None, APP),
}
FOREIGN = {
    "a sibling": page("same-site", SIBLING),
    "a sibling, old browser": page(None, SIBLING),
    "a sibling, without Origin": page("same-site"),
    "a trusted origin of forms": page("same-site", TRUSTED),
    "our name on another port": page("same-site", f"{OWN}:8443"),
    "our name over HTTP": page("cross-site", "http://testserver"),
    "our name over HTTP, old browser": page(None, "http://testserver"),
    "the app's name on another port": page("same-site", f"{APP}:8443"),
    "the app's name over HTTP": page("same-site", "http://app.testserver"),
    "the app's name in upper case": page("same-site", APP.upper()),
    "a name that begins like the app's": page("same-site", f"{APP}.evil.example"),
    "a name below the app's": page("same-site", "https://evil.app.testserver"),
    "the app in a frame of another site": page("cross-site", APP),
    "another site": page("cross-site", OTHER),
    "another site, old browser": page(None, OTHER),
    "another site, without Origin": page("cross-site"),
    "a sandboxed frame": page("cross-site", "null"),
    "a sandboxed frame, old browser": page(None, "null"),
    "two values of Sec-Fetch-Site": page("same-origin, cross-site", OWN),
    "two values of Origin": page("same-site", f"{APP}, {SIBLING}"),
    "two values of Origin, old browser": page(None, f"{OWN}, {OTHER}"),
    "another case": page("Same-Origin", OWN),
    "an empty value": page("", OWN),
    "a value of the future": page("same-party", OWN),
}
# The user's own action, such as the address bar. A page sends no such request.
BY_USER = page("none")

ours = pytest.mark.parametrize("headers", OURS.values(), ids=OURS)
foreign = pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN)


@pytest.fixture(autouse=True)
def origins(settings):
    settings.APP_ORIGINS = [APP]
    settings.CSRF_TRUSTED_ORIGINS = [TRUSTED]


@pytest.fixture
def hers(browser_of, ann):
    """A browser with Ann's session, in which CSRF tokens are checked."""
    browser = Browser(enforce_csrf_checks=True)
    browser.cookies = browser_of(ann).cookies
    return browser


def rename(browser, headers, kind=JSON, body='{"first_name": "Ann"}'):
    return browser.generic("PATCH", "/api/me/", body, kind, headers=headers)


def csrf_token(browser):
    return {"x-csrftoken": browser.cookies[django_settings.CSRF_COOKIE_NAME].value, "referer": f"{OWN}/"}


def refused(response, status=403, code="csrf_failed"):
    assert (response.status_code, response.json()["code"]) == (status, code), response.content
    return True


# Safe requests with the cookie


@pytest.mark.parametrize("headers", [*OURS.values(), BY_USER, {}, page(None, TRUSTED)])
def test_a_safe_call_of_ours_has_the_session(hers, headers):
    assert hers.get("/api/me/", headers=headers).json()["username"] == "ann"


@foreign
def test_a_safe_call_of_another_page_has_no_session(hers, headers):
    assert refused(hers.get("/api/me/", headers=headers), 401, "not_authenticated")
    assert refused(hers.get(SESSION, headers=headers), 401, "not_authenticated")


# Unsafe requests with the cookie


@ours
def test_an_unsafe_call_of_ours_needs_no_token(hers, headers):
    assert rename(hers, headers).json()["first_name"] == "Ann"


@ours
def test_an_unsafe_call_of_ours_without_a_body_is_accepted(hers, headers):
    assert hers.generic("POST", "/api/sign-ins/end-all/", headers=headers).status_code == 200


@foreign
@pytest.mark.parametrize("has_token", [False, True])
def test_an_unsafe_call_of_another_page_is_refused(hers, ann, headers, has_token):
    assert refused(rename(hers, headers | (csrf_token(hers) if has_token else {})))
    ann.refresh_from_db()
    assert ann.first_name == ""


@foreign
def test_another_page_gets_no_token_and_ends_no_session(hers, headers):
    assert refused(hers.generic("POST", f"{SESSION}token/", "{}", JSON, headers=headers))
    assert refused(hers.delete(SESSION, headers=headers))
    assert hers.get(SESSION).status_code == 200


def test_an_unsafe_call_that_no_page_sent_is_refused(hers):
    assert refused(rename(hers, BY_USER | csrf_token(hers)))


def test_without_both_headers_a_csrf_token_is_needed(hers):
    token = csrf_token(hers)
    assert refused(rename(hers, {}))
    assert refused(rename(hers, token | {"x-csrftoken": "a" * 32}))
    # Over HTTPS, Django also needs the Referer.
    assert refused(rename(hers, {"x-csrftoken": token["x-csrftoken"]}))
    assert refused(rename(hers, token | {"referer": f"{SIBLING}/"}))
    assert rename(hers, token).status_code == 200


def test_an_origin_of_trusted_forms_needs_a_csrf_token(hers):
    """As before browsers had Sec-Fetch-Site, for a site that is served under another name than that of Host."""
    assert refused(rename(hers, page(None, TRUSTED)))
    assert rename(hers, page(None, TRUSTED) | csrf_token(hers)).status_code == 200


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"])
@ours
def test_a_form_is_refused(hers, headers, kind):
    assert refused(rename(hers, headers, kind, "first_name=Ann"), 415, "unsupported_media_type")


def test_a_view_that_takes_forms_needs_the_csrf_token(browser_of, staff):
    browser = Browser(enforce_csrf_checks=True)
    browser.cookies = browser_of(staff).cookies

    def introspect(headers):
        kind = "application/x-www-form-urlencoded"
        return browser.generic("POST", "/api/token/introspect/", "token=x", kind, headers=headers)

    assert refused(introspect(page("same-origin", OWN)))
    assert introspect(page("same-origin", OWN) | csrf_token(browser)).json() == {"active": False}


def test_pages_need_the_csrf_token_of_their_forms(hers):
    for headers in (page("same-origin", OWN), page("same-site", APP)):
        assert hers.post("/accounts/profile/", {"first_name": "Ann"}, headers=headers).status_code == 403


def test_without_a_setting_no_other_origin_has_the_session(hers, settings):
    settings.APP_ORIGINS = []
    assert hers.get("/api/me/", headers=page("same-site", APP)).status_code == 401
    assert refused(rename(hers, page("same-site", APP)))


def test_a_refused_call_costs_no_statement(hers, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert refused(rename(hers, page("same-site", SIBLING)))


# Tokens


@pytest.mark.parametrize("headers", [*OURS.values(), *FOREIGN.values(), BY_USER, {}])
@pytest.mark.parametrize("has_cookie", [False, True])
def test_a_token_is_accepted_from_everywhere(hers, client_of, bob, headers, has_cookie):
    browser = hers if has_cookie else Browser(enforce_csrf_checks=True)
    headers = headers | bearer(client_of(bob).access)
    assert browser.get("/api/me/", headers=headers).json()["username"] == "bob"
    assert rename(browser, headers).json()["username"] == "bob"


@ours
def test_a_bad_token_never_falls_back_to_the_cookie(hers, headers):
    assert refused(hers.get("/api/me/", headers=headers | bearer("x")), 401, "token_not_valid")
    assert refused(rename(hers, headers | bearer("x")), 401, "token_not_valid")


# Sign-in


def sign_in(password, headers, browser=None, user="ann"):
    browser = browser or Browser(enforce_csrf_checks=True)
    body = json.dumps({"username": user, "password": password})
    return browser.generic("POST", SESSION, body, JSON, headers=headers)


@pytest.mark.parametrize("headers", [*OURS.values(), {}])
def test_ours_and_clients_without_cookies_can_sign_in(ann, password, headers):
    assert sign_in(password, headers).status_code == 200


@pytest.mark.parametrize("path", ["", "second-step/", "passkey/options/", "passkey/"])
@foreign
def test_another_page_cannot_sign_a_browser_in(ann, password, headers, path):
    """Login CSRF (WSTG-SESS-05), with and without cookies."""
    for browser in (Browser(), Browser(enforce_csrf_checks=True)):
        if browser.handler.enforce_csrf_checks:
            browser.get("/accounts/login/")
            headers = headers | csrf_token(browser)
        body = json.dumps({"username": "ann", "password": password})
        response = browser.generic("POST", f"{SESSION}{path}", body, JSON, headers=headers)
        assert refused(response)
        assert COOKIE not in response.cookies
    assert not SignIn.objects.exists()


def test_another_page_cannot_replace_the_session(hers, bob, password):
    assert refused(sign_in(password, page("same-site", SIBLING), hers, "bob"))
    assert hers.get("/api/me/").json()["username"] == "ann"


def test_with_cookies_and_without_both_headers_a_csrf_token_is_needed(ann, password):
    browser = Browser(enforce_csrf_checks=True)
    browser.get("/accounts/login/")
    assert refused(sign_in(password, {}, browser))
    assert sign_in(password, csrf_token(browser), browser).status_code == 200
    assert refused(browser.delete(SESSION))
    assert browser.delete(SESSION, headers=csrf_token(browser)).status_code == 204


def test_a_sign_in_that_no_page_sent_is_refused(ann, password):
    assert refused(sign_in(password, BY_USER))


# CORS


def preflight(browser, origin, path=SESSION, method="DELETE"):
    asked = {
        "access-control-request-method": method,
        "access-control-request-headers": "authorization,content-type,dpop",
        "sec-fetch-site": "same-site",
    }
    return browser.options(path, headers={"origin": origin} | asked)


def words(header):
    return {word.strip().lower() for word in header.split(",")}


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", [SESSION, "/api/me/", "/api/token/", "/api/no-such-thing/"])
def test_a_preflight_of_an_app_may_send_the_cookie(hers, path, method, django_assert_num_queries):
    with django_assert_num_queries(0):
        response = preflight(hers, APP, path, method)
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == APP
    assert response.headers["Access-Control-Allow-Credentials"] == "true"
    assert method.lower() in words(response.headers["Access-Control-Allow-Methods"])
    assert words("authorization,content-type,dpop") <= words(response.headers["Access-Control-Allow-Headers"])
    assert "origin" in words(response.headers["Vary"])


@pytest.mark.parametrize("path", ["/api/me/", SESSION, "/api/no-such-thing/"])
def test_an_app_can_read_responses_to_the_cookie(hers, path):
    response = hers.get(path, headers=page("same-site", APP))
    assert response.headers["Access-Control-Allow-Origin"] == APP
    assert response.headers["Access-Control-Allow-Credentials"] == "true"
    assert "origin" in words(response.headers["Vary"])


@pytest.mark.parametrize("path", ["/", "/accounts/login/", "/admin/login/", "/.well-known/jwks.json", "/health/live"])
def test_an_app_can_read_nothing_but_the_api(hers, path):
    for response in (preflight(hers, APP, path), hers.get(path, headers=page("same-site", APP))):
        assert "Access-Control-Allow-Origin" not in response.headers
        assert "Access-Control-Allow-Credentials" not in response.headers


NOT_APPS = {each["origin"] for each in FOREIGN.values() if each.get("origin") not in (None, APP, OWN)}


@pytest.mark.parametrize("origin", sorted(NOT_APPS))
def test_no_other_origin_can_read_anything(hers, origin):
    for response in (preflight(hers, origin), hers.get("/api/me/", headers={"origin": origin})):
        assert "Access-Control-Allow-Origin" not in response.headers
        assert "Access-Control-Allow-Credentials" not in response.headers


def test_an_origin_of_token_clients_sends_no_cookie(hers, settings):
    settings.CORS_ALLOWED_ORIGINS = [SIBLING, APP]
    for response in (preflight(hers, SIBLING), hers.get("/api/me/", headers=page("same-site", SIBLING))):
        assert response.headers["Access-Control-Allow-Origin"] == SIBLING
        assert "Access-Control-Allow-Credentials" not in response.headers
    # An origin in both lists may.
    assert preflight(hers, APP).headers["Access-Control-Allow-Credentials"] == "true"


def test_an_app_can_read_a_refusal(hers, settings):
    response = hers.get("/api/me/", headers=page("same-site", APP) | bearer("x"))
    assert response.status_code == 401
    assert response.headers["Access-Control-Allow-Origin"] == APP
