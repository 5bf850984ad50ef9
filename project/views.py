"""The home page, and the files that browsers and crawlers request at fixed paths."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.templatetags.static import static
from django.views.decorators.http import require_safe
from django.views.generic import TemplateView

from accounts import passkey_offer
from accounts.models import SecurityEvent, SignIn
from accounts.sessions import BrowserRequest

EVENTS_ON_HOME = 5
SIGN_INS_ON_HOME = 3
# Crawlers may index the public pages.
ROBOTS = """User-agent: *
Disallow: /accounts/
Disallow: /admin/
Disallow: /api/
"""


@require_safe
def favicon(request: HttpRequest) -> HttpResponse:
    return redirect(static("accounts/favicon.svg"))


@require_safe
def robots(request: HttpRequest) -> HttpResponse:
    return HttpResponse(ROBOTS, content_type="text/plain; charset=utf-8")


class HomeView(TemplateView):
    """The home page: of the account for a signed-in user, of the site for a visitor."""

    request: BrowserRequest
    template_name = "home.html"

    def get_template_names(self) -> list[str]:
        return ["accounts/overview.html"] if self.request.session.sign_in else super().get_template_names()

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        sign_in = self.request.session.sign_in
        if sign_in:
            sign_ins = SignIn.objects.filter(user=sign_in.user).live()
            context |= {
                "offers_passkey": passkey_offer.is_open(self.request),
                "current_sign_in": sign_in,
                "number": sign_ins.count(),
                "sign_ins": sign_ins.current_first(sign_in)[:SIGN_INS_ON_HOME],
                "events": SecurityEvent.objects.filter(user=sign_in.user)[:EVENTS_ON_HOME],
            }
        return context
