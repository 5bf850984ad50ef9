"""
The files of project/deploy/ at work, without Docker: the image with the commands of compose.yaml and the roles of
roles.sql, on the PostgreSQL and Valkey of the test wheels, behind nginx with nginx.conf.
"""

import json
import os
import re
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import psycopg
import pytest

from tests import servers
from tests.plugins.optional_tools import require
from tests.project.containers import HOST, SERVICES, Nginx, Stores, ValkeyOfCompose, Web, running
from tests.project.image import DEPLOY, Image

# The first test makes the image.
pytestmark = [pytest.mark.once, pytest.mark.long, pytest.mark.timeout(300)]

PASSPHRASE = "violet anchor hums at dawn"


# What is set up once


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    with TemporaryDirectory(prefix="image-", dir="/tmp") as folder:
        built = Image(Path(folder))
        built.build()
        yield built


@pytest.fixture(scope="module")
def stores(image: Image) -> Iterator[Stores]:
    """The stores after the command of the service `migrate`."""
    with ExitStack() as stack:
        postgres = stack.enter_context(servers.postgres())
        postgres.create_database("wristband")
        found = Stores(postgres, valkey := stack.enter_context(running(ValkeyOfCompose)), valkey.port)
        found.run("prune-role.sql")
        found.run("roles.sql")
        made = image.run(SERVICES["migrate"]["command"], found.env("migrate"))
        assert made.returncode == 0, made.stderr
        # The service `rights`.
        found.run("roles.sql")
        yield found


@contextmanager
def web_of(image: Image, stores: Stores) -> Iterator[Web]:
    # In place of a tmpfs.
    with TemporaryDirectory(prefix="metrics-", dir="/dev/shm") as metrics:
        if os.geteuid() == 0:
            os.chown(metrics, *map(int, image.user.split(":")))
        env = stores.env("web") | {"PROMETHEUS_MULTIPROC_DIR": metrics, "WEB_CONCURRENCY": "2"}
        with running(Web, image, env) as web:
            web.log_of_start = web.log
            yield web


@pytest.fixture(scope="module")
def web(image: Image, stores: Stores) -> Iterator[Web]:
    with web_of(image, stores) as server:
        yield server


@pytest.fixture(scope="module")
def nginx(web: Web) -> Iterator[Nginx]:
    require(servers.nginx_program)
    with running(Nginx, web.address) as server:
        yield server


def health_check(image: Image, port: int) -> int:
    return image.run([each.replace("8000", str(port)) for each in image.health_check], {}).returncode


# The image


def test_static_files_are_collected_without_a_secret(image: Image) -> None:
    var = image.path("/srv/wristband/var")
    assert [each.name for each in var.iterdir()] == ["static"]
    assert "accounts/site.css" in json.loads((var / "static" / "staticfiles.json").read_text())["paths"]


def test_the_account_of_the_image_can_read_all_files(image: Image) -> None:
    for path in image.path("/srv/wristband").rglob("*"):
        if path.is_symlink():
            continue
        mode = path.stat().st_mode
        needed = stat.S_IROTH | (stat.S_IXOTH if path.is_dir() else 0)
        assert mode & needed == needed, path
        assert not mode & (stat.S_IWGRP | stat.S_IWOTH), path


def test_the_image_lacks_the_tools_of_the_tests(image: Image) -> None:
    made = image.run(["python", "-c", "import django, gunicorn; import pytest"], {})
    assert "No module named 'pytest'" in made.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can choose another account")
def test_the_account_of_the_image_cannot_write_the_code(image: Image) -> None:
    for path in ("manage.py", "project/new", "var/static/new"):
        made = image.run(["python", "-c", f"open({path!r}, 'a')"], {})
        assert re.search("PermissionError|Read-only", made.stderr), path


def test_a_container_without_settings_says_what_is_missing(image: Image) -> None:
    made = image.run(image.command, {})
    assert made.returncode != 0
    assert "SECRET_KEY" in made.stderr


# The containers


def test_the_web_server_starts_without_an_error_in_its_log(web: Web) -> None:
    assert not re.search('error|traceback|"level"', web.log_of_start, re.IGNORECASE), web.log_of_start


