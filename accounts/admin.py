from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from accounts.models import SecurityEvent, SignIn, SignInQuerySet, User


class ReadOnlyAdmin(admin.ModelAdmin):
    """Something to look at: made, changed and deleted elsewhere."""

    show_full_result_count = False
    list_per_page = 50

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(User)
class UserAdmin(DjangoUserAdmin):
    """People make their accounts and passwords themselves: staff neither set nor see a password."""

    list_display = ["username", "email", "is_active", "is_staff", "last_login"]
    fieldsets = [
        (None, {"fields": ["username", "email", "first_name", "last_name"]}),
        (
            _("Permissions"),
            {"fields": ["is_active", "bound_tokens_only", "is_staff", "is_superuser", "groups", "user_permissions"]},
        ),
        (_("Dates"), {"fields": ["last_login", "date_joined"]}),
    ]
    readonly_fields = ["last_login", "date_joined"]
    actions = ["end_all_sign_ins"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def get_urls(self) -> list[Any]:
        return [url for url in super().get_urls() if url.name != "auth_user_password_change"]

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> list[str]:
        """Rights are given by superusers only, and so is anything done to one."""
        fields = list(super().get_readonly_fields(request, obj))
        if not request.user.is_superuser:
            fields += ["is_staff", "is_superuser", "groups", "user_permissions"]
        return fields

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_change_permission(request, obj) and self._may_touch(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_delete_permission(request, obj) and self._may_touch(request, obj)

    def _may_touch(self, request: HttpRequest, obj: User | None) -> bool:
        return request.user.is_superuser or obj is None or not obj.is_superuser

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, Any, set[str], Any]:
        """Whoever may delete a user may delete what is the user's, which nobody may delete by itself."""
        to_delete, counts, missing, protected = super().get_deleted_objects(objs, request)
        return to_delete, counts, missing - {SignIn._meta.verbose_name}, protected

    @admin.action(description=_("Sign out everywhere"), permissions=["change"])
    def end_all_sign_ins(self, request: HttpRequest, users: QuerySet[User]) -> None:
        if not request.user.is_superuser:
            users = users.filter(is_superuser=False)
        ended = sum(SignIn.objects.end_all(user, SignIn.Reason.ENDED_BY_STAFF) for user in users)
        _say_ended(self, request, ended)


@admin.register(SignIn)
class SignInAdmin(ReadOnlyAdmin):
    list_display = ["user", "kind", "device", "ip_address", "last_seen_at", "expires_at", "ended_at", "end_reason"]
    list_filter = ["kind", "end_reason"]
    list_select_related = ["user"]
    search_fields = ["=id", "=user__username", "=user__email", "=ip_address"]
    exclude = ["auth_hash", "refresh_id", "previous_refresh_id"]
    actions = ["end_selected"]

    def has_end_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.end_signin")

    @admin.action(description=_("End selected sign-ins"), permissions=["end"])
    def end_selected(self, request: HttpRequest, sign_ins: SignInQuerySet) -> None:
        if not request.user.is_superuser:
            sign_ins = sign_ins.filter(user__is_superuser=False)
        _say_ended(self, request, sign_ins.end(SignIn.Reason.ENDED_BY_STAFF))


@admin.register(SecurityEvent)
class SecurityEventAdmin(ReadOnlyAdmin):
    list_display = ["created_at", "type", "user", "actor", "ip_address", "device"]
    list_filter = ["type"]
    list_select_related = ["user", "actor"]
    search_fields = ["=sid", "=user__username", "=ip_address"]


def _say_ended(model_admin: admin.ModelAdmin, request: HttpRequest, ended: int) -> None:
    text = ngettext("%d sign-in ended.", "%d sign-ins ended.", ended) % ended
    model_admin.message_user(request, text, messages.SUCCESS)
