"""`manage.py start`: every failure is one line that says what to do."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from project import start_config
from project.management.commands import start
from tests import servers

pytestmark = pytest.mark.once

UNREACHABLE = "postgres://user:hunter2@127.0.0.1:1/wristband"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project, as a new user has it."""
    folder = tmp_path_factory.mktemp("copy")
    not_copied = shutil.ignore_patterns(".*", "var", "__pycache__", "tests")
    shutil.copytree(servers.ROOT, folder, ignore=not_copied, dirs_exist_ok=True)
    return folder


def started(folder: Path, *options: str, prefix: Sequence[str] = (), **env: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*prefix, sys.executable, "manage.py", "start", *options],
        cwd=folder,
        env=os.environ | {"DEBUG": "true", "SECRET_KEY": "", "PYTHONDONTWRITEBYTECODE": "1"} | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def refusal(folder: Path, *options: str, prefix: Sequence[str] = (), **env: str) -> str:
    """Returns the one line that the command writes before it ends."""
    process = started(folder, *options, prefix=prefix, **env)
    _out, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    [line] = err.splitlines()
    return line


@pytest.mark.long
@pytest.mark.parametrize(
    "port",
    ["70000", "eighty", *(pytest.param(each, marks=pytest.mark.named) for each in ("-1", "0", "65536", "80.5", "٨٠"))],
)
def test_an_invalid_port_is_refused(copy: Path, port: str) -> None:
    assert refusal(copy, f"--port={port}") == f"CommandError: --port {port}: expected a whole number from 1 to 65535."


@pytest.mark.long
@pytest.mark.parametrize(
    "nodes", ["0", *(pytest.param(each, marks=pytest.mark.named) for each in ("-2", "many", "1000"))]
)
def test_an_invalid_fleet_size_is_refused(copy: Path, nodes: str) -> None:
    assert "--fleet" in refusal(copy, f"--fleet={nodes}", f"--port={servers.free_port()}")


@pytest.mark.long
@pytest.mark.parametrize("port", [None, 65535])
def test_a_taken_port_is_reported_with_a_free_one(copy: Path, port: int | None) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", port or servers.free_port()))
        taken.listen()
        number = taken.getsockname()[1]
        line = refusal(copy, "--port", str(number))
    message, named = line.split("--port ")
    assert f"Port {number} is taken." in message
    assert start.is_free(int(named))


@pytest.mark.long
def test_a_privileged_port_is_reported_with_another_one(copy: Path) -> None:
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 80:
        pytest.skip("every user can listen on port 80 here")
    prefix = ["setpriv", "--bounding-set=-net_bind_service"] if os.geteuid() == 0 else []
    if prefix and not shutil.which("setpriv"):
        pytest.skip("root without setpriv")
    line = refusal(copy, "--port=80", prefix=prefix)
    assert "This account may not listen on port 80. Try --port " in line


@pytest.mark.long
@pytest.mark.parametrize(
    ("url", "where"), [(UNREACHABLE, "The database (DATABASE_URL)"), ("sqlite:////dev/null/x", "DATABASE_URL")]
)
def test_an_unreachable_database_is_reported(copy: Path, url: str, where: str) -> None:
    line = refusal(copy, "--port", str(servers.free_port()), DATABASE_URL=url)
    assert where in line
    assert "hunter2" not in line


