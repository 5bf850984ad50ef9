"""The page /compare/, and the endpoints that it needs in addition to the API."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.debug import sensitive_post_parameters
from django.views.generic import TemplateView
from rest_framework import status
from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import demo, starting
from accounts.factors import requirements
from accounts.models import SignIn, User
from accounts.sessions import KEY_LENGTH, BrowserRequest
from api.authentication import AuthenticatedRequest, SessionAuthentication, sid_of
from api.blocklist.models import Entry
from api.compare import choice, figures
from api.compare.inspector import MAX_BYTES, inspect
from api.serializers import token_pair

# The tokens are only in the memory of the page: after the page is closed the sign-in should end soon.
CLIENT_IDLE_TIMEOUT = timedelta(hours=1)
# The page is public: it shows larger numbers of entries as "more than".
MAX_COUNTED_ENTRIES = 1_000
# The four answers need less than 100 bytes; a longer query string is not parsed.
MAX_QUERY_BYTES = 500


class CompareView(TemplateView):
    request: BrowserRequest
    template_name = "compare/page.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        answers = self._answers()
        blocked = Entry.objects.in_force().order_by().values("pk")[: MAX_COUNTED_ENTRIES + 1].count()
        context = {
            "blocked": min(blocked, MAX_COUNTED_ENTRIES),
            "blocked_more": blocked > MAX_COUNTED_ENTRIES,
            "questions": choice.QUESTIONS,
            "answers": answers,
            "recommendation": choice.recommend(answers),
            "rows": figures.rows(),
            "measured_on": figures.measured_on(),
            "redis": bool(settings.REDIS_URL),
            # Without Redis each request reads the session.
            "recheck_seconds": settings.SESSION_RECHECK // timedelta(seconds=1) if settings.REDIS_URL else 0,
            "access_minutes": settings.ACCESS_TOKEN // timedelta(minutes=1),
            "grace_seconds": settings.REFRESH_GRACE // timedelta(seconds=1),
        }
        if self.request.user.is_authenticated:
            context |= self._wristband()
        return super().get_context_data(**context | kwargs)

    def _answers(self) -> dict[str, str]:
        if len(self.request.META["QUERY_STRING"]) > MAX_QUERY_BYTES:
            return {}
        return {name: self.request.GET[name] for name in choice.NAMES if name in self.request.GET}

    def _wristband(self) -> dict[str, Any]:
        """The visitor's session, without its key."""
        name = settings.SESSION_COOKIE_NAME
        current: SignIn = self.request.session.sign_in  # type: ignore[assignment]
        sign_in = SignIn.objects.get(pk=current.pk)
        keeps = not self.request.session.get_expire_at_browser_close()
        return {
            "sign_in": sign_in,
            "must_prove": must_reauthenticate(current.user, sign_in),
            "cookie": {
                "name": name,
                "size": len(f"{name}=") + KEY_LENGTH,
                "letters": KEY_LENGTH,
                "secure": settings.SESSION_COOKIE_SECURE,
                "same_site": settings.SESSION_COOKIE_SAMESITE,
                "days": settings.SIGN_IN_MAX.days if keeps else None,
            },
        }


class ResultView(CompareView):
    """The page with the result of one of its forms. GET redirects to the page."""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return redirect("compare")

    def render(self, status: int = 200, **context: Any) -> HttpResponse:
        return self.render_to_response(self.get_context_data(**context), status=status)


@method_decorator(sensitive_post_parameters("token"), name="dispatch")
class InspectView(ResultView):
    """Decodes a token from a POST, so that it appears in no URL, log or table."""

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        raw = request.POST.get("token", "")
        if len(raw.encode(errors="replace")) > MAX_BYTES:
            return self.render(413, refused=_("This is longer than 8 kB. Our tokens are at most 4 kB long."))
        if not raw.strip():
            return self.render(400, refused=_("Enter a token."))
        return self.render(inspection=inspect(raw))


class ThrowAwayView(ResultView):
    def post(self, request: BrowserRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Without a redirect: the password is only in this response."""
        if request.user.is_authenticated and not request.user.is_throw_away:
            # A new account would sign the user out of their own.
            return redirect("compare")
        user, password = demo.make_throw_away()
        login(request, user)
        return self.render(password=password)


def must_reauthenticate(user: User, sign_in: SignIn) -> bool:
    """A client may outlast the browser session, so a cookie is not enough; throw-away users have nothing to protect."""
    return not (user.is_throw_away or sign_in.is_recently_authenticated())


class IsRecentlyAuthenticated(BasePermission):
    message = gettext_lazy("Enter your password again first.")
    code = "proof_needed"

    def has_permission(self, request: AuthenticatedRequest, view: APIView) -> bool:
        """The page shows must_reauthenticate(); only this check also asks for a second factor, by a statement."""
        user, sign_in = request.user, request.auth
        if not isinstance(sign_in, SignIn) or must_reauthenticate(user, sign_in):
            return False
        return user.is_throw_away or requirements.is_recent(user, sign_in)


class ClientView(APIView):
    """Starts a client sign-in for the visitor. The page has its tokens in memory."""

    schema = None
    authentication_classes = (SessionAuthentication,)
    permission_classes = (IsAuthenticated, IsRecentlyAuthenticated)

    def post(self, request: AuthenticatedRequest) -> Response:
        requested_at = timezone.now()
        name = _("Compare page")
        current: SignIn = request.auth  # type: ignore[assignment]
        sign_in = starting.start(
            request.user,
            SignIn.Kind.CLIENT,
            name=name,
            authenticated_at=current.authenticated_at,
            methods=current.methods.split(),
            idle_timeout=CLIENT_IDLE_TIMEOUT,
        )
        return Response(token_pair(sign_in, requested_at), status=status.HTTP_201_CREATED)


class WhoView(APIView):
    """The user of the request and nothing else, so that its cost is the cost of authentication."""

    schema = None

    def get(self, request: AuthenticatedRequest) -> Response:
        mode = "wristband" if isinstance(request.auth, SignIn) else "passport"
        return Response({"id": request.user.pk, "mode": mode, "sid": sid_of(request)})
