"""
The worker that sends mails: that of django-tasks-db, with what it lacks. It repeats a mail that could not be sent,
takes the mails of a worker that was killed, survives an outage of the database, stores no traceback, and polls without
the write lock of SQLite.
"""

import logging
import os
import time
from contextlib import suppress
from typing import Any

from django.db import Error, close_old_connections
from django.utils import timezone
from django_tasks_db.management.commands import db_worker
from django_tasks_db.models import DBTaskResult

from accounts import mail
from accounts.delivery import Delayed, Refused, SenderRefused, ServerUnavailable
from accounts.models import QueuedMail
from accounts.models.mails import (
    LEASE,
    LONGEST_PAUSE,
    LONGEST_URGENT_PAUSE,
    RETRY_FOR,
    SHORTEST_PAUSE,
    QueuedMailQuerySet,
)

logger = logging.getLogger(__name__)

# Pauses while the mail server or the database is unavailable: each is twice as long as the one before.
FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS = 1.0, 30.0
# How often a worker searches for mails of a worker that was killed.
SEARCH_SECONDS = 10.0


class Worker(db_worker.Worker):
    """
    Sends what is due, the most urgent first, and waits for more. Any number of workers may run, also on SQLite. While
    the mail server is unavailable, the worker pauses as a whole, so that alarms go first when it returns.
    """

    def __init__(self, *, parent: int | None = None, batch: bool, **options: object) -> None:
        # The loop of the library ends when nothing is due.
        super().__init__(batch=True, **options)  # type: ignore[arg-type]
        self.is_batch = batch
        # The worker ends with this process.
        self.parent = parent
        self._is_outage = False
        self._pause = FIRST_PAUSE_SECONDS
        # On the monotonic clock, in seconds.
        self._next_search = 0.0

    def run(self) -> None:
        """Returns after the signal to stop; with `batch`, when nothing is due or the mail server is unavailable."""
        while self.running:
            try:
                self._run_due()
            except ServerUnavailable as error:
                self._note_outage(f"The mail server is unavailable, and mails wait in the queue: {error}")
                _give_up(QueuedMail.objects.too_old(), str(error))
            except Error as error:
                cause = next(iter(str(error).splitlines()), type(error).__name__)
                self._note_outage(f"The worker of the mails cannot use the database: {cause}")
            else:
                self._note_end_of_outage()
            if self.is_batch or (self.max_tasks is not None and self._run_tasks >= self.max_tasks):
                return
            self._wait(self._next_pause() if self._is_outage else self.interval)

    def run_task(self, db_task_result: DBTaskResult) -> None:
        """Sends a mail; runs any other task as the library does."""
        if db_task_result.task_path != mail.send.module_path:
            super().run_task(db_task_result)
            return
        self.running_task = True
        try:
            _send(db_task_result)
        finally:
            self.running_task = False
            self._run_tasks += 1

    def _run_due(self) -> None:
        close_old_connections()
        if time.monotonic() >= self._next_search:
            self._next_search = time.monotonic() + SEARCH_SECONDS
            _take_over()
        # The loop of the library takes the write lock of SQLite at each look.
        if DBTaskResult.objects.ready().filter(backend_name=self.backend_name).exists():
            super().run()
            self.startup_delay = False

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self.running and (left := deadline - time.monotonic()) > 0:
            if self.parent and os.getppid() != self.parent:
                self.running = False
                return
            time.sleep(min(left, 1))

    def _note_outage(self, text: str) -> None:
        close_old_connections()
        if not self._is_outage:
            logger.error(text)
        self._is_outage = True

    def _note_end_of_outage(self) -> None:
        if self._is_outage:
            logger.warning("The worker of the mails works again.")
        self._is_outage, self._pause = False, FIRST_PAUSE_SECONDS

    def _next_pause(self) -> float:
        pause, self._pause = self._pause, min(2 * self._pause, LAST_PAUSE_SECONDS)
        return pause


def _take_over() -> None:
    abandoned = QueuedMail.objects.abandoned()
    if abandoned.exists():
        logger.warning("The worker of %d mails was killed. They are sent now.", abandoned.put_back())


def _send(row: Any) -> None:
    """Makes one attempt, and records its end. Raises ServerUnavailable and django.db.Error."""
    claim = QueuedMail.objects.claimed_as(row)
    try:
        row.task.call(mail.TaskContext(task_result=row.task_result), **row.args_kwargs["kwargs"])
    except SenderRefused:
        # Its quota is counted: the first attempt is kept. The others would make the row grow for a day.
        claim.put_back(worker_ids=row.worker_ids[:-1] or row.worker_ids)
        raise
    except ServerUnavailable:
        # No attempt of this mail: its quota is not counted yet.
        claim.put_back(worker_ids=row.worker_ids[:-1])
        raise
    except Refused as error:
        _give_up(claim, str(error), row)
    except Delayed as error:
        _repeat(row, claim, str(error))
    except Error:
        with suppress(Error):
            claim.put_back()
        raise
    except Exception as error:
        # A fault of the code or its templates, or a letter of a newer release: it may be sent after an update.
        logger.exception("A mail could not be written: %s", _template(row))
        _repeat(row, claim, type(error).__name__)
    except BaseException:
        # The second signal to stop.
        claim.put_back()
        raise
    else:
        _remove(claim)


def _repeat(row: DBTaskResult, claim: QueuedMailQuerySet, cause: str) -> None:
    """Each pause is as long as the mail is old, within bounds: it doubles with each attempt."""
    now = timezone.now()
    age = now - row.enqueued_at
    if age >= RETRY_FOR:
        _give_up(claim, cause, row)
        return
    longest = LONGEST_URGENT_PAUSE if row.priority >= mail.Priority.RESET else LONGEST_PAUSE
    pause = min(max(age, SHORTEST_PAUSE), longest)
    claim.put_back(run_after=now + pause)
    logger.warning("A mail is tried again in %d seconds: %s (%s)", pause.total_seconds(), _template(row), cause)


def _give_up(mails: QueuedMailQuerySet, cause: str, row: DBTaskResult | None = None) -> None:
    if number := mails.fail(cause):
        what = _template(row) if row else f"{number} that waited for a day"
        logger.error("A mail could not be sent: %s (%s)", what, cause)


def _remove(claim: QueuedMailQuerySet) -> None:
    """Removes a mail that was sent. Waits for the database, since a mail that stays in the queue is sent again."""
    deadline = time.monotonic() + LEASE.total_seconds()
    while True:
        try:
            claim.delete()
        except Error:
            if time.monotonic() > deadline:
                raise
            close_old_connections()
            time.sleep(1)
        else:
            return


def _template(row: DBTaskResult) -> str:
    return str(row.args_kwargs["kwargs"].get("letter", {}).get("template", row.pk))
