"""PostgreSQL, Valkey, three nodes and a balancer; between each node and each store a proxy for faults."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests import servers
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


@dataclass
class Fleet:
    postgres: servers.Postgres
    valkey: servers.Valkey
    nodes: Sequence[servers.Node]
    balancer: servers.Balancer
    to_postgres: Sequence[Proxy]
    to_valkey: Sequence[Proxy]
    failpoints: Path
    # For commands beside the nodes, with direct connections to the stores.
    env: Mapping[str, str]

    @property
    def servers(self) -> list[servers.Server]:
        return [self.balancer, *self.nodes, self.valkey, self.postgres]


@contextmanager
def fleet(
    offsets: Sequence[float] = CLOCK_OFFSETS,
    environment: Mapping[str, str] = ENVIRONMENT,
    application: str = "tests.chaos.node",
    port: int | None = None,
) -> Iterator[Fleet]:
    """Starts a node for each clock offset. Raises RuntimeError if nginx is missing."""
    servers.nginx_program()
    for name in stores.DEFAULTS:
        os.environ.pop(name, None)
    with ExitStack() as stack:
        enter = stack.enter_context
        # Commits survive a kill -9 of PostgreSQL, as on a production server.
        tuning = {"max_connections": 60, "superuser_reserved_connections": 5, "synchronous_commit": "on"}
        postgres = enter(servers.postgres(**tuning))
        valkey = enter(servers.valkey())
        # In a folder that is deleted with its server.
        failpoints = valkey.folder / "failpoints"
        failpoints.mkdir()
        database = postgres.create_database("fleet")
        straight = {**environment, "DATABASE_URL": database, "REDIS_URL": valkey.url}
        servers.manage(straight, "migrate", "--verbosity=0")
        to_postgres = [enter(Proxy(servers.free_port(), postgres.socket).running()) for _ in offsets]
        to_valkey = [enter(Proxy(servers.free_port(), valkey.port).running()) for _ in offsets]
        nodes = [
            enter(
                servers.node(
                    {
                        **environment,
                        "DATABASE_URL": f"postgres://postgres@127.0.0.1:{to_postgres[which].port}/fleet",
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
        stand = Fleet(postgres, valkey, nodes, balancer, to_postgres, to_valkey, failpoints, straight)
        try:
            yield stand
        finally:
            servers.kill_all(stand.servers)
