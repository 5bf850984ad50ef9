"""A backup restored under two running nodes, by the commands of project/BACKUPS.md, word for word."""

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import psycopg
import pytest

from tests import servers
from tests.conftest import bearer

pytestmark = [pytest.mark.once, pytest.mark.long]

BACKUPS = (servers.ROOT / "project/BACKUPS.md").read_text()
PASSWORD = "violet anchor hums at dawn"
# Each node has two workers.
CALLS_PER_NODE = 6
LEEWAY_SECONDS = 1
LOST_ENTRIES = "has lost entries of the blocklist"


def documented(*words):
    """Returns the first block of commands that contains these words."""
    blocks = re.findall(r"^```sh\n(.*?)^```", BACKUPS, re.DOTALL | re.MULTILINE)
    return next(each for each in blocks if all(word in each for word in words))


class Stand:
    """Two nodes on one database, with Valkey."""

    def __init__(self, stack, folder, url):
        self.folder = folder
        (folder / "backups").mkdir()
        self.valkey = stack.enter_context(servers.valkey())
        self.env = {
            "DATABASE_URL": url,
            "REDIS_URL": self.valkey.url,
            "DEBUG": "true",
            "TOKEN_RATE": "",
            "JWT_LEEWAY_SECONDS": str(LEEWAY_SECONDS),
        }
        servers.manage(self.env, "migrate", "--verbosity=0")
        self.nodes = [stack.enter_context(servers.node(self.env, workers=2)) for _ in range(2)]
        self.https = [
            stack.enter_context(httpx.Client(base_url=node.url, timeout=30, trust_env=False)) for node in self.nodes
        ]
        for name in ("ann", "bob"):
            account = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}
            assert self.https[0].post("/api/register/", json=account).status_code == 201

    def kill(self):
        servers.kill_all([*self.nodes, self.valkey])

    def run(self, commands, **env):
        """Runs documented commands, with the paths and names of this stand. Returns their output."""
        for written, own in self.replacements().items():
            commands = commands.replace(written, own)
        path = os.pathsep.join([str(Path(sys.executable).parent), *self.programs(), os.environ["PATH"]])
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            cwd=servers.ROOT,
            env=os.environ | self.env | {"PATH": path} | env,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout

    def replacements(self):
        latest = max((self.folder / "backups").glob("*"), default=None, key=lambda path: path.stat().st_mtime_ns)
        name = {f"wristband-2026-11-29T0200{latest.suffix}": latest.name} if latest else {}
        # A second scenario may begin in the same minute.
        return {"/var/backups": str(self.folder / "backups"), "%H%M)": "%H%M%N)"} | name

    def programs(self):
        return []

    def thefts(self):
        return self.value("SELECT count(*) FROM accounts_securityevent WHERE type = 'token_reused'")

    def times_logged(self, text):
        return sum(node.log.count(text) for node in self.nodes)


class OnPostgres(Stand):
    def __init__(self, stack, folder):
        self.server = stack.enter_context(servers.postgres())
        self.address = self.server.url.rpartition("/")[0].replace("postgres@", "wristband:password@")
        for statement in ("CREATE ROLE wristband LOGIN", "CREATE DATABASE wristband OWNER wristband"):
            with psycopg.connect(self.server.url, autocommit=True) as connection:
                connection.execute(statement)
        super().__init__(stack, folder, f"{self.address}/wristband")

    def run(self, commands, **env):
        return super().run(commands, PGHOST=str(self.server.folder), PGUSER="postgres", **env)

    def replacements(self):
        return {"postgres://wristband:password@db.example.org": self.address} | super().replacements()

    def programs(self):
        return [str(Path(self.server.command[0]).parent)]

    def value(self, statement):
        with psycopg.connect(self.env["DATABASE_URL"]) as connection:
            return connection.execute(statement).fetchone()[0]


class OnSQLite(Stand):
    def __init__(self, stack, folder):
        super().__init__(stack, folder, f"sqlite:///{folder}/db.sqlite3")

    def replacements(self):
        own = {"'var/": f"'{self.folder}/", " var/": f" {self.folder}/", "sqlite:///var/": f"sqlite:///{self.folder}/"}
        return super().replacements() | own

    def value(self, statement):
        with closing(sqlite3.connect(self.folder / "db.sqlite3")) as connection:
            return connection.execute(statement).fetchone()[0]


@pytest.fixture(scope="module")
def on_postgres(tmp_path_factory):
    with ExitStack() as stack:
        stand = OnPostgres(stack, tmp_path_factory.mktemp("postgres"))
        yield stand
        stand.kill()


@pytest.fixture(scope="module")
def on_sqlite(tmp_path_factory):
    with ExitStack() as stack:
        stand = OnSQLite(stack, tmp_path_factory.mktemp("sqlite"))
        yield stand
        stand.kill()


class Client:
    """A client of a user, which calls both nodes."""

    def __init__(self, stand, name):
        self.stand, self.name = stand, name
        assert self.sign_in() == 200

    def sign_in(self):
        return self._tokens("/api/token/", {"username": self.name, "password": PASSWORD})

    def refresh(self):
        return self._tokens("/api/token/refresh/", {"refresh": self.refresh_token})

    def end(self):
        body = {"refresh": self.refresh_token}
        assert self.stand.https[0].post("/api/token/blacklist/", json=body).status_code == 200

    def calls(self):
        """Returns the set of answers of both nodes."""
        return {
            patient(http.get, "/api/me/", headers=bearer(self.access)).status_code
            for http in self.stand.https
            for _ in range(CALLS_PER_NODE)
        }

    def _tokens(self, path, body):
        answer = patient(self.stand.https[1].post, path, json=body)
        if answer.status_code == 200:
            self.access, self.refresh_token = answer.json()["access"], answer.json()["refresh"]
        return answer.status_code


