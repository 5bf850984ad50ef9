"""The servers of a benchmark."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from psycopg import sql

from tests import servers
from tests.benchmarks import machine
from tests.benchmarks.site.contenders import BARE, STOCK, Contender
from tests.plugins import stores

# Nothing expires during a measurement. The client acts as a TLS-terminating proxy: DEBUG is off.
ENVIRONMENT = stores.ENVIRONMENT | {
    "DJANGO_SETTINGS_MODULE": "project.settings",
    "ACCESS_TOKEN_MINUTES": "1440",
    "TRUSTED_PROXIES": "127.0.0.1",
    # All requests come from one address.
    "TOKEN_RATE": "",
    # The result of a call is the last line that it prints.
    "EMAIL_URL": "dummymail://",
}
# The WSGI application of a site, if it is not the project's.
APPLICATIONS = {STOCK: "tests.benchmarks.site.startproject.wsgi"}
# A count of Valkey's commands is two commands: INFO and QUIT.
OWN_COMMANDS = 2
# A line that PostgreSQL logs for each statement with log_statement=all.
STATEMENT = re.compile(r"^.*LOG:  (?:statement|execute [^:]*): ", re.MULTILINE)


@dataclass(frozen=True)
class Stand:
    """A database and a Valkey, and the servers on them."""

    env: dict[str, str]
    keys: Path
    postgres: servers.Postgres
    valkey: servers.Valkey

    def call(self, function: str, contender: Contender | None = None, **arguments: Any) -> Any:
        """Calls a function of `tests.benchmarks.site` in a process of its own and returns its result."""
        process = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.site", function],
            cwd=servers.ROOT,
            env=os.environ | self.env_for(contender),
            input=json.dumps(arguments),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return json.loads(process.stdout.splitlines()[-1])

    def manage(self, *command: str) -> str:
        """Runs `manage.py` and returns its output."""
        return servers.manage(self.env, *command)

    @contextmanager
    def node(self, contender: Contender | None = None) -> Iterator[servers.Node]:
        """Starts one sync worker on its own core: the named site, or the whole project."""
        with ExitStack() as stack:
            with machine.pinned(machine.SERVER_CORE):
                application = APPLICATIONS.get(contender.site if contender else "", "project.wsgi")
                node = stack.enter_context(servers.node(self.env_for(contender), workers=1, application=application))
            yield node

    def add_stock_site(self) -> None:
        """Creates the database of the stock project, with the tables of all peers."""
        servers.create_database(self.postgres.url, self._stock_database.rpartition("/")[2])
        env = {"DJANGO_SETTINGS_MODULE": STOCK, "DATABASE_URL": self._stock_database, "CONTENDER": ""}
        _migrate(self.env | env)

    @property
    def _stock_database(self) -> str:
        return f"{self.env['DATABASE_URL']}_stock"

    @contextmanager
    def statements_logged(self) -> Iterator[None]:
        """PostgreSQL logs every statement of the connections that begin inside."""
        self._set_log_statement("all")
        try:
            yield
        finally:
            self._set_log_statement("none")

    def _set_log_statement(self, value: str) -> None:
        with psycopg.connect(self.postgres.url, autocommit=True) as connection:
            for url in (self.env["DATABASE_URL"], self._stock_database):
                name = url.rpartition("/")[2]
                if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
                    statement = sql.SQL("ALTER DATABASE {} SET log_statement = {}")
                    connection.execute(statement.format(sql.Identifier(name), sql.Literal(value)))

    def counts(self) -> "Counts":
        """Returns what both stores have done. Statements count only if they are logged."""
        return Counts(len(STATEMENT.findall(self.postgres.log)), self.valkey.commands_processed())

    @contextmanager
    def fleet(self, number: int, workers: int, **more: str) -> Iterator["Fleet"]:
        """Starts the whole project on nodes that share a core, behind nginx if there are several."""
        settings = "tests.benchmarks.site.whole"
        env = self.env | {"DJANGO_SETTINGS_MODULE": settings, "WEB_CONCURRENCY": str(workers)} | more
        with ExitStack() as stack:
            with machine.pinned(machine.SERVER_CORE):
                nodes = [stack.enter_context(servers.node(env, workers)) for _ in range(number)]
            with machine.pinned(machine.OTHER_CORES):
                balancers = [stack.enter_context(servers.balancer(nodes))] if number > 1 else []
            yield Fleet(self, nodes, balancers, workers)

    def env_for(self, contender: Contender | None) -> dict[str, str]:
        if contender is None:
            return self.env
        keys = str(self.keys / contender.algorithm) if contender.algorithm else ""
        site = {"DJANGO_SETTINGS_MODULE": contender.site, "CONTENDER": contender.name, "JWT_KEYS": keys}
        database = {"DATABASE_URL": self._stock_database} if contender.site == STOCK else {}
        return self.env | site | database | contender.env


@dataclass(frozen=True)
class Counts:
    """Statements of PostgreSQL and commands of Valkey, so far or for each request."""

    statements: float
    redis_commands: float

    def since(self, before: "Counts", requests: int) -> "Counts":
        """Returns the counts for each of so many requests."""
        commands = self.redis_commands - before.redis_commands - OWN_COMMANDS
        return Counts((self.statements - before.statements) / requests, commands / requests)


@dataclass(frozen=True)
class Fleet:
    stand: Stand
    nodes: Sequence[servers.Node]
    balancers: Sequence[servers.Balancer]
    # Workers of each node.
    workers: int

    @property
    def url(self) -> str:
        return (*self.balancers, *self.nodes)[0].url

    @property
    def parts(self) -> dict[str, Sequence[servers.Server]]:
        return {
            "application": self.nodes,
            "balancer": self.balancers,
            "postgres": [self.stand.postgres],
            "valkey": [self.stand.valkey],
        }


@contextmanager
def stand(**tuning: Any) -> Iterator[Stand]:
    """Starts one stand on its own servers; `tuning` is for PostgreSQL."""
    with stands(1, **tuning) as (only,):
        yield only


@contextmanager
def stands(number: int, **tuning: Any) -> Iterator[Sequence[Stand]]:
    """Starts several stands that share only the PostgreSQL server, on the cores that the application does not use."""
    for name in stores.DEFAULTS:
        os.environ.pop(name, None)
    with ExitStack() as stack:
        with machine.pinned(machine.OTHER_CORES):
            postgres = stack.enter_context(servers.postgres(**tuning))
            valkeys = [stack.enter_context(servers.valkey()) for _ in range(number)]
        keys = Path(stack.enter_context(TemporaryDirectory()))
        _write_keys(keys)
        # Required without DEBUG.
        # With the files of the demo, which other servers of the same folder may need.
        servers.manage(ENVIRONMENT | {"DEMO": "true"}, "collectstatic", "--no-input", "--verbosity=0")
        yield [_stand(postgres, valkey, keys, which) for which, valkey in enumerate(valkeys)]


def _stand(postgres: servers.Postgres, valkey: servers.Valkey, keys: Path, which: int) -> Stand:
    database_url = postgres.create_database(f"stand_{which}")
    env = {**ENVIRONMENT, "DATABASE_URL": database_url, "REDIS_URL": valkey.url}
    # The tables of all bare sites: the settings without a contender include them.
    _migrate(env | {"DJANGO_SETTINGS_MODULE": BARE, "CONTENDER": ""})
    return Stand(env, keys, postgres, valkey)


def _migrate(env: Mapping[str, str]) -> None:
    command = [sys.executable, "manage.py", "migrate", "--verbosity=0", "--skip-checks"]
    subprocess.run(command, cwd=servers.ROOT, env=os.environ | env, check=True)


def _write_keys(folder: Path) -> None:
    """Writes a folder for JWT_KEYS for each algorithm."""
    for algorithm, key in {
        "ES256": ec.generate_private_key(ec.SECP256R1()),
        "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    }.items():
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / algorithm).mkdir()
        (folder / algorithm / "key.pem").write_bytes(pem)
