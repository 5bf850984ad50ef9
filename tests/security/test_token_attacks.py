"""Attacks on tokens at every endpoint that accepts one, with HS256 and ES256."""

import json
import time
from urllib.parse import urlencode

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.conf import settings
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from jwt.utils import base64url_decode, der_to_raw_signature

from accounts import links, registration
from accounts.models import SecurityEvent, SignIn
from api.blocklist.models import Entry
from api.keys import Key, keyring
from tests.api.test_bound_tokens import Holder
from tests.api.test_forged_tokens import FORGED, encoded, signed
from tests.conftest import ApiClient, Browser, bearer, claims_of, header_of
from tests.security import examples
from tests.security.urls import all_rows

pytestmark = pytest.mark.django_db

FORM = "application/x-www-form-urlencoded"
WHO = "/compare/who/"
# The order of the curve P-256.
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
# Attributes of a token signed with a key pair.
GENUINE_ES256 = {"HS512 that says HS256", "right signature, alg ES256"}


@pytest.fixture(params=["HS256", "ES256"])
def algorithm(request, tmp_path, settings):
    """The signing algorithm."""
    if request.param == "ES256":
        (tmp_path / "1.pem").write_bytes(Key.generate("ES256").pem)
        settings.JWT_KEYS = str(tmp_path)
    return request.param


class Doors:
    """Every endpoint that accepts a token: returns whether it was accepted, and checks the form of a refusal."""

    def __init__(self, gate):
        self.gate = gate

    def lets_in(self, name, token):
        response = getattr(self, name)(token)
        if name == "introspect" and response.status_code == 200:
            return response.json()["active"]
        if name == "revoke" or response.status_code == 200:
            return response.status_code == 200
        answer = response.json()
        assert isinstance(answer["detail"], str)
        # Too large for a form; not valid Unicode.
        if response.status_code in (400, 413) and name not in ("bearer", "dpop"):
            return False
        assert response.status_code == 401, (name, response.status_code)
        assert answer["code"] in ("token_not_valid", "bad_authorization_header", "invalid_dpop_proof"), answer
        assert 'error="invalid_' in response.headers["WWW-Authenticate"]
        return False

    def bearer(self, token):
        return ApiClient().get(WHO, headers=bearer(token))

    def dpop(self, token):
        return ApiClient().get(WHO, headers={"authorization": f"DPoP {token}", "dpop": "a.b.c"})

    def refresh(self, token):
        return ApiClient().post("/api/token/refresh/", {"refresh": token})

    def verify(self, token):
        return ApiClient().post("/api/token/verify/", {"token": token})

    def blacklist(self, token):
        return ApiClient().post("/api/token/blacklist/", {"refresh": token})

    def revoke(self, token):
        return self._form("/api/token/revoke/", token, "")

    def introspect(self, token):
        return self._form("/api/token/introspect/", token, self.gate)

    def _form(self, path, token, access):
        headers = bearer(access) if access else {}
        body = urlencode({"token": token}, errors="surrogatepass")
        return Browser().generic("POST", path, body, FORM, headers=headers)


@pytest.fixture
def doors(db, algorithm):
    service, password = registration.create_service("gate", ["introspect"])
    gate = ApiClient()
    gate.sign_in(service.username, password)
    return Doors(gate.access)


@pytest.fixture
def hers(doors, client_of, ann):
    """Ann's client."""
    return client_of(ann)


# Forgeries


# tests/api/test_forged_tokens.py tries the other forgeries with HS256.
TRIED = [("HS256", "dpop"), ("HS256", "revoke"), ("HS256", "introspect"), ("ES256", "bearer"), ("ES256", "refresh")]


@pytest.mark.parametrize(("algorithm", "name"), TRIED, indirect=["algorithm"])
def test_no_forged_token_is_accepted_at_any_endpoint(doors, hers, algorithm, name):
    honest = hers.refresh if name in ("refresh", "blacklist", "revoke") else hers.access
    before = all_rows()
    forgeries = {each: forge for each, forge in FORGED.items() if algorithm == "HS256" or each not in GENUINE_ES256}
    let_in = [each for each, forge in forgeries.items() if doors.lets_in(name, forge(honest))]
    # Revocation has the same response for all tokens (RFC 7009, section 2.2).
    assert not let_in or name == "revoke"
    assert all_rows() == before
    if name != "dpop":
        assert doors.lets_in(name, signed(header_of(honest), claims_of(honest)))


