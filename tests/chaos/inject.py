"""Faults of a fleet. Each is real, lasts some seconds, and is undone."""

import random
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress

import psutil
import psycopg
import redis

from tests import servers
from tests.chaos.fleet import Fleet
from tests.chaos.recorder import Fault, History

Staged = Callable[[Fleet, random.Random], None]

WRITTEN_TO = ("accounts_signin", "accounts_securityevent", "accounts_session", "blocklist_entry")
NO_SPACE = """
CREATE FUNCTION no_space() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$
"""
# It replaces an index of the largest table, which the nodes do not need.
INDEX_MIGRATION = ("accounts", "0016")


def rest(rng: random.Random, low: float = 0.5, high: float = 2.5) -> None:
    time.sleep(rng.uniform(low, high))


def valkey_of(fleet: Fleet) -> redis.Redis:
    return redis.Redis.from_url(fleet.valkey.url, socket_timeout=5)


def postgres_of(fleet: Fleet, database: str = "fleet") -> psycopg.Connection:
    return psycopg.connect(f"{fleet.postgres.url.rpartition('/')[0]}/{database}", autocommit=True, connect_timeout=5)


def valkey_killed(fleet: Fleet, rng: random.Random) -> None:
    fleet.valkey.kill()
    rest(rng)
    fleet.valkey.start()


def valkey_flushed(fleet: Fleet, rng: random.Random) -> None:
    valkey_of(fleet).flushall()


def valkey_paused(fleet: Fleet, rng: random.Random) -> None:
    fleet.valkey.pause()
    rest(rng, 1, 10)
    fleet.valkey.resume()


def valkey_full(fleet: Fleet, rng: random.Random, policy: str) -> None:
    valkey = valkey_of(fleet)
    valkey.config_set("maxmemory-policy", policy)
    valkey.config_set("maxmemory", "1mb")
    with suppress(redis.RedisError):
        for number in range(100):
            valkey.set(f"filler:{number}", "x" * 20_000)
    rest(rng)
    valkey.config_set("maxmemory", "0")


def valkey_full_and_refusing(fleet: Fleet, rng: random.Random) -> None:
    valkey_full(fleet, rng, "noeviction")


def valkey_full_and_evicting(fleet: Fleet, rng: random.Random) -> None:
    valkey_full(fleet, rng, "allkeys-lru")


def valkey_a_read_only_replica(fleet: Fleet, rng: random.Random) -> None:
    valkey = valkey_of(fleet)
    valkey.replicaof("127.0.0.1", 1)
    rest(rng)
    valkey.replicaof("NO", "ONE")


def subscriptions_to_valkey_killed(fleet: Fleet, rng: random.Random) -> None:
    valkey_of(fleet).client_kill_filter(_type="pubsub")


def way_to_valkey(trouble: Callable[..., None], *arguments: float) -> Staged:
    def stage(fleet: Fleet, rng: random.Random) -> None:
        way = rng.choice(fleet.to_valkey)
        trouble(way, *arguments)
        rest(rng, 1, 4)
        way.heal()

    return stage


def way_to_postgres(trouble: Callable[..., None], *arguments: float) -> Staged:
    def stage(fleet: Fleet, rng: random.Random) -> None:
        way = rng.choice(fleet.to_postgres)
        trouble(way, *arguments)
        rest(rng, 1, 4)
        way.heal()

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
    """As the nodes see it: writes that need more space are refused."""
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


def node_killed(fleet: Fleet, rng: random.Random) -> None:
    node = rng.choice(fleet.nodes)
    node.kill()
    rest(rng)
    node.start()


def node_paused(fleet: Fleet, rng: random.Random) -> None:
    node = rng.choice(fleet.nodes)
    node.pause()
    rest(rng, 1, 5)
    node.resume()


def workers_of(fleet: Fleet, rng: random.Random) -> list[psutil.Process]:
    return psutil.Process(rng.choice(fleet.nodes).process.pid).children()


def worker_killed(fleet: Fleet, rng: random.Random) -> None:
    with suppress(psutil.NoSuchProcess, IndexError):
        rng.choice(workers_of(fleet, rng)).send_signal(signal.SIGKILL)


