"""Cost of sign-in without its hash, refresh, list, end, start-up and memory, beside a stock project with SimpleJWT."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from statistics import median
from typing import Any
from urllib.parse import urlencode

from tests.benchmarks import footprint, wire
from tests.benchmarks.load import CLIENTS, Step, drive
from tests.benchmarks.output import Progress, say, table
from tests.benchmarks.refresh import Chain
from tests.benchmarks.sites import Site, result, sites

CSRF = "c" * 32
WARM_UP_SECONDS = 0.3

Person = dict[str, Any]
# Returns the steps of a number of clients.
Steps = Callable[[str, Sequence[Person], int], Sequence[Step]]


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3, help="of each measurement, at most")
    parser.add_argument("--users", type=int, default=40, help="of each action in each round")
    footprint.add_arguments(parser)


def run(options: Namespace) -> list[dict[str, Any]]:
    with sites() as (ours, stock):
        actions = _measure(ours, stock, options)
        process = footprint.measure(ours, stock, options)
    show(actions, "ms of the worker", 2)
    show([each for each in process if each["unit"] == "s"], "CPU seconds", 2)
    show([each for each in process if each["unit"] == "MB"], "MB", 0)
    return [*actions, *process]


def show(results: Sequence[dict[str, Any]], unit: str, digits: int) -> None:
    """Prints a table of results: `ours` and `stock` are figures by round."""
    table(
        [unit, "ours", "stock project", "ratio", "min-max"],
        [
            [
                each["what"],
                f"{median(each['ours']):.{digits}f}",
                f"{median(each['stock']):.{digits}f}",
                f"{each['ratio']:.2f}",
                f"{min(each['ratios']):.2f}-{max(each['ratios']):.2f}",
            ]
            for each in results
        ],
    )
    say()


def _measure(ours: Site, stock: Site, options: Namespace) -> list[dict[str, Any]]:
    """Each action by turns on both sites, whose workers share a core and are idle while they are not asked."""
    took: dict[str, tuple[list[float], list[float]]] = {what: ([], []) for what in ACTIONS}
    groups = {what: [1 + options.users, action.others] for what, action in ACTIONS.items()}
    with ours.node() as our_node, stock.node() as stock_node, Progress(options.rounds * len(ACTIONS)) as progress:
        for number in range(options.rounds):
            progress.at("making users")
            our_people, stock_people = (
                site.stand.call(f"{site.people}.people", prefix=str(number), groups=groups) for site in (ours, stock)
            )
            for what, action in ACTIONS.items():
                progress.at(what)
                our_time = _milliseconds(our_node.url, action.ours, our_people[what], action.clients, options.seconds)
                stock_time = _milliseconds(
                    stock_node.url, action.stock, stock_people[what], action.clients, options.seconds
                )
                took[what][0].append(our_time)
                took[what][1].append(stock_time)
                progress.step()
    return [result(what, "ms", *figures) for what, figures in took.items()]


def _milliseconds(url: str, steps: Steps, people: Sequence[Person], clients: int, seconds: float) -> float:
    """Returns the worker's time for one request: with more than one client it never waits for a request."""
    first, *users = people
    drive(steps(url, [first], 1), min(WARM_UP_SECONDS, seconds))
    return 1000 / drive(steps(url, users, clients), seconds).per_second


def _ask(url: str, requests: Iterator[bytes], status: int) -> None:
    wire.ask(url, next(requests)).expect(status)


def _again(make: Callable[[Person], bytes], status: int) -> Steps:
    """The clients share the users, and send the request of each again and again."""
    return lambda url, people, clients: [
        partial(_ask, url, cycle([make(person) for person in people[each::clients]]), status) for each in range(clients)
    ]


def _once(make: Callable[[Person], Sequence[bytes]], status: int) -> Steps:
    """The clients share the users, and send each request once."""
    return lambda url, people, clients: [
        partial(_ask, url, iter([request for person in people[each::clients] for request in make(person)]), status)
        for each in range(clients)
    ]


def _chains(url: str, people: Sequence[Person], clients: int) -> Sequence[Step]:
    """Each client has the chain of refresh tokens of one user."""
    return [Chain(url, person["refresh"]).refresh for person in people[:clients]]


def _token(person: Person) -> bytes:
    return wire.post("/api/token/", {"username": person["username"], "password": wire.PASSWORD})


def _login(cookie: str) -> Callable[[Person], bytes]:
    form = {"password": wire.PASSWORD, "csrfmiddlewaretoken": CSRF}
    headers = wire.HTTPS | {
        "Cookie": f"{cookie}={CSRF}",
        "Referer": "https://127.0.0.1/",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    return lambda person: wire.request(
        "POST", "/accounts/login/", headers, urlencode(form | {"username": person["username"]})
    )


def _bearer(person: Person) -> dict[str, str]:
    return wire.HTTPS | wire.bearer(person["access"])


def _list(person: Person) -> bytes:
    return wire.get("/api/sign-ins/", _bearer(person))


def _end_each(person: Person) -> list[bytes]:
    return [wire.request("DELETE", f"/api/sign-ins/{sid}/", _bearer(person)) for sid in person["others"]]


def _blacklist_each(person: Person) -> list[bytes]:
    return [wire.post("/api/token/blacklist/", {"refresh": token}) for token in person["others"]]


def _end_others(person: Person) -> list[bytes]:
    # The stock project does not know which refresh token belongs to an access token.
    return [wire.post("/api/sign-ins/end-others/", {"jti": person.get("jti")}, _bearer(person))]


def _end_other_sessions(person: Person) -> list[bytes]:
    cookies = f"csrftoken={CSRF}; {person['cookie']}"
    headers = wire.HTTPS | {"Cookie": cookies, "X-CSRFToken": CSRF, "Referer": "https://127.0.0.1/"}
    return [wire.request("POST", "/accounts/end-others/", headers)]


@dataclass(frozen=True)
class Action:
    ours: Steps
    stock: Steps
    clients: int = 2
    # The other sign-ins of each user.
    others: int = 0


OUR_LOGIN, STOCK_LOGIN = (_again(_login(cookie), 302) for cookie in ("__Host-csrftoken", "csrftoken"))
ACTIONS = {
    "sign-in without its hash, API": Action(_again(_token, 200), _again(_token, 200)),
    "sign-in without its hash, page": Action(OUR_LOGIN, STOCK_LOGIN),
    "refresh, one client": Action(_chains, _chains, clients=1),
    "refresh, four clients": Action(_chains, _chains, clients=CLIENTS),
    "list of ten": Action(_again(_list, 200), _again(_list, 200), others=9),
    "end of one": Action(_once(_end_each, 204), _once(_blacklist_each, 200), others=5),
    "end of ten others": Action(_once(_end_others, 200), _once(_end_others, 200), others=10),
    "end of ten others, beside sessions": Action(_once(_end_others, 200), _once(_end_other_sessions, 200), others=10),
}
