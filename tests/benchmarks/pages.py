"""Requests per second of a signed-in user's pages and of /api/me/, beside the same in a stock Django project."""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from tests.benchmarks import wire
from tests.benchmarks.load import requests_per_second
from tests.benchmarks.output import Progress, table
from tests.benchmarks.requests import WARM_UP_SECONDS, count_requests
from tests.benchmarks.site.contenders import CACHED_SESSIONS, SIMPLEJWT, WRISTBAND, Contender, deployed
from tests.benchmarks.stand import Counts, Stand, stand

OURS, SESSIONS, TOKENS = deployed(WRISTBAND), deployed(CACHED_SESSIONS), deployed(SIMPLEJWT)
BROWSER = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


@dataclass(frozen=True)
class Page:
    site: Contender
    path: str
    mode: str
    # What the page has once for each row of its list.
    row: str = ""


# Ours, and the equivalent.
PAGES = {
    "home page": (Page(OURS, "/", "session"), Page(SESSIONS, "/", "session")),
    "list of sign-ins": (
        Page(OURS, "/accounts/sign-ins/", "session", row='<li class="card'),
        Page(SESSIONS, "/devices/", "session", row="<li>"),
    ),
    "/api/me/, session mode": (Page(OURS, "/api/me/", "session"), Page(SESSIONS, "/api/me/", "session")),
    "/api/me/, token mode": (Page(OURS, "/api/me/", "token"), Page(TOKENS, "/api/me/", "token")),
}
EVERY_PAGE = [page for pair in PAGES.values() for page in pair]

Headers = Mapping[tuple[Contender, str], Mapping[str, str]]


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="of each measurement; wrk takes whole seconds")
    parser.add_argument("--rows", type=int, default=5, help="of each list")


def run(options: Namespace) -> list[dict[str, Any]]:
    rates: dict[Page, list[float]] = {page: [] for page in EVERY_PAGE}
    with stand() as here, Progress((options.rounds + 1) * len(EVERY_PAGE)) as progress:
        here.add_stock_site()
        headers = _headers(here, options.rows)
        counts, sizes = {}, {}
        with here.statements_logged(), _served(here) as urls:
            for page in EVERY_PAGE:
                progress.at(f"counting: {page.path}")
                url = urls[page.site]
                request = wire.get(page.path, headers[page.site, page.mode])
                sizes[page] = _check(page, wire.ask(url, request), options.rows)
                counts[page] = count_requests(here, url, request)
                progress.step()
        for _ in range(options.rounds):
            with _served(here) as urls:
                for page in EVERY_PAGE:
                    progress.at(page.path)
                    asked = urls[page.site], page.path, headers[page.site, page.mode]
                    requests_per_second(*asked, min(options.seconds, WARM_UP_SECONDS))
                    rates[page].append(requests_per_second(*asked, options.seconds))
                    progress.step()
    results = [_result(name, pair, rates, counts, sizes) for name, pair in PAGES.items()]
    show(results)
    return results


def _headers(here: Stand, rows: int) -> Headers:
    """By site and mode. The user has as many rows in each list."""
    ours = here.call("credentials.signed_in", OURS, count=rows)
    sessions = here.call("peer_credentials.django_session", SESSIONS)
    here.call("peer_credentials.devices", SESSIONS, count=rows)
    tokens = here.call("peer_credentials.simplejwt", TOKENS)
    return {
        (OURS, "session"): wire.PROXIED | BROWSER | ours["session"],
        (OURS, "token"): wire.PROXIED | ours["token"],
        (SESSIONS, "session"): wire.PROXIED | BROWSER | sessions,
        (TOKENS, "token"): wire.PROXIED | tokens,
    }


@contextmanager
def _served(here: Stand) -> Iterator[dict[Contender, str]]:
    """Starts one server for each site, on the same core: only one gets requests at a time. Yields their URLs."""
    with ExitStack() as stack:
        yield {site: stack.enter_context(here.node(site)).url for site in (OURS, SESSIONS, TOKENS)}


def _check(page: Page, answer: wire.Answer, rows: int) -> int:
    """Returns the size in bytes. Raises wire.Failed if it is not the page of ann, with all rows."""
    body = answer.expect(200).body.decode()
    if "ann" not in body or (page.row and body.count(page.row) != rows):
        raise wire.Failed(f"not the page of ann with {rows} rows: {body[:2000]}")
    return len(answer.body)


def _result(
    name: str,
    pair: tuple[Page, Page],
    rates: Mapping[Page, list[float]],
    counts: Mapping[Page, Counts],
    sizes: Mapping[Page, int],
) -> dict[str, Any]:
    ours, stock = (
        {
            "path": page.path,
            "requests_per_second": median(rates[page]),
            "rounds": rates[page],
            "bytes": sizes[page],
            **asdict(counts[page]),
        }
        for page in pair
    )
    ratios = [a / b for a, b in zip(rates[pair[0]], rates[pair[1]], strict=True)]
    return {"page": name, "ours": ours, "stock": stock, "ratio": median(ratios), "ratios": ratios}


def show(results: list[dict[str, Any]]) -> None:
    table(
        ["", "ours / stock project", "min-max", "requests/s", "stock", "statements", "stock", "bytes", "stock"],
        [
            [
                each["page"],
                f"{each['ratio']:.2f}",
                f"{min(each['ratios']):.2f}-{max(each['ratios']):.2f}",
                *(f"{each[site]['requests_per_second']:.0f}" for site in ("ours", "stock")),
                *(f"{each[site]['statements']:.2f}" for site in ("ours", "stock")),
                *(f"{each[site]['bytes']:,}" for site in ("ours", "stock")),
            ]
            for each in results
        ],
    )
