"""The table of measured figures on /compare/, read from measured.json, which `python -m tests.benchmarks` writes."""

import json
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from django.utils.formats import number_format
from django.utils.translation import gettext as _

FILE = Path(__file__).parent / "measured.json"


@dataclass(frozen=True)
class Row:
    what: str
    wristband: str
    passport: str
    usual: str
    # The benchmark that measured it.
    source: str


@cache
def measured() -> dict[str, Any]:
    kept: dict[str, Any] = json.loads(FILE.read_text())
    return kept


def measured_on() -> dict[str, Any]:
    """The processor, its cores, the versions of Python and Django, and the date."""
    about = measured()["measured_on"]
    return about | {"date": datetime.fromisoformat(about["date"])}


def rows() -> list[Row]:
    return [_speed(), _check(), _refresh(), _end(), _end_without_redis(), _blocklist(), _sign_ins(), _sign_in()]


def _number(figure: str, decimals: int = 0, factor: int = 1) -> str:
    # number_format() truncates: the number is rounded before.
    number = round(factor * measured()["figures"][figure], decimals)
    return number_format(number, decimals, use_l10n=True, force_grouping=True)


def _share(figure: str) -> str:
    return _("%(share)s %%") % {"share": _number(figure, factor=100)}


def _speed() -> Row:
    usual = {
        "sessions": _share("requests_share_django_sessions"),
        "jwt": _share("requests_share_simplejwt"),
        "blacklist": _share("requests_share_simplejwt_blacklist"),
    }
    return Row(
        _("Requests per second, as a share of the same view without authentication"),
        _share("requests_share_wristband"),
        _share("requests_share_passport"),
        _("Django sessions %(sessions)s, SimpleJWT %(jwt)s, with its blacklist %(blacklist)s") % usual,
        "requests",
    )


def _check() -> Row:
    def added(figure: str) -> str:
        return _("%(number)s µs") % {"number": _number(figure)}

    return Row(
        _("Time to authenticate a client that the process has seen before"),
        _("one SQL statement"),
        added("check_microseconds_passport"),
        _("SimpleJWT without a check for revocation: %(time)s") % {"time": added("check_microseconds_simplejwt")},
        "in_process",
    )


def _refresh() -> Row:
    return Row(
        _("Refreshes per second"),
        _("no refresh needed"),
        _number("refreshes_per_second_passport"),
        _("SimpleJWT %(number)s") % {"number": _number("refreshes_per_second_simplejwt")},
        "refresh",
    )


def _end() -> Row:
    counts = {"refused": _number("revocation_refused"), "all": _number("revocation_requests")}
    return Row(
        _("After a sign-out: next requests to other processes that were refused"),
        _("all: each request reads the row"),
        _("%(refused)s of %(all)s") % counts,
        _("plain JWT: none until the token expires"),
        "revocation",
    )


def _end_without_redis() -> Row:
    return Row(
        _("Time until a request is refused, while Redis does not answer"),
        _("none: Redis is not needed"),
        _("%(seconds)s s at most") % {"seconds": _number("revocation_seconds_without_redis", 2)},
        "",
        "revocation",
    )


def _blocklist() -> Row:
    return Row(
        _("Speed with one million tokens on the blocklist"),
        _("no blocklist"),
        _share("check_share_million_blocked"),
        "",
        "growth",
    )


def _sign_ins() -> Row:
    share = _share("end_share_million_sign_ins")
    return Row(_("Speed of ending one sign-in among one million"), share, share, "", "growth")


def _sign_in() -> Row:
    times = {"hash": _number("sign_in_milliseconds_hash"), "rest": _number("sign_in_milliseconds_rest")}
    cost = _("%(hash)s ms for the password hash, %(rest)s ms for the rest") % times
    return Row(_("Sign-in"), cost, cost, "", "in_process")
