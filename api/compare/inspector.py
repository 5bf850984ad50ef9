"""A token taken apart. What it says is read without belief; whether it is good, api.tokens alone decides."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from jwt.utils import base64url_decode
from rest_framework_simplejwt.exceptions import ExpiredTokenError, TokenError

from api import strict_json
from api.tokens import AnyToken
from api.tokens.backend import COMPACT_JWS, MAX_TIMESTAMP, MAX_TOKEN_BYTES

MAX_BYTES = 8 * 1024
# What is shown of somebody else's invention.
SHOWN_CLAIMS = 30
SHOWN_CHARACTERS = 120
SHOWN_OF_SIGNATURE = 8

TIMES = ("exp", "iat", "nbf")
MEANINGS: Mapping[str, Promise] = {
    "alg": _("How it was signed. Only told: the key decides which way is accepted."),
    "kid": _("Which of our keys signed it."),
    "typ": _("What it may be used as: at+jwt is an access token, rt+jwt a refresh token."),
    "iss": _("Who made it. Another maker's tokens are refused."),
    "aud": _("Whom it is meant for. One that was made for another service is refused here."),
    "sub": _("Whose it is: the number of the account, which never changes."),
    "sid": _("The sign-in it belongs to. When that ends, so does the token."),
    "jti": _("Its own number, so that this one token can be revoked."),
    "iat": _("When it was made."),
    "exp": _("When its time is over."),
    "nbf": _("When its time begins."),
    "token_type": _("Access or refresh. Neither is taken for the other."),
    "username": _("The name, to save a look-up. What must be current is read from the database."),
}


@dataclass(frozen=True)
class Claim:
    name: str
    value: str
    meaning: Promise
    # For times: seconds since 1970.
    moment: int | None = None


@dataclass(frozen=True)
class Verdict:
    state: str
    text: Promise


def good(text: Promise) -> Verdict:
    return Verdict("good", text)


def bad(text: Promise) -> Verdict:
    return Verdict("bad", text)


def unasked(text: Promise) -> Verdict:
    return Verdict("unasked", text)


@dataclass(frozen=True)
class Verdicts:
    signature: Verdict
    time: Verdict
    honoured: Verdict


FITS = good(_("Fits: one of our keys signed exactly these letters."))
IN_TIME = good(_("Its time has come, and is not over."))
HONOURED = good(_("Yes: its sign-in goes on, and nobody revoked it."))
NOT_BELIEVED = unasked(_("Not asked. What a token says counts only once its signature fits."))
NOT_OURS = Verdicts(bad(_("This is not a token in the form of ours.")), NOT_BELIEVED, NOT_BELIEVED)
WRONG_KEY = Verdicts(bad(_("It names no key of ours.")), NOT_BELIEVED, NOT_BELIEVED)
WRONG_ALGORITHM = Verdicts(bad(_("It asks for another algorithm than its key is for.")), NOT_BELIEVED, NOT_BELIEVED)
BROKEN = Verdicts(bad(_("Does not fit: a letter was changed, or somebody else signed it.")), NOT_BELIEVED, NOT_BELIEVED)
EXPIRED = Verdicts(FITS, bad(_("Its time is over.")), unasked(_("Not asked. Its time decides already.")))
TOO_EARLY = Verdicts(FITS, bad(_("Its time has not come.")), unasked(_("Not asked. Its time decides already.")))
FOREIGN = Verdicts(FITS, unasked(_("Not asked.")), bad(_("No: its claims are not those of our tokens.")))
REVOKED = Verdicts(FITS, IN_TIME, bad(_("No: its sign-in ended, or it was revoked or used up.")))
# By the reason that the signature library gives; more special ones first.
BY_REASON: Mapping[type[Exception], Verdicts] = {
    jwt.InvalidSignatureError: BROKEN,
    jwt.InvalidAlgorithmError: WRONG_ALGORITHM,
    jwt.InvalidKeyError: WRONG_KEY,
    jwt.ImmatureSignatureError: TOO_EARLY,
    jwt.DecodeError: NOT_OURS,
    jwt.InvalidTokenError: FOREIGN,
}


def verdicts_on(raw: str) -> Verdicts:
    """What the server would say. No statement, or one."""
    try:
        token = AnyToken(raw)  # type: ignore[arg-type]
    except ExpiredTokenError:
        return EXPIRED
    except TokenError as error:
        return _because_of(error, raw)
    try:
        token.check_not_revoked()
    except TokenError:
        return REVOKED
    return Verdicts(FITS, IN_TIME, HONOURED)


def _because_of(error: TokenError, raw: str) -> Verdicts:
    reason = error.__cause__ and error.__cause__.__cause__
    if reason is None:
        # Too long or of another form; or well signed, and its claims are not such as we make.
        return FOREIGN if _has_form_of_ours(raw) else NOT_OURS
    return next((verdicts for kind, verdicts in BY_REASON.items() if isinstance(reason, kind)), NOT_OURS)


def _has_form_of_ours(raw: str) -> bool:
    return len(raw) <= MAX_TOKEN_BYTES and COMPACT_JWS.fullmatch(raw.encode(errors="replace")) is not None


@dataclass(frozen=True)
class Inspection:
    """What there is to see, for whoever holds the token: nothing comes from the database but the last verdict."""

    size: int
    verdicts: Verdicts
    parts: Mapping[str, str]
    header: list[Claim]
    claims: list[Claim]

    @property
    def times(self) -> Mapping[str, int | None]:
        return {claim.name: claim.moment for claim in self.claims}


def inspect(raw: str) -> Inspection:
    """`raw` is at most MAX_BYTES long."""
    raw = raw.strip()
    parts = raw.split(".") if COMPACT_JWS.fullmatch(raw.encode(errors="replace")) else ["", "", ""]
    shown = dict(zip(("header", "claims", "signature"), parts, strict=True))
    # Whoever has all of the signature has the token.
    shown["signature"] = shown["signature"][:SHOWN_OF_SIGNATURE]
    return Inspection(len(raw.encode()), verdicts_on(raw), shown, _read(parts[0]), _read(parts[1]))


def _read(part: str) -> list[Claim]:
    try:
        members = strict_json.loads(base64url_decode(part))
    except ValueError:
        return []
    if not isinstance(members, dict):
        return []
    return [_claim(name, value) for name, value in list(members.items())[:SHOWN_CLAIMS]]


def _claim(name: str, value: Any) -> Claim:
    is_time = name in TIMES and type(value) is int and 0 < value < MAX_TIMESTAMP
    meaning = MEANINGS.get(name, _("Not a claim of ours."))
    return Claim(_printable(name), _printable(value), meaning, value if is_time else None)


def _printable(value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable():
        value = json.dumps(value)
    return value if len(value) <= SHOWN_CHARACTERS else f"{value[:SHOWN_CHARACTERS]}…"
