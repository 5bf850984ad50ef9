"""Attacks on bound sessions (DBSC): those of the draft's security considerations, and a thief with all cookies."""

from datetime import timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.utils import base64url_decode, base64url_encode

from accounts.models import SecurityEvent, SignIn
from tests.api.dbsc_client import (
    BOUND,
    HOME,
    REFRESH,
    REGISTRATION,
    SENSITIVE,
    SESSION,
    BoundBrowser,
    bound_browser,
    unsigned,
)
from tests.conftest import Browser, sign_in_of

TERM = timedelta(minutes=10)
SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture(autouse=True)
def offered(settings):
    settings.DBSC = "offered"
    settings.DBSC_TERM = TERM


@pytest.fixture
def bound(ann, password, clock):
    """Ann's browser, some time after it has bound its session."""
    browser = bound_browser(ann, password)
    clock.shift(timedelta(minutes=1))
    return browser


@pytest.fixture
def signed_in(ann, password):
    """Ann's browser before the registration."""
    browser = BoundBrowser()
    browser.sign_in(ann, password)
    return browser


def failures():
    return list(SecurityEvent.objects.filter(type="device_proof_failed").values_list("sid", flat=True))


def is_refused(response, status=400, code="invalid_device_proof"):
    assert (response.status_code, response.json()["code"]) == (status, code), response.content
    assert BOUND not in response.cookies or response.cookies[BOUND].value == ""
    return True


# Proofs to refresh


def test_a_proof_of_another_key_is_refused(bound, ann):
    other = BoundBrowser()
    assert is_refused(bound.refresh(other.proof(bound.challenge())))
    assert failures() == [sign_in_of(ann).sid]


def test_the_key_in_the_header_of_a_refresh_is_not_used(bound):
    other = BoundBrowser()
    proof = other.proof(bound.challenge(), headers={"jwk": other.jwk})
    assert is_refused(bound.refresh(proof))


@pytest.mark.parametrize("algorithm", ["none", "None", "HS256", "ES384", "RS256", ["ES256"], None])
def test_a_refresh_by_another_algorithm_is_refused(bound, algorithm):
    proof = unsigned({"typ": "dbsc+jwt", "alg": algorithm}, jti=bound.challenge())
    for text in (proof, f"{proof}{base64url_encode(b'x' * 64).decode()}"):
        assert is_refused(bound.refresh(text))


def test_the_public_key_is_no_hmac_secret(bound):
    secret = base64url_decode(bound.jwk["x"])
    proof = jwt.encode({"jti": bound.challenge()}, secret, algorithm="HS256", headers={"typ": "dbsc+jwt"})
    assert is_refused(bound.refresh(proof))


@pytest.mark.parametrize("type", ["dpop+jwt", "JWT", "at+jwt", None])
def test_a_jwt_of_another_type_is_refused(bound, type):
    assert is_refused(bound.refresh(bound.proof(bound.challenge(), headers={"typ": type})))


@pytest.mark.parametrize("text", ["x", "a.b", "a.b.c", "a.b.c, a.b.c", "x" * 9000, '"', "a.b.c.d"])
def test_garbage_is_refused(bound, text):
    assert bound.refresh(text).status_code in (400, 403)


# Challenges


def is_challenged(response):
    """A browser deletes its binding after a 400. Of a challenge alone, it gets a new one."""
    assert response.status_code == 403
    assert BOUND not in response.cookies
    return bool(response.headers["Secure-Session-Challenge"])


def test_a_proof_is_accepted_once(bound):
    proof = bound.proof(bound.challenge())
    assert bound.refresh(proof).status_code == 200
    assert is_challenged(bound.refresh(proof))


def test_a_stale_challenge_is_refused(bound, clock):
    proof = bound.proof(bound.challenge())
    clock.shift(timedelta(seconds=61))
    assert is_challenged(bound.refresh(proof))


def test_a_challenge_of_another_session_is_refused(bound, ann, password):
    other = bound_browser(ann, password)
    assert is_challenged(bound.refresh(bound.proof(other.challenge())))


def test_a_challenge_of_an_earlier_key_is_refused(bound, ann, password):
    challenge = bound.challenge()
    bound.keep_offer(bound.post("/accounts/confirm/", {"password": password}))
    bound.key = BoundBrowser().key
    assert bound.register().status_code == 200
    assert is_challenged(bound.refresh(bound.proof(challenge)))


@pytest.mark.parametrize("challenge", ["", "x", "a:b:c", "ü", "x" * 500, None, 1, ["x"], {}])
def test_a_challenge_of_the_client_is_refused(bound, challenge):
    assert is_challenged(bound.refresh(bound.proof(challenge)))


def test_a_challenge_to_register_does_not_refresh(ann, password):
    browser = BoundBrowser()
    browser.sign_in(ann, password)
    offer = browser.offer
    browser.register()
    assert is_challenged(browser.refresh(browser.proof(offer)))


# Requests


def test_a_refresh_without_the_session_id_is_refused(bound):
    assert is_refused(bound.refresh(identifier=""), 403, "no_session_id")


