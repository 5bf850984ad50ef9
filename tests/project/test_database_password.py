"""A new password of the database, by the steps of project/README.md, signs no user out and refuses no request."""

import re
import threading
from contextlib import ExitStack
from urllib.parse import quote

import psycopg
import pytest

from tests import servers
from tests.project.signed_in import AppUser, Browser, Program, is_valid, reset_link, restart

# The roles are named by the document.
ROLES = ("wristband", "wristband_2")
PASSWORDS = ("first-of-tests", "second-of-tests", "third-of-tests")
STEP = re.compile(r"^-- (Once|Before|After)[^\n]*\n((?:[^-\n][^\n]*\n)+)", re.MULTILINE)

pytestmark = [pytest.mark.once, pytest.mark.long, pytest.mark.timeout(300)]


def documented_steps():
    """Returns the statements of the document, by the first word of their comment."""
    text = (servers.ROOT / "project/README.md").read_text()
    section = text.partition("### Change the password of the database")[2].partition("\n## ")[0]
    return dict(STEP.findall(re.search(r"```sql\n(.*?)```", section, re.DOTALL)[1]))


class Database:
    """A PostgreSQL that asks all roles but postgres for a password."""

    def __init__(self, server):
        self.server = server
        self.run(f"CREATE ROLE wristband LOGIN PASSWORD '{PASSWORDS[0]}'")
        self.run("CREATE DATABASE wristband OWNER wristband")
        hba = server.folder / "data/pg_hba.conf"
        hba.write_text("local all postgres trust\nlocal all all scram-sha-256\n")
        self.run("SELECT pg_reload_conf()")
        servers.wait_until(lambda: not self.accepts("wristband", "wrong"))

    def run(self, *statements):
        with psycopg.connect(self.server.url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def url(self, role, password):
        return f"postgres://{role}:{password}@{quote(str(self.server.folder), safe='')}/wristband"

    def accepts(self, role, password):
        try:
            psycopg.connect(self.url(role, password)).close()
        except psycopg.OperationalError:
            return False
        return True

    def open_connections(self, role):
        with psycopg.connect(self.server.url) as connection:
            query = "SELECT count(*) FROM pg_stat_activity WHERE usename = %s"
            return connection.execute(query, [role]).fetchone()[0]


@pytest.fixture
def database():
    with servers.postgres() as server:
        yield Database(server)


@pytest.fixture
def nodes(database, one_valkey):
    env = {"DEBUG": "true", "TOKEN_RATE": "", "ACCOUNT_RATE": "", "HASHES_AT_ONCE": "4", "REDIS_URL": one_valkey.url}
    env["DATABASE_URL"] = database.url(ROLES[0], PASSWORDS[0])
    servers.manage(env, "migrate", "--verbosity=0")
    with ExitStack() as stack:
        yield [stack.enter_context(servers.node(env, 1)) for _ in range(2)]


def env_of(node):
    return {name: node.options["env"][name] for name in ("DEBUG", "DATABASE_URL", "REDIS_URL", "HASHES_AT_ONCE")}


def test_a_change_of_role_and_password_refuses_no_request(database, nodes):
    steps = documented_steps()
    program, busy = Program(nodes), Program(nodes)
    app_user = AppUser(nodes, f"{database.server.url.rpartition('/')[0]}/wristband")
    browser, link = Browser(program, nodes[0]), reset_link(env_of(nodes[0]), busy.name)
    calls = threading.Thread(target=busy.run)
    calls.start()
    try:
        database.run(*statements(steps["Once"]))
        # There, and back to the first role.
        for (old, new), password in zip([ROLES, ROLES[::-1]], PASSWORDS[1:], strict=True):
            named = {ROLES[1]: new, ROLES[0]: old, "NEW": password}
            database.run(*statements(steps["Before"], named))
            for node in nodes:
                restart(node, env_of(node) | {"DATABASE_URL": database.url(new, password)})
            assert database.open_connections(old) == 0
            database.run(*statements(steps["After"], named))
            assert not any(database.accepts(old, each) for each in PASSWORDS)
            for node in nodes:
                assert program.me(node) == program.refresh(node) == 200
                assert browser.is_signed_in(node)
                assert app_user.signs_in(node)
                assert is_valid(node, link)
            assert owns_tables(database.url(new, password))
    finally:
        busy.over.set()
        calls.join()
    assert len(busy.statuses) > 20
    assert set(busy.statuses) == {200}


def owns_tables(url):
    """Whether this role can migrate. Raises psycopg.Error if it cannot."""
    with psycopg.connect(url) as connection:
        connection.execute("ALTER TABLE accounts_signin ALTER COLUMN name SET STATISTICS 100")
        return connection.execute("SELECT current_user").fetchone() == ("wristband",)


def statements(step, named=()):
    """Returns the statements of a step, with other names for those in the document."""
    pattern = re.compile("|".join(rf"\b{name}\b" for name in sorted(named, key=len, reverse=True)) or "$^")
    text = pattern.sub(lambda found: dict(named)[found[0]], step)
    return [each for each in text.split(";") if each.strip()]
