"""A user of the site before, read from a row of any source."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.utils import timezone
from django.utils.dateparse import parse_datetime

from accounts import look_alikes, names
from accounts.moving_in import old_hashes

TRUE = ("1", "t", "true", "yes", "y", "on")
HEX_UUID = re.compile(r"[0-9a-f]{32}")
# JSON can have half of a character, which no database stores.
SURROGATE = re.compile(r"[\ud800-\udfff]")
MAX_ID_LENGTH = 64
KEPT_ID = re.compile(r"[1-9][0-9]{0,17}")
FALSE = ("0", "f", "false", "no", "n", "off", "")


class Unreadable(ValueError):
    """A column has a value that is not of its type. The text names the column only: the value may be a hash."""


@dataclass
class OldUser:
    """The columns that Django's user has. A source may lack all but id, password, and a name or an address."""

    id: str
    username: str
    email: str
    password: str
    first_name: str
    last_name: str
    is_active: bool
    is_staff: bool
    is_superuser: bool
    date_joined: datetime
    last_login: datetime | None
    is_confirmed: bool
    # False: another account here has the id.
    keeps_id: bool = True

    @property
    def kept_id(self) -> int | None:
        """The id if it can be kept: a positive whole number."""
        return int(self.id) if self.keeps_id and KEPT_ID.fullmatch(self.id) else None


def read(row: dict[str, Any]) -> OldUser:
    """
    Returns the user of a row. Without a column `username`, the address is the username (a user model whose
    USERNAME_FIELD is the address). Raises Unreadable.
    """
    email = _text(row, "email")
    return OldUser(
        id=id_text(row.get("id")),
        username=look_alikes.canonical(_text(row, "username") if row.get("username") is not None else email),
        email=names.address(email),
        password=old_hashes.with_algorithm(_text(row, "password")),
        first_name=_visible(row, "first_name"),
        last_name=_visible(row, "last_name"),
        is_active=_flag(row, "is_active", default=True),
        is_staff=_flag(row, "is_staff"),
        is_superuser=_flag(row, "is_superuser"),
        date_joined=_moment(row, "date_joined") or timezone.now(),
        last_login=_moment(row, "last_login"),
        is_confirmed=_flag(row, "email_confirmed"),
    )


def id_text(value: Any) -> str:
    """Returns an id as tokens and sessions contain it: SQLite stores a UUID without hyphens. Raises Unreadable."""
    text = str(value if value is not None else "").strip()
    if HEX_UUID.fullmatch(text):
        return str(UUID(text))
    if not text or len(text) > MAX_ID_LENGTH or not text.isprintable():
        raise Unreadable("id")
    return text


def _text(row: dict[str, Any], name: str) -> str:
    value = row.get(name)
    if isinstance(value, bytes | list | dict):
        raise Unreadable(name)
    text = "" if value is None else str(value)
    if "\0" in text or (not text.isascii() and SURROGATE.search(text)):
        raise Unreadable(name)
    return text


def _visible(row: dict[str, Any], name: str) -> str:
    """A name of a person, without the characters that a profile here refuses."""
    return names.INVISIBLE.sub("", _text(row, name))[:150]


def _flag(row: dict[str, Any], name: str, default: bool = False) -> bool:
    value = row.get(name)
    if value is None:
        return default
    text = str(value).strip().lower()
    if text not in (*TRUE, *FALSE):
        raise Unreadable(name)
    return text in TRUE if text else default


def moment(value: Any) -> datetime | None:
    """Returns a time of a column, in UTC without an offset; None if it is empty. Raises ValueError."""
    if value in (None, ""):
        return None
    found = value if isinstance(value, datetime) else parse_datetime(str(value).strip())
    if found is None:
        raise ValueError("no time")
    return found if timezone.is_aware(found) else found.replace(tzinfo=UTC)


def _moment(row: dict[str, Any], name: str) -> datetime | None:
    try:
        return moment(row.get(name))
    except ValueError as error:
        raise Unreadable(name) from error
