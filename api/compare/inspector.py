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
from api.tokens import COMPACT_FORM, LATEST_TIME, MAX_LENGTH, AnyToken

MAX_BYTES = 8 * 1024
# What is shown of somebody else's invention.
SHOWN_CLAIMS = 30
SHOWN_CHARACTERS = 120
SHOWN_OF_SIGNATURE = 8

TIMES = ("exp", "iat", "nbf")
MEANINGS: Mapping[str, Promise] = {
    "alg": _("The signing algorithm, for information only: the key determines which algorithm is accepted."),
    "kid": _("The id of the key that signed the token."),
    "typ": _("The type: at+jwt is an access token, rt+jwt a refresh token."),
    "iss": _("The issuer. Tokens of other issuers are refused."),
    "aud": _("The audience: the service that the token is for. Tokens for other services are refused here."),
    "sub": _("The subject: the id of the account, which never changes."),
    "sid": _("The sign-in of the token. When it ends, the token is revoked."),
    "jti": _("The id of the token, so that it can be revoked alone."),
    "iat": _("When the token was issued."),
    "exp": _("When the token expires."),
    "nbf": _("When the token becomes valid."),
    "token_type": _("Access or refresh. One is not accepted in place of the other."),
    "username": _("The username, to save a query. Data that must be current is read from the database."),
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


FITS = good(_("Valid: one of the keys of this server signed this token."))
IN_TIME = good(_("Valid: the token has not expired."))
HONOURED = good(_("Yes: its sign-in is live, and the token is not revoked."))
NOT_BELIEVED = unasked(_("Not checked: the signature is not valid."))
NOT_OURS = Verdicts(
    bad(_("Not valid: the text does not have the format of a token of this server.")), NOT_BELIEVED, NOT_BELIEVED
)
WRONG_KEY = Verdicts(bad(_("Not valid: this server has no key with this id.")), NOT_BELIEVED, NOT_BELIEVED)
WRONG_ALGORITHM = Verdicts(
    bad(_("Not valid: the token names a different algorithm than its key.")), NOT_BELIEVED, NOT_BELIEVED
)
BROKEN = Verdicts(
    bad(_("Not valid: the token was changed, or signed with a different key.")), NOT_BELIEVED, NOT_BELIEVED
)
EXPIRED = Verdicts(
    FITS, bad(_("The token has expired.")), unasked(_("Not checked: the token is outside its validity period."))
)
TOO_EARLY = Verdicts(
    FITS, bad(_("The token is not valid yet.")), unasked(_("Not checked: the token is outside its validity period."))
)
FOREIGN = Verdicts(FITS, unasked(_("Not checked.")), bad(_("No: the claims are not those of a token of this server.")))
REVOKED = Verdicts(FITS, IN_TIME, bad(_("No: its sign-in has ended, or the token was revoked or already used.")))
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
        token.check_honoured()
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
    return len(raw) <= MAX_LENGTH and COMPACT_FORM.fullmatch(raw.encode(errors="replace")) is not None


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
    parts = raw.split(".") if COMPACT_FORM.fullmatch(raw.encode(errors="replace")) else ["", "", ""]
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
    is_time = name in TIMES and type(value) is int and 0 < value < LATEST_TIME
    meaning = MEANINGS.get(name, _("Not a claim of this server."))
    return Claim(_printable(name), _printable(value), meaning, value if is_time else None)


def _printable(value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable():
        value = json.dumps(value)
    return value if len(value) <= SHOWN_CHARACTERS else f"{value[:SHOWN_CHARACTERS]}…"