class Browser:
    """A browser of a user, which calls both nodes with one session."""

    def __init__(self, stand, name):
        self.stand, self.name = stand, name
        self.cookies = httpx.Cookies()
        with httpx.Client(base_url=stand.nodes[0].url, timeout=30, trust_env=False) as http:
            body = {"username": name, "password": PASSWORD}
            assert http.post("/api/session/", json=body).status_code == 200
            self.cookies = dict(http.cookies)

    def calls(self):
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return {
            patient(http.get, "/api/session/", headers={"Cookie": cookie}).status_code
            for http in self.stand.https
            for _ in range(CALLS_PER_NODE)
        }


def patient(send, *args, **options):
    """As `send`. A worker whose connection was closed answers 503 once."""
    for _ in range(20):
        answer = send(*args, **options)
        if answer.status_code != 503:
            break
        time.sleep(0.1)
    return answer


class History:
    """What happens to sign-ins before and after the backup."""

    def __init__(self, stand):
        self.stand = stand
        self.honest, self.ended = Client(stand, "ann"), Client(stand, "bob")
        self.browser, self.ended_browser = Browser(stand, "ann"), Browser(stand, "bob")

    def go_on(self):
        """After the backup, later than clocks may differ."""
        time.sleep(LEEWAY_SECONDS + 1)
        assert self.honest.refresh() == 200
        everything = self.stand.https[0].post("/api/sign-ins/end-all/", json={}, headers=bearer(self.ended.access))
        assert everything.status_code == 200
        self.later, self.later_browser = Client(self.stand, "bob"), Browser(self.stand, "bob")
        assert self.honest.calls() == self.later.calls() == self.browser.calls() == self.later_browser.calls() == {200}
        assert self.ended.calls() == self.ended_browser.calls() == {401}

    @property
    def all(self):
        return [self.honest, self.ended, self.browser, self.ended_browser, self.later, self.later_browser]

    def check(self, output):
        """Within a second, no earlier sign-in works; no client was called a thief; new ones work on all workers."""
        assert re.search(r"^[1-9]\d* sign-ins ended", output, re.MULTILINE)
        time.sleep(1)
        assert [each.calls() for each in self.all] == [{401}] * 6
        assert [each.refresh() for each in (self.honest, self.ended, self.later)] == [401] * 3
        assert self.stand.thefts() == 0
        assert self.honest.sign_in() == 200
        new_browser = Browser(self.stand, "bob")
        assert self.honest.calls() == new_browser.calls() == {200}
        self.honest.end()
        assert self.honest.calls() == {401}


def test_a_dump_of_postgresql_restored_under_nodes(on_postgres):
    history, before = History(on_postgres), on_postgres.times_logged(LOST_ENTRIES)
    on_postgres.run(documented("pg_dump"))
    history.go_on()
    history.check(on_postgres.run(documented("pg_restore")))
    assert on_postgres.times_logged(LOST_ENTRIES) == before


def test_a_backup_of_sqlite_restored_under_nodes(on_sqlite):
    history = History(on_sqlite)
    on_sqlite.run(documented("VACUUM", "date"))
    history.go_on()
    history.check(on_sqlite.run(documented("VACUUM", "after_restore")))


def test_rows_restored_in_place_under_nodes(on_postgres):
    """Connections stay open, and the database and its tables are the same."""
    history = History(on_postgres)
    on_postgres.run(documented("pg_dump"))
    history.go_on()
    restore_rows(on_postgres)
    assert history.honest.refresh() == 401
    assert on_postgres.thefts() == 0
    history.check(servers.manage(on_postgres.env, "after_restore"))


def restore_rows(stand):
    tables = stand.value("SELECT string_agg(tablename, ' ') FROM pg_tables WHERE schemaname = 'public'").split()
    statements = ["SET session_replication_role = replica", *(f"DELETE FROM {each}" for each in tables)]  # noqa: S608
    commands = [f'--command="{each}"' for each in statements]
    rows = stand.folder / "rows.sql"
    psql = "psql --dbname=wristband --quiet --single-transaction --set=ON_ERROR_STOP=1"
    stand.run(f"pg_restore --data-only --file={rows} /var/backups/wristband-2026-11-29T0200.dump")
    stand.run(f"{psql} {' '.join(commands)} --file={rows}")


def test_a_fail_over_to_an_older_state_under_nodes(on_postgres):
    server, history, before = on_postgres.server, History(on_postgres), on_postgres.times_logged(LOST_ENTRIES)
    older = server.folder / "older"
    on_postgres.run(f"pg_basebackup --pgdata={older} --checkpoint=fast --no-sync")
    history.go_on()
    server.kill()
    shutil.rmtree(server.folder / "data")
    older.rename(server.folder / "data")
    give_to_server(server)
    server.start()

    # Before the command.
    assert history.honest.refresh() == 401
    assert on_postgres.thefts() == 0
    assert on_postgres.times_logged("is newer than its sign-in")
    time.sleep(1)
    assert history.ended.calls() == {401}
    assert on_postgres.times_logged(LOST_ENTRIES) > before

    history.check(servers.manage(on_postgres.env, "after_restore"))


def give_to_server(server):
    if account := servers.unprivileged():
        subprocess.run(["chown", "-R", f"{account['user']}:{account['group']}", server.folder / "data"], check=True)