def test_a_registration_without_a_proof_is_refused(signed_in):
    assert is_refused(signed_in.post(REGISTRATION), 403, "no_device_proof")


def test_a_refresh_with_another_session_id_is_refused(bound, ann, password):
    other = bound_browser(ann, password)
    assert is_refused(bound.refresh(identifier=other.identifier), 401, "not_bound")


def test_a_refresh_without_the_session_cookie_is_refused(bound):
    challenge = bound.challenge()
    bound.cookies.pop(SESSION)
    assert is_refused(bound.refresh(bound.proof(challenge)), 401, "not_bound")


@pytest.mark.parametrize("path", [REGISTRATION, REFRESH])
def test_the_endpoints_accept_post_only(bound, path):
    assert {bound.generic(method, path).status_code for method in ("GET", "PUT", "DELETE", "OPTIONS")} == {405}


@pytest.mark.parametrize("path", [REGISTRATION, REFRESH])
def test_no_other_origin_reads_the_answers(bound, path, settings):
    settings.CORS_ALLOWED_ORIGINS = ["https://evil.example"]
    settings.APP_ORIGINS = ["https://app.example.org"]
    for origin in ("https://evil.example", "https://app.example.org"):
        response = bound.post(path, headers={"Origin": origin, "Sec-Secure-Session-Id": f'"{bound.identifier}"'})
        assert not [name for name in response.headers if name.startswith("Access-Control-")]


def test_the_cookies_are_not_sent_by_other_sites(signed_in):
    response = signed_in.register()
    assert response.cookies[BOUND]["samesite"] == signed_in.cookies[SESSION]["samesite"] == "Lax"


# Registration, and what drops it


@pytest.mark.parametrize("algorithm", ["none", "HS256", "EdDSA", None])
def test_a_registration_by_another_algorithm_is_refused(signed_in, ann, algorithm):
    without_key = {"typ": "dbsc+jwt", "alg": algorithm}
    for header in (without_key, without_key | {"jwk": signed_in.jwk}):
        assert is_refused(signed_in.register(proof=unsigned(header, jti=signed_in.offer)))
    assert not sign_in_of(ann).is_bound


def test_a_registration_with_a_private_key_is_refused(signed_in):
    jwk = jwt.algorithms.ECAlgorithm.to_jwk(signed_in.key, as_dict=True)
    assert is_refused(signed_in.register(proof=signed_in.proof(signed_in.offer, headers={"jwk": jwk})))


def test_a_registration_with_a_weak_key_is_refused(ann, password):
    browser = BoundBrowser(algorithm="RS256")
    browser.key = rsa.generate_private_key(65537, 1024)  # noqa: S505
    browser.sign_in(ann, password)
    assert is_refused(browser.register())


def test_a_registration_of_another_curve_is_refused(signed_in):
    key = ec.generate_private_key(ec.SECP384R1())
    jwk = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    proof = jwt.encode({"jti": signed_in.offer}, key, algorithm="ES384", headers={"typ": "dbsc+jwt", "jwk": jwk})
    assert is_refused(signed_in.register(proof=proof))


def test_the_key_of_a_registration_must_sign(signed_in):
    proof = signed_in.proof(signed_in.offer, headers={"jwk": BoundBrowser().jwk})
    assert is_refused(signed_in.register(proof=proof))


def test_a_registration_is_accepted_once(signed_in):
    assert signed_in.register().status_code == 200
    assert is_refused(signed_in.register(), code="invalid_challenge")


def test_a_late_registration_is_refused(signed_in, ann, clock):
    clock.shift(timedelta(seconds=62))
    assert is_refused(signed_in.register(), code="invalid_challenge")
    assert not sign_in_of(ann).is_bound


def test_a_registration_for_another_session_is_refused(signed_in, ann, password):
    other = BoundBrowser()
    other.sign_in(ann, password)
    assert is_refused(signed_in.register(other.offer), code="invalid_challenge")


def test_a_registration_without_a_session_is_refused(signed_in):
    signed_in.cookies.pop(SESSION)
    assert is_refused(signed_in.register(), 401, "no_session")


def test_a_thief_cannot_bind_the_session_to_another_key(bound, ann):
    key = sign_in_of(ann).key_thumbprint
    thief = BoundBrowser()
    thief.cookies = bound.copy().cookies
    for challenge in (bound.offer, bound.challenge()):
        assert is_refused(thief.register(challenge), code="invalid_challenge")
    assert sign_in_of(ann).key_thumbprint == key


def test_cookies_copied_before_the_registration_end_with_it(signed_in, clock):
    thief = signed_in.copy()
    assert thief.get(HOME).status_code == 200
    signed_in.register()
    clock.shift(timedelta(seconds=12))
    assert thief.get(HOME).status_code == 302


def test_dropping_the_bound_cookie_does_not_unbind(bound):
    thief = bound.copy()
    thief.cookies.pop(BOUND)
    assert thief.get(HOME).url.startswith("/accounts/this-browser/")


def test_a_bound_cookie_of_another_session_is_refused(bound, bob, password):
    other = bound_browser(bob, password)
    bound.cookies[BOUND] = other.cookies[BOUND].value
    assert bound.get(HOME).status_code == 302


