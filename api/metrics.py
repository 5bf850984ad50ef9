"""
What Prometheus is told. What happens on every request is not counted here: the caches count by themselves, and what
they know is passed on when the clock is read anyway (Keyring.look).
"""

import os
from glob import glob

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

from accounts import addresses

# A check of a token takes some ten microseconds, and a database that is away some seconds.
LATENCY_BUCKETS = (0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.01, 0.05, 0.25, 1, 5, 10)

events = Counter("wristband_security_events", "Security events, by type", ["type"])
refreshes = Counter("wristband_refreshes", "Refreshes, by what came of them", ["outcome"])
token_cache_hits = Counter("wristband_tokens_known", "Tokens whose signature was checked before")
token_cache_misses = Counter("wristband_tokens_new", "Tokens whose signature had to be checked")
token_check_seconds = Histogram(
    "wristband_token_check_seconds",
    "Time to authenticate a call with a token: one in half a second",
    buckets=LATENCY_BUCKETS,
)
database_checks = Counter("wristband_checks_by_database", "Checks that the mirror could not answer")
mirror_ids = Gauge("wristband_mirror_ids", "Ids in the largest mirror of a process", multiprocess_mode="livemax")
mirror_age_seconds = Gauge(
    "wristband_mirror_age_seconds", "How old a mirror was after its last read", multiprocess_mode="livemax"
)
database_connections = Gauge(
    "wristband_database_connections", "Open connections to PostgreSQL", multiprocess_mode="livesum"
)
clock_ahead_seconds = Gauge(
    "wristband_clock_ahead_seconds",
    "How far the clock of this node is ahead of PostgreSQL's, when it was last asked whether it is ready",
    multiprocess_mode="mostrecent",
)
database_timeouts = Counter("wristband_database_silences", "Waits for PostgreSQL that were given up")


def count_events(type: str, count: int, **kwargs: object) -> None:
    events.labels(type).inc(count)


class Sampler:
    """Which call is measured: the first after each look at the keys, twice a second at most."""

    is_due = False


sampler = Sampler()


@csrf_exempt
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Of all workers of this node, where PROMETHEUS_MULTIPROC_DIR is set; else of the one that answers."""
    if not (settings.METRICS_ADDRESSES or settings.METRICS_TOKEN):
        raise Http404
    if not (_is_known(request) or _knows_the_secret(request)):
        raise PermissionDenied
    return HttpResponse(generate_latest(_registry()), content_type=CONTENT_TYPE_LATEST)


def _is_known(request: HttpRequest) -> bool:
    return addresses.is_within(request.META.get("REMOTE_ADDR", ""), settings.METRICS_ADDRESSES)


def _knows_the_secret(request: HttpRequest) -> bool:
    """Not over plain HTTP, where others would learn it."""
    if not settings.METRICS_TOKEN or not (request.is_secure() or settings.DEBUG):
        return False
    return constant_time_compare(request.headers.get("Authorization", ""), f"Bearer {settings.METRICS_TOKEN}")


def _registry() -> CollectorRegistry:
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if not folder:
        return REGISTRY
    for path in glob(f"{folder}/gauge_live*_*.db"):
        pid = int(path.rpartition("_")[2].removesuffix(".db"))
        if not _is_alive(pid):
            multiprocess.mark_process_dead(pid)
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)
    return registry


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
