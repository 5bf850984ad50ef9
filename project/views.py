"""The home page, the choice of the theme, and the files that browsers and crawlers request at fixed paths."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import redirect
from django.templatetags.static import static
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_safe
from django.views.generic import TemplateView, View

from accounts import passkey_offer
from accounts.http import request_context
from accounts.models import SecurityEvent, SignIn
from accounts.sessions import BrowserRequest
from project import theme
from project.differences import differences
from project.proofs import proofs

# As in README.md.
INSTALL = "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt && .venv/bin/python manage.py start"
EVENTS_ON_HOME = 5
SIGN_INS_ON_HOME = 3
# A client reads /.well-known/security.txt again before this has passed (RFC 9116, section 2.5.5: less than a year).
SECURITY_TXT_AGE = timedelta(days=180)
SECURITY_TXT = "/.well-known/security.txt"
# Crawlers may index the public pages.
ROBOTS = """User-agent: *
Disallow: /accounts/
Disallow: /admin/
Disallow: /api/
"""


@require_safe
def favicon(request: HttpRequest) -> HttpResponse:
    return redirect(static("accounts/favicon.ico"))


@require_safe
def manifest(request: HttpRequest) -> HttpResponse:
    """The manifest of the web app (W3C), for the name and the icon on a home screen."""
    sizes = {"accounts/icon-192.png": "192x192", "accounts/icon-512.png": "512x512"}
    described = {
        "name": "Wristband & Passport",
        "short_name": "Wristband",
        "start_url": "/",
        "display": "browser",
        "background_color": "#faf8f4",
        "theme_color": "#0b5c6b",
        "icons": [{"src": static(name), "sizes": size, "type": "image/png"} for name, size in sizes.items()],
    }
    return JsonResponse(described, content_type="application/manifest+json")


@require_safe
def security_txt(request: HttpRequest) -> HttpResponse:
    """The contact for reports of vulnerabilities (RFC 9116). Without SECURITY_CONTACT: 404."""
    if not settings.SECURITY_CONTACT:
        raise Http404
    expires = (timezone.now() + SECURITY_TXT_AGE).replace(microsecond=0).isoformat()
    lines = [f"Contact: {settings.SECURITY_CONTACT}", f"Expires: {expires}"]
    if settings.SITE_URL:
        lines.append(f"Canonical: {request_context.absolute_url(SECURITY_TXT)}")
    return HttpResponse("\n".join([*lines, ""]), content_type="text/plain; charset=utf-8")


@require_safe
def robots(request: HttpRequest) -> HttpResponse:
    return HttpResponse(ROBOTS, content_type="text/plain; charset=utf-8")


class ThemeView(View):
    """Stores the theme in a cookie, and returns to the page."""

    http_method_names = ["post"]

    def post(self, request: HttpRequest) -> HttpResponse:
        chosen = request.POST.get("theme", "")
        if chosen not in theme.THEMES:
            raise BadRequest("unknown theme")
        response = HttpResponseRedirect(self._page())
        theme.remember(response, chosen)
        return response

    def _page(self) -> str:
        """The page with the form, as django.views.i18n.set_language() finds it."""
        for url in (self.request.POST.get("next"), self.request.META.get("HTTP_REFERER")):
            if url_has_allowed_host_and_scheme(url, {self.request.get_host()}, self.request.is_secure()):
                return str(url)
        return "/"


class HomeView(TemplateView):
    """The home page: of the account for a signed-in user, of the site for a visitor."""

    request: BrowserRequest
    template_name = "home.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        sign_in = self.request.session.sign_in
        return context | (self._account(sign_in) if sign_in else self._site())

    def _site(self) -> dict[str, Any]:
        return {"install": INSTALL, "proofs": proofs(), "differences": differences()}

    def _account(self, sign_in: SignIn) -> dict[str, Any]:
        sign_ins = SignIn.objects.filter(user=sign_in.user).live()
        return {
            "offers_passkey": passkey_offer.is_open(self.request),
            "current_sign_in": sign_in,
            "number": sign_ins.count(),
            "sign_ins": sign_ins.current_first(sign_in)[:SIGN_INS_ON_HOME],
            "events": SecurityEvent.objects.filter(user=sign_in.user)[:EVENTS_ON_HOME],
        }
