"""The log of a server start has no needless errors."""

import os
import re
import shlex
import sys
from pathlib import Path

import pytest

from tests import servers

pytestmark = [pytest.mark.once, pytest.mark.long]

README = (servers.ROOT / "project" / "README.md").read_text()
[AS_DEPLOYED] = re.findall(r"&& (gunicorn [^'\n]*project\.wsgi)'", README)


class Started(servers.Server):
    """A server started without a home folder: not even root can create one in /proc."""

    def __init__(self, folder: Path, command: str, **env: str) -> None:
        port = servers.free_port()
        self.url = f"http://127.0.0.1:{port}"
        words = [sys.executable, *shlex.split(command.format(port=port))]
        env = {name: value for name, value in os.environ.items() if name != "XDG_RUNTIME_DIR"} | env
        super().__init__(folder, words, cwd=servers.ROOT, env=env | {"HOME": "/proc/none"})

    def answers(self) -> bool:
        return servers.answers_live(self.url)


@pytest.mark.parametrize(
    "command", ["manage.py start --no-demo --port {port}", f"-m {AS_DEPLOYED} --bind 127.0.0.1:{{port}}"]
)
def test_without_a_home_folder_the_log_has_no_error(tmp_path: Path, command: str) -> None:
    env = {"DEBUG": "true", "DATABASE_URL": f"sqlite:///{tmp_path / 'db.sqlite3'}", "WEB_CONCURRENCY": "1"}
    servers.manage(env, "migrate", "--verbosity=0")
    with servers.running(Started(tmp_path, command, **env)) as server:
        # Read before the stop: gunicorn logs an error for a request that SIGINT interrupts.
        log = server.log
    assert not re.search("error|control|traceback", log, re.IGNORECASE), log
