"""The fleet behind `manage.py start --fleet 3`."""

import json
import secrets
import time
from contextlib import suppress
from typing import Any

from tests import servers
from tests.chaos.fleet import fleet
from tests.plugins import stores

MAKE_PEOPLE = "import json; from accounts import demo; print(json.dumps([vars(each) for each in demo.make_people()]))"

TOLD = """
  Wristband & Passport is running on {count} nodes          stop: Ctrl-C

  pages       {base}/
  admin       {base}/admin/

  nginx       pid {nginx:<8} asks the nodes in turn
{nodes}
  PostgreSQL  pid {postgres:<8} {postgres_folder}
  Valkey      pid {valkey:<8} {valkey_url}

  Kill what you like (kill -9 PID), or stop it in mid-air (kill -STOP PID; PostgreSQL's children, too: pkill -STOP -P
  PID), let it go on (-CONT), and see what the others make of it.

  Demo people
{people}

"""


def run_fleet(port: int, count: int, out: Any) -> None:
    """Serves until it is interrupted. Raises RuntimeError where nginx is missing."""
    environment = stores.ENVIRONMENT | {
        "DEBUG": "true",
        "DEMO": "true",
        "SECRET_KEY": secrets.token_urlsafe(50),
        "TRUSTED_PROXIES": "127.0.0.1",
    }
    with fleet([0.0] * count, environment, "project.wsgi", port) as stand:
        people = json.loads(servers.manage(stand.env, "shell", "--verbosity=0", "--command", MAKE_PEOPLE))
        out.write(
            TOLD.format(
                count=count,
                base=stand.balancer.url,
                nginx=stand.balancer.process.pid,
                nodes="\n".join(f"  node        pid {node.process.pid:<8} {node.url}" for node in stand.nodes),
                postgres=stand.postgres.process.pid,
                postgres_folder=stand.postgres.folder,
                valkey=stand.valkey.process.pid,
                valkey_url=stand.valkey.url,
                people="\n".join(f"    {each['username']:<6} {each['password']:<42} {each['who']}" for each in people),
            )
        )
        out.flush()
        with suppress(KeyboardInterrupt):
            # Not signal.pause(), which sleeps on where another thread took the signal, or where it came just before.
            while True:
                time.sleep(0.2)
