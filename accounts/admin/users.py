from collections.abc import Callable, Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.db.models.signals import post_delete
from django.dispatch import receiver
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, reverse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from accounts import addresses, ending, passwords
from accounts.admin import confirm
from accounts.admin.events import EVENT_HEADINGS, event_rows
from accounts.admin.lists import BoundedList, ChoiceFilter, ListFilter, Panel, link
from accounts.admin.search import as_address, as_uuid
from accounts.admin.seen_fields import UserForm
from accounts.admin.sign_ins import say_ended
from accounts.http import request_context
from accounts.models import AttemptCounter, SecurityEvent, SignIn, User, UserQuerySet
from accounts.sessions import SignedInRequest

# By one action: each is a transaction of its own, and a request has to end.
AT_ONCE = 500
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
    """People make their accounts and passwords themselves: staff neither set nor see a password."""

    form = UserForm
    list_display = ["username", "email", "state", "role", "last_login", "live_sign_ins"]
    list_filter = [StateFilter, RoleFilter]
    ordering = ["username"]
    search_fields = ["username"]
    search_help_text = _(
        "The first letters of a username, a complete e-mail address or IP address, or the id of a sign-in (sid)."
    )
    fieldsets = [
        (None, {"fields": ["username", "email", "first_name", "last_name"]}),
        (_("Permissions"), {"fields": ["is_active", *RIGHTS]}),
        (_("Dates"), {"fields": ["last_login", "date_joined"]}),
    ]
    readonly_fields = ["last_login", "date_joined"]
    actions = ["end_all_sign_ins", "deactivate", "reactivate", "send_password_reset", "unlock"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        live = SignIn.objects.live().filter(user=OuterRef("pk")).order_by().values("user")
        counted = Subquery(live.annotate(number=Count("pk")).values("number"))
        return super().get_queryset(request).annotate(live_count=Coalesce(counted, 0))

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

    # What may be done to whom

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_change_permission(request, obj) and self._may_touch(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_delete_permission(request, obj) and self._may_touch(request, obj)

    def _may_touch(self, request: HttpRequest, obj: User | None) -> bool:
        return request.user.is_superuser or obj is None or not obj.is_superuser

    def has_end_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.end_signin")

    def has_deactivate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.deactivate_user")

    def has_reset_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.send_password_reset")

    def has_unlock_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.lift_lock")

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> list[str]:
        """
        Rights are given by superusers only. So is another address, which is as good as the account: whoever has it has
        the next reset link.
        """
        fields = list(super().get_readonly_fields(request, obj))
        return fields if request.user.is_superuser else [*fields, "email", "is_active", *RIGHTS]

    def get_urls(self) -> list[URLPattern]:
        return [url for url in super().get_urls() if url.name != "auth_user_password_change"]

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, Any, set[str], Any]:
        """In numbers, since somebody may have had a million; what is a user's goes with the user."""
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
        # A change of activity tells of itself.
        rest = [name for name in form.changed_data if name not in (*RIGHTS, "is_active")]
        if rights:
            SecurityEvent.objects.record(SecurityEvent.Type.RIGHTS_CHANGED, form.instance, changed=", ".join(rights))
        if "email" in form.changed_data:
            # Nobody has shown yet to read mail there; and what waited was to replace the address before it.
            form.instance.cancel_email_change()
            User.objects.filter(pk=form.instance.pk).update(email_confirmed_at=None)
        if rest:
            SecurityEvent.objects.record(SecurityEvent.Type.USER_EDITED, form.instance, changed=", ".join(rest))

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().changeform_view(request, *args, **kwargs)
        except User.DoesNotExist as error:
            raise Http404("The account was deleted while the form was saved.") from error

    # What hangs on a user

    def panels(self, request: HttpRequest, shown: User) -> list[Panel]:
        panels = []
        if request.user.has_perm("accounts.view_signin"):
            live = SignIn.objects.live().filter(user=shown).order_by("-last_seen_at")[:ROWS_IN_PANEL]
            rows = [[link(each), each.ip_address, each.created_at, each.last_seen_at] for each in live]
            url = reverse("admin:accounts_signin_changelist", query={"user": shown.pk})
            headings = [_("sign-in"), _("IP address"), _("signed in"), _("last seen")]
            panels.append(Panel(_("Live sign-ins"), headings, rows, url))
        if request.user.has_perm("accounts.view_securityevent"):
            events = SecurityEvent.objects.filter(user=shown).select_related("actor")[:ROWS_IN_PANEL]
            url = reverse("admin:accounts_securityevent_changelist", query={"user": shown.pk})
            panels.append(Panel(_("Last events"), EVENT_HEADINGS, event_rows(events), url))
        return panels

    # Actions

    def is_possible(self, request: HttpRequest, action: str, shown: User) -> bool:
        if not self._may_touch(request, shown):
            return False
        return {
            "end_all_sign_ins": lambda: self.live_sign_ins(shown) > 0,
            "deactivate": lambda: shown.is_active and shown.pk != request.user.pk,
            "reactivate": lambda: not shown.is_active,
            "send_password_reset": lambda: shown.may_reset_password,
            "unlock": AttemptCounter.objects.of(shown).locked_out().exists,
        }[action]()

    @admin.action(description=_("Sign out everywhere"), permissions=["end"])
    def end_all_sign_ins(self, request: SignedInRequest, users: UserQuerySet) -> HttpResponse | None:
        def end_all(reachable: list[User]) -> None:
            say_ended(
                self,
                request,
                sum(ending.end_all(user, SignIn.Reason.ENDED_BY_STAFF) for user in reachable),
            )

        def facts(reachable: list[User]) -> list[tuple[Any, int]]:
            of_kind = SignIn.objects.unended().filter(user__in=reachable).by_kind()
            users, browsers, clients = len(reachable), *(of_kind.get(kind, 0) for kind in SignIn.Kind)
            return [
                (ngettext("user is signed out everywhere", "users are signed out everywhere", users), users),
                (ngettext("browser session is revoked", "browser sessions are revoked", browsers), browsers),
                (
                    ngettext(
                        "client has its access and refresh tokens revoked",
                        "clients have their access and refresh tokens revoked",
                        clients,
                    ),
                    clients,
                ),
            ]

        form = confirm.ConfirmationWithReason(request)
        return self._act(
            request, users.with_live_sign_ins(), form, end_all, facts, _("Sign out everywhere?"), _("Sign out users")
        )

    @admin.action(description=_("Deactivate account"), permissions=["deactivate"])
    def deactivate(self, request: SignedInRequest, users: UserQuerySet) -> HttpResponse | None:
        def deactivate_all(reachable: list[User]) -> None:
            changed = self._still(request, reachable).update(is_active=False)
            text = ngettext("%d account deactivated.", "%d accounts deactivated.", changed) % changed
            self.message_user(request, text, messages.SUCCESS)

        def facts(reachable: list[User]) -> list[tuple[Any, int]]:
            accounts = len(reachable)
            sign_ins = SignIn.objects.unended().filter(user__in=reachable).count()
            return [
                (ngettext("account can no longer sign in", "accounts can no longer sign in", accounts), accounts),
                (ngettext("sign-in ends at once", "sign-ins end at once", sign_ins), sign_ins),
            ]

        # Nobody locks themselves out.
        others = users.filter(is_active=True).exclude(username=request.user.username)
        form = confirm.ConfirmationWithReason(request)
        return self._act(
            request, others, form, deactivate_all, facts, _("Deactivate accounts?"), _("Deactivate accounts")
        )

    @admin.action(description=_("Reactivate account"), permissions=["deactivate"])
    def reactivate(self, request: SignedInRequest, users: UserQuerySet) -> HttpResponse | None:
        def reactivate_all(reachable: list[User]) -> None:
            changed = self._still(request, reachable).update(is_active=True)
            text = ngettext("%d account reactivated.", "%d accounts reactivated.", changed) % changed
            self.message_user(request, text, messages.SUCCESS)

        def facts(reachable: list[User]) -> list[tuple[Any, int]]:
            text = ngettext(
                "account can sign in again with its current password",
                "accounts can sign in again with their current passwords",
                len(reachable),
            )
            return [(text, len(reachable))]

        form = confirm.ConfirmationWithReason(request)
        deactivated = users.filter(is_active=False)
        return self._act(
            request, deactivated, form, reactivate_all, facts, _("Reactivate accounts?"), _("Reactivate accounts")
        )

    @admin.action(description=_("Send password reset link"), permissions=["reset"])
    def send_password_reset(self, request: SignedInRequest, users: UserQuerySet) -> HttpResponse | None:
        def send_all(reachable: list[User]) -> None:
            for user in reachable:
                passwords.send_reset(user)
            text = ngettext("%d e-mail is being sent.", "%d e-mails are being sent.", len(reachable)) % len(reachable)
            self.message_user(request, text, messages.SUCCESS)

        def facts(reachable: list[User]) -> list[tuple[Any, int]]:
            text = ngettext(
                "user receives an e-mail with a link that works once, for an hour",
                "users receive an e-mail with a link that works once, for an hour",
                len(reachable),
            )
            return [(text, len(reachable))]

        form = confirm.Confirmation(request)
        return self._act(
            request,
            users.with_resettable_password(),
            form,
            send_all,
            facts,
            _("Send password reset links?"),
            _("Send links"),
        )

    @admin.action(description=_("Unlock account"), permissions=["unlock"])
    def unlock(self, request: SignedInRequest, users: UserQuerySet) -> HttpResponse | None:
        def unlock_all(reachable: list[User]) -> None:
            lifted = sum(AttemptCounter.objects.of(user).lift() for user in reachable)
            self.message_user(
                request, ngettext("%d lock removed.", "%d locks removed.", lifted) % lifted, messages.SUCCESS
            )

        def facts(reachable: list[User]) -> list[tuple[Any, int]]:
            per_account = [AttemptCounter.objects.of(user).locked_out().count() for user in reachable]
            accounts, locks = sum(map(bool, per_account)), sum(per_account)
            return [
                (
                    ngettext("account can sign in again at once", "accounts can sign in again at once", accounts),
                    accounts,
                ),
                (ngettext("lock is removed", "locks are removed", locks), locks),
            ]

        form = confirm.ConfirmationWithReason(request)
        return self._act(request, users, form, unlock_all, facts, _("Unlock accounts?"), _("Unlock accounts"))

    def _still(self, request: SignedInRequest, reachable: list[User]) -> UserQuerySet:
        """Without those who have become superusers since they were looked up."""
        return User.objects.manageable_by(request.user).filter(pk__in=[user.pk for user in reachable])

    def _act(
        self,
        request: SignedInRequest,
        users: UserQuerySet,
        form: confirm.Confirmation,
        act: Callable[[list[User]], None],
        facts: Callable[[list[User]], list[tuple[Any, int]]],
        title: Any,
        button: Any,
    ) -> HttpResponse | None:
        """Acts on those within reach, once that has been agreed to; otherwise asks."""
        reachable = list(users.manageable_by(request.user).order_by("pk")[: AT_ONCE + 1])
        if len(reachable) > AT_ONCE:
            text = _("Select at most %d users.") % AT_ONCE
            self.message_user(request, text, messages.ERROR)
            return None
        if not form.is_given:
            notes: list[Any] = [
                ", ".join(user.username for user in reachable[:20]) + (" …" if len(reachable) > 20 else "")
            ]
            if not request.user.is_superuser and users.filter(is_superuser=True).exists():
                notes.append(_("Selected superusers are not changed: only superusers can change them."))
            return confirm.ask(self, request, form, title=title, button=button, facts=facts(reachable), notes=notes)
        with request_context.acting(form.cleaned_data.get("why", "")):
            act(reachable)
        return None


@receiver(post_delete, sender=User)
def take_the_name_off_the_history(instance: User, **kwargs: Any) -> None:
    """The admin's own lines about somebody name them, and stay."""
    of_users = LogEntry.objects.filter(content_type=ContentType.objects.get_for_model(User))
    of_users.filter(object_id=str(instance.pk)).update(object_repr="")


admin.site.unregister(Group)


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin):
    """Who may change a group may give themselves whatever they like: superusers only."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.is_superuser

    def has_change_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return request.user.is_superuser

    def has_delete_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return request.user.is_superuser
