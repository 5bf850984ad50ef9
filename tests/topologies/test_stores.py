"""The contract on PostgreSQL and Valkey in operators' topologies."""

import os
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest
from django.db import connection

from tests import servers
from tests.conftest import bearer
from tests.plugins.optional_tools import require
from tests.topologies import stores

pytestmark = [pytest.mark.once, pytest.mark.long, pytest.mark.django_db(transaction=True)]

WORKERS = 2
PASSWORD = quote(stores.PASSWORD, safe="")
# The ACL of project/README.md.
RIGHTS = "~wp:* &wp:* +@all -@admin -@dangerous +info"
PASSPHRASE = "violet anchor hums at dawn"
# Other uses of Redis: spent proofs.
REST = """
from uuid import uuid4
from api.dpop.replay import redis_store
proof = uuid4()
print(redis_store.add(proof)[0], redis_store.add(proof)[0])
"""


class Site:
    """A node, called like a TLS-terminating balancer calls it."""

    def __init__(self, url: str, env: Mapping[str, str]) -> None:
        self.env = env
        headers = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}
        self.http = httpx.Client(base_url=url, timeout=30, trust_env=False, headers=headers)
        self.origin = url.replace("http:", "https:")

    def register(self) -> str:
        name = f"u{uuid4().hex[:12]}"
        account = {"username": name, "email": f"{name}@example.org", "password": PASSPHRASE}
        answer = self.http.post("/api/register/", json=account)
        assert answer.status_code == 201, answer.text
        return name

    def tokens(self, name: str) -> Any:
        answer = self.http.post("/api/token/", json={"username": name, "password": PASSPHRASE})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def refresh(self, refresh: str) -> httpx.Response:
        return self.http.post("/api/token/refresh/", json={"refresh": refresh})

    def browser(self, name: str) -> str:
        """Signs in on the page and returns the cookies."""
        csrf = self._cookies(self.http.get("/accounts/login/"))
        headers = {"Cookie": csrf, "X-CSRFToken": csrf.rpartition("=")[2], "Origin": self.origin}
        form = {"username": name, "password": PASSPHRASE}
        answer = self.http.post("/accounts/login/", data=form, headers=headers)
        assert answer.status_code == 302, answer.text
        return self._cookies(answer)

    def _cookies(self, answer: httpx.Response) -> str:
        self.http.cookies.clear()
        lines = answer.headers.get_list("Set-Cookie")
        return "; ".join(line.partition(";")[0] for line in lines if line.startswith(("__Host-s", "__Host-c")))

    def statuses(self, times: int = 1, **credentials: Any) -> set[int]:
        return {self.http.get("/api/me/", **credentials).status_code for _ in range(times)}

    def ready(self) -> Any:
        return self.http.get("/health/ready").json()

    def checks_by_database(self) -> float:
        found = re.search(r"^wristband_checks_by_database_total (\S+)", self.http.get("/metrics").text, re.M)
        return float(found[1]) if found else 0

    def receives_broadcasts(self, access: str) -> bool:
        """Whether no worker queries the database to check a token."""
        before = self.checks_by_database()
        assert self.statuses(10, headers=bearer(access)) == {200}
        return self.checks_by_database() == before


def database_url() -> str:
    """Returns the URL of the test's database, without PgBouncer."""
    return f"{os.environ['DATABASE_URL'].rpartition('/')[0]}/{connection.settings_dict['NAME']}"


@contextmanager
def site(folder: Path, env: Mapping[str, str], *args: str) -> Iterator[Site]:
    counts = folder / "counts"
    counts.mkdir()
    deployed = {
        "DJANGO_SETTINGS_MODULE": "tests.chaos.settings",
        "DATABASE_URL": database_url(),
        "REDIS_URL": os.environ["REDIS_URL"],
        "TRUSTED_PROXIES": "127.0.0.1",
        "METRICS_ADDRESSES": "203.0.113.9",
    } | env
    # Not for commands: every process writes a file.
    with servers.node(deployed | {"PROMETHEUS_MULTIPROC_DIR": str(counts)}, WORKERS, args) as node:
        yield Site(node.url, deployed)


