"""Parsers of search terms: each kind of term is searched in the column that has an index for it."""

import uuid

from accounts import addresses


def as_uuid(term: str) -> uuid.UUID | None:
    """The UUID, with or without hyphens (a jti has none); None for another term."""
    try:
        return uuid.UUID(term)
    except ValueError:
        return None


def as_address(term: str) -> str | None:
    """The IP address in canonical form; None for another term."""
    return addresses.canonical(term)
