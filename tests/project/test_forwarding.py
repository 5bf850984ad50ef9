"""Events are sent by syslog, OTLP or to a file: formats, order, unavailable receivers, late commits, and prune."""

import json
import os
import re
import threading
import time
from collections.abc import Iterator
from datetime import UTC, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.utils import timezone

from accounts.http import request_context
from accounts.models import EventReceiver, SecurityEvent
from project.forwarding import cursor, receivers
from project.forwarding.forwarder import Forwarder
from project.forwarding.receivers import ERRORS
from tests import servers
from tests.conftest import ApiClient
from tests.event_receivers import Collector, SyslogServer, stopped
from tests.topologies.stores import Certificate

pytestmark = pytest.mark.django_db(transaction=True)

Type = SecurityEvent.Type
NASTY = 'Robot "7" \\ [x] ] ünï\ud83d\N{GRINNING FACE}'.replace("\ud83d", "")


@pytest.fixture
def syslog() -> Iterator[SyslogServer]:
    with stopped(SyslogServer()) as server:
        yield server


@pytest.fixture
def collector() -> Iterator[Collector]:
    with stopped(Collector()) as server:
        yield server


@pytest.fixture
def to_syslog(syslog: SyslogServer, settings: Any) -> Forwarder:
    settings.EVENTS_URL = f"syslog+tcp://127.0.0.1:{syslog.port}"
    return Forwarder(settings.EVENTS_URL)


@pytest.fixture
def path(tmp_path: Path, settings: Any) -> Path:
    settings.EVENTS_URL = f"file://{tmp_path}/events.jsonl"
    return tmp_path / "events.jsonl"


def record(number: int = 1, user: Any = None, **details: str) -> list[int]:
    return [SecurityEvent.objects.record(Type.SIGN_IN_FAILED, user, **details).pk for _ in range(number)]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def received(server: SyslogServer, number: int) -> list[int]:
    """The ids, once `number` messages have arrived."""
    servers.wait_until(lambda: len(server.messages) >= number)
    return server.ids


# Formats


def test_a_line_of_the_file_has_the_documented_fields(path: Path, ann: Any, client_of: Any) -> None:
    client_of(ann)
    Forwarder(f"file://{path}").send_batch()
    event = SecurityEvent.objects.get()
    assert lines(path) == [
        {
            "id": event.pk,
            "time": event.created_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "type": "signed_in",
            "user_id": ann.pk,
            "sid": str(event.sid),
            "ip_address": "127.0.0.1",
            "details": event.details,
        }
    ]


def test_syslog_has_structured_data_with_escapes(syslog: SyslogServer, to_syslog: Forwarder, ann: Any) -> None:
    SecurityEvent.objects.record(Type.TOKEN_REUSED, ann, client=NASTY, why="two\nlines\x07", **{'odd="] name' * 9: "x"})
    to_syslog.send_batch()
    received(syslog, 1)
    [message] = syslog.messages
    # Facility 10 (security), severity 4 (warning).
    assert (message["pri"], message["app"], message["id"], message["text"]) == (
        "84",
        "wristband",
        *2 * ["token_reused"],
    )
    assert message["event"] == {
        "id": str(SecurityEvent.objects.get().pk),
        "type": "token_reused",
        "user_id": str(ann.pk),
    }
    assert message["details"]["client"] == NASTY
    assert message["details"]["why"] == "two lines "


def test_a_long_value_is_cut(path: Path) -> None:
    record(why="x" * 5000)
    Forwarder(f"file://{path}").send_batch()
    assert lines(path)[0]["details"] == {"why": "x" * 1024}


def test_otlp_records_have_time_severity_and_attributes(collector: Collector, ann: Any) -> None:
    SecurityEvent.objects.record(Type.LOCKED, ann, kind="browser")
    Forwarder(f"otlp+http://ann:p%40ss@127.0.0.1:{collector.port}").send_batch()
    event = SecurityEvent.objects.get()
    [record] = collector.records
    assert int(record["timeUnixNano"]) // 1000 == round(event.created_at.timestamp() * 1_000_000)
    assert (record["severityNumber"], record["eventName"], record["body"]) == (13, "locked", {"stringValue": "locked"})
    assert record["attributes"] == {
        "event.id": str(event.pk),
        "event.type": "locked",
        "event.user_id": str(ann.pk),
        "event.details.kind": "browser",
    }
    [headers] = collector.headers
    assert (headers["path"], headers["Authorization"]) == ("/v1/logs", "Basic YW5uOnBAc3M=")