def test_the_web_server_is_ready(web: Web) -> None:
    answer = httpx.get(f"http://{web.address}/health/ready")
    assert (answer.status_code, set(answer.json().values())) == (200, {"up"})


def test_the_health_check_follows_the_server_until_its_end(image: Image, stores: Stores) -> None:
    with web_of(image, stores) as server:
        assert health_check(image, server.port) == 0
        server.pause()
        assert health_check(image, server.port) != 0
        server.resume()
        servers.wait_until(lambda: health_check(image, server.port) == 0)
        # A running request is answered after SIGTERM.
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as slow:
            slow.sendall(f"POST /api/token/ HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 2\r\n\r\n{{".encode())
            assert health_check(image, server.port) == 0
            server.process.terminate()
            slow.sendall(b"}")
            assert slow.recv(100).startswith(b"HTTP/1.1 ")
        assert server.process.wait(45) == 0
        assert health_check(image, server.port) != 0


@pytest.mark.parametrize(
    ("service", "command"),
    [("prune", "prune"), ("worker", "after_restore"), ("worker", "check"), ("worker", "migrate --check")],
)
def test_a_command_works_with_its_role(image: Image, stores: Stores, service: str, command: str) -> None:
    made = image.run(["python", "manage.py", *command.split()], stores.env(service))
    assert made.returncode == 0, made.stderr
    # after_restore logs the sign-ins that it ends.
    assert not re.search("ERROR|WARNING|Traceback", made.stderr), made.stderr


def handles_sigterm(pid: int) -> bool:
    """Whether the process has set a handler: the worker does that when it has started (proc_pid_status(5))."""
    [caught] = re.findall(r"^SigCgt:\t(\w+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return bool(int(caught, 16) & 1 << (signal.SIGTERM - 1))


def test_the_worker_runs_until_it_is_stopped(image: Image, stores: Stores) -> None:
    container = image.container(SERVICES["worker"]["command"], stores.env("worker"))
    with subprocess.Popen(**container, stderr=subprocess.PIPE, text=True) as worker:
        servers.wait_until(lambda: handles_sigterm(worker.pid), 60)
        with pytest.raises(subprocess.TimeoutExpired):
            worker.wait(2)
        worker.terminate()
        assert worker.wait(45) == 0
        assert worker.stderr
        assert "Traceback" not in worker.stderr.read()


# The roles


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (id int)",
        "ALTER TABLE accounts_user ADD COLUMN mine int",
        "ALTER TABLE accounts_securityevent DISABLE TRIGGER ALL",
        "DROP TABLE accounts_securityevent",
        "TRUNCATE accounts_securityevent",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "SET ROLE wristband_owner",
    ],
)
def test_the_role_that_serves_cannot_change_the_schema(stores: Stores, statement: str) -> None:
    with stores.connect("wristband") as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement)


def test_missing_rights_are_an_outage_that_the_log_names_once(web: Web, stores: Stores) -> None:
    before = len(web.log)
    headers = {"Host": HOST, "X-Forwarded-Proto": "https"}
    with stores.connect("wristband_owner") as connection:
        connection.execute("REVOKE ALL ON accounts_user FROM wristband")
        try:
            for _ in range(6):
                body = {"username": "nobody", "password": PASSPHRASE}
                answer = httpx.post(f"http://{web.address}/api/token/", json=body, headers=headers)
                assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        finally:
            connection.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON accounts_user TO wristband")
    lines = [json.loads(line) for line in web.log[before:].splitlines()]
    # One for each worker.
    assert 1 <= len([line for line in lines if line["level"] == "ERROR"]) <= 2
    assert "permission denied for table accounts_user" in lines[0]["message"]


def test_valkey_has_no_user_without_a_password(stores: Stores) -> None:
    with socket.create_connection(("127.0.0.1", stores.port), timeout=2) as connection:
        connection.sendall(b"GET wp:1\r\n")
        assert connection.recv(100).startswith(b"-NOAUTH")


# nginx


