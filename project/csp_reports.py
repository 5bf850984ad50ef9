"""Reports of browsers about violations of the Content Security Policy (SECURE_CSP): counted and logged."""

import logging
import re
import time
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.urls import Resolver404, resolve
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import ParseError
from rest_framework.request import Request
from rest_framework.response import Response

from api import metrics
from api.parsers import StrictJSONParser
from api.views import PublicView

log = logging.getLogger(__name__)

MAX_BYTES = 16 * 1024
# Of one process. Further reports are counted, and neither read nor logged: anyone can send them.
MAX_REPORTS_PER_MINUTE = 10
# The directives that default-src stands for, and those of SECURE_CSP.
DIRECTIVES = frozenset(
    {
        *("script-src", "script-src-elem", "script-src-attr", "style-src", "style-src-elem", "style-src-attr"),
        *("img-src", "font-src", "connect-src", "media-src", "frame-src", "child-src", "worker-src", "manifest-src"),
        *settings.SECURE_CSP,
    }
)
FIELDS = ("effective-directive", "blocked-uri", "document-uri")
KEYWORD = re.compile(r"[a-z-]{1,30}")
HOST = re.compile(r"[a-z0-9.-]{1,253}")


class _Budget:
    """How many reports this process still reads in this minute."""

    minute = 0
    left = 0

    def take(self) -> bool:
        """Takes no lock: one more report does no harm."""
        minute = int(time.monotonic() // 60)
        if minute != self.minute:
            self.minute, self.left = minute, MAX_REPORTS_PER_MINUTE
        self.left -= 1
        return self.left >= 0


budget = _Budget()


class ReportParser(StrictJSONParser):
    media_type = "application/csp-report"
    max_bytes = MAX_BYTES


@extend_schema(exclude=True)
class CspReportView(PublicView):
    """
    Takes a report, without a session and without a statement. The log line has the directive, the blocked host and the
    route of the page: no user, and no path, which may contain a token.
    """

    parser_classes = [ReportParser]
    # The budget limits reports: a limit of the address would use up that of sign-ins and refreshes.
    throttle_classes = []

    def post(self, request: Request) -> Response:
        if not budget.take():
            metrics.csp_reports.labels("not read").inc()
            return Response(status=204)
        data: Any = request.data
        try:
            directive, blocked, page = (str(data["csp-report"][name]) for name in FIELDS)
        except (TypeError, LookupError) as error:
            raise ParseError("This is no report of a violation.") from error
        directive = directive if directive in DIRECTIVES else "other"
        metrics.csp_reports.labels(directive).inc()
        log.warning("Content Security Policy: %s blocked %s on %s", directive, _source(blocked), _route(page))
        return Response(status=204)


def _source(blocked: str) -> str:
    """Returns a keyword ("inline", "eval", "data") or the host of a URL."""
    if KEYWORD.fullmatch(blocked):
        return blocked
    host = _host(blocked)
    return host if HOST.fullmatch(host) else "another source"


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _route(page: str) -> str:
    """Returns the route of a page of this site."""
    try:
        return f"/{resolve(urlsplit(page).path).route}"
    except (Resolver404, ValueError):
        return "another page"
