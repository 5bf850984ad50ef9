"""Forged and altered tokens, sent to every endpoint that accepts a token."""

import base64
import hmac
import json
import time
from functools import cache
from types import SimpleNamespace

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from accounts.models import SecurityEvent, SignIn
from api.keys import keyring
from tests.conftest import bearer, claims_of, header_of

pytestmark = pytest.mark.django_db

# Where a token can be sent, and which type is accepted there.
DOORS = {"me": "access", "verify": "access", "refresh": "refresh", "blacklist": "refresh"}
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@pytest.fixture
def show(browser, anonymous):
    """Sends a token to an endpoint and returns the response."""

    def show(door, token):
        if door == "me":
            return browser().get("/api/me/", headers=bearer(token))
        return anonymous.post(f"/api/token/{door}/", {"token" if door == "verify" else "refresh": token})

    return show


@pytest.fixture(params=DOORS)
def door(request, hers, show):
    """One endpoint: a genuine token for it, and a function that sends a token there."""
    return SimpleNamespace(
        name=request.param,
        honest=getattr(hers, DOORS[request.param]),
        show=lambda token: show(request.param, token),
    )


def assert_refused(response):
    assert response.status_code == 401, response.content[:200]
    answer = response.json()
    assert answer["code"] == "token_not_valid"
    assert isinstance(answer["detail"], str)


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(header, claims, secret=None, digest="sha256"):
    """A token encoded by hand, since PyJWT refuses to make most of these; with the real key by default."""
    key = keyring.signing_key
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, claims)]
    text = ".".join(encoded(part) for part in parts)
    if secret is None and key.is_public:
        signature = jwt.get_algorithm_by_name(key.algorithm).sign(text.encode(), key.signing)
    else:
        signature = hmac.digest(key.signing if secret is None else secret, text.encode(), digest)
    return f"{text}.{encoded(signature)}"


def header(**changes):
    return lambda token: signed(header_of(token) | changes, claims_of(token))


def no_header(name):
    return lambda token: signed({k: v for k, v in header_of(token).items() if k != name}, claims_of(token))


def claims(**changes):
    return lambda token: signed(header_of(token), claims_of(token) | changes)


def no_claim(name):
    return lambda token: signed(header_of(token), {k: v for k, v in claims_of(token).items() if k != name})


def payload(change):
    """Changes the payload as bytes and signs it with the real key."""
    return lambda token: signed(header_of(token), change(json.dumps(claims_of(token)).encode()))


def unsigned(alg, signature=""):
    def forge(token):
        text = json.dumps(header_of(token) | {"alg": alg}).encode()
        return f"{encoded(text)}.{token.split('.')[1]}.{signature or ''}"

    return forge


def by_another_key(**changes):
    return lambda token: signed(header_of(token) | changes, claims_of(token), b"another key, thirty-two bytes long")


@cache
def private_key(algorithm):
    if algorithm == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def by_a_key_pair(algorithm):
    """Signs with a key pair whose public key is in the header of the token."""

    def forge(token):
        key = private_key(algorithm)
        numbers = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
        names = {"kid": header_of(token)["kid"], "typ": header_of(token)["typ"], "jwk": numbers}
        return jwt.encode(claims_of(token), key, algorithm=algorithm, headers=names)

    return forge


def letter(part, place):
    """Changes one letter of one part."""

    def forge(token):
        parts = token.split(".")
        at = place if place >= 0 else len(parts[part]) + place
        other = ALPHABET[ALPHABET.index(parts[part][at]) ^ 4]
        parts[part] = parts[part][:at] + other + parts[part][at + 1 :]
        return ".".join(parts)

    return forge


def as_json(token):
    """Returns the token in the JSON serialization of RFC 7515."""
    protected, claims, signature = token.split(".")
    return json.dumps({"protected": protected, "payload": claims, "signature": signature}, separators=(",", ":"))


