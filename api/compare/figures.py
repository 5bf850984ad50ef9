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
    return [
        _speed(),
        _statements(),
        _check(),
        _refresh(),
        _end(),
        _end_without_redis(),
        _blocklist(),
        _sign_ins(),
        _sign_in(),
    ]


def value(figure: str) -> float | None:
    """None if it was not measured."""
    found: float | None = measured()["figures"][figure]
    return found


def number(figure: str, decimals: int = 0, factor: int = 1) -> str:
    """Empty if it was not measured."""
    found = value(figure)
    if found is None:
        return ""
    # number_format() truncates: the number is rounded before.
    return number_format(round(factor * found, decimals), decimals, use_l10n=True, force_grouping=True)


def _text(text: str, **numbers: str) -> str:
    """Empty if one of the numbers was not measured."""
    return text % numbers if all(numbers.values()) else ""


def share(figure: str) -> str:
    return _text(_("%(share)s %%"), share=number(figure, factor=100))


def _speed() -> Row:
    return Row(
        _("Requests per second as deployed, as a share of a view without authentication in a stock Django project"),
        share("requests_share_wristband"),
        share("requests_share_passport"),
        _text(
            _(
                "Django sessions %(sessions)s, SimpleJWT %(jwt)s, with its blacklist %(blacklist)s, "
                "without revocation %(stateless)s"
            ),
            sessions=share("requests_share_django_sessions"),
            jwt=share("requests_share_simplejwt"),
            blacklist=share("requests_share_simplejwt_blacklist"),
            stateless=share("requests_share_simplejwt_stateless"),
        ),
        "requests",
    )


def _statements() -> Row:
    return Row(
        _("SQL statements for each request"),
        number("requests_statements_wristband"),
        number("requests_statements_passport"),
        _text(
            _("Django sessions %(sessions)s, SimpleJWT %(jwt)s, with its blacklist %(blacklist)s"),
            sessions=number("requests_statements_django_sessions"),
            jwt=number("requests_statements_simplejwt"),
            blacklist=number("requests_statements_simplejwt_blacklist"),
        ),
        "requests",
    )


def _check() -> Row:
    def added(figure: str) -> str:
        return _text(_("%(number)s µs"), number=number(figure))

    return Row(
        _("Time to authenticate a client that the process has seen before"),
        added("check_microseconds_wristband"),
        added("check_microseconds_passport"),
        _text(_("SimpleJWT without a check for revocation: %(time)s"), time=added("check_microseconds_simplejwt")),
        "in_process",
    )


def _refresh() -> Row:
    return Row(
        _("Refreshes per second"),
        _("no refresh needed"),
        number("refreshes_per_second_passport"),
        _text(_("SimpleJWT %(number)s"), number=number("refreshes_per_second_simplejwt")),
        "refresh",
    )


def _end() -> Row:
    def counts(mode: str) -> str:
        refused, every = (number(f"revocation_{each}_{mode}") for each in ("refused", "requests"))
        return _text(_("%(refused)s of %(all)s"), refused=refused, all=every)

    return Row(
        _("After a sign-out: next requests to other processes that were refused"),
        counts("wristband"),
        counts("passport"),
        _("plain JWT: none until the token expires"),
        "revocation",
    )


def _end_without_redis() -> Row:
    def at_most(mode: str) -> str:
        return _text(_("%(seconds)s s at most"), seconds=number(f"revocation_seconds_without_redis_{mode}", 2))

    return Row(
        _("Time until a request is refused, while Redis does not answer"),
        at_most("wristband"),
        at_most("passport"),
        "",
        "revocation",
    )


def _blocklist() -> Row:
    return Row(
        _("Speed with one million revoked sign-ins on the blocklist, relative to an empty blocklist"),
        share("check_share_million_blocked_wristband"),
        share("check_share_million_blocked_passport"),
        "",
        "growth",
    )


def _sign_ins() -> Row:
    speed = share("end_share_million_sign_ins")
    what = _("Speed of ending one sign-in among one million, relative to one among a thousand")
    return Row(what, speed, speed, "", "growth")


def _sign_in() -> Row:
    times = {"hash": number("sign_in_milliseconds_hash"), "rest": number("sign_in_milliseconds_rest")}
    cost = _text(_("%(hash)s ms for the password hash, %(rest)s ms for the rest"), **times)
    return Row(_("Sign-in"), cost, cost, "", "in_process")
