"""Mails with real processes: servers and workers that are killed, several workers, and an unavailable mail server."""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests import databases, servers
from tests.mail_server import MailServer

pytestmark = [pytest.mark.long, pytest.mark.once]

PASSWORD = "violet anchor hums at dawn"
MAKE_USERS = f"""
from django.contrib.auth.hashers import make_password
from django.utils import timezone
from accounts.models import User
password, now = make_password({PASSWORD!r}), timezone.now()
for name in {{names}}:
    User.objects.create(username=name, email=f"{{{{name}}}}@example.org", password=password, email_confirmed_at=now)
"""
NOTIFY_ALL = """
from accounts.models import User
for user in User.objects.all():
    user.notify("new_device", client="script", is_named=True, kind="client")
"""
# As if the lease of a killed worker had passed.
PASS_LEASE = """
from datetime import timedelta
from django.db.models import F
from accounts.models import QueuedMail
QueuedMail.objects.filter(status="RUNNING").update(started_at=F("started_at") - timedelta(minutes=16))
"""
EMPTY = """
from accounts.models import AttemptCounter, QueuedMail
QueuedMail.objects.all().delete()
AttemptCounter.objects.all().delete()
"""
ALARM = "We signed out one of your apps"


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a migrated PostgreSQL with users, and of a mail server that is not running yet."""
    return prepared(databases.migrated(tmp_path_factory.mktemp("mails"), "mails"))


@pytest.fixture(params=["PostgreSQL", "SQLite"])
def each_store(request: pytest.FixtureRequest, tmp_path: Path, stores: dict[str, str]) -> dict[str, str]:
    if request.param == "PostgreSQL":
        return stores
    url = f"sqlite:///{tmp_path}/mails.sqlite3"
    servers.manage({"DATABASE_URL": url, "DEBUG": "true"}, "migrate", "--verbosity=0")
    return prepared(url)


def prepared(url: str) -> dict[str, str]:
    """Returns the environment of a database that is migrated and has users."""
    env = {
        "DATABASE_URL": url,
        "REDIS_URL": "",
        "DEBUG": "true",
        "TOKEN_RATE": "",
        "EMAIL_URL": f"smtp://127.0.0.1:{servers.free_port()}",
    }
    shell(env, MAKE_USERS.format(names=[f"user{number}" for number in range(20)]))
    return env


@pytest.fixture(autouse=True)
def empty_queue(stores: dict[str, str]) -> Iterator[None]:
    yield
    shell(stores, EMPTY)


def shell(env: dict[str, str], code: str) -> str:
    return servers.manage(env, "shell", "--verbosity=0", "--command", code)


def port_of(env: dict[str, str]) -> int:
    return int(env["EMAIL_URL"].rpartition(":")[2])


def steal_token(url: str, username: str) -> None:
    """Uses a refresh token of this user a second time, after the grace period."""
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as http:
        pair = http.post("/api/token/", json={"username": username, "password": PASSWORD}).json()
        refresh = pair["refresh"]
        for _number in range(2):
            pair = http.post("/api/token/refresh/", json={"refresh": pair["refresh"]}).json()
        assert http.post("/api/token/refresh/", json={"refresh": refresh}).status_code == 401


def test_an_alarm_is_sent_though_the_server_was_killed(stores: dict[str, str]) -> None:
    server = MailServer()
    with servers.node(stores, workers=1) as node:
        steal_token(node.url, "user0")
        node.kill()
    with server.running(port_of(stores)), servers.mail_worker(stores):
        servers.wait_until(lambda: ALARM in server.subjects)
    assert server.subjects.count(ALARM) == 1


@pytest.mark.parametrize(("stops_before", "sent"), [("RCPT", 1), ("DATA", 2)])
def test_a_killed_worker_loses_no_mail(stores: dict[str, str], stops_before: str, sent: int) -> None:
    """A worker that is killed after the mail was transferred, and before the reply, sends it a second time."""
    server = MailServer(stops_before=stops_before)
    shell(stores, 'from accounts.models import User; User.objects.first().notify("token_reused", client="script")')
    with server.running(port_of(stores)):
        with servers.mail_worker(stores) as worker:
            assert server.has_stopped.wait(30)
            worker.kill()
        shell(stores, PASS_LEASE)
        with servers.mail_worker(stores):
            servers.wait_until(lambda: shell(stores, COUNT).strip() == "0")
    assert server.subjects == [ALARM] * sent
    assert len({message["Message-ID"] for message in server.messages}) == 1


COUNT = "from accounts.models import QueuedMail; print(QueuedMail.objects.count())"


def test_several_workers_send_each_mail_once(each_store: dict[str, str]) -> None:
    server = MailServer()
    shell(each_store, NOTIFY_ALL)
    with (
        server.running(port_of(each_store)),
        servers.mail_worker(each_store) as first,
        servers.mail_worker(each_store) as second,
    ):
        servers.wait_until(lambda: len(server.letters) >= 20, 40)
        time.sleep(2)
        logs = first.log + second.log
    assert Counter(letter.rcpt_tos[0] for letter in server.letters) == {
        f"user{number}@example.org": 1 for number in range(20)
    }
    assert logs == ""


def test_while_the_mail_server_is_away_no_request_waits(stores: dict[str, str]) -> None:
    with servers.node(stores, workers=1) as node, servers.mail_worker(stores) as worker:
        servers.wait_until(lambda: asks_for_reset(node.url, "user1@example.org") < 1)
        servers.wait_until(lambda: "The mail server is unavailable" in worker.log)
        assert max(asks_for_reset(node.url, f"user{number}@example.org") for number in range(2, 8)) < 2
        server = MailServer()
        with server.running(port_of(stores)):
            servers.wait_until(lambda: len(server.letters) == 7, 60)


def asks_for_reset(url: str, address: str) -> float:
    """Returns how many seconds the request took."""
    started = time.monotonic()
    answer = httpx.post(f"{url}/api/password/reset/", json={"email": address}, trust_env=False, timeout=60)
    assert answer.status_code == 202
    return time.monotonic() - started


def test_a_worker_ends_with_its_parent(stores: dict[str, str]) -> None:
    with servers.mail_worker(stores, "--parent", "1") as worker:
        servers.wait_until(lambda: worker.process.poll() == 0)