def test_a_read_only_folder_is_reported(copy: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(copy, folder)
    shutil.rmtree(folder / "var", ignore_errors=True)
    # Not even root can create a folder in place of a file.
    (folder / "var").touch()
    process = started(folder, "--port", str(servers.free_port()))
    _out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in err
    assert all(str(folder / "var") in line for line in err.splitlines())


@pytest.fixture
def two(copy: Path) -> Iterator[list["subprocess.Popen[str]"]]:
    ports = [servers.free_port() for _ in range(2)]
    processes = [started(copy, "--port", str(port), WEB_CONCURRENCY="1") for port in ports]
    try:
        for port in ports:
            servers.wait_until(lambda url=f"http://127.0.0.1:{port}": servers.answers_live(url), 60)  # type: ignore[misc]
        yield processes
    finally:
        for each in processes:
            each.send_signal(signal.SIGINT)
        for each in processes:
            each.communicate(timeout=30)


@pytest.mark.long
def test_two_servers_can_start_in_a_new_folder_at_once(two: list["subprocess.Popen[str]"]) -> None:
    assert [each.poll() for each in two] == [None, None]


@pytest.mark.long
def test_a_second_server_on_the_same_port_reports_it(copy: Path) -> None:
    port = servers.free_port()
    processes = [started(copy, "--port", str(port), WEB_CONCURRENCY="1") for _ in range(2)]
    try:
        servers.wait_until(lambda: servers.answers_live(f"http://127.0.0.1:{port}"), 60)
        servers.wait_until(lambda: any(each.poll() == 1 for each in processes), 30)
        assert httpx.get(f"http://127.0.0.1:{port}/health/ready", trust_env=False).status_code == 200
        [refused] = [each for each in processes if each.poll() == 1]
        assert refused.stderr
        assert f"Port {port} is taken." in refused.stderr.read()
    finally:
        for each in processes:
            if each.poll() is None:
                each.send_signal(signal.SIGINT)
                each.communicate(timeout=30)


def mail_worker_of(port: int) -> Any:
    """The worker of the mails beside the server that listens on this port; None while there is none."""
    for process in psutil.process_iter(["cmdline"]):
        # Other processes, also those of other tests, end meanwhile.
        with suppress(psutil.Error):
            if "project.start_config" not in " ".join(process.info["cmdline"] or ()) or not listens(process, port):
                continue
            for each in process.children():
                if is_mail_worker(each):
                    return each
    return None


def is_mail_worker(process: psutil.Process) -> bool:
    try:
        return "db_worker" in process.cmdline()
    except psutil.Error:
        # It has just ended.
        return False


def listens(process: psutil.Process, port: int) -> bool:
    return any(each.laddr.port == port for each in process.net_connections() if each.status == psutil.CONN_LISTEN)


@pytest.fixture
def one(copy: Path) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """A server of one process, and its port."""
    port = servers.free_port()
    process = started(copy, "--port", str(port), WEB_CONCURRENCY="1")
    try:
        servers.wait_until(lambda: servers.answers_live(f"http://127.0.0.1:{port}"), 60)
        yield process, port
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=30)


@pytest.mark.long
def test_mails_are_printed_by_a_worker_that_ctrl_c_ends(one: tuple["subprocess.Popen[str]", int]) -> None:
    process, port = one
    servers.wait_until(lambda: mail_worker_of(port))
    form = {"username": "carol", "email": "carol@example.org", "password": "violet anchor hums at dawn"}
    assert httpx.post(f"http://127.0.0.1:{port}/api/register/", json=form, trust_env=False).status_code == 201
    output = iter(process.stdout or ())
    assert any(line.startswith("Subject: Confirm your e-mail address") for line in output)
    worker = mail_worker_of(port)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=15)
    assert not worker.is_running()


@pytest.mark.long
def test_a_mail_worker_that_was_killed_is_started_again(one: tuple["subprocess.Popen[str]", int]) -> None:
    _process, port = one
    servers.wait_until(lambda: mail_worker_of(port), seconds=60)
    killed = mail_worker_of(port)
    killed.kill()
    servers.wait_until(lambda: (again := mail_worker_of(port)) and again.pid != killed.pid, seconds=60)


@pytest.mark.long
def test_a_mail_worker_that_ends_at_once_is_started_less_often(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "manage.py").write_text("open('starts', 'a').write('x')")
    monkeypatch.chdir(tmp_path)
    worker = start_config.MailWorker()
    worker.start()
    time.sleep(5)
    worker.stop()
    # After 0, 0.5, 1.5 and 3.5 s, or a little later.
    assert 3 <= len((tmp_path / "starts").read_text()) <= 4


def test_the_pause_of_a_mail_worker_has_a_bound() -> None:
    pause = start_config.POLL_SECONDS
    for _number in range(20):
        pause = start_config.next_pause(pause, since_start=pause + 2)
    assert pause == 30


def test_a_mail_worker_that_has_worked_is_started_at_once() -> None:
    assert start_config.next_pause(30, since_start=60) == start_config.POLL_SECONDS


@pytest.mark.long
def test_the_mail_worker_ends_if_the_server_is_killed(one: tuple["subprocess.Popen[str]", int]) -> None:
    process, port = one
    servers.wait_until(lambda: mail_worker_of(port))
    worker = mail_worker_of(port)
    process.kill()
    servers.wait_until(lambda: not worker.is_running())
