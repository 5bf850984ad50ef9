"""Writes the stored results into README.md, and into the tables and the chart of tests/benchmarks/README.md."""

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from textwrap import TextWrapper
from typing import Any

from tests.benchmarks import plot
from tests.benchmarks.output import markdown, say
from tests.benchmarks.site.contenders import (
    CACHED_SESSIONS,
    DB_SESSIONS,
    DRF_TOKEN,
    FLOOR,
    KNOX,
    OPEN,
    OURS,
    PASSPORT,
    PASSPORT_ES256,
    PASSPORT_RS256,
    SIMPLEJWT,
    SIMPLEJWT_AND_BLACKLIST,
    STATELESS,
    STATELESS_AND_REDIS,
    WRISTBAND,
    Contender,
)
from tests.servers import ROOT

RESULTS = Path(__file__).parent / "results"
PROJECT, BENCHMARKS = ROOT / "README.md", Path(__file__).parent / "README.md"
CHART = RESULTS / "shares.svg"

# In the order of the table.
NAMES = {
    FLOOR.name: "a stock project, no authentication (the floor)",
    OPEN.name: "**ours, no authentication**: what our middlewares cost",
    PASSPORT.name: "**token mode**, HS256",
    PASSPORT_ES256.name: "**token mode**, ES256",
    PASSPORT_RS256.name: "**token mode**, RS256",
    WRISTBAND.name: "**session mode**",
    STATELESS.name: "SimpleJWT stateless, no revocation",
    STATELESS_AND_REDIS.name: "SimpleJWT stateless + a Redis GET",
    SIMPLEJWT.name: "SimpleJWT default",
    SIMPLEJWT_AND_BLACKLIST.name: "SimpleJWT default + its blacklist for access tokens",
    CACHED_SESSIONS.name: "Django sessions, cached_db on django-redis",
    DB_SESSIONS.name: "Django sessions, db",
    DRF_TOKEN.name: "DRF TokenAuthentication",
    KNOX.name: "knox",
}
# Of each result.
KEYS = {"requests": {"share", "statements", "redis_commands", "bare"}, "pages": {"ours", "stock", "ratio", "ratios"}}
VALKEY = {"answers": "answers", "flushed": "emptied", "silent": "stopped (`SIGSTOP`)", "killed": "killed"}


def add_arguments(parser: ArgumentParser) -> None:
    pass


def run(options: Namespace) -> list[str]:
    written = write()
    say("\n".join(f"written: {path}" for path in written) or "nothing has changed")
    return written


def write() -> list[str]:
    """Returns the paths of the documents that changed."""
    _results.cache_clear()
    changed = []
    for path, text in documents().items():
        if path.read_text() != text:
            path.write_text(text)
            changed.append(path.relative_to(ROOT).as_posix())
    return changed


def documents() -> dict[Path, str]:
    """Returns the documents with the stored results in them."""
    benchmarks = BENCHMARKS.read_text()
    for name, section in SECTIONS.items():
        benchmarks = _between(benchmarks, f"<!-- {name} -->\n", f"<!-- end of {name} -->\n", section())
    costs = _between(PROJECT.read_text(), "## What it costs\n\n", "\n## ", costs_in_short())
    return {PROJECT: costs, BENCHMARKS: benchmarks} | ({CHART: _chart()} if _is_measured("requests") else {})


def _chart() -> str:
    shares = [(each["name"], each["share"]) for each in _results("requests") if each.get("share")]
    return plot.draw(shares, {contender.name for contender in (OPEN, *OURS)})


def _between(text: str, begin: str, end: str, new: str) -> str:
    before, found, rest = text.partition(begin)
    _old, also_found, after = rest.partition(end)
    if not (found and also_found):
        raise ValueError(f"{begin!r} and {end!r} are missing")
    return before + begin + new + end + after


@cache
def _results(benchmark: str) -> list[dict[str, Any]]:
    """Empty if it was not measured."""
    path = RESULTS / f"{benchmark}.json"
    found: list[dict[str, Any]] = json.loads(path.read_text())["results"] if path.exists() else []
    return found


def _find(benchmark: str, **sought: Any) -> dict[str, Any]:
    """Empty if it was not measured."""
    return next((each for each in _results(benchmark) if sought.items() <= each.items()), {})


def _is_measured(benchmark: str) -> bool:
    """Whether there are results in the form that the tables need."""
    return bool(_results(benchmark)) and KEYS[benchmark] <= _results(benchmark)[0].keys()


def costs_in_short() -> str:
    """Returns the list in the project's README.md."""
    lines = [_token_cost(), _session_cost(), _refresh_cost(), _revocation_cost(), _sign_in_cost()]
    wrapper = TextWrapper(width=150, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False)
    return "".join(f"{wrapper.fill(f'- {line}')}\n" for line in lines if line)


def _share_of(contender: Contender) -> str:
    return f"{_find('requests', name=contender.name)['share']:.2f}"


def _token_cost() -> str:
    if not _is_measured("requests"):
        return ""
    return (
        f"Token mode serves {_share_of(PASSPORT)} of the requests per second of a stock Django view without "
        f"authentication; SimpleJWT {_share_of(SIMPLEJWT)}, without revocation {_share_of(STATELESS)}."
    )


def _session_cost() -> str:
    if not _is_measured("requests"):
        return ""
    statements = _find("requests", name=WRISTBAND.name)["statements"]
    return (
        f"Session mode serves {_share_of(WRISTBAND)} of them, with {_count(statements)} for each; Django's sessions "
        f"with Redis (`cached_db`) {_share_of(CACHED_SESSIONS)}. All with their middlewares."
    )


