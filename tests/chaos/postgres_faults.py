"""Faults of PostgreSQL, and of the connections to it."""

import random
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress

import psutil
import psycopg

from tests import servers
from tests.chaos.fleet import Fleet
from tests.chaos.proxy import Proxy
from tests.chaos.staging import Staged, rest

WRITTEN_TO = ("accounts_signin", "accounts_securityevent", "accounts_session", "blocklist_entry")
NO_SPACE = """
CREATE FUNCTION no_space() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$
"""
# It replaces an index of the largest table, which the nodes do not need.
INDEX_MIGRATION = ("accounts", "0016")


def postgres_of(fleet: Fleet, database: str = "fleet") -> psycopg.Connection:
    return psycopg.connect(f"{fleet.postgres.url.rpartition('/')[0]}/{database}", autocommit=True, connect_timeout=5)


def way(trouble: Callable[..., None], *arguments: float) -> Staged:
    def stage(fleet: Fleet, rng: random.Random) -> None:
        proxy = rng.choice(fleet.to_postgres)
        trouble(proxy, *arguments)
        rest(rng, 1, 4)
        proxy.heal()

    return stage


def postgres_restarted(fleet: Fleet, rng: random.Random) -> None:
    fleet.postgres.stop()
    rest(rng, 0.1, 1.5)
    fleet.postgres.start()


def postgres_killed(fleet: Fleet, rng: random.Random) -> None:
    fleet.postgres.kill()
    (fleet.postgres.folder / "data" / "postmaster.pid").unlink(missing_ok=True)
    fleet.postgres.start()


def postgres_paused(fleet: Fleet, rng: random.Random) -> None:
    fleet.postgres.pause()
    rest(rng, 1, 8)
    fleet.postgres.resume()


def postgres_connections_killed(fleet: Fleet, rng: random.Random) -> None:
    with postgres_of(fleet, "postgres") as rival:
        rival.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'fleet'")


def postgres_out_of_connections(fleet: Fleet, rng: random.Random) -> None:
    with ExitStack() as stack:
        with suppress(psycopg.OperationalError):
            for _ in range(100):
                stack.enter_context(postgres_of(fleet))
        postgres_connections_killed_but(fleet, stack)
        rest(rng)


def postgres_connections_killed_but(fleet: Fleet, stack: ExitStack) -> None:
    """Kills the connections of the nodes, and uses their slots."""
    with suppress(psycopg.OperationalError):
        for _ in range(20):
            stack.enter_context(postgres_of(fleet, "postgres"))


def deadlock(fleet: Fleet, rng: random.Random) -> None:
    """Locks rows in the opposite order: a sign-in, then its user, which wholesale ends lock first."""
    with postgres_of(fleet) as rival, suppress(psycopg.OperationalError):
        for _ in range(4):
            with rival.transaction():
                rival.execute("SELECT 1 FROM accounts_signin ORDER BY random() LIMIT 40 FOR UPDATE")
                time.sleep(0.3)
                rival.execute("SELECT 1 FROM accounts_user FOR UPDATE")


def serialization_failures(fleet: Fleet, rng: random.Random) -> None:
    """Every transaction uses the snapshot of its start, and fails if that is out of date."""
    with postgres_of(fleet, "postgres") as rival:
        rival.execute("ALTER DATABASE fleet SET default_transaction_isolation = 'serializable'")
        postgres_connections_killed(fleet, rng)
        rest(rng, 1, 4)
        rival.execute("ALTER DATABASE fleet RESET default_transaction_isolation")
        postgres_connections_killed(fleet, rng)


def postgres_read_only(fleet: Fleet, rng: random.Random) -> None:
    with postgres_of(fleet, "postgres") as rival:
        rival.execute("ALTER DATABASE fleet SET default_transaction_read_only = on")
        postgres_connections_killed(fleet, rng)
        rest(rng)
        rival.execute("ALTER DATABASE fleet RESET default_transaction_read_only")
        postgres_connections_killed(fleet, rng)


def disk_full(fleet: Fleet, rng: random.Random) -> None:
    """Writes that make a file of the database longer are refused."""
    assert fleet.disk_of_postgres
    fleet.disk_of_postgres.fill()
    rest(rng, 1, 5)
    fleet.disk_of_postgres.make_room()


def out_of_space(fleet: Fleet, rng: random.Random) -> None:
    """As the nodes see a full disk at the worst moment: every write is refused."""
    with postgres_of(fleet) as rival:
        rival.execute(NO_SPACE)
        for table in WRITTEN_TO:
            rival.execute(f"CREATE TRIGGER no_space BEFORE INSERT OR UPDATE ON {table} EXECUTE FUNCTION no_space()")
        rest(rng)
        for table in WRITTEN_TO:
            rival.execute(f"DROP TRIGGER no_space ON {table}")
        rival.execute("DROP FUNCTION no_space")


def disk_of_the_log_full(fleet: Fleet, rng: random.Random) -> None:
    """PostgreSQL panics at the next commit, recovers, and has space again."""
    limit_files(fleet, "0")
    rest(rng)
    limit_files(fleet, "unlimited")


def limit_files(fleet: Fleet, size: str) -> None:
    # As the account of PostgreSQL, since in a container not even root may do it to another account's process.
    for process in psutil.Process(fleet.postgres.process.pid).children():
        command = ["prlimit", f"--pid={process.pid}", f"--fsize={size}:"]
        subprocess.run(command, stderr=subprocess.DEVNULL, **servers.unprivileged())


def migrated_back_and_forth(fleet: Fleet, rng: random.Random) -> None:
    """Executes the statements of one migration. Later migrations, which the nodes need, stay applied."""
    run_migration(fleet, "--backwards")
    rest(rng)
    run_migration(fleet)


def run_migration(fleet: Fleet, *direction: str) -> None:
    """Runs it in one transaction, and again after a deadlock with requests, as documented."""
    sql = servers.manage(fleet.env, "sqlmigrate", *INDEX_MIGRATION, *direction)
    while True:
        with suppress(psycopg.errors.DeadlockDetected), postgres_of(fleet) as rival:
            rival.execute(sql)  # type: ignore[arg-type]
            return


def table_locked_as_by_a_migration(fleet: Fleet, rng: random.Random) -> None:
    table = rng.choice(["accounts_signin", "blocklist_entry", "accounts_user"])
    with postgres_of(fleet) as rival, rival.transaction():
        rival.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")  # type: ignore[arg-type]
        rest(rng, 0.5, 5)


KINDS: dict[str, Staged] = {
    "PostgreSQL restarted": postgres_restarted,
    "PostgreSQL killed -9": postgres_killed,
    "PostgreSQL paused up to 8 s": postgres_paused,
    "PostgreSQL's connections killed": postgres_connections_killed,
    "PostgreSQL out of connections": postgres_out_of_connections,
    "PostgreSQL read-only": postgres_read_only,
    "deadlocks": deadlock,
    "serialization failures": serialization_failures,
    "every write to PostgreSQL refused": out_of_space,
    "disk of PostgreSQL's log full": disk_of_the_log_full,
    "migrations under load": migrated_back_and_forth,
    "a table locked as by a migration": table_locked_as_by_a_migration,
    "a node's way to PostgreSQL half-open": way(Proxy.fall_silent),
    "a node's way to PostgreSQL slow by 0.5 s": way(Proxy.slow_down, 0.5),
    "a node's way to PostgreSQL reset": way(Proxy.cut),
}
ON_A_SMALL_DISK: dict[str, Staged] = {"PostgreSQL's disk full": disk_full}