def test_nginx_accepts_the_file_without_a_warning(nginx: Nginx) -> None:
    made = subprocess.run([*nginx.command, "-t"], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    assert "warn" not in made.stderr


def test_a_page_over_http_is_redirected_and_the_api_refused(nginx: Nginx) -> None:
    with nginx.client("http") as client:
        # A client's own header does not count.
        forged = {"X-Forwarded-Proto": "https"}
        page = client.get("/accounts/login/?next=/", headers=forged)
        assert (page.status_code, page.headers["Location"]) == (301, f"https://{HOST}/accounts/login/?next=/")
        refused = client.post("/api/token/", json={"username": "ann", "password": PASSPHRASE}, headers=forged)
        assert (refused.status_code, refused.headers.get("Location")) == (403, None)


def test_a_client_signs_in_and_its_own_address_is_recorded(nginx: Nginx) -> None:
    account = {"username": "ann", "email": "ann@example.net", "password": PASSPHRASE}
    with nginx.client() as client:
        assert client.post("/api/register/", json=account).status_code == 201
        tokens = client.post("/api/token/", json=account, headers={"X-Forwarded-For": "203.0.113.77"})
        assert tokens.status_code == 200, tokens.text
        bearer = {"Authorization": f"Bearer {tokens.json()['access']}"}
        [sign_in] = client.get("/api/sign-ins/", headers=bearer).json()["results"]
        assert sign_in["ip_address"] == "127.0.0.2"


def test_a_page_and_its_style_arrive_by_https(nginx: Nginx) -> None:
    with nginx.client() as client:
        page = client.get("/accounts/login/")
        [style] = re.findall(r'href="(/static/accounts/site\.[0-9a-f]+\.css)"', page.text)
        assert client.get(style).headers["Content-Type"].startswith("text/css")
        assert "Strict-Transport-Security" in page.headers


def test_the_log_of_nginx_has_the_request_id_and_no_token(nginx: Nginx) -> None:
    with nginx.client() as client:
        for path in ("email/MQ", "reset/MQ", "factors/stop-removal"):
            answer = client.get(f"/accounts/{path}/c0ffee-secret/?code=secret", headers={"Referer": "https://a/secret"})
            [line] = [each for each in nginx.access_log() if each["request_id"] == answer.headers["X-Request-ID"]]
            assert line["path"] == f"/accounts/{path.removesuffix('/MQ')}/..."
    assert "secret" not in (nginx.folder / "wristband.log").read_text() + nginx.log


def test_every_link_with_a_token_is_left_out_of_the_log(nginx: Nginx) -> None:
    from accounts import urls

    linked = {each.pattern._route for each in urls.urlpatterns if "token>" in str(each.pattern)}  # type: ignore[attr-defined]
    [pattern] = re.findall(r"~(\^\S+) ", (DEPLOY / "nginx.conf").read_text())
    assert len(linked) >= 3
    for route in linked:
        match = re.match(pattern, f"/accounts/{route}")
        assert match, route
        assert "<" not in match[1]


@pytest.mark.parametrize("megabytes", [1.6, 3])
def test_a_large_body_gets_the_same_answer_from_both(nginx: Nginx, megabytes: float) -> None:
    with nginx.client() as client:
        body = b'{"username": "' + b"a" * int(megabytes * 1_000_000) + b'"}'
        answer = client.post("/api/token/", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert answer.json() == {"detail": "The request body is too large.", "code": "too_large"}


def test_slow_clients_keep_no_worker_busy(nginx: Nginx) -> None:
    head = f"POST /api/token/ HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 100\r\n"
    with ExitStack() as stack, nginx.client() as client:
        for unfinished in (head, f"{head}\r\n{{") * 5:
            slow = stack.enter_context(socket.create_connection(("127.0.0.1", nginx.http)))
            slow.sendall(unfinished.encode())
        seconds = [client.get("/health/live").elapsed.total_seconds() for _ in range(10)]
    assert max(seconds) < 2


def test_without_a_node_the_answer_is_503_with_a_wait(tmp_path: Path) -> None:
    require(servers.nginx_program)
    with running(Nginx, f"127.0.0.1:{servers.free_port()}") as alone, alone.client() as client:
        answer = client.get("/api/me/")
    assert (answer.status_code, answer.json()["code"], answer.headers["Retry-After"]) == (503, "unavailable", "2")
