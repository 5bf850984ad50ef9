"""Sessions that are bound to a device (DBSC): what a browser with the key gets, and what stays as it was."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import SecurityEvent, SignIn
from api.blocklist.sessions import SessionStore
from tests.accounts.support_pages import END, sign_in_as
from tests.api.dbsc_client import BOUND, HOME, SENSITIVE, SESSION, BoundBrowser, bound_browser, challenge_in
from tests.conftest import Browser, sign_in_of

TERM = timedelta(minutes=10)


@pytest.fixture(autouse=True)
def offered(settings):
    settings.DBSC = "offered"
    settings.DBSC_TERM = TERM


@pytest.fixture
def bound(ann, password):
    return bound_browser(ann, password)


@pytest.fixture
def failures(ann):
    """Returns a function that counts the events of failed proofs."""
    return lambda: SecurityEvent.objects.filter(user=ann, type="device_proof_failed").count()


def confirm(browser, password):
    """Proves who the user is."""
    response = browser.post("/accounts/confirm/", {"password": password})
    assert response.status_code == 302, response.content.decode()
    return response


# Registration


def test_the_answer_that_signs_in_asks_for_a_key(ann, password):
    header = BoundBrowser().sign_in(ann, password).headers["Secure-Session-Registration"]
    assert header.startswith('(ES256 RS256);path="/dbsc/registration/";challenge="')


def test_no_other_answer_asks_for_a_key(bound):
    assert "Secure-Session-Registration" not in bound.get(HOME).headers


@pytest.mark.parametrize(("mode", "for_ann", "for_staff"), [("off", 0, 0), ("offered", 1, 1), ("staff", 0, 1)])
def test_a_setting_chooses_whose_browsers_are_asked(ann, staff, password, settings, mode, for_ann, for_staff):
    settings.DBSC = mode
    asked = ["Secure-Session-Registration" in BoundBrowser().sign_in(user, password).headers for user in (ann, staff)]
    assert asked == [for_ann, for_staff]


@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
def test_a_browser_registers_its_key(ann, password, algorithm):
    browser = bound_browser(ann, password, algorithm=algorithm)
    assert sign_in_of(ann).key_thumbprint == browser.identifier
    assert browser.get(HOME).status_code == 200


def test_the_instructions_name_the_cookie_and_the_refresh(ann, password):
    browser = BoundBrowser()
    browser.sign_in(ann, password)
    response = browser.register()
    cookie = response.cookies[BOUND]
    instructions = response.json()
    [credential] = instructions["credentials"]
    assert (instructions["refresh_url"], credential["name"]) == ("/dbsc/refresh/", BOUND)
    assert credential["attributes"] == "Path=/; Secure; HttpOnly; SameSite=Lax"
    assert (cookie["secure"], cookie["httponly"], cookie["samesite"], cookie["max-age"]) == (True, True, "Lax", 600)


def test_apps_of_our_site_may_cause_a_refresh(ann, password, settings):
    settings.APP_ORIGINS = ["https://app.example.org:8443"]
    browser = BoundBrowser()
    browser.sign_in(ann, password)
    assert browser.register().json()["allowed_refresh_initiators"] == ["app.example.org"]


def test_a_sign_in_of_a_browser_app_can_be_bound(ann, password):
    browser = BoundBrowser()
    proof, headers = {"username": "ann", "password": password}, {"Sec-Fetch-Site": "same-origin"}
    browser.keep_offer(browser.post("/api/session/", proof, "application/json", headers=headers))
    assert browser.register().status_code == 200
    assert browser.get("/api/session/").status_code == 200


def test_a_browser_without_a_key_goes_on_as_before(ann, password, clock):
    browser = BoundBrowser()
    browser.sign_in(ann, password)
    clock.shift(2 * TERM)
    assert browser.get(HOME).status_code == 200


def test_requests_sent_before_the_registration_are_accepted(bound, clock):
    bound.forget()
    clock.shift(timedelta(seconds=9))
    assert bound.get(HOME).status_code == 200
    clock.shift(timedelta(seconds=2))
    assert bound.get(HOME).status_code == 302


# Refresh


def test_a_proof_gets_a_new_cookie(bound, clock):
    clock.shift(2 * TERM)
    bound.forget()
    assert bound.renew().status_code == 200
    assert bound.get(HOME).status_code == 200


def test_a_refresh_without_a_proof_gets_a_challenge(bound):
    response = bound.refresh()
    assert response.status_code == 403
    assert challenge_in(response)


def test_the_previous_cookie_is_accepted_for_a_while(bound, clock):
    old = bound.cookies[BOUND].value
    clock.shift(TERM)
    bound.renew()
    bound.cookies[BOUND] = old
    clock.shift(timedelta(seconds=59))
    assert bound.get(HOME).status_code == 200
    clock.shift(timedelta(seconds=2))
    assert bound.get(HOME).status_code == 302


def test_each_of_the_last_challenges_is_accepted(bound):
    first, second = bound.challenge(), bound.challenge()
    assert bound.refresh(bound.proof(first)).status_code == 200
    assert bound.refresh(bound.proof(second)).status_code == 200


def test_a_refresh_is_not_a_use_of_the_session(bound, ann, clock):
    before = sign_in_of(ann)
    clock.shift(timedelta(hours=1))
    bound.renew()
    assert sign_in_of(ann).last_seen_at == before.last_seen_at
    assert sign_in_of(ann).expires_at == before.expires_at


def test_an_idle_session_is_not_refreshed(bound, ann, clock):
    clock.shift(SignIn.idle_timeout_of(SignIn.Kind.BROWSER) + timedelta(seconds=1))
    assert bound.refresh().status_code == 401


def test_proofs_do_not_extend_the_longest_lifetime(bound, ann, clock, settings):
    for _day in range(settings.SIGN_IN_MAX.days):
        clock.shift(timedelta(hours=23))
        assert bound.renew().status_code == 200
        assert bound.get(HOME).status_code == 200
    clock.shift(timedelta(hours=settings.SIGN_IN_MAX.days))
    assert bound.refresh().status_code == 401


def test_a_refresh_after_the_end_deletes_the_binding(bound, ann):
    sign_in_of(ann).end(SignIn.Reason.ENDED_BY_USER)
    assert bound.refresh().status_code == 401


def test_switched_off_the_binding_ends_and_the_session_stays(bound, clock, settings):
    settings.DBSC = "off"
    clock.shift(2 * TERM)
    bound.forget()
    assert bound.refresh().json() == {"continue": False}
    assert bound.get(HOME).status_code == 200


def test_signing_out_drops_the_bound_cookie(bound):
    assert bound.post("/accounts/logout/").cookies[BOUND].value == ""


# Without the bound cookie


@pytest.fixture
def late(bound, clock):
    """Ann's browser after the term, without a proof."""
    clock.shift(2 * TERM)
    bound.forget()
    return bound


