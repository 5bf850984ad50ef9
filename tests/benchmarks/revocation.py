"""Whether every worker refuses a token or a session at the next request after another worker has revoked it."""

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from socket import socket
from statistics import median

from tests import servers
from tests.benchmarks import wire
from tests.benchmarks.output import Progress, table
from tests.benchmarks.stand import stand

NODES = 2
GIVE_UP_SECONDS = 30
# For the workers to subscribe again after Valkey was paused.
RECOVERY_SECONDS = 2

Credential = dict[str, str]
CSRF_TOKEN = "abcdefghijklmnopqrstuvwxyzABCDEF"


@dataclass(frozen=True)
class Mode:
    name: str
    # A function in tests.benchmarks.site that returns the credentials of a number of sign-ins.
    credentials: str
    # The headers of a request with a credential, and the request that ends its sign-in.
    headers: Callable[[Credential], dict[str, str]]
    end: Callable[[Credential], bytes]
    # The status of the response to that request.
    ended: int


def _sign_out(cookie: Credential) -> bytes:
    """The form of the pages, sent by a browser."""
    name = {"Cookie": f"{cookie['Cookie']}; __Host-csrftoken={CSRF_TOKEN}"}
    form = {"Content-Type": "application/x-www-form-urlencoded", "Origin": "https://127.0.0.1"}
    headers = wire.HTTPS | name | form | {"Sec-Fetch-Site": "same-origin"}
    return wire.request("POST", "/accounts/logout/", headers, f"csrfmiddlewaretoken={CSRF_TOKEN}")


MODES = (
    Mode(
        "token",
        "credentials.passports",
        lambda pair: wire.bearer(pair["access"]),
        lambda pair: wire.post("/api/token/blacklist/", {"refresh": pair["refresh"]}),
        ended=200,
    ),
    Mode("session", "credentials.wristbands", lambda cookie: cookie, _sign_out, ended=200),
)


@dataclass
class Outcome:
    """The outcome of a number of tries."""

    what: str
    mode: str
    asked: int = 0
    refused: int = 0
    # Seconds from the response to the revocation until a worker last accepted the token; 0 if none did.
    until_refused: list[float] = field(default_factory=list)

    def as_result(self) -> dict[str, object]:
        return {
            "what": self.what,
            "mode": self.mode,
            "tries": len(self.until_refused),
            "next_requests": self.asked,
            "refused": self.refused,
            "seconds_until_refused": {"median": median(self.until_refused), "max": max(self.until_refused)},
        }


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--workers", type=int, default=4, help="of each of the two nodes")
    parser.add_argument("--tries", type=int, default=10_000)
    parser.add_argument("--mode", choices=[mode.name for mode in MODES], help="only one of both")
    parser.add_argument("--tries-flushed", type=int, default=200, metavar="TRIES", help="with Valkey emptied")
    parser.add_argument("--tries-silent", type=int, default=20, metavar="TRIES", help="with Valkey stopped in mid-air")
    parser.add_argument("--tries-dead", type=int, default=200, metavar="TRIES", help="with Valkey killed")


def run(options: Namespace) -> list[dict[str, object]]:
    modes = [mode for mode in MODES if options.mode in (None, mode.name)]
    tries = [options.tries, options.tries_flushed, options.tries_silent, options.tries_dead]
    outcomes = measure(modes, options.workers, *tries)
    table(
        ["mode; Valkey", "tries", "next requests", "refused", "s until all refuse, median", "max"],
        [
            [
                f"{outcome.mode}; {outcome.what}",
                f"{len(outcome.until_refused):,}",
                f"{outcome.asked:,}",
                f"{outcome.refused:,}",
                f"{median(outcome.until_refused):.2f}",
                f"{max(outcome.until_refused):.2f}",
            ]
            for outcome in outcomes
        ],
    )
    return [outcome.as_result() for outcome in outcomes]


def measure(
    modes: Sequence[Mode], workers: int, tries: int, tries_flushed: int, tries_silent: int, tries_dead: int
) -> list[Outcome]:
    """Measures on nodes that share a PostgreSQL and a Valkey."""
    with stand() as here, ExitStack() as stack:
        count = tries + tries_flushed + tries_silent + tries_dead
        credentials = {mode: iter(here.call(mode.credentials, count=count)) for mode in modes}
        urls = [stack.enter_context(servers.node(here.env, workers)).url for _ in range(NODES)]
        every = [url for url in urls for _ in range(workers)]

        def recover() -> None:
            here.valkey.resume()
            time.sleep(RECOVERY_SECONDS)

        outcomes = []
        for what, number, just_before, after in (
            ("answers", tries, _nothing, _nothing),
            ("flushed", tries_flushed, here.valkey.flush, _nothing),
            ("silent", tries_silent, here.valkey.pause, recover),
            # Last: it stays away.
            ("killed", tries_dead, here.valkey.kill, _nothing),
        ):
            for mode in modes:
                outcome = Outcome(what, mode.name)
                with Progress(number) as progress:
                    for credential in islice(credentials[mode], number):
                        progress.at(f"{mode.name} mode, Valkey {what}")
                        revoke(every, mode, credential, just_before, outcome)
                        after()
                        progress.step()
                outcomes.append(outcome)
        return [outcome for outcome in outcomes if outcome.asked]


def _nothing() -> None:
    pass


def revoke(
    urls: Sequence[str], mode: Mode, credential: Credential, just_before: Callable[[], None], outcome: Outcome
) -> None:
    """
    Sends the credential to every worker, revokes it at one of them, and sends it to all others. `urls` has a node once
    for each of its workers.
    """
    me = wire.get("/api/me/", wire.HTTPS | mode.headers(credential))
    for _ in range(2):
        # Twice, so that every worker has loaded the blocklist, and remembers the session.
        with every_worker(urls) as workers:
            if any(status != 200 for status in _statuses(workers, me)):
                raise wire.Failed(f"the {mode.name} was not good to begin with")
    just_before()
    with every_worker(urls) as (first, *others):
        first.sendall(mode.end(credential))
        wire.read(first).expect(mode.ended)
        ended = time.monotonic()
        statuses = _statuses(others, me)
    outcome.asked += len(statuses)
    outcome.refused += statuses.count(401)
    outcome.until_refused.append(0.0 if statuses.count(401) == len(statuses) else _wait(urls, me, ended))


def _wait(urls: Sequence[str], me: bytes, ended: float) -> float:
    while True:
        let_in = time.monotonic() - ended
        with every_worker(urls) as workers:
            statuses = _statuses(workers, me)
        if statuses.count(401) == len(statuses):
            return let_in
        if let_in > GIVE_UP_SECONDS:
            raise wire.Failed(f"still not refused after {GIVE_UP_SECONDS} s: {statuses}")


@contextmanager
def every_worker(urls: Sequence[str]) -> Iterator[list[socket]]:
    """
    Opens a connection to each worker. A sync worker handles one connection at a time, so that as many connections as
    a node has workers reach each worker once.
    """
    with ExitStack() as stack:
        yield [stack.enter_context(wire.connect(url)) for url in urls]


def _statuses(workers: Sequence[socket], request: bytes) -> list[int]:
    """Reads all responses concurrently."""
    for worker in workers:
        worker.sendall(request)
    return [wire.read(worker).status for worker in workers]
