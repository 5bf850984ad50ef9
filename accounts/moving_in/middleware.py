"""Middleware that continues sessions of the site before. Installed with LEGACY_SESSION_KEY only."""

from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from accounts import sessions
from accounts.http import cross_site
from accounts.http.layers import TwoWayLayer
from accounts.models import MovedInUser, OldCredential, SecondStepRequired, SignInRefused
from accounts.moving_in import continuing, old_sessions
from accounts.sessions import BrowserRequest
from accounts.views import second_step


class OldSessionMiddleware(TwoWayLayer):
    """
    Signs in the user of the old session cookie at the first page, once, and deletes that cookie. A user with a second
    factor is sent to the second step first. No work for requests without that cookie, with a session of ours, or with
    an Authorization header.
    """

    def process_request(self, request: BrowserRequest) -> HttpResponse | None:
        cookie = request.COOKIES.get(settings.LEGACY_SESSION_COOKIE)
        if cookie is None or not self._is_first_page(request) or not old_sessions.is_on():
            return None
        request.has_old_session = True  # type: ignore[attr-defined]
        return self._continue(request, cookie)

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        if getattr(request, "has_old_session", False):
            response.delete_cookie(settings.LEGACY_SESSION_COOKIE, samesite="Lax")
        return response

    def _is_first_page(self, request: BrowserRequest) -> bool:
        # A sibling domain can set the cookie, and lead the browser here: then the next page signs in.
        return (
            request.method == "GET"
            and settings.SESSION_COOKIE_NAME not in request.COOKIES
            and "HTTP_AUTHORIZATION" not in request.META
            and cross_site.is_own_visit(request)
            and _count_cookies(request) == 1
        )

    def _continue(self, request: BrowserRequest, cookie: str) -> HttpResponse | None:
        """Signs in, or returns the redirect to the second step. An old session that is not taken does nothing."""
        found = _owner_of(cookie)
        if found is None:
            return None
        try:
            return _sign_in(request, *found)
        except SecondStepRequired:
            # An app shows its own sign-in. A page can still use it.
            request.has_old_session = False  # type: ignore[attr-defined]
        except SignInRefused:
            pass
        return None


def _count_cookies(request: HttpRequest) -> int:
    """How many old session cookies there are. A second one is of a sibling domain or another path (RFC 6265)."""
    pairs = str(request.META.get("HTTP_COOKIE", "")).split(";")
    return sum(pair.partition("=")[0].strip() == settings.LEGACY_SESSION_COOKIE for pair in pairs)


def _owner_of(cookie: str) -> tuple[MovedInUser, UUID] | None:
    """The user of the cookie, and the id of the session. At most two statements."""
    if len(cookie) > old_sessions.MAX_COOKIE_LENGTH:
        return None
    credential = old_sessions.credential_of(cookie)
    if old_sessions.is_session_key(cookie):
        # Its content was verified when it was imported.
        row = OldCredential.objects.filter(pk=credential, used_at=None, until__gt=timezone.now()).first()
        owner = row and MovedInUser.objects.filter(user=row.user_id).first()
        return (owner, credential) if owner else None
    content = old_sessions.decoded_cookie(cookie)
    owner = continuing.owner_of(old_sessions.user_id_of(content)) if content else None
    return (owner, credential) if owner and old_sessions.is_of_password(content or {}, owner) else None


def _sign_in(request: BrowserRequest, owner: MovedInUser, credential: UUID) -> HttpResponse | None:
    """
    Uses the old session up, and starts a sign-in of ours: both, or nothing. For a page of a user with a second factor
    it begins the second step instead, and returns the redirect. Raises SignInRefused: nothing is used up.
    """
    with transaction.atomic():
        user = continuing.lock_owner(owner)
        # No later than this, the sign-in of before has expired.
        continuing.use_up(user, credential, timezone.now() + settings.SIGN_IN_MAX)
        if request.path.startswith("/api/"):
            sessions.sign_in(request, user, remember=True)
            return None
        # As long as by default there: two weeks, also after the browser is closed.
        response = second_step.sign_in(request, user, request.get_full_path(), keep=True)
    return None if request.user.is_authenticated else response
