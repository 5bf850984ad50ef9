"""Health checks for load balancers and operators. Exempt from CSRF, so that other methods get 405, not 403."""

import logging
import math
import os
import time
from contextlib import suppress
from datetime import timedelta

from django.conf import settings
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.db import Error, connection
from django.db.backends.utils import CursorWrapper
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from accounts.models import QueuedMail
from api import metrics, outages
from api.keys import keyring
from api.outages import Outage, OutageLog
from project import static_files

logger = logging.getLogger(__name__)

# The states in which a node gets no requests.
NOT_READY = {"down", "not migrated", "missing", "unreadable"}
MAX_MIGRATIONS_LOGGED = 10
migrations_log = OutageLog(
    "The database lacks migrations of this code", "The database has all migrations of this code now"
)
# A mail waits for a second after it is due.
LATE_MAIL = timedelta(minutes=5)
SAMPLE_SECONDS = 5.0


@csrf_exempt
@require_safe
def live(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "up"})


@csrf_exempt
@require_safe
def ready(request: HttpRequest) -> JsonResponse:
    """
    503 while the database is unavailable or lacks migrations of this code, or while this node lacks its static files or
    has no keys. The states of Redis, of the queue of mails and of changed keys are included, and do not change the
    status: without Redis the node is only slower, and no node sends mails.
    """
    needed = {"database": database_state(), "static_files": static_files_state(), "keys": keys_state()}
    status = "up" if NOT_READY.isdisjoint(needed.values()) else "down"
    mail = mail_queue.state() if status == "up" else "unknown"
    state = {"status": status} | needed | {"redis": redis_state(), "mail": mail}
    return JsonResponse(state, status=200 if status == "up" else 503)


def database_state() -> str:
    """One statement; a second one until all migrations are applied, and then once a minute."""
    try:
        with connection.cursor() as cursor:
            is_writable = clock.check(cursor) if connection.vendor == "postgresql" else is_sqlite_writable(cursor)
    except Error as error:
        outages.log_database_outage(error, Outage.UNREACHABLE)
        return "down"
    outages.database_outages.end(Outage.UNREACHABLE)
    if missing := outages.migrations.missing():
        migrations_log.failed(
            LookupError(f"{', '.join(missing[:MAX_MIGRATIONS_LOGGED])}. Run: python manage.py migrate")
        )
        return "not migrated"
    outages.database_outages.end(Outage.NOT_MIGRATED)
    migrations_log.recovered()
    # Requests that only read still succeed.
    return "up" if is_writable else "read-only"


def is_sqlite_writable(cursor: CursorWrapper) -> bool:
    """Raises Error if the file cannot be read."""
    # Reads the file, unlike SELECT 1.
    cursor.execute("PRAGMA schema_version")
    cursor.execute("PRAGMA query_only")
    [is_read_only] = cursor.fetchone()
    path = connection.settings_dict["NAME"]
    return not is_read_only and (not os.path.exists(path) or os.access(path, os.W_OK))


class ClockComparison:
    """Compares the clock of this node with PostgreSQL's, and logs once that they differ and once that they agree."""

    differs = False

    def check(self, cursor: CursorWrapper) -> bool:
        """Returns whether PostgreSQL accepts writes, from the same statement."""
        sent_at = time.time()
        cursor.execute(
            "SELECT extract(epoch FROM clock_timestamp())::float8, current_setting('transaction_read_only') = 'off'"
        )
        database_time, is_writable = cursor.fetchone()
        self.compare(sent_at, database_time, time.time())
        return bool(is_writable)

    def compare(self, sent_at: float, database_time: float, received_at: float) -> None:
        """The database read its clock between `sent_at` and `received_at` of this node: only a time outside differs."""
        ahead = sent_at - database_time if database_time < sent_at else min(0.0, received_at - database_time)
        metrics.clock_ahead.set(ahead)
        # With more than half the leeway, a node ahead and a node behind would refuse each other's new tokens.
        differs = abs(ahead) > settings.JWT_LEEWAY.total_seconds() / 2
        if differs == self.differs:
            return
        self.differs = differs
        if differs:
            where = "ahead of" if ahead > 0 else "behind"
            logger.warning("The clock of this node is %.1f s %s that of the database", abs(ahead), where)
        else:
            logger.warning("The clock of this node and that of the database agree again")


clock = ClockComparison()


def static_files_state() -> str:
    return "missing" if static_files.collected_files.are_missing() else "up"


def keys_state() -> str:
    """
    "not reloaded" if JWT_KEYS has changed and is invalid: the node continues with its previous keys. It stays ready: a
    half-copied file in a folder that nodes share would take all of them out of the load balancer. "unreadable" if no
    keys were ever loaded.
    """
    try:
        return "up" if keyring.is_current() else "not reloaded"
    except ImproperlyConfigured:
        return "unreadable"


class MailQueue:
    """Measures the queue of mails, and logs once that mails are late and once that they are not."""

    is_late = False

    def state(self) -> str:
        """Returns "up", or "late" if a mail has been due for LATE_MAIL. One statement."""
        try:
            figures = QueuedMail.objects.figures()
        except Error:
            return "unknown"
        now = timezone.now()
        age = max(now - (figures["oldest"] or now), timedelta())
        metrics.mail_age.set(age.total_seconds())
        metrics.mails_delayed.set(figures["delayed"])
        metrics.mails_failed.set(figures["failed"])
        is_late = age > LATE_MAIL
        if is_late and not self.is_late:
            text = "%d mails wait, one for %d s: check db_worker and the mail server"
            logger.warning(text, figures["waiting"], age.total_seconds())
        elif self.is_late and not is_late:
            logger.warning("The mails are sent again")
        self.is_late = is_late
        return "late" if is_late else "up"


mail_queue = MailQueue()


class Sampling:
    """Measures clock and mail queue for /metrics also where no balancer calls /health/ready."""

    due_at = -math.inf

    def run(self) -> None:
        """At most once in SAMPLE_SECONDS in a process. Two statements; without the database the metrics stay."""
        if time.monotonic() < self.due_at:
            return
        self.due_at = time.monotonic() + SAMPLE_SECONDS
        with suppress(Error):
            if connection.vendor == "postgresql":
                with connection.cursor() as cursor:
                    clock.check(cursor)
            mail_queue.state()


sampling = Sampling()


def redis_state() -> str:
    if not settings.REDIS_URL:
        return "not used"
    try:
        cache.get("ready")
    except Exception:
        return "down"
    return "up"