def test_tls_checks_the_certificate_of_the_receiver(tmp_path: Path) -> None:
    certificate = Certificate(tmp_path)
    record()
    with stopped(SyslogServer(certificate.server_context())) as server:
        url = f"syslog+tls://127.0.0.1:{server.port}"
        with pytest.raises(ERRORS):
            Forwarder(url).send_batch()
        Forwarder(f"{url}?ssl_ca_certs={certificate.path}").send_batch()
        assert received(server, 1) == [SecurityEvent.objects.get().pk]


def test_no_secret_leaves(path: Path, ann: Any, client_of: Any, password: str) -> None:
    client = client_of(ann)
    client.renew()
    ApiClient().post("/api/token/", {"username": "ann", "password": "a wrong passphrase"})
    Forwarder(f"file://{path}").send_batch()
    text = path.read_text()
    assert "sign_in_failed" in text
    assert not [each for each in (password, "a wrong passphrase", client.access, client.refresh) if each in text]


# At least once, in order


def test_each_event_is_sent_once_in_order(syslog: SyslogServer, to_syslog: Forwarder) -> None:
    ids = record(3)
    to_syslog.send_batch()
    ids += record(2)
    to_syslog.send_batch()
    to_syslog.send_batch()
    assert received(syslog, 5) == ids


def test_many_events_are_sent_in_batches(path: Path) -> None:
    SecurityEvent.objects.bulk_create(SecurityEvent(type=Type.SIGNED_IN) for _ in range(cursor.MAX_EVENTS + 1))
    forwarder = Forwarder(f"file://{path}")
    assert forwarder.send_batch()
    assert not forwarder.send_batch()
    assert [line["id"] for line in lines(path)] == sorted(SecurityEvent.objects.values_list("pk", flat=True))


def test_an_idle_look_takes_few_statements(path: Path, django_assert_num_queries: Any) -> None:
    forwarder = Forwarder(f"file://{path}")
    forwarder.send_batch()
    # On PostgreSQL also BEGIN and COMMIT.
    with django_assert_num_queries(4 if connection.vendor == "postgresql" else 2):
        forwarder.send_batch()


def test_events_wait_while_the_receiver_is_away(syslog: SyslogServer, to_syslog: Forwarder) -> None:
    ids = record(2)
    to_syslog.send_batch()
    received(syslog, 2)
    syslog.stop()
    ids += record(3)
    for _ in range(3):
        with pytest.raises(ERRORS):
            to_syslog.send_batch()
    syslog.start()
    to_syslog.send_batch()
    # What was sent shortly before the connection was lost is sent again: syslog has no acknowledgement.
    assert received(syslog, 7) == ids[:2] + ids


def test_what_an_idle_receiver_lost_is_sent_again(
    syslog: SyslogServer, to_syslog: Forwarder, monkeypatch: pytest.MonkeyPatch
) -> None:
    [lost] = record()
    to_syslog.send_batch()
    received(syslog, 1)
    syslog.stop()
    with pytest.raises(ERRORS):
        to_syslog.send_batch()
    monkeypatch.setattr(receivers, "RESEND_SECONDS", 0.1)
    time.sleep(0.2)
    syslog.start()
    # No new event.
    to_syslog.send_batch()
    assert received(syslog, 2) == [lost, lost]


def test_what_an_open_connection_has_sent_is_dropped_later(
    syslog: SyslogServer, to_syslog: Forwarder, monkeypatch: pytest.MonkeyPatch
) -> None:
    record()
    to_syslog.send_batch()
    monkeypatch.setattr(receivers, "RESEND_SECONDS", 0)
    to_syslog.send_batch()
    received(syslog, 1)
    syslog.stop()
    syslog.start()
    [new] = record()
    to_syslog.send_batch()
    assert received(syslog, 2)[1:] == [new]


