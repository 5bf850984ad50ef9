"""The URLs of the site."""

from django.conf import settings
from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from django.views.i18n import set_language

from api.connect_client import ConnectClientView
from api.dbsc.views import ThisBrowserView
from api.developer import DeveloperView
from api.service_endpoints import JWKSView
from project import health, views
from project.csp_reports import CspReportView
from project.metrics_view import metrics_view

# A product's own URL conf imports them (PRODUCT.md).
__all__ = ["handler400", "handler403", "handler404", "handler500", "urlpatterns"]

urlpatterns = [
    path("", views.HomeView.as_view(), name="home"),
    path("accounts/", include("accounts.urls")),
    path("accounts/developer/", DeveloperView.as_view(), name="developer"),
    path("accounts/this-browser/", ThisBrowserView.as_view(), name="this_browser"),
    path("accounts/clients/new/", ConnectClientView.as_view(), name="connect_client"),
    path("accounts/language/", set_language, name="set_language"),
    path("accounts/theme/", views.ThemeView.as_view(), name="set_theme"),
    # The admin's own form would end the current sign-in.
    path("admin/password_change/", RedirectView.as_view(pattern_name="password_change")),
    path("admin/", admin.site.urls),
    path("api/", include("api.urls")),
    path(".well-known/jwks.json", JWKSView.as_view()),
    # Password managers link to it (W3C, "A Well-Known URL for Changing Passwords").
    path(".well-known/change-password", RedirectView.as_view(pattern_name="password_change")),
    path(".well-known/security.txt", views.security_txt, name="security_txt"),
    path("favicon.ico", views.favicon),
    path("site.webmanifest", views.manifest, name="manifest"),
    path("robots.txt", views.robots),
    path("health/live", health.live),
    path("health/ready", health.ready, name="ready"),
    path("metrics", metrics_view),
    path("dbsc/", include("api.dbsc.urls")),
    path("csp-report/", CspReportView.as_view()),
]
if settings.OPENID_PROVIDERS:
    urlpatterns.append(path("accounts/openid/", include("accounts.openid.urls")))
if settings.DEMO:
    urlpatterns.append(path("compare/", include("api.compare.urls")))

handler400 = "project.error_pages.bad_request"
handler403 = "project.error_pages.permission_denied"
handler404 = "project.error_pages.not_found"
handler500 = "project.error_pages.server_error"
