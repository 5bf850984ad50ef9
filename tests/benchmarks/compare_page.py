"""Writes the measured figures of /compare/ from the stored results to api/compare/measured.json."""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from tests.benchmarks.output import say
from tests.servers import ROOT

RESULTS = Path(__file__).parent / "results"
FILE = ROOT / "api" / "compare" / "measured.json"

Figure = tuple[str, dict[str, Any], str]

WRISTBAND, PASSPORT, STATELESS = "wristband", "passport HS256", "SimpleJWT stateless, no revocation"
SESSIONS, SIMPLEJWT = "sessions, cached_db on django-redis", "SimpleJWT default"
SIMPLEJWT_BLACKLIST = "SimpleJWT default + its blacklist, for access tokens"
# By the end of the names of figures.
CONTENDERS = {
    "wristband": WRISTBAND,
    "passport": PASSPORT,
    "django_sessions": SESSIONS,
    "simplejwt": SIMPLEJWT,
    "simplejwt_blacklist": SIMPLEJWT_BLACKLIST,
    "simplejwt_stateless": STATELESS,
}
MODES = {"wristband": "session", "passport": "token"}
CHECKS = {"wristband": "check of a session, by blocked ids", "passport": "check, by blocked ids"}
# Each figure: the benchmark, the result in it, and the value of the result.
FIGURES: dict[str, Figure] = {
    **{f"requests_share_{name}": ("requests", {"name": each}, "share") for name, each in CONTENDERS.items()},
    **{f"requests_statements_{name}": ("requests", {"name": each}, "statements") for name, each in CONTENDERS.items()},
    "check_microseconds_wristband": ("in_process", {"name": WRISTBAND}, "added"),
    "check_microseconds_passport": ("in_process", {"name": PASSPORT}, "added"),
    "check_microseconds_simplejwt": ("in_process", {"name": STATELESS}, "added"),
    "sign_in_milliseconds_hash": ("in_process", {"name": "sign-in"}, "hash_milliseconds"),
    "sign_in_milliseconds_rest": ("in_process", {"name": "sign-in"}, "rest_milliseconds"),
    "refreshes_per_second_passport": ("refresh", {"name": PASSPORT}, "refreshes_per_second"),
    "refreshes_per_second_simplejwt": (
        "refresh",
        {"name": "SimpleJWT, rotation and blacklist"},
        "refreshes_per_second",
    ),
    **{
        f"revocation_{figure}_{name}": ("revocation", {"what": what, "mode": mode}, value)
        for name, mode in MODES.items()
        for figure, what, value in (
            ("requests", "answers", "next_requests"),
            ("refused", "answers", "refused"),
            ("seconds_without_redis", "silent", "seconds_until_refused.max"),
        )
    },
    **{f"race_{value}": ("races", {"what": "race"}, value) for value in ("families", "at_once", "successors")},
    **{f"replay_{value}": ("races", {"what": "replay"}, value) for value in ("families", "ended")},
    **{
        f"check_share_million_blocked_{name}": ("growth", {"what": what, "rows": 1_000_000}, "share")
        for name, what in CHECKS.items()
    },
    "end_share_million_sign_ins": ("growth", {"what": "end, by sign-ins", "rows": 1_000_000}, "share"),
}


def add_arguments(parser: ArgumentParser) -> None:
    pass


def run(options: Namespace) -> dict[str, Any]:
    measured = write()
    say(f"{len(measured['figures'])} figures written to {FILE.relative_to(ROOT)}")
    return measured


def write() -> dict[str, Any]:
    measured = collect()
    FILE.write_text(json.dumps(measured, indent=2) + "\n")
    return measured


def collect() -> dict[str, Any]:
    kept = {name: json.loads((RESULTS / f"{name}.json").read_text()) for name, _sought, _value in FIGURES.values()}
    about = kept["requests"]
    return {
        "measured_on": {
            "date": about["date"],
            "processor": about["machine"]["processor"],
            "cores": about["machine"]["cores"],
            "python": about["versions"]["python"],
            "django": about["versions"]["django"],
        },
        "figures": {
            figure: _value(kept[benchmark]["results"], sought, value)
            for figure, (benchmark, sought, value) in FIGURES.items()
        },
    }


def _value(results: list[dict[str, Any]], sought: dict[str, Any], value: str) -> Any:
    """None if the stored results do not include it."""
    found: Any = next((each for each in results if sought.items() <= each.items()), None)
    for name in value.split("."):
        found = found and found.get(name)
    return found