def test_a_lost_connection_is_replaced_before_the_transaction(syslog: SyslogServer) -> None:
    record()
    receiver = receivers.receiver_of(f"syslog+tcp://127.0.0.1:{syslog.port}")
    receiver.open()
    servers.wait_until(lambda: syslog.has_connections)
    syslog.stop()
    syslog.start()
    with pytest.raises(ERRORS):
        receiver.send(list(SecurityEvent.objects.all()))
    receiver.open()
    receiver.send(list(SecurityEvent.objects.all()))
    received(syslog, 1)


def test_a_slow_answer_of_a_collector_has_a_time_limit(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receivers, "SEND_SECONDS", 0.4)
    collector.seconds_per_byte = 0.1
    record()
    started_at = time.monotonic()
    with pytest.raises(ERRORS):
        Forwarder(f"otlp+http://127.0.0.1:{collector.port}").send_batch()
    assert time.monotonic() - started_at < 0.8


def test_a_send_takes_less_than_the_limit_of_idle_transactions() -> None:
    [limit] = re.findall(r"idle_in_transaction_session_timeout = '(\d+)s'", (servers.ROOT / ".env.example").read_text())
    assert int(limit) > receivers.SEND_SECONDS + 1


def test_a_collector_that_closes_idle_connections_gets_events(collector: Collector) -> None:
    forwarder = Forwarder(f"otlp+http://127.0.0.1:{collector.port}")
    forwarder.send_batch()
    collector.close_connections()
    time.sleep(0.05)
    ids = record()
    forwarder.send_batch()
    assert collector.ids == ids


def test_a_collector_that_refuses_gets_the_events_later(collector: Collector) -> None:
    ids = record(2)
    forwarder = Forwarder(f"otlp+http://127.0.0.1:{collector.port}")
    collector.status = 503
    with pytest.raises(ERRORS):
        forwarder.send_batch()
    collector.status = 200
    forwarder.send_batch()
    assert collector.ids == ids


def test_any_2xx_of_a_collector_accepts_the_events(collector: Collector) -> None:
    ids = record(2)
    forwarder = Forwarder(f"otlp+http://127.0.0.1:{collector.port}")
    collector.status = 202
    forwarder.send_batch()
    forwarder.send_batch()
    assert collector.ids == ids


