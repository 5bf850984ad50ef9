"""Users can sign in during a flood of guesses from one address, on a real node of four workers."""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest

from tests import servers
from tests.benchmarks import wire

# The slots of the hasher do not depend on the stores.
pytestmark = [pytest.mark.once, pytest.mark.long, pytest.mark.named, pytest.mark.timeout(300)]

WRONG = "not the right passphrase at all"
OTHERS = 36
CONNECTIONS = 30


@pytest.fixture(params=[[], ["--threads", "4"]], ids=["sync", "threads"])
def node(fleet: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A node that trusts the X-Forwarded-For header of all requests."""
    with servers.node(fleet.env | {"TRUSTED_PROXIES": "127.0.0.1"}, args=request.param) as node:
        yield node


@pytest.fixture
def people(fleet: Any) -> list[str]:
    names = [f"u{uuid4().hex[:12]}" for _ in range(OTHERS + 1)]
    fleet.shell(
        "from accounts.models import User\n"
        f"for name in {names!r}: User.objects.create_user(name, name + '@example.org', {wire.PASSWORD!r})"
    )
    return names


def sign_in(node: Any, name: str, password: str, address: str) -> int:
    """Returns the status of the response; 0 after a timeout."""
    request = wire.post("/api/token/", {"username": name, "password": password}, {"X-Forwarded-For": address})
    try:
        return wire.ask(node.url, request).status
    except TimeoutError:
        return 0


@contextmanager
def flood(node: Any, names: list[str], password: str, address: str) -> Iterator[Counter[int]]:
    """Sends sign-ins from one address over parallel connections. Yields the statuses so far."""
    answers: Counter[int] = Counter()
    over = threading.Event()

    def send(number: int) -> None:
        while not over.is_set():
            answers[sign_in(node, names[number % len(names)], password, address)] += 1

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        sent = [pool.submit(send, number) for number in range(CONNECTIONS)]
        try:
            servers.wait_until(lambda: answers.total() > 2 * CONNECTIONS, seconds=60)
            yield answers
        finally:
            over.set()
    for each in sent:
        each.result()


def signed_in_beside(node: Any, people: list[str]) -> int:
    """Returns how many of the users can sign in, each from its own address, six in parallel."""
    with ThreadPoolExecutor(6) as pool:
        answers = pool.map(
            lambda number: sign_in(node, people[number], wire.PASSWORD, f"203.0.113.{number + 1}"), range(OTHERS)
        )
        return list(answers).count(200)


def test_users_can_sign_in_during_a_flood_of_wrong_passwords(node: Any, people: list[str], fleet: Any) -> None:
    strangers = [f"n{uuid4().hex[:12]}" for _ in range(50)]
    address = f"2001:db8:0:{uuid4().hex[:4]}::1"
    # The same counts as after that many guesses, without a hash for each.
    fleet.shell(
        "from django.utils import timezone; from accounts import guess_limits, rate_limits\n"
        "from accounts.models import AttemptCounter\n"
        f"sources = guess_limits.sources_of_stranger('', {address!r})\n"
        "sources = [each for each in sources if each.kind == rate_limits.Kind.ADDRESS]\n"
        "for _ in range(rate_limits.LIMITS[rate_limits.Kind.ADDRESS].free_attempts + 9):\n"
        "    AttemptCounter.objects.start_attempt(sources); AttemptCounter.objects.update(until=timezone.now())\n"
        "AttemptCounter.objects.start_attempt(sources)"
    )
    assert sign_in(node, strangers[0], WRONG, address) == 429
    with flood(node, strangers, WRONG, address) as answers:
        assert signed_in_beside(node, people) >= 30
    # The wait of the address may have expired meanwhile.
    assert answers[401] <= 20


# Processes only: with threads the test takes twice as long, and the number of parallel hashes is the same.
@pytest.mark.parametrize("node", [[]], ids=["sync"], indirect=True)
def test_users_can_sign_in_during_a_flood_of_right_passwords(node: Any, people: list[str]) -> None:
    """Right passwords are not limited by counts of guesses."""
    address = f"2001:db8:0:{uuid4().hex[:4]}::1"
    with flood(node, people[-1:], wire.PASSWORD, address) as answers:
        assert signed_in_beside(node, people) >= 30
    assert set(answers) <= {0, 200, 429}
