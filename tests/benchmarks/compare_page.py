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
# Each figure: the benchmark, the result in it, and the value of the result.
FIGURES: dict[str, Figure] = {
    "requests_share_wristband": ("requests", {"name": "wristband"}, "share"),
    "requests_share_passport": ("requests", {"name": "passport HS256"}, "share"),
    "requests_share_django_sessions": ("requests", {"name": "sessions, cached_db on django-redis"}, "share"),
    "requests_share_simplejwt": ("requests", {"name": "SimpleJWT default"}, "share"),
    "requests_share_simplejwt_blacklist": (
        "requests",
        {"name": "SimpleJWT default + its blacklist, for access tokens"},
        "share",
    ),
    "check_microseconds_passport": ("in_process", {"name": "passport HS256"}, "added"),
    "check_microseconds_simplejwt": ("in_process", {"name": "SimpleJWT stateless, no revocation"}, "added"),
    "sign_in_milliseconds_hash": ("in_process", {"name": "sign-in"}, "hash_milliseconds"),
    "sign_in_milliseconds_rest": ("in_process", {"name": "sign-in"}, "rest_milliseconds"),
    "refreshes_per_second_passport": ("refresh", {"name": "passport HS256"}, "refreshes_per_second"),
    "refreshes_per_second_simplejwt": (
        "refresh",
        {"name": "SimpleJWT, rotation and blacklist"},
        "refreshes_per_second",
    ),
    "revocation_requests": ("revocation", {"what": "answers"}, "next_requests"),
    "revocation_refused": ("revocation", {"what": "answers"}, "refused"),
    "revocation_seconds_without_redis": ("revocation", {"what": "silent"}, "seconds_until_refused.max"),
    "check_share_million_blocked": ("growth", {"what": "check, by blocked ids", "rows": 1_000_000}, "share"),
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
    found: Any = next(each for each in results if sought.items() <= each.items())
    for name in value.split("."):
        found = found[name]
    return found