def public_texts(key):
    """Returns every public text that a verifier might use as a shared secret."""
    public, jwk = key.verifying, key.jwk
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    served = Browser().get("/.well-known/jwks.json").content
    return {
        "PEM": pem,
        "PEM without its last line end": pem.strip(),
        "PEM with other line ends": pem.replace(b"\n", b"\r\n"),
        "the inside of PEM": b"".join(pem.splitlines()[1:-1]),
        "DER": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "a point": public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint),
        "a compressed point": public.public_bytes(Encoding.X962, PublicFormat.CompressedPoint),
        "x": base64url_decode(jwk["x"]),
        "x in letters": jwk["x"].encode(),
        "JWK": json.dumps(jwk).encode(),
        "JWK without blanks": json.dumps(jwk, separators=(",", ":")).encode(),
        "JWKS as served": served,
        "its kid": key.kid.encode(),
        "nothing": b"",
    }


@pytest.mark.parametrize("algorithm", ["ES256"], indirect=True)
def test_a_public_key_does_not_verify_hmac_signatures(doors, hers):
    for name, secret in public_texts(keyring.signing_key).items():
        for alg, digest in {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512", "ES256": "sha256"}.items():
            for header in (header_of(hers.access) | {"alg": alg}, {"alg": alg, "typ": "at+jwt"}):
                forged = signed(header, claims_of(hers.access), secret, digest)
                assert not doors.lets_in("bearer", forged), (name, alg)


@pytest.mark.parametrize("algorithm", ["ES256"], indirect=True)
def test_a_key_is_selected_by_its_own_kid_only(doors, hers, tmp_path):
    (tmp_path / "0.pem").write_bytes(Key.generate("ES256").pem)
    (tmp_path / "2.pem").write_bytes(Key.generate("EdDSA").pem)
    keyring.load()
    claims = claims_of(hers.access)
    for signs in keyring.by_kid.values():
        for named in keyring.by_kid.values():
            headers = {"kid": named.kid, "typ": "at+jwt"}
            token = jwt.encode(claims, signs.signing, algorithm=signs.algorithm, headers=headers)
            assert doors.lets_in("bearer", token) is (signs is named)


DUPLICATES = {
    "alg": lambda header, claims: (header[:-1] + b', "alg": "none"}', claims),
    "kid": lambda header, claims: (header[:-1] + b', "kid": "x"}', claims),
    "typ": lambda header, claims: (b'{"typ": "rt+jwt", ' + header[1:], claims),
    "sub": lambda header, claims: (header, claims[:-1] + b', "sub": "1"}'),
    "sub, spelled otherwise": lambda header, claims: (header, claims[:-1] + b', "s\\u0075b": "1"}'),
    "exp": lambda header, claims: (header, b'{"exp": 1, ' + claims[1:]),
    "cnf": lambda header, claims: (header, claims[:-1] + b', "cnf": {"jkt": "a", "jkt": "b"}}'),
}


@pytest.mark.parametrize("duplicate", DUPLICATES.values(), ids=DUPLICATES)
def test_duplicate_members_are_refused(doors, hers, duplicate):
    texts = (json.dumps(part(hers.access)).encode() for part in (header_of, claims_of))
    assert not doors.lets_in("bearer", signed(*duplicate(*texts)))


NUMBERS = [
    "9" * 400,
    "1e400",
    "-1e400",
    "1e10",
    "1E+10",
    "NaN",
    "-0",
    "0.0",
    "9" * 5000,
    "17976931348623157" + "0" * 300,
]


def test_unexpected_numbers_in_claims_are_refused(doors, hers):
    for name in ("exp", "iat", "nbf", "sub", "jti", "sid", "cnf", "username", "aud"):
        for number in NUMBERS:
            text = json.dumps(claims_of(hers.access) | {name: "PLACE"}).replace('"PLACE"', number).encode()
            # PyJWT ignores unknown claims; -0 is a time in the past.
            is_harmless = name == "nbf" and number in ("-0", "0.0")
            assert doors.lets_in("bearer", signed(header_of(hers.access), text)) is is_harmless, (name, number)


# Other encodings of a revoked token


def twin(token):
    """Returns the token with the other valid ECDSA signature: n - s in place of s."""
    text, _, signature = token.rpartition(".")
    raw = base64url_decode(signature)
    r, s = int.from_bytes(raw[:32]), int.from_bytes(raw[32:])
    curve = keyring.signing_key.verifying.curve
    return f"{text}.{encoded(der_to_raw_signature(encode_dss_signature(r, N - s), curve))}"


def spellings(token):
    return [token, twin(token), token + "=", token + "==", twin(token) + "==", token[:-1] + chr(ord(token[-1]) ^ 1)]


@pytest.mark.parametrize("algorithm", ["ES256"], indirect=True)
def test_the_re_encoded_twin_of_a_revoked_token_is_refused(doors, hers):
    assert twin(twin(hers.access)) == hers.access
    assert doors.lets_in("bearer", twin(hers.access))
    assert doors.lets_in("revoke", hers.access)
    assert not any(doors.lets_in(name, each) for each in spellings(hers.access) for name in ("bearer", "verify"))
    assert not any(doors.lets_in("introspect", each) for each in spellings(hers.access))


@pytest.mark.parametrize("algorithm", ["ES256"], indirect=True)
def test_revoking_the_re_encoded_twin_revokes_the_token(doors, hers):
    assert doors.lets_in("revoke", twin(hers.access))
    assert not doors.lets_in("bearer", hers.access)
    assert doors.lets_in("blacklist", twin(hers.refresh))
    assert not any(doors.lets_in("refresh", each) for each in spellings(hers.refresh))


@pytest.mark.parametrize("algorithm", ["ES256"], indirect=True)
def test_a_re_encoded_spent_refresh_token_counts_as_the_same(doors, hers, time_machine):
    used = hers.refresh
    hers.renew()
    again = doors.refresh(twin(used)).json()
    assert claims_of(again["refresh"])["jti"] == claims_of(hers.refresh)["jti"]
    time_machine.move_to(time.time() + 11)
    assert not doors.lets_in("refresh", twin(used))
    assert SecurityEvent.objects.filter(type="token_reused").count() == 1
    assert not doors.lets_in("refresh", hers.refresh)


# Each kind of secret in every place


@pytest.mark.parametrize("algorithm", ["ES256"], indirect=True)
def test_no_kind_of_secret_is_accepted_as_another(doors, hers, ann, browser_of, settings, password):
    settings.JWT_STATUS_LIST = True
    holder = Holder()
    holder.sign_in(ann.username, password)
    her_browser = browser_of(ann)
    her_browser.get("/accounts/profile/")
    cookies = {name: morsel.value for name, morsel in her_browser.cookies.items()}
    kinds = {
        "access": hers.access,
        "refresh": hers.refresh,
        "bound access": holder.access,
        "bound refresh": holder.refresh,
        "proof": holder.proof("GET", f"https://testserver{WHO}"),
        "proof with ours as key": jwt.encode(
            claims_of(hers.access),
            keyring.signing_key.signing,
            algorithm="ES256",
            headers={"typ": "dpop+jwt", "jwk": keyring.signing_key.jwk},
        ),
        "status list": Browser().get("/api/token/status/0").content.decode(),
        "reset link": links.password_reset.make_token(ann),
        "confirmation link": links.email_confirmation.make_token(ann),
        "sid": claims_of(hers.access)["sid"],
        "access jti": claims_of(hers.access)["jti"],
        "refresh jti": claims_of(hers.refresh)["jti"],
        "kid": keyring.signing_key.kid,
        **{f"cookie {name}": value for name, value in cookies.items()},
    }
    assert kinds["status list"].count(".") == 2
    # Endpoints that spend a token or end a sign-in come last.
    welcome = {
        "bearer": {"access"},
        "dpop": set(),
        "verify": {"access", "refresh", "bound access", "bound refresh"},
        "introspect": {"access", "bound access"},
    }
    for door in ("bearer", "dpop", "verify", "introspect"):
        assert {kind for kind, secret in kinds.items() if doors.lets_in(door, secret)} == welcome[door], door
    for door in ("refresh", "blacklist"):
        others = {kind: secret for kind, secret in kinds.items() if kind not in ("refresh", "bound refresh")}
        assert not [kind for kind, secret in others.items() if doors.lets_in(door, secret)]
    for kind, secret in kinds.items():
        if kind != f"cookie {settings.SESSION_COOKIE_NAME}":
            browser = Browser()
            browser.cookies[settings.SESSION_COOKIE_NAME] = secret
            assert browser.get(WHO).status_code == 401, kind
        if kind not in ("reset link", "confirmation link"):
            uid = "MQ"
            data = {"uid": uid, "token": secret[:128], "new_password": "a quite new passphrase"}
            assert ApiClient().post("/api/password/reset/confirm/", data).status_code == 400, kind
    assert doors.lets_in("bearer", hers.access)


@pytest.mark.parametrize("name", ["refresh", "blacklist", "revoke", "verify"])
def test_a_refresh_token_must_name_a_sign_in_of_its_user(doors, hers, client_of, bob, name):
    """Signed with the real key (F25)."""
    his = client_of(bob)
    for changes in ({"sid": claims_of(his.refresh)["sid"]}, {"sub": str(bob.pk)}):
        mixed = signed(header_of(hers.refresh), claims_of(hers.refresh) | changes)
        assert doors.lets_in(name, mixed) is (name == "revoke")
    assert not SignIn.objects.exclude(ended_at=None).exists()
    assert not Entry.objects.exists()


# The header


def malformed_headers(token):
    return {
        "a tab for the blank": f"Bearer\t{token}",
        "two blanks": f"Bearer  {token}",
        "a blank before": f" Bearer {token}",
        "a blank after": f"Bearer {token} ",
        "a tab after": f"Bearer {token}\t",
        "a no-break space for the blank": f"Bearer\xa0{token}",
        "a no-break space before": f"Bearer \xa0{token}",
        "a no-break space after": f"Bearer {token}\xa0",
        "a byte order mark before": f"Bearer \xef\xbb\xbf{token}",
        "a zero-width blank in UTF-8 after": f"Bearer {token}\xe2\x80\x8b",
        "a latin-1 letter after": f"Bearer {token}\xe9",
        "a full-width scheme in UTF-8": f"\xef\xbc\xa2earer {token}",
        "a line end": f"Bearer {token}\r\n",
        "a folded line": f"Bearer\r\n {token}",
        "a colon": f"Bearer: {token}",
        "quotes": f'Bearer "{token}"',
        "a parameter": f'Bearer token="{token}"',
        "a parameter after": f"Bearer {token}, realm=x",
        "two headers": f"Bearer {token}, Bearer {token}",
        "two headers without a blank": f"Bearer {token},Bearer {token}",
        "another scheme first": f"Basic YTpi, Bearer {token}",
        "twice": f"Bearer {token} {token}",
        "the scheme twice": f"Bearer Bearer {token}",
        "no scheme": token,
        "the scheme of SimpleJWT's examples": f"JWT {token}",
        "the scheme of DRF": f"Token {token}",
        "the scheme of JWE": f"Bearer {token}.{token.partition('.')[2]}",
        "percent-encoded": f"Bearer {token.replace('.', '%2e')}",
        "with a NUL": f"Bearer {token}\x00",
        "without its scheme's last letter": f"Beare {token}",
    }


def test_a_malformed_header_never_falls_back_to_the_cookie(doors, hers, browser_of, ann):
    browser = browser_of(ann)
    assert browser.get(WHO).status_code == 200
    for scheme in ("Bearer", "DPoP"):
        for name, header in malformed_headers(hers.access).items():
            header = header.replace("Bearer", scheme)
            response = browser.get(WHO, headers={"authorization": header})
            assert response.status_code == 401, (scheme, name)
            assert response.json()["code"] in ("token_not_valid", "bad_authorization_header"), (scheme, name)
            assert 'error="invalid_token"' in response.headers["WWW-Authenticate"], (scheme, name)


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "bEaReR"])
def test_the_scheme_ignores_case_and_the_token_takes_precedence(doors, hers, browser_of, bob, scheme):
    """RFC 9110, section 11.1."""
    headers = {"authorization": f"{scheme} {hers.access}"}
    assert browser_of(bob).get(WHO, headers=headers).json()["mode"] == "passport"


