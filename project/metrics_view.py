"""The endpoint that Prometheus scrapes: /metrics."""

import os
from contextlib import suppress
from glob import glob

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import Error
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    generate_latest,
    multiprocess,
)

from accounts import addresses
from accounts.models import SecurityEvent
from api import metrics
from project import health


@csrf_exempt
@require_safe
def metrics_view(request: HttpRequest) -> HttpResponse:
    """The metrics of all workers of this node with PROMETHEUS_MULTIPROC_DIR, otherwise of the worker that responds."""
    if not (settings.METRICS_ADDRESSES or settings.METRICS_TOKEN):
        raise Http404
    if not (_has_known_address(request) or _has_token(request)):
        raise PermissionDenied
    if settings.EVENTS_URL:
        with suppress(Error):
            metrics.events_unsent.set(SecurityEvent.objects.unsent_for())
    health.sampling.run()
    return HttpResponse(generate_latest(_registry()), content_type=CONTENT_TYPE_LATEST)


def _has_known_address(request: HttpRequest) -> bool:
    return addresses.is_within(request.META.get("REMOTE_ADDR", ""), settings.METRICS_ADDRESSES)


def _has_token(request: HttpRequest) -> bool:
    """Refused over plain HTTP, where the token could be read."""
    if not settings.METRICS_TOKEN or not (request.is_secure() or settings.DEBUG):
        return False
    return constant_time_compare(request.headers.get("Authorization", ""), f"Bearer {settings.METRICS_TOKEN}")


def _registry() -> CollectorRegistry:
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if not folder:
        return REGISTRY
    # gunicorn's hook child_exit would do it, and only for workers that ended in order.
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
