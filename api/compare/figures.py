"""The trade-offs. Every figure is read from what the benchmarks measured, and from nowhere else."""

import json
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from django.conf import settings
from django.utils.formats import number_format
from django.utils.translation import gettext as _

RESULTS = settings.BASE_DIR / "tests" / "benchmarks" / "results"


@dataclass(frozen=True)
class Row:
    what: str
    wristband: str
    passport: str
    usual: str
    # Which benchmark measured it; empty for what is so by construction.
    source: str = ""


@cache
def measured(benchmark: str) -> dict[str, Any]:
    """The kept results of one benchmark. Raises OSError where they were not deployed along."""
    kept: dict[str, Any] = json.loads((RESULTS / f"{benchmark}.json").read_text())
    return kept


def rows() -> list[Row]:
    """None where the results were not deployed along."""
    try:
        return [_speed(), _price(), _refresh(), _end(), _end_without_redis(), _blocklist(), _sign_ins(), _sign_in()]
    except OSError:
        return []


def measured_on() -> dict[str, Any]:
    """The machine, its versions and the day. Raises OSError."""
    kept = measured("requests")
    return kept["machine"] | kept["versions"] | {"date": datetime.fromisoformat(kept["date"])}


def _result(benchmark: str, **sought: Any) -> dict[str, Any]:
    return next(each for each in measured(benchmark)["results"] if sought.items() <= each.items())


def _number(value: float, decimals: int = 0) -> str:
    # It cuts decimals off, so it gets none too many.
    return number_format(round(value, decimals), decimals, use_l10n=True, force_grouping=True)


def _share(benchmark: str, **sought: Any) -> str:
    return _("%(share)s %%") % {"share": _number(100 * _result(benchmark, **sought)["share"])}


def _speed() -> Row:
    usual = {
        "sessions": _share("requests", name="sessions, cached_db on django-redis"),
        "jwt": _share("requests", name="SimpleJWT default"),
        "blacklist": _share("requests", name="SimpleJWT default + its blacklist, for access tokens"),
    }
    return Row(
        _("Requests per second, as a share of the same view without authentication"),
        _share("requests", name="wristband"),
        _share("requests", name="passport HS256"),
        _("Django sessions %(sessions)s, SimpleJWT %(jwt)s, with its blacklist %(blacklist)s") % usual,
        "requests",
    )


def _price() -> Row:
    def added(name: str) -> str:
        return _("%(number)s µs") % {"number": _number(_result("in_process", name=name)["added"])}

    return Row(
        _("Time to authenticate a client that was seen before"),
        _("one SQL statement"),
        added("passport HS256"),
        _("SimpleJWT, without a blocklist: %(time)s") % {"time": added("SimpleJWT stateless, no revocation")},
        "in_process",
    )


def _refresh() -> Row:
    ours = _result("refresh", name="passport HS256")["refreshes_per_second"]
    theirs = _result("refresh", name="SimpleJWT, rotation and blacklist")["refreshes_per_second"]
    return Row(
        _("Token renewals per second"),
        _("no renewal needed"),
        _number(ours),
        _("SimpleJWT %(number)s") % {"number": _number(theirs)},
        "refresh",
    )


def _end() -> Row:
    ended = _result("revocation", what="answers")
    counts = {"refused": _number(ended["refused"]), "all": _number(ended["next_requests"])}
    return Row(
        _("Refused by all other processes with the next request after a sign-out"),
        _("always: each request reads the list"),
        _("%(refused)s of %(all)s") % counts,
        _("plain JWT: valid until it expires"),
        "revocation",
    )


def _end_without_redis() -> Row:
    seconds = _result("revocation", what="silent")["seconds_until_refused"]["max"]
    return Row(
        _("The same while Redis does not respond"),
        _("always: Redis is not used"),
        _("after at most %(seconds)s s") % {"seconds": _number(seconds, 2)},
        "",
        "revocation",
    )


def _blocklist() -> Row:
    return Row(
        _("Speed with one million tokens on the blocklist"),
        _("no blocklist"),
        _share("growth", what="check, by blocked ids", rows=1_000_000),
        "",
        "growth",
    )


def _sign_ins() -> Row:
    share = _share("growth", what="end, by sign-ins", rows=1_000_000)
    return Row(_("Speed of ending one sign-in among one million"), share, share, "", "growth")


def _sign_in() -> Row:
    took = _result("in_process", name="sign-in")
    times = {"hash": _number(took["hash_milliseconds"]), "rest": _number(took["rest_milliseconds"])}
    cost = _("%(hash)s ms for the password hash, %(rest)s ms for the rest") % times
    return Row(_("Sign-in"), cost, cost, "", "in_process")
