"""The queue of mails: what is stored, what is not sent any more, quotas, workers that were killed, and the admin."""

import logging
import re
import threading
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
import time_machine
from django.core.mail.backends import locmem
from django.core.management import call_command
from django.db import connection, transaction
from django.utils import timezone
from django_tasks_db.models import DBTaskResult
from prometheus_client import REGISTRY

from accounts import delivery, email_addresses, mail, passwords
from accounts.django_versions import task
from accounts.factors import removals
from accounts.models import QueuedMail, User
from accounts.models.mails import LEASE
from accounts.rate_limits import LIMITS, Kind
from project.management.commands.db_worker import Command
from tests.accounts.admin_pages import act, make_staff, text_of
from tests.conftest import ApiClient, Browser, send_mails
from tests.mail_server import use_backend
from tests.second_factors import add_app

pytestmark = pytest.mark.django_db

LIST = "/admin/accounts/queuedmail/"


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.WARNING, "accounts")
    return caplog


@pytest.fixture
def at_the_site(settings: Any) -> None:
    """For mails with a link that no request asks for."""
    settings.SITE_URL = "https://testserver"


def subjects(mails: list[Any]) -> list[str]:
    return [each.subject for each in mails]


def alarm(user: Any) -> QueuedMail:
    """Queues the alarm that a token was used twice."""
    user.notify("token_reused", client="script")
    return QueuedMail.objects.latest("enqueued_at")


# The transaction


def test_a_mail_is_queued_in_the_transaction_of_its_act(ann: Any, mailoutbox: list[Any]) -> None:
    with transaction.atomic():
        alarm(ann)
        transaction.set_rollback(True)
    send_mails()
    assert not mailoutbox


