"""
The application server of the nodes. To run tests or faults with another one, set in the environment: NODE_SERVER, its
name; NODE_ARGUMENTS, more options as gunicorn spells them; BALANCER_KEEPS, the number of idle connections that a
balancer keeps to its nodes.
"""

import os
import sys
from collections.abc import Sequence

# gunicorn's options, and granian's.
OF_GRANIAN = {
    "--threads": "--blocking-threads",
    "--graceful-timeout": "--workers-kill-timeout",
    "--log-level": "--log-level",
}
DEFAULTS_OF_GRANIAN = {"--blocking-threads": "1", "--workers-kill-timeout": "30", "--log-level": "warning"}


def command(application: str, address: str, workers: int, args: Sequence[str], server: str | None = None) -> list[str]:
    """Returns the command that serves the application. Raises KeyError for an unknown server."""
    server = server or os.environ.get("NODE_SERVER", "gunicorn")
    args = [*args, *os.environ.get("NODE_ARGUMENTS", "").split()]
    return [sys.executable, "-m", server, *SERVERS[server](application, address, workers, args)]


def kept_connections() -> int:
    return int(os.environ.get("BALANCER_KEEPS", "0"))


def _gunicorn(application: str, address: str, workers: int, args: Sequence[str]) -> list[str]:
    # The control socket is in the home folder, so nodes of one machine would share it.
    return [application, f"--bind={address}", f"--workers={workers}", "--no-control-socket", *args]


def _granian(application: str, address: str, workers: int, args: Sequence[str]) -> list[str]:
    """Options without a counterpart are left out: granian has no time limit for a request."""
    given = dict(arg.split("=", 1) for arg in args if "=" in arg)
    host, _colon, port = given.get("--bind", address).rpartition(":")
    options = DEFAULTS_OF_GRANIAN | {OF_GRANIAN[name]: value for name, value in given.items() if name in OF_GRANIAN}
    return [
        f"{application}:application",
        f"--host={host.strip('[]')}",
        f"--port={port}",
        f"--workers={workers}",
        "--interface=wsgi",
        "--http=1",
        "--no-ws",
        "--respawn-failed-workers",
        "--respawn-interval=0.1",
        *(f"{name}={value}" for name, value in options.items()),
    ]


SERVERS = {"gunicorn": _gunicorn, "granian": _granian}