def test_rejected_records_are_logged_and_not_sent_again(collector: Collector, caplog: pytest.LogCaptureFixture) -> None:
    ids = record(3)
    forwarder = Forwarder(f"otlp+http://127.0.0.1:{collector.port}")
    collector.answer = b'{"partialSuccess": {"rejectedLogRecords": "2", "errorMessage": "too old"}}'
    forwarder.send_batch()
    forwarder.send_batch()
    assert collector.ids == ids
    [line] = [each for each in caplog.messages if "rejected" in each]
    assert line == (f"The receiver rejected 2 of the security events {ids[0]} to {ids[-1]}, 2 since the start: too old")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"{}",
        b"[]",
        b"no json",
        b"[" * 9_000,
        b'{"partialSuccess": {}}',
        b'{"partialSuccess": null}',
        b'{"partialSuccess": {"rejectedLogRecords": "0"}}',
        b'{"partialSuccess": {"rejectedLogRecords": 1e999}}',
        b'{"partialSuccess": {"rejectedLogRecords": "x"}}',
    ],
)
def test_other_answers_of_a_collector_are_no_rejection(
    collector: Collector, answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    [event] = record()
    collector.answer = answer
    Forwarder(f"otlp+http://127.0.0.1:{collector.port}").send_batch()
    assert EventReceiver.objects.get().last_id == event
    assert "rejected" not in caplog.text


def test_an_event_that_a_collector_refuses_is_skipped(collector: Collector, caplog: pytest.LogCaptureFixture) -> None:
    ids = record(20)
    collector.refused_ids = {ids[2], ids[13]}
    forwarder = Forwarder(f"otlp+http://127.0.0.1:{collector.port}")
    for _ in range(40):
        forwarder.send_batch()
    assert collector.ids == [each for each in ids if each not in collector.refused_ids]
    skipped = [each for each in caplog.messages if "is not sent" in each]
    assert [int(re.findall(r"event (\d+)", each)[0]) for each in skipped] == sorted(collector.refused_ids)


def test_batches_grow_again_after_a_refused_event(collector: Collector) -> None:
    ids = record(8)
    collector.refused_ids = {ids[0]}
    forwarder = Forwarder(f"otlp+http://127.0.0.1:{collector.port}")
    for _ in range(40):
        forwarder.send_batch()
    ids += record(60)
    for _ in range(3):
        forwarder.send_batch()
    assert collector.ids == ids[1:]


def test_a_new_process_continues_where_the_last_one_was(path: Path) -> None:
    ids = record(2)
    Forwarder(f"file://{path}").send_batch()
    ids += record(2)
    Forwarder(f"file://{path}").send_batch()
    assert [line["id"] for line in lines(path)] == ids


def test_a_new_receiver_can_start_from_now(path: Path) -> None:
    record(2)
    forwarder = Forwarder(f"file://{path}", from_now=True)
    forwarder.send_batch()
    ids = record()
    forwarder.send_batch()
    assert [line["id"] for line in lines(path)] == ids


def test_a_file_that_was_renamed_is_created_again(path: Path) -> None:
    forwarder = Forwarder(f"file://{path}")
    record()
    forwarder.send_batch()
    path.rename(path.with_suffix(".1"))
    ids = record()
    forwarder.send_batch()
    assert [line["id"] for line in lines(path)] == ids
    assert path.stat().st_mode & 0o007 == 0


def test_half_a_line_of_a_killed_process_stands_alone(path: Path) -> None:
    path.write_text('{"id": 1, "ti')
    ids = record()
    Forwarder(f"file://{path}").send_batch()
    half, line = path.read_text().splitlines()
    assert (half, json.loads(line)["id"]) == ('{"id": 1, "ti', ids[0])


def test_a_full_disk_leaves_no_half_line() -> None:
    record(2)
    with pytest.raises(OSError, match="No space"):
        Forwarder("file:///dev/full").send_batch()
    assert EventReceiver.objects.get().last_id == 0


# Late commits. On SQLite there are none: it has one writer at a time.


class Late(threading.Thread):
    """A transaction in another thread, which inserts an event and then waits for `finish`."""

    def __init__(self) -> None:
        super().__init__()
        self.id = 0
        self.has_inserted, self.may_finish = threading.Event(), threading.Event()
        self.commits = True
        self.start()
        assert self.has_inserted.wait(10)

    def run(self) -> None:
        with transaction.atomic():
            self.id = record()[0]
            self.has_inserted.set()
            self.may_finish.wait(10)
            transaction.set_rollback(not self.commits)
        connection.close()

    def finish(self, *, commits: bool = True) -> None:
        self.commits = commits
        self.may_finish.set()
        self.join()


@pytest.mark.once
def test_an_event_with_a_lower_id_is_sent_after_its_commit(path: Path) -> None:
    forwarder = Forwarder(f"file://{path}")
    late = Late()
    ids = record()
    for _ in range(3):
        forwarder.send_batch()
    ids += record()
    forwarder.send_batch()
    late.finish()
    assert late.id < ids[0]
    # A new process: the gap is in the database.
    Forwarder(f"file://{path}").send_batch()
    assert [line["id"] for line in lines(path)] == [*ids, late.id]


@pytest.mark.once
def test_the_id_of_a_rollback_is_not_awaited(path: Path) -> None:
    record()
    send_all(path)
    forwarder = Forwarder(f"file://{path}")
    late = Late()
    record()
    forwarder.send_batch()
    assert EventReceiver.objects.get().sent_through == late.id - 1
    late.finish(commits=False)
    forwarder.send_batch()
    assert EventReceiver.objects.get().gaps == []


@pytest.mark.once
def test_no_event_of_concurrent_transactions_is_lost(path: Path) -> None:
    def work(seed: int) -> None:
        random = Random(seed)
        for _ in range(40):
            with transaction.atomic():
                record(random.randrange(1, 4))
                if random.random() < 0.3:
                    transaction.set_rollback(True)
        connection.close()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for each in threads:
        each.start()
    forwarder = Forwarder(f"file://{path}")
    while any(each.is_alive() for each in threads):
        forwarder.send_batch()
    for _ in range(3):
        forwarder.send_batch()
    assert sorted(line["id"] for line in lines(path)) == sorted(SecurityEvent.objects.values_list("pk", flat=True))
    assert EventReceiver.objects.get().gaps == []


@pytest.mark.once
def test_many_gaps_delay_events_and_lose_none(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cursor, "MAX_GAPS", 2)
    forwarder = Forwarder(f"file://{path}")
    pending = []
    for _ in range(4):
        pending.append(Late())
        record()
        forwarder.send_batch()
    for each in pending:
        each.finish()
    for _ in range(4):
        forwarder.send_batch()
    assert sorted(line["id"] for line in lines(path)) == sorted(SecurityEvent.objects.values_list("pk", flat=True))


# Several processes, prune, and the metric


def test_while_one_process_sends_another_waits(path: Path) -> None:
    record()
    results = []

    class Slow(Forwarder):
        def send_batch(self) -> bool:
            self._receiver.send = self.send_slowly  # type: ignore[method-assign]
            return super().send_batch()

        def send_slowly(self, events: Any) -> None:
            other = threading.Thread(target=self.try_another)
            other.start()
            other.join()

        def try_another(self) -> None:
            results.append(Forwarder(f"file://{path}").send_batch())
            connection.close()

    Slow(f"file://{path}").send_batch()
    assert results == [False]
    assert not path.exists()


def send_all(path: Path) -> None:
    """Twice: missing ids are awaited until the second time."""
    forwarder = Forwarder(f"file://{path}")
    forwarder.send_batch()
    forwarder.send_batch()


def old_events(number: int) -> list[int]:
    at = timezone.now() - timedelta(days=400)
    SecurityEvent.objects.bulk_create(SecurityEvent(type=Type.SIGNED_IN, created_at=at) for _ in range(number))
    return sorted(SecurityEvent.objects.values_list("pk", flat=True))


def test_prune_keeps_events_that_were_not_sent(path: Path) -> None:
    old_events(2)
    call_command("prune", verbosity=0)
    assert SecurityEvent.objects.count() == 2
    send_all(path)
    old_events(1)
    call_command("prune", verbosity=0)
    assert SecurityEvent.objects.count() == 1
    assert SecurityEvent.objects.get().pk > EventReceiver.objects.get().last_id


def test_prune_keeps_no_event_without_a_receiver(settings: Any) -> None:
    settings.EVENTS_URL = ""
    old_events(2)
    call_command("prune", verbosity=0)
    assert not SecurityEvent.objects.exists()


def test_metrics_have_the_age_of_the_oldest_unsent_event(path: Path, settings: Any, browser: Any) -> None:
    settings.METRICS_ADDRESSES = ["127.0.0.1"]

    def exported() -> float:
        text = browser().get("/metrics").content.decode()
        return float(next(line for line in text.splitlines() if line.startswith("wristband_events_unsent")).split()[1])

    record()
    SecurityEvent.objects.bulk_create([SecurityEvent(type=Type.SIGNED_IN)])
    SecurityEvent.objects.bulk_create(
        [SecurityEvent(type=Type.SIGNED_IN, created_at=timezone.now() - timedelta(seconds=90))]
    )
    assert 0 <= exported() < 60
    send_all(path)
    assert exported() == 0


def test_the_command_needs_a_receiver(settings: Any) -> None:
    settings.EVENTS_URL = ""
    with pytest.raises(Exception, match="EVENTS_URL is not set"):
        call_command("forward_events")


def test_user_agents_are_sent_without_control_characters(path: Path, rf: Any) -> None:
    request = rf.get("/", HTTP_USER_AGENT="Robot\r\n<84>1 forged")
    with request_context.use_request(request):
        record()
    Forwarder(f"file://{path}").send_batch()
    assert "\n" not in lines(path)[0]["user_agent"]
    assert os.linesep.join(path.read_text().splitlines()) == path.read_text().rstrip("\n")
