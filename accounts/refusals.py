"""
The log of refused requests (OWASP ASVS 16.3.2, 16.3.3): one line for each, up to a limit, and then one line that sums
up the others. A flood of refused requests does not fill the disk. If it comes from fewer than 14 networks (4 with five
lines, 10 with one), another client still gets its first line.
"""

import logging
import threading
import time
from collections import Counter
from http import HTTPStatus

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from accounts import addresses
from accounts.signals import request_refused

logger = logging.getLogger(__name__)

# In each process.
WINDOW_SECONDS = 60.0
MAX_LINES_PER_WINDOW = 30
MAX_LINES_OF_CLIENT = 5
# Of MAX_LINES_PER_WINDOW: only for the first line of a client.
MAX_FIRST_LINES = 10
MAX_SUMMED_CODES = 20
MAX_REASON_LENGTH = 200
MAX_METHOD_LENGTH = 16
# A call without credentials; a failed sign-in, which is a security event; a request for a nonce (RFC 9449, section 8).
NOT_LOGGED = {"not_authenticated", "no_active_account", "use_dpop_nonce"}


class Window:
    """Decides which refusals get a line of their own, and logs how many did not."""

    def __init__(self, seconds: float = WINDOW_SECONDS) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        # On the monotonic clock, in seconds.
        self._ends_at = 0.0
        self._lines = 0
        self._lines_of: Counter[str] = Counter()
        self._summed: Counter[str] = Counter()

    def admits(self, code: str, client: str) -> bool:
        """Returns whether a line may be logged now. If not, the refusal is in the next sum."""
        with self._lock:
            now = time.monotonic()
            if now >= self._ends_at:
                self._ends_at, self._lines = now + self._seconds, 0
                self._lines_of.clear()
            if self._has_line_for(client):
                self._lines += 1
                self._lines_of[client] += 1
                return True
            if not self._summed:
                timer = threading.Timer(self._ends_at - now, self._log_sum)
                timer.daemon = True
                timer.start()
            self._summed[code if code in self._summed or len(self._summed) < MAX_SUMMED_CODES else "other"] += 1
            return False

    def _has_line_for(self, client: str) -> bool:
        if client not in self._lines_of:
            return self._lines < MAX_LINES_PER_WINDOW
        return self._lines < MAX_LINES_PER_WINDOW - MAX_FIRST_LINES and self._lines_of[client] < MAX_LINES_OF_CLIENT

    def _log_sum(self) -> None:
        with self._lock:
            summed, self._summed = self._summed, Counter()
        if not summed:
            return
        counts = ", ".join(f"{code} {count}" for code, count in summed.most_common())
        logger.warning("Refused %d more requests in %.0f s: %s", summed.total(), self._seconds, counts)


window = Window()


def note(request: HttpRequest, response: HttpResponseBase) -> None:
    """Logs and counts a response with a 4xx status. Not a 404 for an address without a view: scanners send many."""
    status, code = response.status_code, code_of(response)
    is_expected = getattr(request, "refusal_is_expected", False) or code in NOT_LOGGED
    if is_expected or status >= 500 or (status == 404 and request.resolver_match is None):
        return
    request_refused.send(sender=None, code=code)
    if getattr(request, "refusal_is_logged", False) or not admits(request, code):
        return
    match = request.resolver_match
    extra = {
        "request": request,
        "status_code": status,
        "code": code,
        "method": (request.method or "")[:MAX_METHOD_LENGTH],
        "route": f"/{match.route}" if match else None,
        "ip_address": request.META.get("REMOTE_ADDR") or None,
        "reason": getattr(request, "refusal_reason", "")[:MAX_REASON_LENGTH] or None,
    }
    logger.warning("Refused a request: %s", code, extra=extra)


def admits(request: HttpRequest, code: str) -> bool:
    """
    Returns whether a line about this refused request may be logged now. note() then logs no second one. The addresses
    of one IPv6 network are one client.
    """
    request.refusal_is_logged = True  # type: ignore[attr-defined]
    address = request.META.get("REMOTE_ADDR", "")
    return window.admits(code, addresses.network(address) if address else "")


def explain(request: HttpRequest, reason: str) -> None:
    """Adds a reason to the line of a request that is about to be refused. It must not contain input of the client."""
    request.refusal_reason = reason  # type: ignore[attr-defined]


def expect(request: HttpRequest) -> None:
    """The request is refused in the normal course, as with an expired token: it is neither logged nor counted."""
    request.refusal_is_expected = True  # type: ignore[attr-defined]


def code_of(response: HttpResponseBase) -> str:
    """The `code` in the body of an error of the API, or else a word for the status, or its number if it has none."""
    data = getattr(response, "data", None)
    if isinstance(data, dict) and isinstance(data.get("code"), str):
        return str(data["code"])
    code: str | None = getattr(response, "refusal_code", None)
    return code or _word_for(response.status_code)


def _word_for(status: int) -> str:
    try:
        return HTTPStatus(status).name.lower()
    except ValueError:
        # A view of another app may answer with any status, such as 499.
        return str(status)
