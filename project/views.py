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
from accounts.models import SignIn
from accounts.overview import Overview
from accounts.sessions import BrowserRequest
from project import theme
from project.differences import differences
from project.proofs import proofs
from project.site_context import DEFAULT_LOGO

# As in README.md.
INSTALL = "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt && .venv/bin/python manage.py start"
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
    is_ours = settings.BRAND_LOGO == DEFAULT_LOGO
    return redirect(static("accounts/favicon.ico" if is_ours else settings.BRAND_LOGO))


@require_safe
def manifest(request: HttpRequest) -> HttpResponse:
    """The manifest of the web app (W3C), for the name and the icon on a home screen."""
    described = {
        "name": settings.SITE_NAME,
        "short_name": settings.SITE_NAME,
        "start_url": "/",
        "display": "browser",
        "background_color": "#faf8f4",
        "theme_color": settings.BRAND_COLORS[0],
        "icons": _icons(),
    }
    return JsonResponse(described, content_type="application/manifest+json")


def _icons() -> list[dict[str, str]]:
    if settings.BRAND_LOGO != DEFAULT_LOGO:
        return [{"src": static(settings.BRAND_LOGO), "sizes": "any", "type": "image/svg+xml"}]
    sizes = {"accounts/icon-192.png": "192x192", "accounts/icon-512.png": "512x512"}
    return [{"src": static(name), "sizes": size, "type": "image/png"} for name, size in sizes.items()]


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
    """The home page: of the account for a signed-in user; for a visitor, of the demo or of the site."""

    request: BrowserRequest
    template_name = "home.html"

    def get_template_names(self) -> list[str]:
        if self.request.session.sign_in:
            return ["accounts/overview.html"]
        return ["compare/home.html"] if settings.DEMO else super().get_template_names()

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        sign_in = self.request.session.sign_in
        return context | (self._account(sign_in) if sign_in else self._demo())

    def _demo(self) -> dict[str, Any]:
        if not settings.DEMO:
            return {}
        return {"install": INSTALL, "proofs": proofs(), "differences": differences()}

    def _account(self, sign_in: SignIn) -> dict[str, Any]:
        return {"offers_passkey": passkey_offer.is_open(self.request), "overview": Overview(sign_in.user, sign_in)}
