"""Limits of password guesses: which guesses count together."""

import unicodedata
from collections.abc import Iterable
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser

from accounts import addresses
from accounts.rate_limits import Kind, Source, digest, of_address


def username_digest(username: str, secret: str | None = None) -> UUID:
    """As typed, whether or not there is such an account."""
    return digest("account", unicodedata.normalize("NFKC", username).casefold(), secret=secret)


def username_digests(username: str) -> list[UUID]:
    """By SECRET_KEY and by each of its fallbacks: other nodes may be at another step of a change of the key."""
    return [username_digest(username, secret) for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)]


def sources_of_stranger(username: str, address: str | None) -> list[Source]:
    """Of somebody who gives that name and is not known here."""
    name = username_digest(username)
    sources = [Source(Kind.ACCOUNT, digest(Kind.ACCOUNT, name), name), *of_address(Kind.ADDRESS, address)]
    if address is None:
        return sources
    block = addresses.network(address)
    return [*sources, Source(Kind.PAIR, digest(Kind.PAIR, name, block), name, block)]


def sources_of_known_browser(user: AbstractBaseUser, device: str) -> list[Source]:
    """Of a browser where the user was signed in before: apart from strangers, who cannot lock it out."""
    return [Source(Kind.DEVICE, digest(Kind.DEVICE, user.pk, device), username_digest(user.get_username()))]


def sources_of_signed_in(user: AbstractBaseUser) -> list[Source]:
    return [Source(Kind.INSIDE, digest(Kind.INSIDE, user.pk), username_digest(user.get_username()))]


def without_account(sources: Iterable[Source]) -> list[Source]:
    """What one address did: strangers at other addresses have no part in it."""
    return [source for source in sources if source.kind != Kind.ACCOUNT]
