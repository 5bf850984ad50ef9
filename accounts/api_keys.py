"""API keys: their text, and the sign-in that one starts. A key is shown once; its sign-in has a hash of the secret."""

import base64
import hashlib
import re
import secrets
import zlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext_lazy as _

from accounts import starting
from accounts.models import KeyScope, SignIn, SignInRefused, User

PREFIX = "wp_"
# 40 bytes in base32, of which each text has one spelling: the id of the sign-in, the secret, and a checksum.
FORM = re.compile(rb"wp_[a-z2-7]{64}")
ID_BYTES, SECRET_BYTES, CHECKSUM_BYTES = 16, 20, 4
# The lifetime that is offered first, if API_KEY_MAX_DAYS allows it.
DEFAULT_DAYS = 90
# Live keys of one user.
MAX_KEYS = 50


class TooManyKeys(ValidationError):
    """The user has MAX_KEYS live keys."""

    def __init__(self) -> None:
        super().__init__(
            _("You have %(number)d API keys. End one of them first."), "too_many_keys", {"number": MAX_KEYS}
        )


class ReadKey(NamedTuple):
    """The parts of a well-formed key, which may be unknown."""

    sid: UUID
    secret: bytes

    @property
    def secret_hash(self) -> str:
        """The stored form of the secret. It has 160 random bits, so that an unsalted hash is enough."""
        return hashlib.sha256(self.secret).hexdigest()


def read(raw: bytes) -> ReadKey | None:
    """Returns the parts of a key; None for any other text, and if the checksum is wrong. No statement."""
    if not FORM.fullmatch(raw):
        return None
    decoded = base64.b32decode(raw[len(PREFIX) :].upper())
    content, checksum = decoded[:-CHECKSUM_BYTES], decoded[-CHECKSUM_BYTES:]
    if checksum != _checksum(content):
        return None
    return ReadKey(UUID(bytes=content[:ID_BYTES]), content[ID_BYTES:])


def _text(key: ReadKey) -> str:
    content = key.sid.bytes + key.secret
    return PREFIX + base64.b32encode(content + _checksum(content)).decode().lower()


def _checksum(content: bytes) -> bytes:
    """With it, a secret scanner recognises a key without a request. It adds no security."""
    return zlib.crc32(content).to_bytes(CHECKSUM_BYTES)


def lifetimes() -> list[int]:
    """Returns the lifetimes that pages offer, in days: none if there are no API keys."""
    longest = settings.API_KEY_MAX.days
    return [days for days in (7, 30, 90, 365) if days < longest] + ([longest] if longest else [])


def make(
    user: User,
    name: str,
    scopes: Iterable[str],
    lifetime: timedelta,
    methods: Iterable[str] = (),
    authenticated_at: datetime | None = None,
) -> tuple[SignIn, str]:
    """
    Starts the sign-in of a new key, and returns it with the key, which is not stored. `methods` and `authenticated_at`
    are those of the sign-in that makes it. Seven statements. Raises TooManyKeys; SignInRefused as starting.start(), and
    if API_KEY_MAX_DAYS is 0.
    """
    if not settings.API_KEY_MAX:
        raise SignInRefused
    secret, wanted = secrets.token_bytes(SECRET_BYTES), set(scopes)
    with transaction.atomic():
        # The lock serialises the count with other new keys of the user.
        User.objects.select_for_update(no_key=True).filter(pk=user.pk).values_list("pk").first()
        if SignIn.objects.filter(user=user.pk, kind=SignIn.Kind.API_KEY).live().count() >= MAX_KEYS:
            raise TooManyKeys
        sign_in = starting.start(
            user,
            SignIn.Kind.API_KEY,
            name=name,
            methods=methods,
            authenticated_at=authenticated_at,
            idle_timeout=min(lifetime, settings.API_KEY_MAX),
            key_hash=ReadKey(UUID(int=0), secret).secret_hash,
            scopes=" ".join(scope for scope in KeyScope.values if scope in wanted),
        )
    return sign_in, _text(ReadKey(sign_in.sid, secret))
