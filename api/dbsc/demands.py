"""
Demands: what matters needs a proof of the device that is newer than the request for it.

The server redirects the request to its own URL (307, which repeats the form), with the time of the demand in the query
and without the bound cookie: the browser proves its key first. An attacker with a copy of all cookies has no newer one.
"""

import time
from uuid import UUID

from django.core.signing import BadSignature, Signer
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from api.dbsc import cookies

PARAMETER = "device_proof"
# Long enough to fill in a form: the URL of the page is the URL of its form.
LIFETIME_SECONDS = 300


def demanded_at(request: HttpRequest, sid: UUID) -> float | None:
    """When the server demanded a proof for this request, in seconds since 1970; None if it did not, or long ago."""
    text = request.GET.get(PARAMETER, "")
    try:
        moment = float(_signer(sid).unsign(text))
    except (BadSignature, ValueError):
        return None
    return moment if time.time() - moment < LIFETIME_SECONDS else None


def redirect(request: HttpRequest, sid: UUID) -> HttpResponse:
    """Repeats the request with a demand."""
    query = request.GET.copy()
    query[PARAMETER] = _signer(sid).sign(f"{time.time():.3f}")
    response = HttpResponseRedirect(f"{request.path}?{query.urlencode()}", preserve_request=True)
    cookies.delete_from(response)
    return response


def _signer(sid: UUID) -> Signer:
    return Signer(salt=f"api.dbsc.demands {sid}")
