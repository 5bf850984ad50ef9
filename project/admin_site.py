"""The admin site of the staff: sign-in in two steps, and a recent proof for each change."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import quote
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import LoginView, redirect_to_login
from django.db.models.base import ModelBase
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache

from accounts.factors import requirements
from accounts.forms import StaffSignInForm
from accounts.http.middleware import SAFE_METHODS
from accounts.models import SignIn, SignInRefused
from accounts.sessions import BrowserRequest
from accounts.views.second_step import sign_in
from project import overview


class StaffSignInView(LoginView):
    """The sign-in page of the admin. The second step is the page of all users."""

    request: BrowserRequest
    authentication_form = StaffSignInForm
    template_name = "admin/login.html"

    def form_valid(self, form: Any) -> HttpResponse:
        try:
            return sign_in(self.request, form.get_user(), self.get_success_url())
        except SignInRefused:
            form.add_error(None, form.get_invalid_login_error())
            return self.form_invalid(form)


class StaffSite(admin.AdminSite):
    """Django's admin with an overview on its first page."""

    index_title = _("Overview")
    index_template = "admin/overview.html"
    # It would take a quarter of the width of a list; the overview and the breadcrumbs link to all lists.
    enable_nav_sidebar = False

    def register(self, model_or_iterable: Any, admin_class: Any = None, **options: Any) -> None:
        """As Django's, without the models of django-allauth, whose tables stay empty (accounts.openid)."""
        models = [model_or_iterable] if isinstance(model_or_iterable, ModelBase) else model_or_iterable
        shown = [model for model in models if not model.__module__.startswith("allauth.")]
        super().register(shown, admin_class, **options)

    @property
    def site_title(self) -> str:
        name: str = settings.SITE_NAME
        return name

    @property
    def site_header(self) -> str:
        return _("%(site)s: staff") % {"site": settings.SITE_NAME}

    @method_decorator(never_cache)
    @login_not_required
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:
        """As Django's, with the second step."""
        index = reverse("admin:index", current_app=self.name)
        if request.method == "GET" and self.has_permission(request):
            return redirect(index)
        context = {
            **self.each_context(request),
            "title": _("Log in"),
            "subtitle": None,
            "app_path": request.get_full_path(),
            "username": request.user.get_username(),
        }
        request.current_app = self.name
        return StaffSignInView.as_view(next_page=index, extra_context=context | (extra_context or {}))(request)

    def admin_view(self, view: Callable[..., Any], cacheable: bool = False) -> Callable[..., Any]:
        """As Django's. Each change, except a sign-out, asks for a recent proof (OWASP ASVS 7.5.3)."""
        return super().admin_view(view if view == self.logout else _with_recent_proof(view), cacheable)

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().index(request, overview.context_for(request.user) | (extra_context or {}))


def _with_recent_proof(view: Callable[..., Any]) -> Callable[..., Any]:
    """
    Redirects an unsafe request to the re-authentication page if the staff member's last proof is not recent, or below
    the level of the account. The page then returns to the page of the change, which the staff member repeats.
    """

    if getattr(view, "changes_nothing", False):
        return view

    @wraps(view)
    def with_recent_proof(request: BrowserRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        sign_in = request.session.sign_in
        is_change = request.method not in SAFE_METHODS
        if is_change and sign_in and not _is_proved(request, sign_in):
            messages.warning(request, _("Nothing was changed yet. Confirm who you are, and run the action again."))
            return redirect_to_login(_page_of(request), reverse("confirm"))
        response: HttpResponseBase = view(request, *args, **kwargs)
        return response

    return with_recent_proof


def _is_proved(request: BrowserRequest, sign_in: SignIn) -> bool:
    return requirements.is_recent(sign_in.user, sign_in) and request.session.has_device_proof(request)


def _page_of(request: HttpRequest) -> str:
    """The page to return to: that of the object if an action was for one, otherwise that of the request."""
    chosen = request.POST.getlist(ACTION_CHECKBOX_NAME)
    if len(chosen) == 1 and request.POST.get("select_across") != "1":
        return f"{request.path}{quote(chosen[0])}/change/"
    return request.get_full_path()