def twin(token):
    """Returns the same signature in another encoding: 32 bytes leave two bits of the last letter unused."""
    return token[:-1] + ALPHABET[ALPHABET.index(token[-1]) ^ 1]


ANOTHER_JWK = {"kty": "oct", "alg": "HS256", "k": encoded(b"another key, thirty-two bytes long")}

FORGED = {
    # Keys and signatures
    "another key": by_another_key(),
    "an empty key": lambda token: signed(header_of(token), claims_of(token), b""),
    "the name of the key as key": lambda token: signed(
        header_of(token), claims_of(token), header_of(token)["kid"].encode()
    ),
    "a common secret": lambda token: signed(header_of(token), claims_of(token), b"secret"),
    "HS384 with the right key": lambda token: signed(
        header_of(token) | {"alg": "HS384"}, claims_of(token), digest="sha384"
    ),
    "HS512 with the right key": lambda token: signed(
        header_of(token) | {"alg": "HS512"}, claims_of(token), digest="sha512"
    ),
    "HS512 that says HS256": lambda token: signed(header_of(token), claims_of(token), digest="sha512"),
    "RS256 with a key of its own": by_a_key_pair("RS256"),
    "PS256 with a key of its own": by_a_key_pair("PS256"),
    "ES256 with a key of its own": by_a_key_pair("ES256"),
    **{
        f"right signature, alg {alg}": header(alg=alg)
        for alg in ["none", "HS384", "RS256", "ES256", "EdDSA", "hs256", "HS256 ", "HS1", "", None, 256, True, {}]
    },
    "right signature, alg a list": header(alg=["HS256"]),
    "right signature, no alg": no_header("alg"),
    **{
        f"no signature, alg {alg}": unsigned(alg)
        for alg in ["none", "None", "NONE", "nOnE", "noNE", "NoNe", "none ", "", None, "HS256"]
    },
    "alg none with something for a signature": unsigned("none", "AAAA"),
    # Headers that point at keys
    **{
        f"kid {kid!r:.30}": header(kid=kid)
        for kid in [
            "",
            "../../dev/null",
            "/dev/null",
            "' OR 1=1 --",
            "' UNION SELECT 'a",
            "https://evil.example/key",
            "\x00",
            "\ud800",
            "x" * 100_000,
            1,
            0,
            True,
            None,
            ["a"],
            {"a": "b"},
            1.5,
        ]
    },
    "kid with a blank": lambda token: header(kid=header_of(token)["kid"] + " ")(token),
    "no kid": no_header("kid"),
    "no kid and another key": lambda token: signed(
        {"alg": "HS256", "typ": header_of(token)["typ"]}, claims_of(token), b"another key, thirty-two bytes long"
    ),
    "/dev/null for a key": lambda token: signed(header_of(token) | {"kid": "../../dev/null"}, claims_of(token), b""),
    "another key, brought along": by_another_key(jwk=ANOTHER_JWK),
    "another key, brought along without a kid": lambda token: signed(
        {"alg": "HS256", "typ": header_of(token)["typ"], "jwk": ANOTHER_JWK},
        claims_of(token),
        b"another key, thirty-two bytes long",
    ),
    "another key at jku": by_another_key(jku="http://127.0.0.1:9/jwks.json"),
    "another key at x5u": by_another_key(x5u="http://127.0.0.1:9/key.pem"),
    "another key in x5c": by_another_key(x5c=["AAAA"]),
    "crit": header(crit=["x"], x=1),
    "crit without what it names": header(crit=["x"]),
    "crit empty": header(crit=[]),
    "crit that is no list": header(crit="exp"),
    "crit b64": header(crit=["b64"], b64=False),
    # The type of a token
    **{
        f"typ {typ!r:.30}": header(typ=typ)
        for typ in ["JWT", "jwt", "", "dpop+jwt", "secevent+jwt", "at+jwt ", "x" * 1000, None, 1, ["at+jwt"], {}]
    },
    "no typ": no_header("typ"),
    "typ of the other kind": lambda token: header(typ="rt+jwt" if header_of(token)["typ"] == "at+jwt" else "at+jwt")(
        token
    ),
    "token_type of the other kind": lambda token: claims(
        token_type="refresh" if claims_of(token)["token_type"] == "access" else "access"
    )(token),
    # Claims
    **{f"no {name}": no_claim(name) for name in ["iss", "aud", "sub", "sid", "jti", "iat", "exp", "token_type"]},
    **{
        f"{name} {value!r:.30}": claims(**{name: value})
        for name in ["iss", "aud", "sub", "sid", "jti", "exp", "token_type"]
        for value in [None, True, False, "", " ", [], {}, ["a"], {"a": "b"}, "\x00", "\ud800", "x" * 100_000]
    },
    **{f"iat {value!r:.30}": claims(iat=value) for value in [None, True, "", "now", [], {}, "1700000000", "\x00"]},
    **{
        f"{name} {label}": claims(**{name: value})
        for name in ["exp", "iat"]
        for label, value in {
            "beyond dates": 10**18,
            "of 400 digits": 10**400,
            "far below zero": -(10**18),
            "not a number": float("nan"),
            "infinity": float("inf"),
        }.items()
    },
    "exp as text": lambda token: claims(exp=str(claims_of(token)["exp"]))(token),
    "exp as a fraction": lambda token: claims(exp=claims_of(token)["exp"] + 0.5)(token),
    "exp zero": claims(exp=0),
    "exp below zero": claims(exp=-1),
    "exp an hour ago": lambda token: claims(iat=int(time.time()) - 7200, exp=int(time.time()) - 3600)(token),
    "exp just beyond the leeway": lambda token: claims(iat=int(time.time()) - 316, exp=int(time.time()) - 16)(token),
    "iat in five minutes": lambda token: claims(iat=int(time.time()) + 300, exp=int(time.time()) + 600)(token),
    "iat below zero": claims(iat=-1),
    "nbf in five minutes": lambda token: claims(nbf=int(time.time()) + 300)(token),
    "nbf as text": claims(nbf="soon"),
    **{
        f"sub {value!r:.30}": claims(sub=value)
        for value in [1, -1, 10**30, 1.0, "-1", "1.0", "1e0", "0x1", "not-a-number", "../1", "' OR 1=1 --"]
    },
    "sub with blanks": lambda token: claims(sub=f" {claims_of(token)['sub']} ")(token),
    "sub with a sign": lambda token: claims(sub=f"+{claims_of(token)['sub']}")(token),
    "sub in full-width digits": lambda token: claims(
        sub="".join(chr(ord(digit) + 0xFEE0) for digit in claims_of(token)["sub"])
    )(token),
    "sub of 30 digits": claims(sub="9" * 30),
    "sub of 400 digits": claims(sub="9" * 400),
    "sub of 5000 digits": claims(sub="9" * 5000),
    **{
        f"sid {value!r:.30}": claims(sid=value)
        for value in [1, 10**400, "not-a-uuid", "' OR 1=1 --", "00000000-0000-0000-0000-00000000000g"]
    },
    **{f"jti {value!r:.30}": claims(jti=value) for value in [1, 10**400]},
    **{f"token_type {value}": claims(token_type=value) for value in [1, "sliding", "ACCESS", "access refresh"]},
    **{
        f"{name} {label}": lambda token, name=name, change=change: claims(**{name: change(claims_of(token)[name])})(
            token
        )
        for name in ["iss", "aud"]
        for label, change in {
            "of somebody else": lambda value: "https://evil.example",
            "cut short": lambda value: value[:-1],
            "made longer": lambda value: value + "x",
            "with a slash": lambda value: value + "/",
            "in a list": lambda value: [value],
            "in a list with others": lambda value: [value, "https://evil.example"],
            "as a key": lambda value: {value: value},
        }.items()
    },
    # Payloads that are not a JSON object
    "payload a list": payload(lambda text: b"[" + text + b"]"),
    "payload a number": payload(lambda text: b"5"),
    "payload text": payload(lambda text: json.dumps(text.decode()).encode()),
    "payload null": payload(lambda text: b"null"),
    "payload empty": payload(lambda text: b""),
    "payload no JSON": payload(lambda text: b"\x00\x01\x02"),
    "payload not UTF-8": payload(lambda text: b'{"a": "\xff", ' + text[1:]),
    "payload in UTF-16": payload(lambda text: text.decode().encode("utf-16")),
    "payload with a byte order mark": payload(lambda text: b"\xef\xbb\xbf" + text),
    "payload with trailing letters": payload(lambda text: text + b"x"),
    "payload 1,000 deep": payload(lambda text: b"[" * 1_000 + b"]" * 1_000),
    "payload 100,000 deep": payload(lambda text: b"[" * 100_000 + b"]" * 100_000),
    "header a list": lambda token: signed([header_of(token)], claims_of(token)),
    "header null": lambda token: signed(b"null", claims_of(token)),
    "header no JSON": lambda token: signed(b"\xff", claims_of(token)),
    "header 100,000 deep": lambda token: signed(b"[" * 100_000 + b"]" * 100_000, claims_of(token)),
    # The encoding of a token
    **{
        f"{name} tampered with": letter(part, place)
        for part, name in enumerate(["header", "payload", "signature"])
        for place in [10]
    },
    "first letter of the signature tampered with": letter(2, 0),
    "last letters of the signature tampered with": letter(2, -2),
    "padded": lambda token: token + "=",
    "padded twice": lambda token: token + "==",
    "every part padded": lambda token: "==.".join(token.split(".")) + "==",
    "a letter more": lambda token: token + "A",
    "a letter less": lambda token: token[:-1],
    "half of it": lambda token: token[: len(token) // 2],
    "without its signature": lambda token: token.rsplit(".", 1)[0],
    "with an empty signature": lambda token: token.rsplit(".", 1)[0] + ".",
    "with an empty payload": lambda token: "..".join([token.split(".")[0], token.split(".")[2]]),
    "four parts": lambda token: token + ".AAAA",
    "five parts": lambda token: token + ".AAAA.AAAA",
    "a dot before": lambda token: "." + token,
    "a dot after": lambda token: token + ".",
    "twice": lambda token: token + token,
    "in the JSON form": as_json,
    "only dots": lambda token: "..",
    "one dot": lambda token: ".",
    "100 KB of dots": lambda token: "." * 100_000,
    "1 MB of letters": lambda token: "A" * 1_048_576,
    "three words": lambda token: "a.b.c",
    "in quotes": lambda token: f'"{token}"',
    "the words null": lambda token: "null",
}


def test_a_forged_token_is_refused(door, subtests):
    for name, forge in FORGED.items():
        with subtests.test(name):
            assert_refused(door.show(forge(door.honest)))
    # Each alone, so that an earlier forgery cannot be the cause of the refusal.
    assert door.show(door.honest).status_code == 200


# Control: the unchanged token is accepted.


def test_a_genuine_token_is_accepted(door):
    assert door.show(door.honest).status_code == 200


def test_a_token_built_by_hand_with_the_real_key_is_accepted(door):
    assert door.show(signed(header_of(door.honest), claims_of(door.honest))).status_code == 200


def test_a_clock_ten_seconds_ahead_is_tolerated(door):
    ahead = claims(iat=int(time.time()) + 10, exp=int(time.time()) + 300)
    assert door.show(ahead(door.honest)).status_code == 200


# Forgeries that only some endpoints detect


SPELLED_IN_A_BODY = {
    "a blank before": lambda token: " " + token,
    "a blank after": lambda token: token + " ",
    "a line end after": lambda token: token + "\n",
    "a blank inside": lambda token: token[:40] + " " + token[40:],
    "a line end inside": lambda token: token[:40] + "\n" + token[40:],
    "a NUL after": lambda token: token + "\x00",
    "a letter of another alphabet": lambda token: "\u0435" + token[1:],
    "full-width letters": lambda token: chr(ord(token[0]) + 0xFEE0) + token[1:],
    "a zero-width blank": lambda token: token + "\u200b",
    "a lone surrogate": lambda token: token + "\ud800",
    "Bearer before": lambda token: "Bearer " + token,
}


@pytest.mark.parametrize("name", ["verify", "refresh", "blacklist"])
def test_a_token_in_a_body_is_not_trimmed(hers, show, name, subtests):
    for spelling, spell in SPELLED_IN_A_BODY.items():
        with subtests.test(spelling):
            response = show(name, spell(getattr(hers, DOORS[name])))
            assert response.status_code in {400, 401}
            assert response.json().keys() >= {"detail", "code"}
    assert show(name, getattr(hers, DOORS[name])).status_code == 200


@pytest.mark.parametrize(("name", "kind"), [("me", "refresh"), ("refresh", "access"), ("blacklist", "access")])
def test_a_token_of_the_other_type_is_refused(hers, show, name, kind):
    assert_refused(show(name, getattr(hers, kind)))


@pytest.mark.parametrize("name", ["refresh", "blacklist"])
def test_a_refresh_token_with_a_foreign_sid_is_refused(hers, client_of, bob, show, name):
    sid_of_bob = claims_of(client_of(bob).refresh)["sid"]
    assert_refused(show(name, claims(sid=sid_of_bob)(hers.refresh)))


@pytest.mark.parametrize("name", ["refresh", "blacklist"])
def test_a_refresh_token_with_a_foreign_sub_is_refused(hers, bob, show, name):
    assert_refused(show(name, claims(sub=str(bob.pk))(hers.refresh)))


def test_a_refresh_token_with_an_unknown_sid_is_refused(hers, show):
    assert_refused(show("refresh", claims(sid="5f0f3b1e-9d55-4b8e-8a3e-6a4f4f1d2c3b")(hers.refresh)))


def test_an_access_token_of_an_unknown_user_is_refused(hers, show):
    response = show("me", claims(sub="987654321")(hers.access))
    assert (response.status_code, response.json()["code"]) == (401, "sign_in_ended")


def test_a_username_claim_does_not_change_the_user(hers, bob, show):
    response = show("me", claims(username=bob.username)(hers.access))
    assert response.json()["username"] == "ann"


# Side effects of forgeries


HARMLESS = ["another key", "exp an hour ago", "no signature, alg none", "no sid", "padded twice"]


@pytest.mark.parametrize("forgery", HARMLESS)
@pytest.mark.parametrize("name", ["refresh", "blacklist"])
def test_a_forged_token_ends_no_sign_in(hers, show, name, forgery):
    show(name, FORGED[forgery](hers.refresh))
    assert SignIn.objects.get().ended_at is None


@pytest.mark.parametrize("forgery", HARMLESS)
@pytest.mark.parametrize("name", ["refresh", "blacklist"])
def test_a_forged_token_records_no_reuse(hers, show, name, forgery):
    show(name, FORGED[forgery](hers.refresh))
    assert not SecurityEvent.objects.filter(type="token_reused").exists()


RESPELLED = {"another spelling": twin, "padded": lambda token: token + "=="}


@pytest.mark.parametrize("respell", RESPELLED.values(), ids=RESPELLED)
@pytest.mark.parametrize("name", DOORS)
def test_a_revoked_token_is_refused_in_another_encoding(hers, show, name, respell):
    hers.post("/api/sign-ins/end-all/", {})
    assert_refused(show(name, respell(getattr(hers, DOORS[name]))))
