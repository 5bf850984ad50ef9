"""For load balancers and operators. (Without CSRF: what is no GET is a 405 like anywhere in the API.)"""

from django.conf import settings
from django.core.cache import cache
from django.db import Error, connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe


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
            cursor.execute("SELECT 1")
    except Error:
        return False
    return True


def redis_state() -> str:
    if not settings.REDIS_URL:
        return "not used"
    try:
        cache.get("ready")
    except Exception:
        return "down"
    return "up"
