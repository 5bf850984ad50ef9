"""Sign-ins in the admin, and the pages that end them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth import logout
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from accounts import addresses, ending, sids
from accounts.admin import confirm
from accounts.admin.events import EVENT_HEADINGS, event_rows
from accounts.admin.lists import (
    Badge,
    ChoiceFilter,
    ListFilter,
    OneUserFilter,
    Panel,
    ReadOnlyList,
    WindowFilter,
    admin_link,
)
from accounts.admin.search import as_address, as_uuid
from accounts.http import request_context
from accounts.models import Method, SecurityEvent, SignIn, SignInQuerySet, User
from accounts.pruning import run_batches
from accounts.sessions import SignedInRequest

# One request ends sign-ins for at most this long; the next request ends the rest.
REQUEST_BUDGET_SECONDS = 10.0
ROWS_IN_PANEL = 20


class KindFilter(ChoiceFilter):
    title = _("kind")
    parameter_name = "kind"
    options = SignIn.Kind.choices


class StateFilter(ListFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> Sequence[tuple[str, Any]]:
        return [("live", _("Live")), ("ended", _("Ended"))]

    def narrow(self, queryset: SignInQuerySet, value: str) -> SignInQuerySet:
        return queryset.live() if value == "live" else queryset.filter(ended_at__isnull=False)


class ReasonFilter(ChoiceFilter):
    title = _("end reason")
    parameter_name = "end_reason"
    options = SignIn.Reason.choices

    def narrow(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        # The partial index has this condition.
        return super().narrow(queryset, value).filter(ended_at__isnull=False)


class SignedInFilter(WindowFilter):
    title = _("signed in")


class UserFilter(OneUserFilter):
    title = _("user")
    parameter_name = "user"


class EndEveryoneForm(confirm.ConfirmationWithReason):
    """Confirms the end of all sign-ins, or of those that started up to a time."""

    up_to = forms.DateTimeField(
        label=_("Signed in up to"),
        required=False,
        help_text=_("In UTC. If empty: the current time."),
        widget=forms.DateTimeInput(attrs={"type": "datetime-local", "step": "1"}),
    )

    def clean_up_to(self) -> datetime | None:
        up_to: datetime | None = self.cleaned_data["up_to"]
        if up_to and up_to > timezone.now():
            raise ValidationError(_("Enter a time in the past."))
        return up_to


@admin.register(SignIn)
class SignInAdmin(ReadOnlyList):
    """The list of sign-ins, with the action that ends the selected ones and the page that ends all."""

    list_display = ["device", "user_link", "kind", "state", "ip_address", "created_at", "last_seen_at", "expires_at"]
    headings = {
        "kind": _("kind"),
        "ip_address": _("IP address"),
        "created_at": _("signed in"),
        "last_seen_at": _("last seen"),
        "expires_at": _("expires"),
    }
    list_filter = [StateFilter, KindFilter, ReasonFilter, SignedInFilter, UserFilter]
    list_select_related = ["user", "ended_by", "actor"]
    ordering = ["-created_at"]
    search_fields = ["user"]
    search_help_text = _("A username, an e-mail address, an IP address, or the id of a sign-in (sid).")
    fields = [
        "user_link",
        "device",
        "kind",
        "state",
        "ip_address",
        "id",
        "created_at",
        "last_seen_at",
        "expires_at",
        "scopes",
        "proved",
        "authenticated_at",
        "bound",
        "ended_at",
        "end_reason",
        "ended_by",
        "user_agent",
        "actor",
        "is_read_only",
    ]
    actions = ["end_selected"]
    change_list_template = "admin/sign_ins.html"

    @admin.display(description=_("user"))
    def user_link(self, sign_in: SignIn) -> Any:
        return admin_link(sign_in.user)

    @admin.display(description=_("device"))
    def device(self, sign_in: SignIn) -> str:
        return sign_in.device

    @admin.display(description=_("state"))
    def state(self, sign_in: SignIn) -> Any:
        return state_text(sign_in)

    @admin.display(description=_("bound"))
    def bound(self, sign_in: SignIn) -> Any:
        if not sign_in.is_bound:
            return _("no")
        return (
            _("to the key of the device (DBSC)")
            if sign_in.kind == SignIn.Kind.BROWSER
            else _("to the key of the app (DPoP)")
        )

    @admin.display(description=_("proved"))
    def proved(self, sign_in: SignIn) -> str:
        return ", ".join(str(Method(each).label) for each in sign_in.methods.split())

    def get_search_results(
        self, request: HttpRequest, queryset: SignInQuerySet, search_term: str
    ) -> tuple[SignInQuerySet, bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        if sid := as_uuid(term):
            return queryset.filter(pk=sid), False
        if address := as_address(term):
            return queryset.filter(ip_address__in=addresses.spellings(address)), False
        # The ids first: with a join, PostgreSQL plans to read all sign-ins.
        return queryset.filter(user__in=list(User.objects.with_login(term).values_list("pk", flat=True))), False

    def has_end_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.end_signin")

    def may_end_everyone(self, request: HttpRequest) -> bool:
        return self.has_end_permission(request) and request.user.has_perm("accounts.end_everyone")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.end_everyone)
        return [path("end-everyone/", view, name="accounts_signin_end_everyone"), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        context = {"may_end_everyone": self.may_end_everyone(request)}
        return super().changelist_view(request, context | (extra_context or {}))

    def end_everyone(self, request: SignedInRequest) -> HttpResponse:
        """Ends all sign-ins, or those up to a time, without an event for each: as `manage.py end_sign_ins` does."""
        if not self.may_end_everyone(request):
            raise PermissionDenied
        form = EndEveryoneForm(request)
        if not form.is_confirmed:
            return self._confirm_end_of_everyone(request, form)
        up_to = form.cleaned_data["up_to"]
        own = request.session.sign_in
        with request_context.acting(form.cleaned_data["why"]):
            ended, is_all = ending.end_up_to(up_to, SignIn.Reason.ENDED_BY_STAFF, REQUEST_BUDGET_SECONDS)
        is_own_over = own is not None and (up_to is None or own.created_at < sids.just_after(up_to))
        if is_own_over:
            logout(request)
        return TemplateResponse(
            request,
            "admin/everyone_ended.html",
            {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "title": _("All users are signed out"),
                "up_to": up_to,
                "ended": ended,
                "is_all": is_all,
                "is_own_over": is_own_over,
            },
        )

    def _confirm_end_of_everyone(self, request: SignedInRequest, form: confirm.Confirmation) -> HttpResponse:
        live, is_exact = SignIn.objects.live_by_kind()
        notes = [
            _("All tokens and sessions are revoked at once, including those of superusers and your own."),
            _("Users can sign in again at once with their passwords."),
        ]
        return confirm.page(
            self,
            request,
            form,
            title=_("End the sign-ins of all users?"),
            button=_("Sign out all users"),
            effects=effects_of_end(live),
            notes=notes
            if is_exact
            else [_("The figures are estimates: there are too many sign-ins to count."), *notes],
            cancel_url=reverse("admin:accounts_signin_changelist"),
            is_severe=True,
        )

    def badges(self, obj: SignIn) -> list[Badge]:
        return [Badge(self.state(obj)), Badge(obj.get_kind_display())]

    def panels(self, request: HttpRequest, obj: SignIn) -> list[Panel]:
        """The last events of the sign-in, if the staff member may view events."""
        if not request.user.has_perm("accounts.view_securityevent"):
            return []
        events = SecurityEvent.objects.filter(sid=obj.sid).select_related("user", "actor")[:ROWS_IN_PANEL]
        url = reverse("admin:accounts_securityevent_changelist", query={"q": obj.sid})
        return [Panel(_("Events"), EVENT_HEADINGS, event_rows(events), url)]

    def is_available(self, request: HttpRequest, action: str, obj: SignIn) -> bool:
        return SignIn.objects.filter(pk=obj.pk).live().manageable_by(request.user).exists()

    @admin.action(description=_("End sign-in"), permissions=["end"])
    def end_selected(self, request: SignedInRequest, sign_ins: SignInQuerySet) -> HttpResponse | None:
        """Ends as many as REQUEST_BUDGET_SECONDS allow. If some are left, the confirmation page is shown again."""
        if self._selects_all_users(request) and self.may_end_everyone(request):
            return redirect("admin:accounts_signin_end_everyone")
        unended = sign_ins.unended().manageable_by(request.user)
        form = confirm.ConfirmationWithReason(request)
        if not form.is_confirmed:
            return self._confirm_end(request, sign_ins, form)
        with request_context.acting(form.cleaned_data["why"]):
            ended, is_all = run_batches(unended.end_in_batches(SignIn.Reason.ENDED_BY_STAFF), REQUEST_BUDGET_SECONDS)
        message_ended(self, request, ended)
        return None if is_all or not unended.exists() else self._confirm_end(request, sign_ins, form)

    def _selects_all_users(self, request: HttpRequest) -> bool:
        """Whether the action is for all pages of the list, without a filter, or with that of live sign-ins."""
        filters = {name: value for name, value in request.GET.items() if name != "p"}
        return request.POST.get("select_across") == "1" and filters in ({}, {"state": "live"})

    def _confirm_end(
        self, request: SignedInRequest, sign_ins: SignInQuerySet, form: confirm.Confirmation
    ) -> HttpResponse:
        unended = sign_ins.unended()
        manageable = unended.manageable_by(request.user)
        notes: list[Any] = []
        if not request.user.is_superuser and (others := unended.filter(user__is_superuser=True).count()):
            notes.append(
                ngettext(
                    "%d sign-in of a superuser is not ended: only superusers can end it.",
                    "%d sign-ins of superusers are not ended: only superusers can end them.",
                    others,
                )
                % others
            )
        if ended := sign_ins.filter(ended_at__isnull=False).count():
            notes.append(ngettext("%d has already ended.", "%d have already ended.", ended) % ended)
        own = request.session.sign_in
        if own and manageable.filter(pk=own.pk).exists():
            notes.append(_("Your own sign-in in this browser is included. You will have to sign in again."))
        count_of_kind = manageable.by_kind()
        total = sum(count_of_kind.values())
        return confirm.page(
            self,
            request,
            form,
            title=ngettext("End sign-in?", "End sign-ins?", total),
            button=ngettext("End this sign-in", "End sign-ins", total),
            effects=effects_of_end(count_of_kind),
            notes=notes,
        )


def effects_of_end(count_of_kind: Mapping[str, int]) -> confirm.Effects:
    """The effects of ending so many sign-ins of each kind, for the confirmation page."""
    total = sum(count_of_kind.values())
    browsers, clients, keys = (count_of_kind.get(kind, 0) for kind in SignIn.Kind)
    return [
        (ngettext("sign-in ends at once", "sign-ins end at once", total), total),
        (
            ngettext(
                "of them a browser: its session is revoked", "of them browsers: their sessions are revoked", browsers
            ),
            browsers,
        ),
        (
            ngettext(
                "of them a client: its access and refresh tokens are revoked",
                "of them clients: their access and refresh tokens are revoked",
                clients,
            ),
            clients,
        ),
        (ngettext("of them an API key: it is refused", "of them API keys: they are refused", keys), keys),
    ]


def message_ended(model_admin: admin.ModelAdmin, request: HttpRequest, ended: int) -> None:
    """Shows how many sign-ins ended."""
    model_admin.message_user(request, ended_text(ended), messages.SUCCESS)


def ended_text(ended: int) -> str:
    return ngettext("%d sign-in ended.", "%d sign-ins ended.", ended) % ended


def state_text(sign_in: SignIn) -> Any:
    """The state, and for an ended sign-in the reason and the staff member."""
    if sign_in.ended_at:
        by = f", {sign_in.ended_by}" if sign_in.ended_by else ""
        return format_html('<span class="ended">{}: {}{}</span>', _("ended"), sign_in.get_end_reason_display(), by)
    if timezone.now() >= min(sign_in.expires_at, sign_in.max_expires_at):
        return _("expired")
    return format_html('<strong class="live">{}</strong>', _("live"))
