from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from django.views.i18n import set_language

from accounts.views.home import HomeView
from api import health
from api.connect_client import ConnectClientView
from api.metrics import metrics
from api.service_endpoints import JWKSView
from project import site_files

urlpatterns = [
    path("", HomeView.as_view(), name="home"),
    path("accounts/", include("accounts.urls")),
    path("accounts/clients/new/", ConnectClientView.as_view(), name="connect_client"),
    path("accounts/language/", set_language, name="set_language"),
    # The admin's own form would end the sign-in that it is filled in from.
    path("admin/password_change/", RedirectView.as_view(pattern_name="password_change")),
    path("admin/", admin.site.urls),
    path("api/", include("api.urls")),
    path(".well-known/jwks.json", JWKSView.as_view()),
    # Where password managers send people (W3C, "A Well-Known URL for Changing Passwords").
    path(".well-known/change-password", RedirectView.as_view(pattern_name="password_change")),
    path("favicon.ico", site_files.favicon),
    path("robots.txt", site_files.robots),
    path("compare/", include("api.compare.urls")),
    path("health/live", health.live),
    path("health/ready", health.ready, name="ready"),
    path("metrics", metrics),
]

handler400 = "api.errors.bad_request"
handler403 = "api.errors.permission_denied"
handler404 = "api.errors.not_found"
handler500 = "api.errors.server_error"