def _count(statements: float) -> str:
    number = round(statements)
    return "no SQL statement" if not number else f"{number} SQL statement{'s' * (number > 1)}"


def _refresh_cost() -> str:
    ratio = _find("refresh", name="ratio")["ratio"]
    return f"Refreshes per second: {ratio:.1f} times as many as SimpleJWT with rotation and blacklist."


def _revocation_cost() -> str:
    measured = [each for each in _results("revocation") if each["what"] == "answers"]
    modes = "each mode" if len(measured) > 1 else f"{measured[0]['mode']} mode"
    asked, refused = (sum(each[key] for each in measured) for key in ("next_requests", "refused"))
    return (
        f"Revocation: {measured[0]['tries']:,} sign-ins of {modes} were ended; the other workers refused {refused:,} "
        f"of {asked:,} next requests."
    )


def _sign_in_cost() -> str:
    sign_in = _find("in_process", name="sign-in")
    return (
        f"A sign-in takes {sign_in['hash_milliseconds']:.0f} ms for the password hash and "
        f"{sign_in['rest_milliseconds']:.0f} ms for the rest. All figures: [benchmarks](tests/benchmarks/README.md)."
    )


def requests() -> str:
    if not _is_measured("requests"):
        return ""
    shares = [
        [
            plain,
            f"{found['share']:.2f}",
            _range(found["shares"]),
            f"{found['statements']:.2f}",
            f"{found['redis_commands']:.2f}",
            *_bare(found["bare"]),
        ]
        for name, plain in NAMES.items()
        if (found := _find("requests", name=name))
    ]
    ratios = [
        [
            " / ".join(NAMES[each] for each in result["name"].split(" / ")),
            f"{result['ratio']:.2f}",
            _range(result["rounds"]),
        ]
        for result in _results("requests")
        if "ratio" in result
    ]
    headings = ["as deployed", "share", "min-max", "SQL statements", "Redis commands", "without middlewares", "min-max"]
    return markdown(headings, shares) + "\n" + markdown(["in the same round", "ratio", "min-max"], ratios)


def _bare(found: dict[str, Any] | None) -> list[str]:
    return [f"{found['share']:.2f}", _range(found["shares"])] if found else ["", ""]


def _range(figures: Sequence[float], decimals: int = 2) -> str:
    return f"{min(figures):.{decimals}f}-{max(figures):.{decimals}f}"


def pages() -> str:
    if not _is_measured("pages"):
        return ""
    rows = [
        [
            each["page"],
            f"{each['ratio']:.2f}",
            _range(each["ratios"]),
            *(f"{each[site][key]:.{decimals}f}" for key, decimals in COUNTED.items() for site in ("ours", "stock")),
        ]
        for each in _results("pages")
    ]
    counted = ["SQL statements", "stock", "Redis commands", "stock", "bytes", "stock"]
    return markdown(["", "ours / stock", "min-max", *counted], rows)


COUNTED = {"statements": 2, "redis_commands": 2, "bytes": 0}


def revocation() -> str:
    rows = [
        [
            f"{each['mode']} mode, Valkey {VALKEY[each['what']]}",
            f"{each['tries']:,}",
            f"{each['refused']:,} of {each['next_requests']:,}",
            f"{each['seconds_until_refused']['median']:.2f}",
            f"{each['seconds_until_refused']['max']:.2f}",
        ]
        for each in _results("revocation")
    ]
    headings = ["", "ended", "next requests refused", "s until all refuse, median", "max"]
    return markdown(headings, rows)


def growth() -> str:
    rows = [
        [
            result["what"],
            f"{result['rows']:,}",
            f"{result['per_second']:.0f}",
            f"{result['share']:.2f}",
            f"{result['p99_milliseconds']:.1f}",
        ]
        for result in _results("growth")
        if "share" in result
    ]
    return markdown(["", "rows", "per second", "of the smallest", "p99, ms"], rows)


def in_process() -> str:
    rows = [
        [each["name"], f"{each['added']:.0f}", _range(each["rounds"], 0)]
        for each in _results("in_process")
        if "added" in each
    ]
    sign_in = _find("in_process", name="sign-in")
    hash_ms, rest_ms = sign_in["hash_milliseconds"], sign_in["rest_milliseconds"]
    rest = f"\nA sign-in takes {hash_ms:.0f} ms for its password hash and {rest_ms:.0f} ms for everything else.\n"
    return markdown(["added to DRF's dispatch, in CPU time", "µs", "min-max"], rows) + rest


def refresh() -> str:
    rows = [
        [each["name"], f"{each['refreshes_per_second']:.0f}", _range(each["rounds"], 0)]
        for each in _results("refresh")
        if "refreshes_per_second" in each
    ]
    ratio = _find("refresh", name="ratio")
    rows.append(["ratio", f"{ratio['ratio']:.1f}", _range(ratio["rounds"], 1)])
    return markdown(["refreshes per second", "", "min-max"], rows)


def middleware() -> str:
    rows = [
        [each["name"], *(f"{each[key]:.0f}" for key in ("none", "ours", "stock"))] for each in _results("middleware")
    ]
    return markdown(["µs of a request", "without", "all of ours add", "Django's seven add"], rows)


def steps() -> str:
    rows = [
        [
            f"{each['mode']}: {each['name']}",
            "" if each["more"] is None else f"{each['more']:+.0f}",
            f"{each['share']:.2f}",
        ]
        for each in _results("steps")
    ]
    return markdown(["step", "µs more than the step before", "share"], rows)


SECTIONS: dict[str, Callable[[], str]] = {
    each.__name__: each for each in (requests, pages, refresh, revocation, growth, in_process, middleware, steps)
}
