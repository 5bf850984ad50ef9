"""The page that lets both be watched, and what it needs beside the API itself."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import login
from django.http import Http404, HttpRequest, HttpResponse
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

from accounts import demo
from accounts.models import SignIn, User
from accounts.sessions import KEY_LENGTH, BrowserRequest
from api.authentication import AuthenticatedRequest, SessionAuthentication, sid_of
from api.blocklist.models import Entry
from api.compare import choice, figures
from api.compare.inspector import MAX_BYTES, inspect
from api.serializers import token_pair

# The tokens are in the memory of the page alone: a sign-in that was left behind ends soon.
CLIENT_IDLE_TIMEOUT = timedelta(hours=1)
# Anybody may ask for the page: of more entries it says "more than".
COUNTED_ENTRIES = 1_000
# The four answers take less than 100; what is longer is not parsed.
MAX_QUERY_BYTES = 500


class CompareView(TemplateView):
    request: BrowserRequest
    template_name = "compare/page.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        answers = self._answers()
        blocked = Entry.objects.in_force().order_by().values("pk")[: COUNTED_ENTRIES + 1].count()
        context = {
            "blocked": min(blocked, COUNTED_ENTRIES),
            "blocked_more": blocked > COUNTED_ENTRIES,
            "questions": choice.QUESTIONS,
            "answers": answers,
            "recommendation": choice.recommend(answers),
            "rows": figures.rows(),
            "demo": settings.DEMO,
            "redis": bool(settings.REDIS_URL),
            "access_minutes": settings.ACCESS_TOKEN // timedelta(minutes=1),
            "grace_seconds": settings.REFRESH_GRACE // timedelta(seconds=1),
        }
        if context["rows"]:
            context["measured_on"] = figures.measured_on()
        if self.request.user.is_authenticated:
            context |= self._wristband()
        return super().get_context_data(**context | kwargs)

    def _answers(self) -> dict[str, str]:
        if len(self.request.META["QUERY_STRING"]) > MAX_QUERY_BYTES:
            return {}
        return {name: self.request.GET[name] for name in choice.NAMES if name in self.request.GET}

    def _wristband(self) -> dict[str, Any]:
        """About the visitor's session: everything but its key."""
        name = settings.SESSION_COOKIE_NAME
        current: SignIn = self.request.session.sign_in  # type: ignore[assignment]
        sign_in = SignIn.objects.get(pk=current.pk)
        keeps = not self.request.session.get_expire_at_browser_close()
        return {
            "sign_in": sign_in,
            "must_prove": must_prove(current.user, sign_in),
            "cookie": {
                "name": name,
                "size": len(f"{name}=") + KEY_LENGTH,
                "letters": KEY_LENGTH,
                "secure": settings.SESSION_COOKIE_SECURE,
                "same_site": settings.SESSION_COOKIE_SAMESITE,
                "days": settings.SIGN_IN_MAX.days if keeps else None,
            },
        }


class AnswerView(CompareView):
    """The page with an answer to a form on it; asked for again, the page alone."""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return redirect("compare")

    def answer(self, status: int = 200, **found: Any) -> HttpResponse:
        return self.render_to_response(self.get_context_data(**found), status=status)


@method_decorator(sensitive_post_parameters("token"), name="dispatch")
class InspectView(AnswerView):
    """Takes a token apart that comes by POST: it is in no URL, no log and no table."""

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        raw = request.POST.get("token", "")
        if len(raw.encode(errors="replace")) > MAX_BYTES:
            return self.answer(
                413, refused=_("The text is longer than 8 kB. Tokens of this server are less than half as long.")
            )
        if not raw.strip():
            return self.answer(400, refused=_("Enter a token."))
        return self.answer(inspection=inspect(raw))


class ThrowAwayView(AnswerView):
    def post(self, request: BrowserRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """No redirect: the password is told once, in this answer, and kept nowhere."""
        if not settings.DEMO:
            raise Http404
        if request.user.is_authenticated and not request.user.is_throw_away:
            # Nobody is signed out of an account of their own by a button that makes another.
            return redirect("compare")
        user, password = demo.make_throw_away()
        login(request, user)
        return self.answer(password=password)


def must_prove(user: User, sign_in: SignIn) -> bool:
    """A client outlasts the browser, so it takes more than a cookie; nothing is at stake for throw-away users."""
    return not (user.is_throw_away or sign_in.is_recently_proved())


class IsProved(BasePermission):
    message = gettext_lazy("Confirm your password first.")
    code = "proof_needed"

    def has_permission(self, request: AuthenticatedRequest, view: APIView) -> bool:
        return isinstance(request.auth, SignIn) and not must_prove(request.user, request.auth)


class ClientView(APIView):
    """Starts a client's sign-in for the visitor, whose tokens the page keeps in its memory."""

    schema = None
    authentication_classes = (SessionAuthentication,)
    permission_classes = (IsAuthenticated, IsProved)

    def post(self, request: AuthenticatedRequest) -> Response:
        asked_at = timezone.now()
        name = _("Compare page")
        current: SignIn = request.auth  # type: ignore[assignment]
        sign_in = SignIn.objects.start(
            request.user, SignIn.Kind.CLIENT, CLIENT_IDLE_TIMEOUT, name=name, proved_at=current.proved_at
        )
        return Response(token_pair(sign_in, asked_at), status=status.HTTP_201_CREATED)


class WhoView(APIView):
    """Who calls, and no more: what it costs is what it costs to be recognised."""

    schema = None

    def get(self, request: AuthenticatedRequest) -> Response:
        mode = "wristband" if isinstance(request.auth, SignIn) else "passport"
        return Response({"id": request.user.pk, "mode": mode, "sid": sid_of(request)})