def test_a_page_without_a_proof_asks_for_one(late):
    response = late.get(f"{HOME}?kind=browser")
    assert response.url == "/accounts/this-browser/?next=%2Faccounts%2Fsign-ins%2F%3Fkind%3Dbrowser"


def test_a_missing_proof_does_not_sign_out(late, ann):
    response = late.get(HOME)
    assert SESSION not in response.cookies
    late.renew()
    assert late.get(HOME).status_code == 200
    assert sign_in_of(ann).ended_at is None


def test_the_device_page_goes_on_after_a_proof(late):
    device = late.get(HOME).url
    late.renew()
    assert late.get(device).url == HOME


def test_the_device_page_asks_the_user_without_a_proof(late, failures):
    response = late.get(late.get(HOME).url, headers={"Sec-Fetch-Site": "same-origin"})
    assert response.url == "/accounts/confirm/?next=/accounts/sign-ins/"
    assert failures() == 1
    assert late.get(response.url).status_code == 200


def test_a_link_of_another_site_is_followed_again(late, failures):
    response = late.get(late.get(HOME).url, headers={"Sec-Fetch-Site": "cross-site"})
    assert '<meta http-equiv="refresh" content="0; url=/accounts/this-browser/?next=' in response.content.decode()
    assert failures() == 0


