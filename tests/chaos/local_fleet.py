"""The fleet of `manage.py start --fleet 3`."""

import json
import secrets
import time
from contextlib import suppress
from typing import Any

from tests import servers
from tests.chaos.fleet import fleet
from tests.plugins import stores

MAKE_USERS = "import json; from accounts import demo; print(json.dumps([vars(each) for each in demo.make_people()]))"

LINE_OF_PERSON = "    {username:<6} {password:<42} {description}"
WELCOME = """
  Wristband & Passport is running on {count} nodes          stop: Ctrl-C

  pages       {base}/
  admin       {base}/admin/

  nginx       pid {nginx:<8} balances by round robin
{nodes}
  PostgreSQL  pid {postgres:<8} {postgres_folder}
  Valkey      pid {valkey:<8} {valkey_url}

  Kill any process (kill -9 PID), or stop it (kill -STOP PID; with the children of PostgreSQL: pkill -STOP -P PID)
  and continue it (-CONT), and watch the others.

  Demo users
{people}

"""


def run_fleet(port: int, count: int, out: Any) -> None:
    """Serves until it is interrupted. Raises RuntimeError if nginx is missing."""
    environment = stores.ENVIRONMENT | {
        "DEBUG": "true",
        "DEMO": "true",
        "SECRET_KEY": secrets.token_urlsafe(50),
        "TRUSTED_PROXIES": "127.0.0.1",
    }
    with fleet([0.0] * count, environment, "project.wsgi", port) as stand:
        people = json.loads(servers.manage(stand.env, "shell", "--verbosity=0", "--command", MAKE_USERS))
        out.write(
            WELCOME.format(
                count=count,
                base=stand.balancer.url,
                nginx=stand.balancer.process.pid,
                nodes="\n".join(f"  node        pid {node.process.pid:<8} {node.url}" for node in stand.nodes),
                postgres=stand.postgres.process.pid,
                postgres_folder=stand.postgres.folder,
                valkey=stand.valkey.process.pid,
                valkey_url=stand.valkey.url,
                people="\n".join(
                    f"    {each['username']:<6} {each['password']:<42} {each['description']}" for each in people
                ),
            )
        )
        out.flush()
        with suppress(KeyboardInterrupt):
            # Not signal.pause(): it sleeps on if another thread received the signal, or if it came just before.
            while True:
                time.sleep(0.2)
