"""PostgreSQL, Valkey, three nodes and a balancer; between each node and each store a proxy for faults."""

import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg

from tests import servers
from tests.chaos.disk import SmallDisk, small_disk
from tests.chaos.mailbox import Mailbox
from tests.chaos.proxy import Proxy
from tests.plugins import stores

WORKERS = 2
# Nodes with clocks 30 seconds apart, and the settings that such clocks need (.env.example).
CLOCK_OFFSETS = (-15, 0, 15)
ENVIRONMENT = stores.ENVIRONMENT | {
    "ACCESS_TOKEN_MINUTES": "1",
    "ALLOWED_HOSTS": "127.0.0.1",
    "JWT_LEEWAY_SECONDS": "30",
    "REFRESH_GRACE_SECONDS": "45",
    "TRUSTED_PROXIES": "127.0.0.1",
    "DATABASE_TIMEOUT_SECONDS": "3",
    "DJANGO_SETTINGS_MODULE": "tests.chaos.settings",
}


NAME = "fleet"


class FaultyMailWorker(servers.MailWorker):
    """The mail worker with failpoints."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        super().__init__(folder, env)
        self.command = [sys.executable, "-m", "tests.chaos.worker"]


@dataclass
class Fleet:
    """A fleet, and for faults a mail server, its worker and two small disks."""

    postgres: servers.Postgres
    valkey: servers.Valkey
    nodes: Sequence[servers.Node]
    balancer: servers.Balancer
    to_postgres: Sequence[Proxy]
    to_valkey: Sequence[Proxy]
    failpoints: Path
    # For commands beside the nodes, with direct connections to the stores.
    env: Mapping[str, str]
    # None: the fleet is not for faults, or this machine allows no mount.
    disk_of_postgres: SmallDisk | None = None
    disk_of_valkey: SmallDisk | None = None
    mailbox: Mailbox | None = None
    worker: servers.MailWorker | None = None
    # Seconds for which the mail server may be away.
    longest_outage: float = 20.0
    # Held by a fault of PostgreSQL, and by a backup or a restore.
    database_turn: threading.Lock = field(default_factory=threading.Lock)

    @property
    def servers(self) -> list[servers.Server]:
        workers = [self.worker] if self.worker else []
        return [self.balancer, *self.nodes, *workers, self.valkey, self.postgres]

    def create_database(self, name: str) -> str:
        """Creates a database on the small disk, and returns its URL."""
        return create_database(self.postgres, self.disk_of_postgres, name)


def create_database(postgres: servers.Postgres, disk: SmallDisk | None, name: str = NAME) -> str:
    """Creates a database on this disk, and returns its URL."""
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        where = ""
        if disk:
            if not connection.execute("SELECT 1 FROM pg_tablespace WHERE spcname = 'disk'").fetchone():
                connection.execute(f"CREATE TABLESPACE disk LOCATION '{disk.folder}'")
            where = "TABLESPACE disk"
        connection.execute(f"CREATE DATABASE {name} {where}")
    return f"{postgres.url.rpartition('/')[0]}/{name}"


@contextmanager
def fleet(
    offsets: Sequence[float] = CLOCK_OFFSETS,
    environment: Mapping[str, str] = ENVIRONMENT,
    application: str = "tests.chaos.node",
    port: int | None = None,
    mailbox: Mailbox | None = None,
) -> Iterator[Fleet]:
    """
    Starts a node for each clock offset. With a mailbox, also what faults of mails and full disks need. Raises
    RuntimeError if nginx is missing.
    """
    servers.nginx_program()
    for name in stores.DEFAULTS:
        os.environ.pop(name, None)
    with ExitStack() as stack:
        enter = stack.enter_context
        # Commits survive a kill -9 of PostgreSQL, as on a production server.
        tuning = {"max_connections": 60, "superuser_reserved_connections": 5, "synchronous_commit": "on"}
        postgres = enter(servers.postgres(**tuning))
        # Its folder is protected.
        valkey = enter(servers.valkey("--enable-protected-configs", "yes"))
        disks: tuple[SmallDisk | None, SmallDisk | None] = (None, None)
        if mailbox:
            disk_of_postgres = enter(small_disk(postgres.folder / "disk", servers.unprivileged()))
            disks = (disk_of_postgres, enter(small_disk(valkey.folder / "disk", {})))
        # In a folder that is deleted with its server.
        failpoints = valkey.folder / "failpoints"
        failpoints.mkdir()
        database = create_database(postgres, disks[0])
        environment = {**environment, "EMAIL_URL": mailbox.url} if mailbox else environment
        straight = {**environment, "DATABASE_URL": database, "REDIS_URL": valkey.url}
        servers.manage(straight, "migrate", "--verbosity=0")
        to_postgres = [enter(Proxy(servers.free_port(), postgres.socket).running()) for _ in offsets]
        to_valkey = [enter(Proxy(servers.free_port(), valkey.port).running()) for _ in offsets]
        nodes = [
            enter(
                servers.node(
                    {
                        **environment,
                        "DATABASE_URL": f"postgres://postgres@127.0.0.1:{to_postgres[which].port}/{NAME}",
                        "REDIS_URL": f"redis://127.0.0.1:{to_valkey[which].port}",
                        "CLOCK_OFFSET": str(offset),
                        "FAILPOINTS": str(failpoints),
                    },
                    workers=WORKERS,
                    # A worker without a heartbeat for this time is replaced.
                    args=["--threads=4", "--timeout=8", "--graceful-timeout=3", "--log-level=warning"],
                    application=application,
                )
            )
            for which, offset in enumerate(offsets)
        ]
        balancer = enter(servers.balancer(nodes, port))
        stand = Fleet(postgres, valkey, nodes, balancer, to_postgres, to_valkey, failpoints, straight, *disks, mailbox)
        if mailbox:
            folder = Path(enter(TemporaryDirectory(prefix="mails-")))
            stand.worker = enter(servers.running(FaultyMailWorker(folder, straight | {"FAILPOINTS": str(failpoints)})))
        try:
            yield stand
        finally:
            servers.kill_all(stand.servers)