def test_the_api_asks_for_a_proof(late):
    response = late.get("/api/me/")
    assert (response.status_code, response.json()["code"]) == (401, "device_proof_required")
    assert response.headers["WWW-Authenticate"] == 'Session realm="api"'


def test_public_pages_are_shown_to_a_browser_without_a_proof(late):
    assert late.get("/.well-known/jwks.json").status_code == 200
    assert late.get("/accounts/password_reset/").status_code == 200


def test_a_proof_of_the_user_binds_anew(late, ann, password):
    old = sign_in_of(ann).key_thumbprint
    late.keep_offer(confirm(late, password))
    assert late.get(HOME).status_code == 200
    late.key = BoundBrowser().key
    assert late.register().status_code == 200
    assert sign_in_of(ann).key_thumbprint == late.identifier != old


def test_a_proof_of_the_user_by_the_api_binds_anew(late, password):
    headers = {"Sec-Fetch-Site": "same-origin"}
    response = late.post("/api/reauthenticate/", {"password": password}, "application/json", headers=headers)
    assert response.status_code == 204
    late.keep_offer(response)
    assert late.register().status_code == 200
    assert late.get("/api/me/").status_code == 200


def test_the_answer_for_an_old_key_spares_the_new_one(late, password):
    old = late.identifier
    late.keep_offer(confirm(late, password))
    late.key = BoundBrowser().key
    late.register()
    assert late.refresh(identifier=old).status_code == 401
    assert late.renew().status_code == 200


def test_signing_in_anew_ends_the_session_without_a_proof(late, ann, password):
    old = sign_in_of(ann)
    late.sign_in(ann, password)
    old.refresh_from_db()
    assert old.end_reason == "signed_out"
    assert late.get(HOME).status_code == 200


def test_a_session_without_a_proof_can_be_signed_out(late, ann):
    assert late.post("/accounts/logout/").status_code == 200
    assert sign_in_of(ann).end_reason == "signed_out"


def test_a_session_without_a_proof_is_not_written(late):
    # As a view of another app does it for an anonymous user.
    session = SessionStore(late.cookies[SESSION].value)
    session["cart"] = 1
    session.save()
    assert session.session_key != late.cookies[SESSION].value
    late.renew()
    assert late.get("/api/me/").json()["username"] == "ann"


def test_a_bound_sign_in_is_not_bound_again(bound, ann):
    key = sign_in_of(ann).key_thumbprint
    assert not sign_in_of(ann).bind("another", "{}")
    assert sign_in_of(ann).key_thumbprint == key


def test_a_trouble_of_the_browser_is_noted_without_a_mail(late, ann, mails_of):
    skipped = {"Secure-Session-Skipped": f'quota_exceeded;session_identifier="{late.identifier}"'}
    device = late.get(HOME).url
    assert mails_of(lambda: late.get(device, headers=skipped)) == []
    event = SecurityEvent.objects.get(user=ann, type="device_proof_failed")
    assert event.details == {"cause": "no_proof", "skipped": "quota_exceeded"}


# What matters


def repeated(browser, response):
    """Follows the redirect to a sensitive page as a browser does: it proves its key first."""
    assert response.status_code == 307, response.content.decode()
    assert response.cookies[BOUND].value == ""
    browser.renew()
    return browser.get(response.url)


def test_what_matters_needs_a_new_proof_of_the_device(bound):
    assert repeated(bound, bound.get(SENSITIVE)).status_code == 200


