"""Second factors in the admin: those of a user, and the removal of lost ones, which takes effect after a delay."""

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext, ngettext_lazy

from accounts.admin import confirm
from accounts.admin.lists import Panel, ReadOnlyList, admin_link, short_time
from accounts.admin.user_actions import confirm_and_run
from accounts.factors import changes, removals
from accounts.http import request_context
from accounts.models import FactorRemoval, User, UserQuerySet
from accounts.models.factors import Factor, FactorRemovalQuerySet

HEADINGS = [_("kind"), _("name"), _("added"), _("last used"), _("state")]


def panel(user: User) -> Panel:
    """The factors of a user, without anything that is secret. Four statements."""
    rows = [
        [each._meta.verbose_name, each.name, short_time(each.created_at), short_time(each.last_used_at), _state(each)]
        for each in changes.factors_of(user)
    ]
    removal = FactorRemoval.objects.of(user).pending().first()
    note = removal and _("All of them are removed on %s UTC, unless the removal is cancelled.") % (
        f"{removal.due_at:%Y-%m-%d %H:%M}"
    )
    return Panel(_("Second factors"), HEADINGS, rows, note=note or "")


def _state(factor: Factor) -> Any:
    return _("disabled after too many wrong codes") if factor.disabled_at else _("enabled")


@admin.action(description=_("Remove second factors"), permissions=["remove_factors"])
def remove_factors(model_admin: admin.ModelAdmin, request: HttpRequest, users: UserQuerySet) -> HttpResponse | None:
    # Staff members do not remove their own factors here: their page of factors asks for a proof.
    chosen = users.filter(is_active=True).with_second_factor().exclude(pk=request.user.pk)
    return confirm_and_run(
        model_admin,
        request,
        chosen.exclude(pk__in=FactorRemoval.objects.pending().values("user")),
        run=_request_removal,
        effects=_effects_of_removal,
        title=ngettext_lazy(
            "Remove the second factors of this account?", "Remove the second factors of these accounts?"
        ),
        button=ngettext_lazy("Remove the second factors", "Remove second factors"),
        notes=[
            _("Make sure that the request comes from the user: after the removal, the password alone signs in."),
            _("The user gets an e-mail with a link that stops the removal. Using a second factor stops it too."),
        ],
    )


def _request_removal(request: HttpRequest, users: list[User]) -> str:
    staff: Any = request.user
    requested = sum(bool(removals.request(user, staff, request_context.reason())) for user in users)
    return ngettext("%d removal requested.", "%d removals requested.", requested) % requested


def _effects_of_removal(users: list[User]) -> confirm.Effects:
    text = ngettext(
        "account loses its second factors in 24 hours, and is then signed out everywhere",
        "accounts lose their second factors in 24 hours, and are then signed out everywhere",
        len(users),
    )
    return [(text, len(users))]


@admin.action(description=_("Cancel removal of second factors"), permissions=["remove_factors"])
def cancel_removal(model_admin: admin.ModelAdmin, request: HttpRequest, users: UserQuerySet) -> HttpResponse | None:
    return confirm_and_run(
        model_admin,
        request,
        users.filter(pk__in=FactorRemoval.objects.pending().values("user")),
        run=_cancel,
        effects=_effects_of_cancellation,
        title=ngettext_lazy("Cancel removal?", "Cancel removals?"),
        button=ngettext_lazy("Cancel this removal", "Cancel removals"),
    )


def _cancel(request: HttpRequest, users: list[User]) -> str:
    pending = FactorRemoval.objects.pending().filter(user__in=users).select_related("user")
    cancelled = sum(removals.stop(removal, "staff") for removal in pending)
    return ngettext("%d removal cancelled.", "%d removals cancelled.", cancelled) % cancelled


def _effects_of_cancellation(users: list[User]) -> confirm.Effects:
    text = ngettext("account keeps its second factors", "accounts keep their second factors", len(users))
    return [(text, len(users))]


@admin.register(FactorRemoval)
class FactorRemovalAdmin(ReadOnlyList):
    """The pending removals. A removal that was carried out, cancelled or stopped is an event."""

    list_display = ["requested_at", "user_link", "requested_by", "why", "due_at"]
    list_select_related = ["user", "requested_by"]
    list_display_links = ["requested_at"]
    headings = {"requested_at": _("requested"), "due_at": _("takes effect")}
    ordering = ["requested_at"]
    fields = ["user_link", "requested_by", "why", "requested_at", "due_at"]
    actions = ["cancel"]

    @admin.display(description=_("user"))
    def user_link(self, removal: FactorRemoval) -> Any:
        return admin_link(removal.user)

    def get_queryset(self, request: HttpRequest) -> FactorRemovalQuerySet:
        pending: FactorRemovalQuerySet = super().get_queryset(request).pending()  # type: ignore[attr-defined]
        return pending

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(removals.PERMISSION)

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(removals.PERMISSION)

    def is_available(self, request: HttpRequest, action: str, obj: FactorRemoval) -> bool:
        return obj.user.is_manageable_by(request.user)

    @admin.action(description=_("Cancel removal"), permissions=["cancel"])
    def cancel(self, request: HttpRequest, chosen: FactorRemovalQuerySet) -> HttpResponse | None:
        form = confirm.ConfirmationWithReason(request)
        users = [each.user for each in chosen.manageable_by(request.user).select_related("user")]
        if not form.is_confirmed:
            return confirm.page(
                self,
                request,
                form,
                title=ngettext("Cancel removal?", "Cancel removals?", len(users)),
                button=ngettext("Cancel this removal", "Cancel removals", len(users)),
                effects=_effects_of_cancellation(users),
            )
        with request_context.acting(form.cleaned_data["why"]):
            text = _cancel(request, users)
        self.message_user(request, text, messages.SUCCESS)
        return None
