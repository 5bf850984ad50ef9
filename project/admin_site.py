from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from accounts.forms import StaffSignInForm
from project import overview


class StaffSite(admin.AdminSite):
    """Django's admin, whose first page says how things are."""

    site_title = _("Wristband & Passport")
    site_header = _("Wristband & Passport: staff")
    index_title = _("Overview")
    index_template = "admin/overview.html"
    login_form = StaffSignInForm
    # It takes a quarter of the width of a list. The overview and the breadcrumbs lead everywhere.
    enable_nav_sidebar = False

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().index(request, overview.seen_by(request.user) | (extra_context or {}))
