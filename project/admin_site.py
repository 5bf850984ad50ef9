"""The admin site of the staff."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from accounts.forms import StaffSignInForm
from project import overview


class StaffSite(admin.AdminSite):
    """Django's admin with an overview on its first page."""

    site_title = _("Wristband & Passport")
    site_header = _("Wristband & Passport: staff")
    index_title = _("Overview")
    index_template = "admin/overview.html"
    login_form = StaffSignInForm
    # It would take a quarter of the width of a list; the overview and the breadcrumbs link to all lists.
    enable_nav_sidebar = False

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().index(request, overview.context_for(request.user) | (extra_context or {}))
