"""What somebody typed into a search box: each kind of thing is looked up where it has an index."""

import uuid

from accounts import addresses


def as_uuid(term: str) -> uuid.UUID | None:
    """With hyphens or, as a token has its jti, without."""
    try:
        return uuid.UUID(term)
    except ValueError:
        return None


def as_address(term: str) -> str | None:
    return addresses.canonical(term)
