"""For load balancers and operators. (Without CSRF: what is no GET is a 405 like anywhere in the API.)"""

import logging
import os
import time

from django.conf import settings
from django.core.cache import cache
from django.db import Error, connection
from django.db.backends.utils import CursorWrapper
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from api import metrics, migrations_state, outages

logger = logging.getLogger(__name__)


@csrf_exempt
@require_safe
def live(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "up"})


@csrf_exempt
@require_safe
def ready(request: HttpRequest) -> JsonResponse:
    """
    503 without the database, and while it lacks migrations of this code. Redis is named, but may be away: that costs
    speed only.
    """
    database = database_state()
    status = "down" if database in ("down", "not migrated") else "up"
    state = {"status": status, "database": database, "redis": redis_state()}
    return JsonResponse(state, status=200 if status == "up" else 503)


def database_state() -> str:
    """One statement; another one until all migrations were seen."""
    try:
        with connection.cursor() as cursor:
            is_writable = clock.ask(cursor) if connection.vendor == "postgresql" else sqlite_answers(cursor)
    except Error as error:
        outages.log_database_outage(error, outages.Trouble.UNREACHABLE)
        return "down"
    if migrations_state.are_missing():
        return "not migrated"
    # Calls with an access token, and pages, are still answered.
    return "up" if is_writable else "read-only"


def sqlite_answers(cursor: CursorWrapper) -> bool:
    """Returns whether it may be written to."""
    # Reads the file, unlike SELECT 1.
    cursor.execute("PRAGMA schema_version")
    cursor.execute("PRAGMA query_only")
    [is_read_only] = cursor.fetchone()
    path = connection.settings_dict["NAME"]
    return not is_read_only and (not os.path.exists(path) or os.access(path, os.W_OK))


class Clock:
    """Of this node, beside the database's: the log says once that they differ, and once that it is over."""

    differs = False

    def ask(self, cursor: CursorWrapper) -> bool:
        """Returns, from the same statement, whether PostgreSQL takes writes."""
        asked_at = time.time()
        cursor.execute(
            "SELECT extract(epoch FROM clock_timestamp())::float8, current_setting('transaction_read_only') = 'off'"
        )
        theirs, is_writable = cursor.fetchone()
        self.compare(asked_at, theirs, time.time())
        return bool(is_writable)

    def compare(self, asked_at: float, theirs: float, told_at: float) -> None:
        """However long the answer was under way, ours was not read later than `told_at`, nor before `asked_at`."""
        ahead = asked_at - theirs if theirs < asked_at else min(0.0, told_at - theirs)
        metrics.clock_ahead.set(ahead)
        # Two nodes that are each as far off, one ahead and one behind, refuse each other's fresh tokens.
        differs = abs(ahead) > settings.JWT_LEEWAY.total_seconds() / 2
        if differs == self.differs:
            return
        self.differs = differs
        if differs:
            where = "ahead of" if ahead > 0 else "behind"
            logger.warning("The clock of this node is %.1f s %s that of the database", abs(ahead), where)
        else:
            logger.warning("The clock of this node and that of the database agree again")


clock = Clock()


def redis_state() -> str:
    if not settings.REDIS_URL:
        return "not used"
    try:
        cache.get("ready")
    except Exception:
        return "down"
    return "up"
