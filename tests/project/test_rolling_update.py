"""An update under load: the database is migrated while the previous release serves, then node by node, and back."""

import asyncio
import itertools
import os
import threading
import time
import uuid
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace

import httpx
import pytest

from tests import servers
from tests.chaos import clients, database, load
from tests.chaos.checker import check
from tests.chaos.fleet import ENVIRONMENT
from tests.chaos.recorder import History
from tests.project import releases

NODES = 2
SEED = 7
# Of the users of the fault run: two with a second factor, and two without.
USED = slice(1, 5)
# Seconds of load on each mix of releases.
SECONDS = 2
# The least numbers of accepted requests, and of requests with ended credentials, which are refused.
LEAST_GRANTED = {"call": 60, "refresh": 8, "sign in": 16}
LEAST_STOLEN = 10

pytestmark = [pytest.mark.long, pytest.mark.once, pytest.mark.timeout(300)]


class Balancer(httpx.AsyncBaseTransport):
    """Sends each request of the clients to the next node in use, and names the node in the response."""

    def __init__(self, nodes):
        self.nodes, self.in_use, self.http = nodes, list(nodes), httpx.AsyncHTTPTransport()
        self.turns = itertools.count()
        # The number of requests without a response, by node.
        self.running = Counter()

    async def handle_async_request(self, request):
        node = self.in_use[next(self.turns) % len(self.in_use)]
        self.running[node] += 1
        try:
            request.url = request.url.copy_with(port=int(node.address.rpartition(":")[2]))
            response = await self.http.handle_async_request(request)
        finally:
            self.running[node] -= 1
        response.headers["X-Node"] = node.address
        return response

    def update(self, node, root):
        """Replaces the code of a node in the documented order."""
        self.in_use = [each for each in self.nodes if each is not node]
        servers.wait_until(lambda: not self.running[node])
        start_again(node, root)
        self.in_use = list(self.nodes)


def start_again(node, root):
    node.stop_gracefully()
    node.options["cwd"] = root
    node.start()
    assert httpx.get(f"{node.url}/health/ready").status_code == 200


class Load:
    """Clients that use the nodes until the block ends."""

    def __init__(self, transport, people, history):
        self.transport, self.over = transport, threading.Event()
        self.clients = clients.make_clients(people, history, SEED)

    def __gt__(self, now):
        """In place of the time at which a load ends."""
        return not self.over.is_set()

    async def run(self):
        async with httpx.AsyncClient(base_url="http://127.0.0.1", transport=self.transport, timeout=40) as http:
            for client in self.clients:
                client.http = http
            for person in {client.person for client in self.clients}:
                person.lock = asyncio.Lock()
            await asyncio.gather(*(client.run(self) for client in self.clients))

    def __enter__(self):
        self.thread = threading.Thread(target=lambda: asyncio.run(self.run()))
        self.thread.start()

    def __exit__(self, *exception):
        self.over.set()
        self.thread.join()


@pytest.fixture
def previous_code(tmp_path):
    folder = tmp_path / "previous"
    folder.mkdir()
    return releases.extract(releases.PREVIOUS, folder)


def prepare(previous_code, database_url, redis_url=""):
    """Returns the environment of nodes, with a database of the previous release, and its users."""
    env = ENVIRONMENT | {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
    servers.manage(env, "migrate", "--verbosity=0", root=previous_code)
    made = servers.manage(env, "shell", "--verbosity=0", "--command", database.MAKE_PEOPLE, root=previous_code)
    return env, database.people_of(made)[USED]


def test_an_update_and_its_way_back_disturb_no_client(previous_code, one_valkey):
    database_url = servers.create_database(os.environ["DATABASE_URL"], f"update_{uuid.uuid4().hex}")
    env, people = prepare(previous_code, database_url, one_valkey.url)
    history = History(two_factor=frozenset(each.name for each in people if each.second_factors))
    with ExitStack() as stack:
        nodes = [stack.enter_context(servers.node(env, 2, root=previous_code)) for _ in range(NODES)]
        balancer = Balancer(nodes)
        with Load(balancer, people, history):
            time.sleep(SECONDS)
            servers.manage(env, "migrate", "--verbosity=0")
            for root in (servers.ROOT, previous_code):
                for node in nodes:
                    time.sleep(SECONDS)
                    balancer.update(node, root)
            time.sleep(SECONDS)
    verify(history, env)
    assert {call.node for call in history.calls} >= {node.address for node in nodes}
    granted = Counter(call.action for call in history.calls if call.accepted or call.status == 302)
    assert {action: least for action, least in LEAST_GRANTED.items() if granted[action] < least} == {}, granted
    assert sum(call.action == "stolen" for call in history.calls) >= LEAST_STOLEN


@pytest.mark.named
def test_an_update_on_sqlite_signs_no_client_out(previous_code, tmp_path):
    env, people = prepare(previous_code, f"sqlite:///{tmp_path / 'db.sqlite3'}")
    history = History(two_factor=frozenset(each.name for each in people if each.second_factors))
    users = clients.make_clients(people[1:3], history, SEED)
    with servers.node(env, 2, root=previous_code) as node:
        run_load(node, users)
        servers.manage(env, "migrate", "--verbosity=0")
        run_load(node, users)
        for root in (servers.ROOT, previous_code):
            start_again(node, root)
            run_load(node, users)
    verify(history, env)
    assert len(history.calls) > 40


def run_load(node, users):
    asyncio.run(load.run(node.url, users, time.monotonic() + SECONDS))


def verify(history, env):
    """Checks that no request failed, no client was signed out without cause, and no ended sign-in was accepted."""
    # No mail is sent here.
    history.record = replace(database.read_record(env), alarms=())
    failed = [call for call in history.calls if call.status >= 500 or (not call.status and not call.left)]
    assert Counter((call.action, call.mode, call.status, call.said) for call in failed) == {}
    # The time of a response depends on the machine. A request that waits for a migration fails after five seconds.
    assert [each for each in check(history) if " took " not in each.what] == []
