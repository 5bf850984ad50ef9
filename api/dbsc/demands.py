"""
Demands: what matters needs a proof of the device that is newer than the request for it.

The server redirects the request to its own URL (307, which repeats the form), with the time of the demand in the query
and without the bound cookie: the browser proves its key first. An attacker with a copy of all cookies has no newer one.
"""

import time
from typing import NamedTuple
from uuid import UUID

from django.core.signing import BadSignature, Signer
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from api.dbsc import cookies

PARAMETER = "device_proof"
# Long enough to fill in a form: the URL of the page is the URL of its form.
LIFETIME_SECONDS = 300
# A refresh that was under way may set its cookie after the demand has deleted the last one, and keep the browser from
# another proof.
MAX_ATTEMPTS = 3


class Demand(NamedTuple):
    """A demand of the server, in seconds since 1970, and how many times it was repeated for the request."""

    at: float
    attempt: int

    @property
    def is_last(self) -> bool:
        return self.attempt >= MAX_ATTEMPTS


def demand_in(request: HttpRequest, sid: UUID) -> Demand | None:
    """Returns the demand in the URL; None if the server made none for this sign-in, or long ago."""
    try:
        moment, attempt = _signer(sid).unsign(request.GET.get(PARAMETER, "")).split()
    except (BadSignature, ValueError):
        return None
    demand = Demand(float(moment), int(attempt))
    return demand if time.time() - demand.at < LIFETIME_SECONDS else None


def redirect(request: HttpRequest, sid: UUID) -> HttpResponse:
    """Repeats the request with a new demand."""
    last = demand_in(request, sid)
    query = request.GET.copy()
    query[PARAMETER] = _signer(sid).sign(f"{time.time():.3f} {last.attempt + 1 if last else 1}")
    response = HttpResponseRedirect(f"{request.path}?{query.urlencode()}", preserve_request=True)
    cookies.delete_from(response)
    return response


def _signer(sid: UUID) -> Signer:
    return Signer(salt=f"api.dbsc.demands {sid}")
