"""Decodes a token for display. Its claims are shown unverified; only api.tokens decides whether it is valid."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import jwt
from django.utils.functional import Promise
from django.utils.timesince import timesince
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from jwt.utils import base64url_decode
from rest_framework_simplejwt.exceptions import ExpiredTokenError, TokenError

from api import strict_json
from api.tokens import AnyToken
from api.tokens.backend import COMPACT_JWS, MAX_TIMESTAMP, MAX_TOKEN_BYTES

MAX_BYTES = 8 * 1024
# Limits for tokens that are not ours.
MAX_SHOWN_CLAIMS = 30
MAX_SHOWN_CHARACTERS = 120
SHOWN_SIGNATURE_CHARACTERS = 8
# In seconds.
MAX_SHOWN_AS_MINUTES = 2 * 60 * 60

TIMES = ("exp", "iat", "nbf", "auth_time")
MEANINGS: Mapping[str, Promise] = {
    "alg": _("The algorithm of the signature. The server accepts only the algorithm of the key."),
    "kid": _("The id of the key that signed the token."),
    "typ": _("The type: at+jwt is an access token, rt+jwt a refresh token."),
    "iss": _("The issuer. Tokens of another issuer are refused."),
    "aud": _("The audience: the service that accepts the token. Others refuse it."),
    "sub": _("The subject: the id of the user, which never changes."),
    "sid": _("The id of the sign-in. When the sign-in ends, the token is revoked."),
    "jti": _("The id of the token, by which this one token can be revoked."),
    "iat": _("When the token was issued."),
    "exp": _("When the token expires."),
    "nbf": _("From when on the token is valid."),
    "auth_time": _("When the user last proved who they are."),
    "acr": _("The level of the sign-in: aal2 with a second factor or a passkey, otherwise aal1."),
    "amr": _("What the user proved: a password (pwd), a code (otp), a passkey (pop); several factors (mfa)."),
    "token_type": _("Access or refresh. Neither is accepted as the other."),
    "username": _("The username, which saves a look-up. Other fields are read from the database."),
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
    text: Promise | str


def passed(text: Promise) -> Verdict:
    return Verdict("good", text)


def failed(text: Promise | str) -> Verdict:
    return Verdict("bad", text)


def unchecked(text: Promise) -> Verdict:
    return Verdict("unasked", text)


@dataclass(frozen=True)
class Verdicts:
    signature: Verdict
    time: Verdict
    honoured: Verdict


SIGNED = passed(_("Valid: one of our keys signed this token."))
IN_TIME = passed(_("The token has not expired."))
HONOURED = passed(_("Yes: neither the token nor its sign-in was revoked."))
NOT_CHECKED = unchecked(_("Not checked, since the signature is not valid."))
NOT_SIGNED_BY_US = failed(_("No: its signature is not valid."))


def _wrong_signature(text: Promise) -> Verdicts:
    return Verdicts(failed(text), NOT_CHECKED, NOT_SIGNED_BY_US)


NOT_OURS = _wrong_signature(_("This is not in the format of our tokens."))
UNSIGNED = _wrong_signature(
    _("Refused: alg is none, so there is no signature. Only the key's own algorithm is accepted.")
)
WRONG_KEY = _wrong_signature(_("The token names no key of ours."))
WRONG_ALGORITHM = _wrong_signature(_("The token names another algorithm than that of its key."))
BROKEN = _wrong_signature(_("Not valid: the token was changed, or signed with another key."))
EXPIRED = failed(_("No: it has expired."))
TOO_EARLY = Verdicts(SIGNED, failed(_("The token is not valid yet.")), failed(_("No: it is not valid yet.")))
FOREIGN = Verdicts(
    SIGNED, unchecked(_("Not checked.")), failed(_("No: the claims are not those of a token of this server."))
)
REVOKED = Verdicts(SIGNED, IN_TIME, failed(_("No: its sign-in ended, or the token was revoked or used already.")))
# By the exception of PyJWT; subclasses first.
BY_REASON: Mapping[type[Exception], Verdicts] = {
    jwt.InvalidSignatureError: BROKEN,
    jwt.InvalidAlgorithmError: WRONG_ALGORITHM,
    jwt.InvalidKeyError: WRONG_KEY,
    jwt.ImmatureSignatureError: TOO_EARLY,
    jwt.DecodeError: NOT_OURS,
    jwt.InvalidTokenError: FOREIGN,
}


def verdicts_on(raw: str) -> Verdicts:
    """What the server decides about the token. At most one statement."""
    try:
        token = AnyToken(raw)  # type: ignore[arg-type]
    except ExpiredTokenError:
        return Verdicts(SIGNED, failed(_time_since_expiry(raw)), EXPIRED)
    except TokenError as error:
        return _verdicts_for(error, raw)
    try:
        token.check_not_revoked()
    except TokenError:
        return REVOKED
    return Verdicts(SIGNED, IN_TIME, HONOURED)


def _time_since_expiry(raw: str) -> str:
    """`raw` has a valid signature."""
    expired_at = next((claim.moment for claim in _read(raw.split(".")[1]) if claim.name == "exp"), None)
    if expired_at is None:
        return gettext("The token has expired.")
    seconds = int(time.time()) - expired_at
    if seconds < MAX_SHOWN_AS_MINUTES:
        minutes = seconds // 60
        text = ngettext("Expired %(minutes)d minute ago.", "Expired %(minutes)d minutes ago.", minutes)
        return text % {"minutes": minutes}
    return gettext("Expired %(time)s ago.") % {"time": timesince(datetime.fromtimestamp(expired_at, UTC))}


def _verdicts_for(error: TokenError, raw: str) -> Verdicts:
    if _names_no_algorithm(raw):
        return UNSIGNED
    reason = error.__cause__ and error.__cause__.__cause__
    if reason is None:
        # Too long or in another format; or signed by us with claims that we do not issue.
        return FOREIGN if _has_our_format(raw) else NOT_OURS
    return next((verdicts for kind, verdicts in BY_REASON.items() if isinstance(reason, kind)), NOT_OURS)


def _names_no_algorithm(raw: str) -> bool:
    algorithm = next((claim.value for claim in _read(raw.partition(".")[0]) if claim.name == "alg"), "")
    return algorithm.lower() == "none"


def _has_our_format(raw: str) -> bool:
    return len(raw) <= MAX_TOKEN_BYTES and COMPACT_JWS.fullmatch(raw.encode(errors="replace")) is not None


@dataclass(frozen=True)
class Inspection:
    """What is shown of a token. Only the last verdict needs the database."""

    size: int
    verdicts: Verdicts
    parts: Mapping[str, str]
    header: list[Claim]
    claims: list[Claim]

    @property
    def times(self) -> Mapping[str, int | None]:
        return {claim.name: claim.moment for claim in self.claims}


def inspect(raw: str) -> Inspection:
    """`raw` has at most MAX_BYTES."""
    raw = raw.strip()
    parts = raw.split(".") if COMPACT_JWS.fullmatch(raw.encode(errors="replace")) else ["", "", ""]
    shown = dict(zip(("header", "claims", "signature"), parts, strict=True))
    # The whole signature would show the whole token.
    shown["signature"] = shown["signature"][:SHOWN_SIGNATURE_CHARACTERS]
    return Inspection(len(raw.encode()), verdicts_on(raw), shown, _read(parts[0]), _read(parts[1]))


def _read(part: str) -> list[Claim]:
    try:
        members = strict_json.loads(base64url_decode(part))
    except ValueError:
        return []
    if not isinstance(members, dict):
        return []
    return [_claim(name, value) for name, value in list(members.items())[:MAX_SHOWN_CLAIMS]]


def _claim(name: str, value: Any) -> Claim:
    is_time = name in TIMES and type(value) is int and 0 < value < MAX_TIMESTAMP
    meaning = MEANINGS.get(name, _("Not a claim of our tokens."))
    return Claim(_printable(name), _printable(value), meaning, value if is_time else None)


def _printable(value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable():
        value = json.dumps(value)
    return value if len(value) <= MAX_SHOWN_CHARACTERS else f"{value[:MAX_SHOWN_CHARACTERS]}…"
