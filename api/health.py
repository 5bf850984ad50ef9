"""For load balancers and operators. (Without CSRF: what is no GET is a 405 like anywhere in the API.)"""

import logging
import time

from django.conf import settings
from django.core.cache import cache
from django.db import Error, connection
from django.db.backends.utils import CursorWrapper
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from api import metrics

logger = logging.getLogger(__name__)


@csrf_exempt
@require_safe
def live(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "up"})


@csrf_exempt
@require_safe
def ready(request: HttpRequest) -> JsonResponse:
    """503 without the database. Redis is told, but may be away: it costs speed only."""
    database = "up" if database_answers() else "down"
    state = {"status": database, "database": database, "redis": redis_state()}
    return JsonResponse(state, status=200 if database == "up" else 503)


def database_answers() -> bool:
    try:
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                clock.ask(cursor)
            else:
                cursor.execute("SELECT 1")
    except Error:
        return False
    return True


class Clock:
    """Of this node, beside the database's: the log says once that they differ, and once that it is over."""

    differs = False

    def ask(self, cursor: CursorWrapper) -> None:
        asked_at = time.time()
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())::float8")
        [theirs] = cursor.fetchone()
        self.compare(asked_at, theirs, time.time())

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
