"""The end of a support sign-in, and the cookie that keeps the staff member's own session meanwhile."""

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views import View

from accounts import support
from accounts.models.limits import SUPPORT_MAX


def keep_own_session(response: HttpResponse, session_key: str) -> None:
    """Sets the cookie with the key of the staff member's own session, with the attributes of the session cookie."""
    response.set_cookie(
        settings.STAFF_COOKIE_NAME,
        session_key,
        # A while longer, so that a staff member can still return when the support sign-in has expired.
        max_age=2 * SUPPORT_MAX,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


class EndSupportView(View):
    """Ends the support sign-in, and returns to the staff member's own session. Accepts POST only."""

    http_method_names = ["post", "options"]
    in_support = True

    def post(self, request: HttpRequest) -> HttpResponse:
        supported = support.end(request, request.COOKIES.get(settings.STAFF_COOKIE_NAME, ""))  # type: ignore[arg-type]
        if request.user.is_authenticated and supported:
            messages.success(request, _("Support of %(name)s has ended.") % {"name": supported.username})
            response = redirect("admin:accounts_user_change", supported.pk)
        else:
            response = redirect("home")
        response.delete_cookie(settings.STAFF_COOKIE_NAME, samesite="Lax")
        return response
