"""Users and groups in the admin."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.db.models.signals import post_delete
from django.dispatch import receiver
from django.http import Http404, HttpRequest
from django.urls import URLPattern, reverse
from django.utils.translation import gettext_lazy as _

from accounts import addresses, email_addresses
from accounts.admin import factors, profile, support, user_actions
from accounts.admin.changed_fields import UserForm
from accounts.admin.events import EVENT_HEADINGS, event_rows
from accounts.admin.lists import Badge, BoundedList, ChoiceFilter, ListFilter, Panel, admin_link, short_time
from accounts.admin.search import as_address, as_uuid
from accounts.factors import removals
from accounts.models import AttemptCounter, FactorRemoval, SecurityEvent, SignIn, User, UserQuerySet

ROWS_IN_PANEL = 10
RIGHTS = ("bound_tokens_only", "is_staff", "is_superuser", "groups", "user_permissions")


class StateFilter(ListFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> Sequence[tuple[str, Any]]:
        return [("active", _("Active")), ("deactivated", _("Deactivated"))]

    def narrow(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        return queryset.filter(is_active=value == "active")


class RoleFilter(ChoiceFilter):
    title = _("role")
    parameter_name = "role"
    options = [("staff", _("Staff")), ("superuser", _("Superusers"))]

    def narrow(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        return queryset.filter(**{f"is_{value}": True})


@admin.register(User)
class UserAdmin(BoundedList, DjangoUserAdmin):
    """Staff neither create accounts nor set passwords: users do, by sign-up and reset link."""

    form = UserForm
    list_display = ["username", "masked_email", "state", "role", "last_login", "live_sign_ins"]
    list_filter = [StateFilter, RoleFilter]
    ordering = ["username"]
    search_fields = ["username"]
    search_help_text = _(
        "The first letters of a username, a complete e-mail address or IP address, or the id of a sign-in (sid)."
    )
    fieldsets = [
        (None, {"fields": ["username", "email", "first_name", "last_name"]}),
        (_("Permissions"), {"fields": ["is_active", *RIGHTS], "classes": ["collapse"]}),
        (_("Dates"), {"fields": ["last_login", "date_joined"]}),
    ]
    readonly_fields = ["last_login", "date_joined"]
    inlines = profile.inlines()
    severe_actions = frozenset({"deactivate", "remove_factors"})
    actions: Sequence[Any] = [
        user_actions.end_all_sign_ins,
        user_actions.deactivate,
        user_actions.reactivate,
        user_actions.send_password_reset,
        user_actions.unlock,
        factors.remove_factors,
        factors.cancel_removal,
        support.sign_in_as,
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        """With `live_count`, the number of live sign-ins."""
        live = SignIn.objects.live().filter(user=OuterRef("pk")).order_by().values("user")
        counted = Subquery(live.annotate(number=Count("pk")).values("number"))
        return super().get_queryset(request).annotate(live_count=Coalesce(counted, 0))

    @admin.display(description=_("e-mail address"))
    def masked_email(self, user: User) -> str:
        """The first letter and the host. The page of the user shows the whole address."""
        name, _at, host = user.email.rpartition("@")
        return f"{name[:1]}…@{host}"

    @admin.display(description=_("state"))
    def state(self, user: User) -> Any:
        return _("active") if user.is_active else _("deactivated")

    @admin.display(description=_("role"), empty_value="")
    def role(self, user: User) -> Any:
        if user.is_superuser:
            return _("superuser")
        return _("staff") if user.is_staff else None

    @admin.display(description=_("live sign-ins"))
    def live_sign_ins(self, user: User) -> int:
        return user.live_count  # type: ignore[attr-defined]

    def get_search_results(
        self, request: HttpRequest, queryset: UserQuerySet, search_term: str
    ) -> tuple[UserQuerySet, bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        if sid := as_uuid(term):
            return queryset.filter(pk__in=SignIn.objects.filter(pk=sid).values("user")), False
        if address := as_address(term):
            return queryset.filter(
                pk__in=SignIn.objects.filter(ip_address__in=addresses.spellings(address)).values("user")
            ), False
        ids = list(User.objects.with_login(term).values_list("pk", flat=True))
        return queryset.filter(Q(pk__in=ids) | Q(username__startswith=term)), False

    # Permissions

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_change_permission(request, obj) and _is_manageable(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_delete_permission(request, obj) and _is_manageable(request, obj)

    def has_end_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.end_signin")

    def has_deactivate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.deactivate_user")

    def has_reset_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.send_password_reset")

    def has_unlock_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.lift_lock")

    def has_remove_factors_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(removals.PERMISSION)

    def has_sign_in_as_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.sign_in_as")

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> list[str]:
        """
        Only superusers change permissions, and the e-mail address: the next reset link is sent to it, so that its owner
        controls the account.
        """
        fields = list(super().get_readonly_fields(request, obj))
        return fields if request.user.is_superuser else [*fields, "email", "is_active", *RIGHTS]

    def get_urls(self) -> list[URLPattern]:
        return [url for url in super().get_urls() if url.name != "auth_user_password_change"]

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, Any, set[str], Any]:
        """Counts the related sign-ins instead of listing them: a user may have a million. They are deleted too."""
        users = list(objs)
        missing = {str(self.opts.verbose_name) for user in users if not self.has_delete_permission(request, user)}
        counts = {
            self.opts.verbose_name_plural: len(users),
            SignIn._meta.verbose_name_plural: SignIn.objects.filter(user__in=users).count(),
        }
        return [str(user) for user in users], counts, missing, []

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        rights = [name for name in form.changed_data if name in RIGHTS]
        # A change of is_active records its own event.
        changed = [*form.changed_data, *profile.changed_names(formsets)]
        others = [name for name in changed if name not in (*RIGHTS, "is_active")]
        if rights:
            SecurityEvent.objects.record(SecurityEvent.Type.RIGHTS_CHANGED, form.instance, changed=", ".join(rights))
        if "username" in form.changed_data:
            _notify_old_address(form, "username_changed")
        if "email" in form.changed_data:
            _notify_old_address(form, "email_changed", new_address=form.instance.email)
            email_addresses.require_confirmation(form.instance)
        if others:
            SecurityEvent.objects.record(SecurityEvent.Type.USER_EDITED, form.instance, changed=", ".join(others))

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Raises Http404 if the account is deleted while its form is saved."""
        try:
            return super().changeform_view(request, *args, **kwargs)
        except User.DoesNotExist as error:
            raise Http404("The account was deleted while the form was saved.") from error

    # The page of a user

    def badges(self, obj: User) -> list[Badge]:
        is_confirmed = obj.email_confirmed_at is not None
        badges = [Badge(self.state(obj), is_warning=not obj.is_active)]
        if role := self.role(obj):
            badges.append(Badge(role))
        if obj.is_service:
            return [*badges, Badge(_("service account"))]
        if obj.is_throw_away:
            return [*badges, Badge(_("temporary account"))]
        text = _("e-mail address confirmed") if is_confirmed else _("e-mail address not confirmed")
        return [*badges, Badge(text, is_warning=not is_confirmed)]

    def panels(self, request: HttpRequest, obj: User) -> list[Panel]:
        """The live sign-ins and the last events, as far as the staff member may view them, and the second factors."""
        panels = []
        if request.user.has_perm("accounts.view_signin"):
            live = SignIn.objects.live().filter(user=obj).order_by("-last_seen_at")[:ROWS_IN_PANEL]
            rows = [
                [admin_link(each), each.ip_address, short_time(each.created_at), short_time(each.last_seen_at)]
                for each in live
            ]
            url = reverse("admin:accounts_signin_changelist", query={"user": obj.pk})
            headings = [_("sign-in"), _("IP address"), _("signed in"), _("last seen")]
            panels.append(Panel(_("Live sign-ins"), headings, rows, url))
        if request.user.has_perm("accounts.view_securityevent"):
            events = SecurityEvent.objects.filter(user=obj).select_related("actor")[:ROWS_IN_PANEL]
            url = reverse("admin:accounts_securityevent_changelist", query={"user": obj.pk})
            panels.append(Panel(_("Last events"), EVENT_HEADINGS, event_rows(events), url))
        return panels if obj.is_service else [*panels, factors.panel(obj)]

    def is_available(self, request: HttpRequest, action: str, obj: User) -> bool:
        if not obj.is_manageable_by(request.user):
            return False
        return {
            "end_all_sign_ins": lambda: self.live_sign_ins(obj) > 0,
            "deactivate": lambda: obj.is_active and obj.pk != request.user.pk,
            "reactivate": lambda: not obj.is_active,
            "send_password_reset": lambda: obj.may_reset_password,
            "remove_factors": lambda: obj.is_active and obj.pk != request.user.pk and self._has_factors(obj),
            "cancel_removal": FactorRemoval.objects.of(obj).pending().exists,
            "sign_in_as": lambda: support.may_sign_in_as(request.user, obj),
            "unlock": AttemptCounter.objects.of(obj).locked_out().exists,
        }[action]()

    def _has_factors(self, user: User) -> bool:
        """Whether a removal of second factors can be requested. Two statements."""
        has_factors = User.objects.filter(pk=user.pk).with_second_factor().exists()
        return has_factors and not FactorRemoval.objects.of(user).pending().exists()


def _notify_old_address(form: Any, notice: str, **context: Any) -> None:
    """Mails a notice to the address that the account had, if it was confirmed."""
    if form.instance.email_confirmed_at and (old := form.initial.get("email")):
        form.instance.notify(notice, to=old, **context)


def _is_manageable(request: HttpRequest, user: User | None) -> bool:
    return user is None or user.is_manageable_by(request.user)


@receiver(post_delete, sender=User)
def remove_name_from_log_entries(instance: User, **kwargs: Any) -> None:
    """Removes the username of a deleted user from the admin's log entries, which stay."""
    user_entries = LogEntry.objects.filter(content_type=ContentType.objects.get_for_model(User))
    user_entries.filter(object_id=str(instance.pk)).update(object_repr="")


admin.site.unregister(Group)


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin):
    """Groups are for superusers only: a staff member who changes a group could extend their own permissions."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.is_superuser

    def has_change_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return request.user.is_superuser

    def has_delete_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return request.user.is_superuser
