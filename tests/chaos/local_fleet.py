"""The fleet of `manage.py start --fleet 3`."""

import json
import os
import secrets
import signal
import time
from collections.abc import Sequence
from typing import Any, NoReturn

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
  db_worker   pid {mail_worker:<8} prints the mails to {mail_log}

  Kill any process (kill -9 PID), or stop it (kill -STOP PID; with the children of PostgreSQL: pkill -STOP -P PID)
  and continue it (-CONT), and watch the others.

  Demo users
{people}

"""


def run_fleet(port: int, count: int, out: Any) -> NoReturn:
    """Serves until it is interrupted, which ends this process. Raises RuntimeError if nginx is missing."""
    end_at_signals()
    environment = stores.ENVIRONMENT | {
        "DEBUG": "true",
        "DEMO": "true",
        "SECRET_KEY": secrets.token_urlsafe(50),
        "TRUSTED_PROXIES": "127.0.0.1",
    }
    with (
        fleet([0.0] * count, environment, "project.wsgi", port) as stand,
        servers.mail_worker(stand.env) as mail_worker,
    ):
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
                mail_worker=mail_worker.process.pid,
                mail_log=mail_worker.folder / "log",
                people="\n".join(
                    f"    {each['username']:<6} {each['password']:<42} {each['description']}" for each in people
                ),
            )
        )
        out.flush()
        end_at_signals([mail_worker, *stand.servers])
        while True:
            # Not signal.pause(): it sleeps on if another thread received the signal, or if it came just before.
            time.sleep(0.2)


def end_at_signals(these: Sequence[servers.Server] = ()) -> None:
    """
    Ctrl-C and SIGTERM kill these servers and end this process at once: on a busy machine the regular end of
    the interpreter and of each server takes a minute. The guards of the servers delete their folders, and end servers
    that are just starting.
    """

    def end(number: int, frame: Any) -> NoReturn:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)
        if not these:
            os._exit(128 + number)
        servers.abandon_all(these)
        os._exit(0)

    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, end)