@pytest.mark.parametrize("form", ["9{}", "{}x", "x{}", ":", ""])
def test_a_changed_bound_cookie_is_refused(bound, form):
    bound.cookies[BOUND] = form.format(bound.cookies[BOUND].value)
    assert bound.get(HOME).status_code == 302


def test_the_table_of_sign_ins_signs_nobody_in(bound, ann):
    row = SignIn.objects.values().get(pk=sign_in_of(ann).pk)
    assert bound.cookies[BOUND].value.partition(":")[2] not in str(row)
    assert '"d"' not in row["device_key"]


# The thief: another browser with all cookies


@pytest.fixture
def thief(bound):
    return bound.copy()


def sees(browser):
    return browser.get(HOME).status_code == 200


def test_a_thief_reads_pages_for_a_term_at_most(bound, thief, clock):
    assert sees(thief)
    for _minute in range(11):
        clock.shift(timedelta(minutes=1))
        bound.renew()
    assert sees(bound)
    assert not sees(thief)


MATTERS = [
    ("GET", SENSITIVE),
    ("POST", SENSITIVE),
    ("GET", "/accounts/security/recovery-codes/"),
    ("POST", "/accounts/security/passkeys/new/"),
    ("POST", "/accounts/sign-ins/end-others/"),
    ("POST", "/accounts/password_change/"),
    ("POST", "/accounts/delete/"),
    ("POST", "/accounts/clients/new/"),
    ("POST", "/api/session/token/"),
    ("POST", "/api/sign-ins/end-others/"),
    ("POST", "/api/email/change/"),
    ("POST", "/api/factors/totp/"),
]


@pytest.mark.parametrize(("method", "path"), MATTERS)
def test_a_thief_gets_nothing_that_matters_at_once(thief, method, path, ann):
    stolen = {name: each.value for name, each in thief.cookies.items()}
    again = thief.generic(method, path, "{}", "application/json", headers=SAME_ORIGIN)
    for _attempt in range(3):
        assert again.status_code == 307, again.content
        # The thief keeps the cookie that the answer deletes, and repeats the request as it is.
        thief.cookies.load(stolen)
        again = thief.generic(method, again.url, "{}", "application/json", headers=SAME_ORIGIN)
    if path.startswith("/api/"):
        assert (again.status_code, again.json()["code"]) == (403, "recent_sign_in_required")
    else:
        assert again.url.startswith("/accounts/confirm/?next=")
    assert failures() == [sign_in_of(ann).sid]


def followed(browser, response):
    """Follows the demands of a response with the same cookies."""
    stolen = {name: each.value for name, each in browser.cookies.items() if each.value}
    while response.status_code == 307:
        browser.cookies.load(stolen)
        response = browser.get(response.url)
    return response


def test_the_proof_of_the_owner_does_not_serve_the_thief(bound, thief):
    stolen = thief.cookies[BOUND].value
    demand = thief.get(SENSITIVE)
    bound.renew()
    thief.cookies[BOUND] = stolen
    assert followed(thief, demand).url.startswith("/accounts/confirm/")


def test_a_demand_for_another_sign_in_is_not_used(bound, bob, password, clock):
    demand = bound_browser(bob, password).get(SENSITIVE).url
    clock.shift(timedelta(seconds=1))
    bound.renew()
    assert bound.copy().get(demand).status_code == 307


def test_a_proof_of_the_user_shuts_the_thief_out(bound, thief, password):
    bound.post("/accounts/confirm/", {"password": password})
    assert thief.get(HOME).url.startswith("/accounts/login/")


def test_the_owner_learns_of_the_thief(thief, ann, clock, mails_of):
    clock.shift(2 * TERM)
    device = thief.get(HOME).url
    [mail] = mails_of(lambda: thief.get(device, headers=SAME_ORIGIN))
    assert mail.subject == "Someone may have copied the cookies of your browser"
    assert failures() == [sign_in_of(ann).sid]


def test_the_owner_gets_one_mail_for_many_attempts(thief, clock, mails_of):
    clock.shift(2 * TERM)
    device = thief.get(HOME).url
    assert len(mails_of(lambda: [thief.get(device, headers=SAME_ORIGIN) for _ in range(5)])) == 1


def test_the_thief_does_not_end_the_session(bound, thief, clock):
    clock.shift(2 * TERM)
    thief.get(thief.get(HOME).url, headers=SAME_ORIGIN)
    bound.renew()
    assert sees(bound)


def test_guesses_at_the_confirmation_are_limited(thief, clock, ann):
    clock.shift(2 * TERM)
    answers = [thief.post("/accounts/confirm/", {"password": f"wrong {n}"}).status_code for n in range(30)]
    assert 429 in answers


def test_without_a_binding_the_thief_stays(signed_in, clock):
    thief = signed_in.copy()
    clock.shift(2 * TERM)
    assert sees(thief)


def test_a_browser_without_cookies_is_no_thief(bound):
    assert Browser().get(HOME).url.startswith("/accounts/login/")
