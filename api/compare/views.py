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
from django.views.decorators.debug import sensitive_post_parameters
from django.views.generic import TemplateView
from rest_framework import status
from rest_framework.exceptions import NotFound
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import demo, starting
from accounts.models import Method, SignIn, User
from accounts.sessions import KEY_LENGTH, BrowserRequest
from api.authentication import (
    AuthenticatedRequest,
    SessionAuthentication,
    read_sign_in,
    session_sign_in,
    sid_of,
    uses_session,
)
from api.blocklist.models import Entry
from api.compare import alarm, choice, figures, recorded, throw_away
from api.compare.expired_example import expired_token
from api.compare.inspector import MAX_BYTES, MEANINGS, inspect
from api.compare.lanes import lanes
from api.compare.meters import MODES, meters
from api.dbsc import binding
from api.errors import as_throttled
from api.keys import keyring
from api.serializers import token_pair

# The tokens are only in the memory of the page: after the page is closed the sign-in should end soon.
CLIENT_IDLE_TIMEOUT = timedelta(hours=1)
# The page is public: it shows larger numbers of entries as "more than".
MAX_COUNTED_ENTRIES = 1_000
# The acts of the page, by the `act` of the form that starts it.
ACTS = ("who", "tamper", "out", "tabs", "lanes", "theft", "run")
# Of the sentence about statements.
CONTENDERS = ("wristband", "passport", "django_sessions", "simplejwt_blacklist")
# By the header X-Compare.
PARTS = {"recommendation": "compare/recommendation.html", "inspection": "compare/result.html"}
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
            "meters": meters(),
            "hatches": MODES,
            "statements": {name: figures.number(f"requests_statements_{name}") for name in CONTENDERS},
            "measured_on": figures.measured_on(),
            "recorded": recorded.acts(),
            "lanes": lanes(),
            "recorded_mail": alarm.rendered(recorded.alarm()),
            "expired_token": expired_token(),
            "meanings": MEANINGS,
            "has_public_keys": keyring.signing_key.is_public,
            "redis": bool(settings.REDIS_URL),
            # Without Redis each request reads the session.
            "recheck_seconds": settings.SESSION_RECHECK // timedelta(seconds=1) if settings.REDIS_URL else 0,
            "access_minutes": settings.ACCESS_TOKEN // timedelta(minutes=1),
            "term_minutes": max(1, settings.DBSC_TERM // timedelta(minutes=1)),
            "recent_minutes": settings.REAUTHENTICATION_TIMEOUT // timedelta(minutes=1),
            "grace_seconds": settings.REFRESH_GRACE // timedelta(seconds=1),
        }
        if self.request.user.is_authenticated:
            context |= self._wristband()
        return super().get_context_data(**context | kwargs)

    def get_template_names(self) -> list[str]:
        """One part of the page for a script of the page, which names it in a header."""
        return [PARTS.get(self.request.headers.get("X-Compare", ""), self.template_name)]

    def _answers(self) -> dict[str, str]:
        if len(self.request.META["QUERY_STRING"]) > MAX_QUERY_BYTES:
            return {}
        return {name: self.request.GET[name] for name in choice.NAMES if name in self.request.GET}

    def _wristband(self) -> dict[str, Any]:
        """The visitor's session, without its key."""
        name = settings.SESSION_COOKIE_NAME
        current: SignIn = self.request.session.sign_in  # type: ignore[assignment]
        keeps = not self.request.session.get_expire_at_browser_close()
        return {
            "sign_in": SignIn.objects.get(pk=current.pk),
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
        """Without a redirect: the password is only in this response. `act` is the act that the page starts with."""
        if request.user.is_authenticated and not request.user.is_throw_away:
            # A new account would sign the user out of their own.
            return redirect("compare")
        user, password = demo.make_throw_away()
        login(request, user)
        act = request.POST.get("act", "")
        return self.render(password=password, opening=act if act in ACTS else ACTS[0])


class ClientView(APIView):
    """
    Starts a client sign-in, whose tokens the page has in memory: of the visitor if it is a throw-away user, or else of
    a throw-away user that belongs to the visitor's session.
    """

    schema = None
    authentication_classes = (SessionAuthentication,)
    permission_classes = (IsAuthenticated,)

    def post(self, request: AuthenticatedRequest) -> Response:
        visitor: Any = request._request
        with as_throttled():
            user = throw_away.user_of(visitor) or throw_away.make_for(visitor)
        requested_at = timezone.now()
        sign_in = starting.start(
            user,
            SignIn.Kind.CLIENT,
            name=_("Compare page"),
            idle_timeout=CLIENT_IDLE_TIMEOUT,
            **self._proof(user, request),
        )
        return Response(token_pair(sign_in, requested_at), status=status.HTTP_201_CREATED)

    def _proof(self, user: User, request: AuthenticatedRequest) -> dict[str, Any]:
        """What the user has proved, and when: a new client is not a new authentication."""
        current: SignIn = session_sign_in(request)  # type: ignore[assignment]
        if user.pk == current.user_id:
            return {"authenticated_at": current.authenticated_at, "methods": current.methods.split()}
        return {"authenticated_at": user.date_joined, "methods": [Method.PASSWORD]}


class AlarmView(APIView):
    """The text of the mail about the latest reused refresh token of the visitor's throw-away user."""

    schema = None
    authentication_classes = (SessionAuthentication,)
    permission_classes = (IsAuthenticated,)

    def get(self, request: AuthenticatedRequest) -> Response:
        user = throw_away.user_of(request._request)  # type: ignore[arg-type]
        mail = alarm.latest(user) if user else None
        if mail is None:
            raise NotFound
        return Response({"subject": mail.subject, "text": mail.text})


class CopiedView(APIView):
    """Whether copies of the visitor's cookies still show pages after the term."""

    schema = None
    authentication_classes = (SessionAuthentication,)
    permission_classes = (IsAuthenticated,)

    def get(self, request: AuthenticatedRequest) -> Response:
        is_bound = binding.is_on() and read_sign_in(request).is_bound
        return Response({"bound": is_bound, "page_after_the_term": 401 if is_bound else 200})


class WhoView(APIView):
    """The user of the request and nothing else, so that its cost is the cost of authentication."""

    schema = None

    def get(self, request: AuthenticatedRequest) -> Response:
        mode = "wristband" if uses_session(request) else "passport"
        return Response({"id": request.user.pk, "mode": mode, "sid": sid_of(request)})