@pytest.mark.parametrize("place", ["?access_token={}", "?token={}", "?authorization=Bearer%20{}", "?jwt={}"])
def test_a_token_is_read_from_its_header_only(doors, hers, place):
    assert Browser().get(WHO + place.format(hers.access)).status_code == 401
    for header in ("x-authorization", "proxy-authorization", "x-access-token", "authorization_"):
        assert Browser().get(WHO, headers={header: f"Bearer {hers.access}"}).status_code == 401
    browser = Browser()
    for cookie in ("access", "token", "jwt", "Authorization", settings.SESSION_COOKIE_NAME):
        browser.cookies[cookie] = hers.access
    assert browser.get(WHO).status_code == 401


# The parser


# The texts include separators of signed values, and lone surrogates.
texts = st.text(st.characters(codec=None), max_size=8) | st.text(":.a1\ud800", max_size=8)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
CLAIMS = ["iss", "aud", "sub", "sid", "jti", "iat", "exp", "nbf", "token_type", "username", "cnf"]
HEADERS = ["alg", "kid", "typ", "crit", "jwk", "jku", "x5u", "x5c", "b64", "cty", "zip", "enc"]


@hypothesis_settings(max_examples=examples(100), suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_signed_token_is_answered_by_200_or_401(doors, hers, data):
    """Claims and headers of any type, and missing ones."""
    kind = data.draw(st.sampled_from(["access", "refresh"]))
    honest = getattr(hers, kind)
    header, claims = header_of(honest), claims_of(honest)
    for part, names in ((header, HEADERS), (claims, CLAIMS)):
        for name in data.draw(st.lists(st.sampled_from(names), max_size=2)):
            part[name] = data.draw(json_values)
        if part and data.draw(st.integers(0, 5)) == 0:
            del part[data.draw(st.sampled_from(sorted(part)))]
    token = signed(header, claims)
    name = data.draw(st.sampled_from(["bearer", "verify", "introspect", "refresh" if kind == "access" else "dpop"]))
    if doors.lets_in(name, token):
        # An accepted token has all required claims unchanged, except times and names.
        issued = claims_of(honest)
        assert all(claims[each] == issued[each] for each in ("iss", "aud", "sid", "token_type"))
        assert {"kid", "typ"} <= header.keys()
        assert "crit" not in header


@hypothesis_settings(max_examples=examples(100), suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_token_changed_at_any_place_is_refused(doors, hers, data):
    kind = data.draw(st.sampled_from(["access", "refresh"]))
    honest = getattr(hers, kind)
    at, to = sorted(data.draw(st.lists(st.integers(0, len(honest)), min_size=2, max_size=2)))
    letters = st.characters(codec="latin-1") | st.sampled_from("=._-+/AQgw")
    changed = honest[:at] + data.draw(st.text(letters, max_size=6)) + honest[to:]
    if changed == honest:
        return
    assert not doors.lets_in(data.draw(st.sampled_from(["bearer", "verify", "refresh", "blacklist"])), changed)


PROOF_CLAIMS = ["jti", "htm", "htu", "iat", "nonce", "ath", "exp", "nbf"]
JWK_MEMBERS = ["kty", "crv", "x", "y", "d"]
PROOF_HEADERS = ["typ", "jwk", "alg", "crit", "kid"]


@hypothesis_settings(max_examples=examples(100), suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_proof_is_answered_by_200_or_401(ann, password, data):
    holder = Holder()
    good = holder.proof("POST", "https://testserver/api/token/")
    header, claims = header_of(good), claims_of(good)
    for part, names in (
        (header, PROOF_HEADERS),
        (claims, PROOF_CLAIMS),
        (header["jwk"], ["kty", "crv", "x", "y", "d"]),
    ):
        for name in data.draw(st.lists(st.sampled_from(names), max_size=1)):
            part[name] = data.draw(json_values)
    text = f"{encoded(json.dumps(header).encode())}.{encoded(json.dumps(claims).encode())}"
    signature = jwt.get_algorithm_by_name("ES256").sign(text.encode(), holder.key)
    credentials = {"username": ann.username, "password": password}
    response = ApiClient().post("/api/token/", credentials, headers={"dpop": f"{text}.{encoded(signature)}"})
    assert response.status_code in (200, 400)
    if response.status_code == 200:
        assert claims_of(response.json()["access"])["cnf"]
        assert (claims["htm"], claims["htu"]) == ("POST", "https://testserver/api/token/")
    else:
        assert response.json()["error"] in ("invalid_dpop_proof", "use_dpop_nonce")
