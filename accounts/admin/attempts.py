"""Attempt counters in the admin."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from accounts import addresses, guess_limits, rate_limits
from accounts.admin import confirm
from accounts.admin.lists import ChoiceFilter, ListFilter, ReadOnlyList, admin_link
from accounts.admin.search import as_address
from accounts.http import request_context
from accounts.models import AttemptCounter, AttemptCounterQuerySet, User


class StateFilter(ListFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> Sequence[tuple[str, Any]]:
        return [("locked", _("Locked now"))]

    def narrow(self, queryset: AttemptCounterQuerySet, value: str) -> AttemptCounterQuerySet:
        return queryset.locked_out()


class KindFilter(ChoiceFilter):
    title = _("limit")
    parameter_name = "kind"
    options = rate_limits.Kind.choices


@admin.register(AttemptCounter)
class AttemptCounterAdmin(ReadOnlyList):
    """The counters of attempts. A username without an account is stored as a digest only, which is not shown."""

    list_display = ["kind", "user_link", "ip_address", "count", "since", "until", "state"]
    headings = {"kind": _("limit"), "since": _("first attempt")}
    list_filter = [StateFilter, KindFilter]
    list_select_related = ["user"]
    ordering = ["-until"]
    search_fields = ["user"]
    search_help_text = _("A username or e-mail address, with or without an account, or an IP address.")
    fields = ["kind", "user_link", "ip_address", "count", "since", "until"]
    actions = ["lift"]

    @admin.display(description=_("user"))
    def user_link(self, counter: AttemptCounter) -> Any:
        return admin_link(counter.user)

    @admin.display(description=_("state"), empty_value="")
    def state(self, counter: AttemptCounter) -> Any:
        return format_html('<strong class="locked">{}</strong>', _("locked")) if counter.is_locked_out else None

    def get_search_results(
        self, request: HttpRequest, queryset: AttemptCounterQuerySet, search_term: str
    ) -> tuple[AttemptCounterQuerySet, bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        if address := as_address(term):
            return queryset.filter(ip_address=addresses.network(address)), False
        user = User.objects.get_by_login(term)
        return queryset.filter(account__in=guess_limits.username_digests(user.username if user else term)), False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # The codenames keep the former name of the model, Lock: existing groups contain them.
        return request.user.has_perm("accounts.view_lock")

    def has_lift_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.lift_lock")

    def is_available(self, request: HttpRequest, action: str, obj: AttemptCounter) -> bool:
        return obj.is_locked_out

    @admin.action(description=_("Reset counters"), permissions=["lift"])
    def lift(self, request: HttpRequest, counters: AttemptCounterQuerySet) -> HttpResponse | None:
        form = confirm.ConfirmationWithReason(request)
        if not form.is_confirmed:
            count, locked = counters.count(), counters.locked_out().count()
            return confirm.page(
                self,
                request,
                form,
                title=ngettext("Reset counter?", "Reset counters?", count),
                button=ngettext("Reset counter", "Reset counters", count),
                effects=[
                    (ngettext("attempt counter is reset", "attempt counters are reset", count), count),
                    (_("of them locked"), locked),
                ],
            )
        with request_context.acting(form.cleaned_data["why"]):
            lifted = AttemptCounter.objects.filter(pk__in=list(counters.values_list("pk", flat=True))).lift()
        self.message_user(request, ngettext("%d lock removed.", "%d locks removed.", lifted) % lifted, messages.SUCCESS)
        return None