def test_queueing_a_mail_takes_one_statement(ann: Any, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        ann.notify("token_reused", client="script")


@pytest.mark.usefixtures("at_the_site")
def test_a_reset_takes_the_same_statements_without_an_account(ann: Any, django_assert_num_queries: Any) -> None:
    # The event and the mail; two are the savepoint.
    for user in (ann, None):
        with django_assert_num_queries(2 + 2):
            passwords.send_reset(user)


# What is stored


def test_an_alarm_goes_to_the_address_that_the_account_had(ann: Any, mailoutbox: list[Any]) -> None:
    alarm(ann)
    User.objects.filter(pk=ann.pk).update(email="thief@example.org")
    send_mails()
    assert [each.to for each in mailoutbox] == [["ann@example.org"]]


def test_an_alarm_is_sent_after_the_account_was_deleted(ann: Any, mailoutbox: list[Any]) -> None:
    alarm(ann)
    User.objects.all().delete()
    send_mails()
    assert subjects(mailoutbox) == ["We signed out one of your apps", "Your account was deleted"]
    assert "Hello ann," in mailoutbox[1].body


def test_a_mail_is_in_the_language_of_its_request(ann: Any, mailoutbox: list[Any]) -> None:
    Browser().post("/accounts/password_reset/", {"email": ann.email}, headers={"accept-language": "de"})
    send_mails()
    assert subjects(mailoutbox) == ["Neues Passwort festlegen"]


def test_a_mail_shows_the_time_of_its_act(ann: Any, mailoutbox: list[Any]) -> None:
    with time_machine.travel("2026-01-02T03:04Z", tick=False):
        alarm(ann)
    send_mails()
    assert "Time: Jan. 2, 2026, 3:04 a.m. UTC" in mailoutbox[0].body


def test_a_mail_that_was_sent_leaves_no_row(ann: Any, mailoutbox: list[Any]) -> None:
    alarm(ann)
    send_mails()
    assert len(mailoutbox) == 1
    assert not DBTaskResult.objects.exists()


def test_each_mail_has_a_message_id_of_its_own(ann: Any, mailoutbox: list[Any]) -> None:
    ids = [alarm(ann).pk, alarm(ann).pk]
    send_mails()
    assert {each.message()["Message-ID"] for each in mailoutbox} == {f"<{id}@localhost>" for id in ids}


# What is not sent any more


def test_a_reset_for_an_unknown_address_is_a_task_without_mail(mailoutbox: list[Any], log: Any) -> None:
    ApiClient().post("/api/password/reset/", {"email": "stranger@example.org"})
    assert "stranger" not in str(QueuedMail.objects.get().args_kwargs)
    send_mails()
    assert not mailoutbox
    assert not QueuedMail.objects.exists()
    assert not log.records


def reset(user: Any) -> None:
    passwords.send_reset(user)


def confirmation(user: Any) -> None:
    email_addresses.request_change(user, "ann@new.example.org")


CHANGES = [
    (reset, {"is_active": False}),
    (reset, {"email": "ann@other.example.org"}),
    (reset, {"is_service": True}),
    (confirmation, {"is_active": False}),
    (confirmation, {"new_email": ""}),
    (confirmation, {"new_email": "", "email": "ann@new.example.org"}),
    (confirmation, {"new_email": "ann@newest.example.org"}),
]


@pytest.mark.usefixtures("at_the_site")
@pytest.mark.parametrize(("request_mail", "change"), CHANGES)
def test_a_link_is_not_sent_after_a_change(ann: Any, mailoutbox: Any, log: Any, request_mail: Any, change: Any) -> None:
    request_mail(ann)
    User.objects.filter(pk=ann.pk).update(**change)
    send_mails()
    assert not [each for each in mailoutbox if "/accounts/reset/" in each.body or "/accounts/email/" in each.body]
    assert "A mail was not sent: " in log.text
    assert not QueuedMail.objects.exists()


@pytest.mark.usefixtures("at_the_site")
@pytest.mark.parametrize("request_mail", [reset, confirmation])
def test_a_link_is_not_sent_after_its_hour(ann: Any, mailoutbox: Any, log: Any, request_mail: Any) -> None:
    request_mail(ann)
    with time_machine.travel(timezone.now() + timedelta(minutes=61)):
        send_mails()
    assert set(subjects(mailoutbox)) <= {"A change of your e-mail address was requested"}
    assert "its link would be too late" in log.text


@pytest.mark.usefixtures("at_the_site")
def test_a_removal_that_was_cancelled_is_not_mailed(ann: Any, staff: Any, client_of: Any, mailoutbox: Any) -> None:
    add_app(client_of(ann))
    send_mails()
    mailoutbox.clear()
    removal = removals.request(ann, staff, "Lost.")
    assert removal
    removals.stop(removal)
    send_mails()
    assert not mailoutbox


# Quotas


def test_the_worker_counts_notices_when_it_sends_them(ann: Any, mailoutbox: list[Any]) -> None:
    most = LIMITS[Kind.NOTIFYING].free_attempts
    for _number in range(most + 3):
        alarm(ann)
    assert not User.objects.get(pk=ann.pk).attempt_counters.exists()
    send_mails()
    assert subjects(mailoutbox).count("We signed out one of your apps") == most + 1
    assert subjects(mailoutbox)[-1] == "Many events in your account in the last hour"


# What the library lacks


@pytest.fixture
def away(settings: Any) -> None:
    """Every mail fails for a cause of its own."""
    use_backend(settings, "tests.accounts.test_mail_queue.Failing")


class Failing:
    """An e-mail backend whose server stops the process at the first mail, as a second Ctrl-C does."""

    def __init__(self, **options: object) -> None:
        pass

    def open(self) -> None:
        pass

    def close(self) -> None:
        pass

    def send_messages(self, messages: list[Any]) -> None:
        raise SystemExit(1)


class FailingAtTheEnd(locmem.EmailBackend):
    """An e-mail backend that fails after the server has accepted the mail."""

    def close(self) -> None:
        raise OSError


def test_an_error_after_the_mail_was_accepted_sends_no_second(ann: Any, mailoutbox: Any, settings: Any) -> None:
    use_backend(settings, "tests.accounts.test_mail_queue.FailingAtTheEnd")
    alarm(ann)
    send_mails()
    with time_machine.travel(timezone.now() + timedelta(hours=1)):
        send_mails()
    assert len(mailoutbox) == 1


def claim(queued: QueuedMail, ago: timedelta) -> None:
    """As a worker that was killed after it had taken the mail."""
    DBTaskResult.objects.get(pk=queued.pk).claim("killed")
    DBTaskResult.objects.update(started_at=timezone.now() - ago)


def test_a_mail_of_a_killed_worker_is_sent_by_another_one(ann: Any, mailoutbox: list[Any], log: Any) -> None:
    claim(alarm(ann), LEASE + timedelta(seconds=1))
    send_mails()
    assert subjects(mailoutbox) == ["We signed out one of your apps"]
    assert "The worker of 1 mails was killed" in log.text


def test_a_mail_of_a_running_worker_is_not_sent_by_another(ann: Any, mailoutbox: list[Any]) -> None:
    claim(alarm(ann), LEASE - timedelta(seconds=10))
    send_mails()
    assert not mailoutbox


def test_a_mail_is_not_taken_while_the_server_scans_it(settings: Any) -> None:
    # To connect, TLS, the login and the commands of a mail: at most ten replies.
    assert LEASE.total_seconds() > delivery.DATA_SECONDS + 10 * settings.MAIL_TIMEOUT_SECONDS


def test_a_worker_that_lost_its_mail_does_not_remove_it(ann: Any) -> None:
    queued = alarm(ann)
    row = DBTaskResult.objects.get(pk=queued.pk)
    row.claim("slow")
    late = QueuedMail.objects.claimed_as(row)
    claim(queued, timedelta(0))
    assert late.delete()[0] == 0
    assert QueuedMail.objects.exists()


@pytest.mark.usefixtures("away")
def test_a_second_signal_returns_the_mail_to_the_queue(ann: Any, mailoutbox: list[Any], settings: Any) -> None:
    alarm(ann)
    with pytest.raises(SystemExit):
        send_mails()
    use_backend(settings, "django.core.mail.backends.locmem.EmailBackend")
    send_mails()
    assert subjects(mailoutbox) == ["We signed out one of your apps"]


def test_a_mail_of_a_newer_release_waits(ann: Any, mailoutbox: list[Any], log: Any) -> None:
    mail.send_later("of_a_newer_release", ann)
    send_mails()
    assert QueuedMail.objects.waiting().count() == 1
    assert "A mail could not be written: of_a_newer_release" in log.text


@pytest.mark.django_db(transaction=True)
def test_an_idle_worker_does_not_wait_for_the_write_lock(ann: Any) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("the write lock is SQLite's")
    idle = threading.Thread(target=send_mails)
    with transaction.atomic():
        User.objects.filter(pk=ann.pk).update(first_name="Ann")
        idle.start()
        idle.join(5)
        assert not idle.is_alive()


@pytest.mark.django_db(transaction=True)
def test_the_worker_survives_an_outage_of_the_database(ann: Any, mailoutbox: Any, log: Any, settings: Any) -> None:
    alarm(ann)
    name = connection.settings_dict["NAME"]
    connection.close()
    connection.settings_dict["NAME"] = "/does/not/exist" if connection.vendor == "sqlite" else "does_not_exist"
    try:
        send_mails()
    finally:
        connection.close()
        connection.settings_dict["NAME"] = name
    assert "The worker of the mails cannot use the database" in log.text
    send_mails()
    assert len(mailoutbox) == 1


@task
def rename(user_id: int, name: str) -> None:
    """A task of an adopter."""
    User.objects.filter(pk=user_id).update(first_name=name)


def test_the_worker_runs_the_tasks_of_an_adopter(ann: Any) -> None:
    result = rename.enqueue(ann.pk, name="Anna")
    send_mails()
    assert User.objects.get(pk=ann.pk).first_name == "Anna"
    assert rename.get_result(result.id).is_finished
    assert not QueuedMail.objects.exists()


def test_the_worker_is_one_process(ann: Any) -> None:
    """The library's default in DEBUG is two: one of them restarts the other after a change of the code."""
    assert Command().create_parser("manage.py", "db_worker").parse_args([]).reload is False


# Staff and operators


def test_staff_see_the_queue_and_cannot_change_it(page: Any, ann: Any, log: Any) -> None:
    queued = alarm(ann)
    for path in (LIST, f"{LIST}?state=waiting", f"{LIST}{queued.pk}/change/"):
        text = page.get(path).content.decode()
        assert "token_reused" in text
        assert "ann@example.org" in text
    assert 'name="_save"' not in text
    assert page.get(f"{LIST}{queued.pk}/delete/").status_code == 403
    assert page.get(f"{LIST}add/").status_code == 403


def test_the_overview_counts_waiting_and_failed_mails(page: Any, ann: Any) -> None:
    alarm(ann)
    QueuedMail.objects.filter(pk=alarm(ann).pk).fail("SMTPDataError 554")
    text = page.get("/admin/").content.decode()
    assert "E-mails that wait" in text
    assert f'href="{LIST}?state=failed"' in text


def test_staff_without_the_permission_see_no_queue(browser_of: Any, password: str) -> None:
    page = browser_of(make_staff("erin", password, "accounts.view_signin"))
    assert page.get(LIST).status_code == 403
    assert "E-mails that wait" not in page.get("/admin/").content.decode()


def failed_alarm(user: Any) -> QueuedMail:
    queued = alarm(user)
    QueuedMail.objects.filter(pk=queued.pk).update(enqueued_at=timezone.now() - timedelta(days=2))
    QueuedMail.objects.filter(pk=queued.pk).fail("SMTPRecipientsRefused 550")
    return queued


def test_a_failed_mail_is_sent_again_after_a_confirmation(page: Any, ann: Any, mailoutbox: list[Any]) -> None:
    queued = failed_alarm(ann)
    assert "mail is tried again" in text_of(act(page, LIST, "try_again", queued, agree=False))
    send_mails()
    assert not mailoutbox
    act(page, LIST, "try_again", queued)
    send_mails()
    assert len(mailoutbox) == 1
    assert not QueuedMail.objects.exists()


def test_a_mail_that_is_tried_again_has_a_day_again(page: Any, ann: Any) -> None:
    queued = failed_alarm(ann)
    act(page, LIST, "try_again", queued)
    assert not QueuedMail.objects.too_old().exists()
    assert (QueuedMail.objects.get().exception_class_path, QueuedMail.objects.get().finished_at) == ("", None)


def test_only_failed_mails_are_tried_again(page: Any, ann: Any) -> None:
    queued = alarm(ann)
    claim(queued, timedelta(0))
    act(page, LIST, "try_again", queued)
    assert QueuedMail.objects.get().status == mail.Status.RUNNING
    assert "try_again" not in page.get(f"{LIST}{queued.pk}/change/").content.decode()


def test_trying_again_needs_a_permission_of_its_own(browser_of: Any, password: str, ann: Any) -> None:
    queued = failed_alarm(ann)
    viewer = browser_of(make_staff("erin", password, "accounts.view_queuedmail"))
    act(viewer, LIST, "try_again", queued)
    assert QueuedMail.objects.failed().exists()
    permissions = ["accounts.view_queuedmail", "accounts.retry_queuedmail"]
    act(browser_of(make_staff("fred", password, *permissions)), LIST, "try_again", queued)
    assert not QueuedMail.objects.failed().exists()


@pytest.mark.parametrize(("minutes", "state"), [(4, "up"), (6, "late")])
def test_a_node_is_ready_while_mails_are_late(ann: Any, minutes: int, state: str) -> None:
    alarm(ann)
    with time_machine.travel(timezone.now() + timedelta(minutes=minutes)):
        answer = Browser().get("/health/ready")
    assert (answer.status_code, answer.json()["mail"]) == (200, state)


def put_off(queued: QueuedMail, age: timedelta, until: timedelta) -> None:
    """As a mail of this age after a temporary refusal: it is tried again at `until` from now."""
    now = timezone.now()
    QueuedMail.objects.filter(pk=queued.pk).update(enqueued_at=now - age, run_after=now + until)


@pytest.mark.parametrize("until", [timedelta(minutes=20), timedelta(seconds=-5)])
def test_a_mail_that_a_full_mailbox_delays_is_not_late(ann: Any, until: timedelta) -> None:
    put_off(alarm(ann), timedelta(hours=3), until)
    assert Browser().get("/health/ready").json()["mail"] == "up"
    assert REGISTRY.get_sample_value("wristband_mail_waiting_seconds") < 60


def test_a_mail_that_is_not_tried_again_when_due_is_late(ann: Any) -> None:
    put_off(alarm(ann), timedelta(hours=3), -timedelta(minutes=6))
    assert Browser().get("/health/ready").json()["mail"] == "late"


def test_delayed_mails_are_counted(ann: Any, page: Any) -> None:
    alarm(ann)
    put_off(alarm(ann), timedelta(hours=3), timedelta(minutes=20))
    Browser().get("/health/ready")
    assert REGISTRY.get_sample_value("wristband_mails_delayed") == 1
    assert f'href="{LIST}?state=delayed"' in page.get("/admin/").content.decode()
    assert "1 e-mail in the queue" in text_of(page.get(f"{LIST}?state=delayed"))


def test_the_log_says_how_many_days_a_mail_is_late(ann: Any, caplog: pytest.LogCaptureFixture) -> None:
    Browser().get("/health/ready")
    QueuedMail.objects.filter(pk=alarm(ann).pk).update(enqueued_at=timezone.now() - timedelta(days=2))
    Browser().get("/health/ready")
    assert re.search(r"1 mails wait, one for 17280\d s", caplog.text)


def test_prune_deletes_mails_that_failed_a_month_ago(ann: Any) -> None:
    waiting, failed = alarm(ann), alarm(ann)
    QueuedMail.objects.filter(pk=failed.pk).fail("SMTPDataError 554")
    with time_machine.travel(timezone.now() + timedelta(days=29)):
        call_command("prune", stdout=StringIO())
    assert QueuedMail.objects.count() == 2
    with time_machine.travel(timezone.now() + timedelta(days=31)):
        call_command("prune", stdout=StringIO())
    assert list(QueuedMail.objects.all()) == [waiting]
