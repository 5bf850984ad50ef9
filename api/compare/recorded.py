"""The exchanges of the acts of /compare/, which `python -m tests.benchmarks acts` records to recorded.json."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "recorded.json"


@dataclass(frozen=True)
class Exchange:
    """A request and its answer, without secrets. `times`: how many equal ones were sent at once."""

    mode: str
    method: str
    path: str
    status: int
    statements: int
    times: int
    request: str
    answer: str


@cache
def _kept() -> dict[str, Any]:
    kept: dict[str, Any] = json.loads(FILE.read_text())
    return kept


@cache
def acts() -> Mapping[str, list[Exchange]]:
    return {act: [Exchange(**each) for each in exchanges] for act, exchanges in _kept()["acts"].items()}


def lane(name: str) -> dict[str, int]:
    """The numbers of requests and refreshes that ten tabs sent."""
    kept: dict[str, int] = _kept()["lanes"][name]
    return kept


def alarm() -> dict[str, Any]:
    """The context of the mail about the theft: name, client, device, ip_address, at."""
    kept: dict[str, Any] = _kept()["alarm"]
    return kept | {"at": datetime.fromisoformat(kept["at"])}
