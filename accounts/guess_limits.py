"""Sources of password and code guesses: by what the guesses of a client count together."""

import unicodedata
from collections.abc import Iterable
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser

from accounts import addresses
from accounts.rate_limits import Kind, Source, digest, of_address


def username_digest(username: str, secret: str | None = None) -> UUID:
    """Returns the digest of a username as it was typed, whether or not such an account exists."""
    return digest("account", unicodedata.normalize("NFKC", username).casefold(), secret=secret)


def username_digests(username: str) -> list[UUID]:
    """Returns the digests by SECRET_KEY and each fallback key, since nodes use different keys while it is changed."""
    return [username_digest(username, secret) for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)]


def sources_of_stranger(username: str, address: str | None) -> list[Source]:
    """Returns the sources of a client where the user is neither known nor signed in."""
    name = username_digest(username)
    sources = [Source(Kind.ACCOUNT, digest(Kind.ACCOUNT, name), name), *of_address(Kind.ADDRESS, address)]
    if address is None:
        return sources
    block = addresses.network(address)
    return [*sources, Source(Kind.PAIR, digest(Kind.PAIR, name, block), name, block)]


def sources_of_known_browser(user: AbstractBaseUser, device: str) -> list[Source]:
    """
    Returns the sources of a browser where the user signed in before. They are separate from those of strangers, so that
    strangers cannot lock this browser out.
    """
    return [Source(Kind.DEVICE, digest(Kind.DEVICE, user.pk, device), username_digest(user.get_username()))]


def sources_of_signed_in(user: AbstractBaseUser) -> list[Source]:
    """Returns the sources of a signed-in user who enters the password again."""
    return [Source(Kind.INSIDE, digest(Kind.INSIDE, user.pk), username_digest(user.get_username()))]


def sources_of_codes(user: AbstractBaseUser, method: str) -> list[Source]:
    """Returns the sources of codes of a second factor: each method of an account has its own counter."""
    return [Source(Kind.CODE, digest(Kind.CODE, user.pk, method), username_digest(user.get_username()))]


def without_account(sources: Iterable[Source]) -> list[Source]:
    """Returns the sources without the counter that strangers at other addresses share."""
    return [source for source in sources if source.kind != Kind.ACCOUNT]