def worker_timed_out(fleet: Fleet, rng: random.Random) -> None:
    """Stopped for longer than gunicorn's --timeout: it is killed and replaced."""
    with suppress(psutil.NoSuchProcess, IndexError):
        rng.choice(workers_of(fleet, rng)).send_signal(signal.SIGSTOP)
        time.sleep(9)


def rolling_restart(fleet: Fleet, rng: random.Random) -> None:
    for node in fleet.nodes:
        node.process.send_signal(signal.SIGHUP)
        time.sleep(2)


def dies(failpoint: str) -> Staged:
    def stage(fleet: Fleet, rng: random.Random) -> None:
        armed = fleet.failpoints / failpoint
        armed.touch()
        deadline = time.monotonic() + 8
        while armed.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        armed.unlink(missing_ok=True)

    return stage


def kinds() -> dict[str, tuple[str, Staged]]:
    """Returns every kind of fault: its name, the affected part, and the function that stages it."""
    from tests.chaos.proxy import Proxy

    return {
        "Valkey killed, restarted empty": ("valkey", valkey_killed),
        "Valkey flushed": ("valkey", valkey_flushed),
        "Valkey paused up to 10 s": ("valkey", valkey_paused),
        "Valkey full, noeviction": ("valkey", valkey_full_and_refusing),
        "Valkey full, allkeys-lru": ("valkey", valkey_full_and_evicting),
        "Valkey a read-only replica": ("valkey", valkey_a_read_only_replica),
        "subscriptions to Valkey killed": ("valkey", subscriptions_to_valkey_killed),
        "a node's way to Valkey half-open": ("valkey", way_to_valkey(Proxy.fall_silent)),
        "a node's way to Valkey slow by 2 s": ("valkey", way_to_valkey(Proxy.slow_down, 2.0)),
        "a node's way to Valkey reset": ("valkey", way_to_valkey(Proxy.cut)),
        "PostgreSQL restarted": ("postgres", postgres_restarted),
        "PostgreSQL killed -9": ("postgres", postgres_killed),
        "PostgreSQL paused up to 8 s": ("postgres", postgres_paused),
        "PostgreSQL's connections killed": ("postgres", postgres_connections_killed),
        "PostgreSQL out of connections": ("postgres", postgres_out_of_connections),
        "PostgreSQL read-only": ("postgres", postgres_read_only),
        "deadlocks": ("postgres", deadlock),
        "serialization failures": ("postgres", serialization_failures),
        "disk full": ("postgres", disk_full),
        "disk of PostgreSQL's log full": ("postgres", disk_of_the_log_full),
        "migrations under load": ("postgres", migrated_back_and_forth),
        "a table locked as by a migration": ("postgres", table_locked_as_by_a_migration),
        "a node's way to PostgreSQL half-open": ("postgres", way_to_postgres(Proxy.fall_silent)),
        "a node's way to PostgreSQL slow by 0.5 s": ("postgres", way_to_postgres(Proxy.slow_down, 0.5)),
        "a node's way to PostgreSQL reset": ("postgres", way_to_postgres(Proxy.cut)),
        "node killed -9": ("node", node_killed),
        "node paused up to 5 s": ("node", node_paused),
        "worker killed -9": ("node", worker_killed),
        "worker timed out": ("node", worker_timed_out),
        "rolling restart": ("node", rolling_restart),
        "killed -9 between commit and broadcast": ("valkey", dies("between commit and broadcast")),
        "killed -9 in a refresh before the commit": ("node", dies("in a refresh, before the commit")),
        "killed -9 in a refresh after the commit": ("node", dies("in a refresh, after the commit")),
    }


def inject(fleet: Fleet, parts: set[str], until: float, history: History, seed: int) -> None:
    """Stages one fault after the other, every kind once before any is repeated; the seed decides all but the timing."""
    rng = random.Random(f"{seed}/{sorted(parts)}")
    mine = [(kind, part, stage) for kind, (part, stage) in kinds().items() if part in parts]
    bag: list[tuple[str, str, Staged]] = []
    while time.monotonic() < until:
        if not bag:
            bag = rng.sample(mine, len(mine))
        kind, part, stage = bag.pop()
        # Recorded at its start, so that it is recorded if it fails.
        began = time.monotonic()
        stage(fleet, rng)
        history.faults.append(Fault(kind, began, time.monotonic(), part))
        rest(rng, 0.3, 1.2)
