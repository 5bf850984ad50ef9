"""Approximate places of IP addresses, from a local database file (GEOIP_PATH). No other host receives an address."""

import ipaddress
import logging
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.utils.translation import get_language

if TYPE_CHECKING:
    from maxminddb import Reader

log = logging.getLogger("accounts.places")

DEFAULT_LANGUAGE = "en"


def of(ip_address: str | None) -> str:
    """
    Returns "Cambridge, United Kingdom" in the active language, or "" without GEOIP_PATH, for a private address and for
    one that the database does not have.
    """
    if not settings.GEOIP_PATH or not ip_address:
        return ""
    return _of(ip_address, (get_language() or DEFAULT_LANGUAGE).partition("-")[0])


@lru_cache(maxsize=4096)
def _of(ip_address: str, language: str) -> str:
    address = ipaddress.ip_address(ip_address)
    record = _record(address) if address.is_global else None
    if not isinstance(record, dict):
        return ""
    return ", ".join(filter(None, (_name(record.get(part), language) for part in ("city", "country"))))


def _name(part: Any, language: str) -> str:
    names = part.get("names", {}) if isinstance(part, dict) else {}
    return str(names.get(language) or names.get(DEFAULT_LANGUAGE) or "")


def _record(address: Any) -> Any:
    """The record of an address, or None."""
    import maxminddb

    database = _database()
    try:
        return database.get(address) if database else None
    except maxminddb.InvalidDatabaseError:
        log.exception("GEOIP_PATH has an invalid record")
        return None


@cache
def _database() -> "Reader | None":
    """
    The database of this process. The file is mapped into memory, which all processes share. None if it was removed or
    damaged after the start: pages then show no places.
    """
    import maxminddb

    try:
        return maxminddb.open_database(settings.GEOIP_PATH)
    except (OSError, maxminddb.InvalidDatabaseError):
        log.exception("GEOIP_PATH cannot be read")
        return None