def test_a_form_is_repeated_with_the_proof(bound, ann):
    response = bound.post(SENSITIVE, {"new_email": "ann@elsewhere.example"})
    assert response.status_code == 307
    bound.renew()
    assert bound.post(response.url, {"new_email": "ann@elsewhere.example"}).status_code == 302


def test_the_form_of_a_page_needs_no_second_proof(bound):
    response = bound.get(SENSITIVE)
    repeated(bound, response)
    assert bound.post(response.url, {"new_email": "ann@elsewhere.example"}).status_code == 302


def test_a_refresh_that_was_under_way_does_not_fail_the_demand(bound):
    under_way = bound.renew().cookies[BOUND].value
    response = bound.get(SENSITIVE)
    bound.cookies[BOUND] = under_way
    again = bound.get(response.url)
    assert repeated(bound, again).status_code == 200


def test_an_old_demand_is_repeated(bound, clock):
    response = bound.get(SENSITIVE)
    bound.renew()
    clock.shift(timedelta(minutes=5))
    assert bound.get(response.url).status_code == 307


def test_the_api_needs_a_new_proof_for_what_matters(bound):
    headers = {"Sec-Fetch-Site": "same-origin"}
    response = bound.post("/api/sign-ins/end-others/", {}, "application/json", headers=headers)
    assert response.status_code == 307
    bound.renew()
    assert bound.post(response.url, {}, "application/json", headers=headers).status_code == 200


def test_a_token_of_the_session_needs_a_new_proof(bound):
    headers = {"Sec-Fetch-Site": "same-origin"}
    response = bound.post("/api/session/token/", {}, "application/json", headers=headers)
    assert response.status_code == 307
    bound.renew()
    assert bound.post(response.url, {}, "application/json", headers=headers).status_code == 200


def test_the_admin_needs_a_new_proof_for_changes(staff, password):
    browser = bound_browser(staff, password)
    response = browser.post("/admin/accounts/user/add/", {"username": "new"})
    assert response.status_code == 307


# Shown


def test_the_page_shows_what_is_bound(bound):
    assert "bound to this device" in bound.get(HOME).content.decode()


def test_the_api_shows_what_is_bound(bound, ann, password, browser_of):
    browser_of(ann)
    shown = bound.get("/api/sign-ins/").json()["results"]
    assert sorted(each["bound"] for each in shown) == [False, True]


def test_the_admin_shows_what_is_bound(ann, page, password):
    bound_browser(ann, password)
    response = page.get(f"/admin/accounts/signin/{sign_in_of(ann).pk}/change/")
    assert "to the key of the device (DBSC)" in response.content.decode()


def test_other_browsers_of_the_user_stay_unbound(bound, ann, password):
    other = Browser()
    other.post("/accounts/login/", {"username": "ann", "password": password})
    assert other.get(HOME).status_code == 200


# Support


def test_a_staff_member_returns_from_support_to_a_bound_session(staff, ann, password, settings, clock):
    browser = bound_browser(staff, password)
    settings.DBSC = "off"
    sign_in_as(browser, ann, why="a call")
    settings.DBSC = "offered"
    clock.shift(timedelta(minutes=11))
    browser.forget()
    assert browser.renew().status_code == 200
    browser.post(END)
    assert browser.get("/api/me/").json()["username"] == staff.username


# Statements


def statements(work):
    """Returns the number of statements, without those that only begin and end savepoints."""
    with CaptureQueriesContext(connection) as queries:
        assert work().status_code in (200, 403)
    return len([each for each in queries if "SAVEPOINT" not in each["sql"]])


def test_a_refresh_takes_one_statement_and_three_with_a_proof(bound):
    assert statements(bound.refresh) == 1
    proof = bound.proof(bound.challenge())
    assert statements(lambda: bound.refresh(proof)) == 3


def test_a_registration_takes_three_statements(ann, password):
    browser = BoundBrowser()
    browser.sign_in(ann, password)
    assert statements(browser.register) == 3