def assert_contract(site: Site) -> None:
    """Checks both modes by HTTP, and that every worker knows an end at the next request by the broadcast."""
    assert set(site.ready().values()) == {"up"}
    name = site.register()
    cookies, tokens, others = {"Cookie": site.browser(name)}, site.tokens(name), site.tokens(name)
    assert site.statuses(4, headers=cookies) == {200}
    # More often than the threshold of prepared statements.
    pairs = [tokens]
    for _ in range(6):
        pairs.append(site.refresh(pairs[-1]["refresh"]).json())
    access = pairs[-1]["access"]
    assert servers.manage(site.env, "shell", "--verbosity=0", "--command", REST).split() == ["True", "False"]
    servers.wait_until(lambda: site.receives_broadcasts(access))

    ended = site.http.post("/api/token/blacklist/", json={"refresh": others["refresh"]})
    assert ended.status_code == 200
    assert site.statuses(10, headers=bearer(others["access"])) == {401}
    assert site.refresh(others["refresh"]).status_code == 401

    assert site.http.post("/api/sign-ins/end-others/", headers=bearer(access)).json() == {"ended": 1}
    assert site.statuses(4, headers=cookies) == {401}
    assert site.statuses(4, headers=bearer(access)) == {200}


def test_valkey_with_tls_and_pgbouncer_in_transaction_mode(tmp_path: Path) -> None:
    rights = [stores.USER, "on", f">{stores.PASSWORD}", *RIGHTS.split()]
    acl = ["--user", *rights, "--user", "default", "off"]
    require(servers.pgbouncer_program)
    with ExitStack() as stack:
        pgbouncer, certificate = stack.enter_context(stores.pgbouncer(database_url()))
        valkey = stack.enter_context(servers.valkey(*acl))
        port = stack.enter_context(stores.tls_before(valkey, certificate))
        account = f"{stores.USER}:{PASSWORD}"
        env = {
            "REDIS_URL": f"rediss://{account}@127.0.0.1:{port}/0?ssl_ca_certs={certificate.path}",
            "DATABASE_URL": f"postgres://{account}@{pgbouncer.address}/project"
            f"?sslmode=verify-full&sslrootcert={certificate.path}",
            "DATABASE_PGBOUNCER": "true",
        }
        # More threads, each with its own connection, than PgBouncer has connections.
        with site(tmp_path, env, "--threads=4") as node:
            assert_contract(node)
            together(node)


def test_valkey_behind_sentinel_and_psycopgs_pool(tmp_path: Path) -> None:
    with ExitStack() as stack:
        sentinels = stores.SentinelGroup(stack)
        env = {
            "REDIS_URL": f"redis://:{PASSWORD}@mymaster/0",
            "REDIS_SENTINELS": ",".join(f"redis://:{PASSWORD}@127.0.0.1:{each.port}" for each in sentinels.sentinels),
            "DATABASE_POOL_SIZE": "2",
        }
        with site(tmp_path, env, "--threads=4") as node:
            together(node)
            assert connections_of_nodes() <= 2 * WORKERS
            servers.wait_until(sentinels.is_ready_to_fail_over)
            assert_contract(node)
            access = node.tokens(node.register())["access"]
            sentinels.primary.kill()
            assert node.statuses(10, headers=bearer(access)) == {200}
            servers.wait_until(lambda: node.ready()["redis"] == "up")
            assert_contract(node)


def test_a_cluster_whose_channel_moves_to_another_server(tmp_path: Path) -> None:
    with ExitStack() as stack:
        cluster = stores.Cluster(stack)
        servers.wait_until(cluster.is_well)
        urls = [f"redis://:{PASSWORD}@127.0.0.1:{each.port}" for each in cluster.servers[:2]]
        with site(tmp_path, {"REDIS_URL": ",".join(urls), "REDIS_CLUSTER": "true"}) as node:
            assert_contract(node)
            cluster.move("wp:blocked")
            assert_contract(node)


def together(site: Site) -> None:
    """Runs the calls of eight browsers concurrently."""
    cookies = {"Cookie": site.browser(site.register())}
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda _: site.statuses(5, headers=cookies), range(8))
    assert set().union(*answers) == {200}


def connections_of_nodes() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return int(cursor.fetchone()[0])
