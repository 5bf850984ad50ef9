"""Admin pages of the blocklist: its entries, a form to block a leaked token, and the state of a sign-in."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.core import signing
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.db.models import Exists, OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from django.views.decorators.debug import sensitive_post_parameters

from accounts.admin import confirm
from accounts.admin.lists import ChoiceFilter, ListFilter, ReadOnlyList, admin_link
from accounts.admin.search import as_uuid
from accounts.admin.sign_ins import SignInAdmin, message_ended
from accounts.http import request_context
from accounts.models import SignIn, User
from api.blocklist import leaks
from api.blocklist.models import Entry, EntryQuerySet

MAX_FOUND_LENGTH = 8 * 1024
# How long staff may take to act on an identified token, in seconds.
FINDING_MAX_AGE_SECONDS = 3600
FINDING_SALT = "leaked token"


class KindFilter(ChoiceFilter):
    title = _("kind")
    parameter_name = "kind"
    options = Entry.Kind.choices


class StateFilter(ListFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> Sequence[tuple[str, Any]]:
        return [("in_force", _("In force")), ("lifted", _("Removed"))]

    def narrow(self, queryset: EntryQuerySet, value: str) -> EntryQuerySet:
        return queryset.in_force() if value == "in_force" else queryset.filter(lifted_at__isnull=False)


class FoundForm(forms.Form):
    found = forms.CharField(
        label=_("Token or id"),
        help_text=_("A token, its id (jti), or the id of its sign-in (sid). It is not stored and not shown again."),
        max_length=MAX_FOUND_LENGTH,
        # A password input is never rendered with its value.
        widget=forms.PasswordInput(attrs={"class": "vTextField", "autocomplete": "off", "spellcheck": "false"}),
    )


class ReasonForm(forms.Form):
    why = confirm.ReasonField()


@admin.register(Entry)
class EntryAdmin(ReadOnlyList):
    list_display = ["subject", "kind", "owner", "reason", "by", "blocked_at", "until", "state"]
    headings = {"kind": _("kind"), "blocked_at": _("blocked")}
    list_filter = [StateFilter, KindFilter]
    list_select_related = ["blocked_by", "lifted_by"]
    search_fields = ["token_id"]
    search_help_text = _("The id of a sign-in (sid) or of a token (jti), a username or an e-mail address.")
    fields = ["subject", "kind", "owner", "reason", "by", "blocked_at", "until", "state", "lifted_at", "lifted_by"]
    actions = ["lift"]
    change_list_template = "admin/blocklist.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Entry]:
        """Adds columns of the sign-in: its user, its end reason, and the staff member who ended it."""
        sign_in = SignIn.objects.filter(pk=OuterRef("token_id"))
        return (
            super()
            .get_queryset(request)
            .annotate(
                user_id=Subquery(sign_in.values("user_id")),
                username=Subquery(sign_in.values("user__username")),
                end_reason=Subquery(sign_in.values("end_reason")),
                ended_by=Subquery(sign_in.values("ended_by__username")),
            )
        )

    @admin.display(description=_("sid or jti"))
    def subject(self, entry: Entry) -> Any:
        if entry.before is None:
            return entry.token_id
        return _("signed in before %s") % f"{entry.before:%Y-%m-%d %H:%M:%S} UTC"

    @admin.display(description=_("user"))
    def owner(self, entry: Any) -> Any:
        if entry.kind == Entry.Kind.EVERYBODY:
            return _("all users")
        if entry.kind == Entry.Kind.USER:
            return admin_link(User.objects.filter(pk=entry.owner_id).first()) or entry.owner_id
        if entry.user_id is None:
            return None
        url = reverse("admin:accounts_user_change", args=[entry.user_id])
        return format_html('<a href="{}">{}</a>', url, entry.username)

    @admin.display(description=_("reason"))
    def reason(self, entry: Any) -> Any:
        return entry.why or dict(SignIn.Reason.choices).get(entry.end_reason)

    @admin.display(description=_("by"))
    def by(self, entry: Any) -> Any:
        return admin_link(entry.blocked_by) if entry.blocked_by else entry.ended_by

    @admin.display(description=_("state"))
    def state(self, entry: Entry) -> Any:
        if entry.lifted_at:
            return _("removed by %s") % (entry.lifted_by or "?")
        return _("in force") if entry.is_in_force else _("expired")

    def get_search_results(
        self, request: HttpRequest, queryset: EntryQuerySet, search_term: str
    ) -> tuple[EntryQuerySet, bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        if token_id := as_uuid(term):
            return queryset.filter(token_id=token_id, before=None), False
        users = list(User.objects.with_login(term).values_list("pk", flat=True))
        of_sign_ins = Entry.objects.filter(token_id__in=SignIn.objects.filter(user__in=users).values("pk"))
        of_users = Entry.objects.filter(owner_id__in=users, before__isnull=False)
        # A union, since PostgreSQL would read the whole table for an OR of the two.
        return queryset.filter(
            pk__in=of_sign_ins.order_by().values("pk").union(of_users.order_by().values("pk"))
        ), False

    def has_lift_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("blocklist.lift_entry")

    def has_block_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request) and request.user.has_perm("blocklist.block_token")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        context = {"may_block": self.has_block_permission(request)}
        return super().changelist_view(request, context | (extra_context or {}))

    def get_urls(self) -> list[URLPattern]:
        view = path("leaked/", self.admin_site.admin_view(self.leaked), name="blocklist_entry_leaked")
        return [view, *super().get_urls()]

    def is_available(self, request: HttpRequest, action: str, obj: Entry) -> bool:
        return obj.may_be_lifted

    @admin.action(description=_("Remove block"), permissions=["lift"])
    def lift(self, request: HttpRequest, entries: EntryQuerySet) -> HttpResponse | None:
        """Lifts entries that staff made for single tokens; never those of ended sign-ins."""
        chosen = list(entries[: self.list_per_page])
        liftable = [entry for entry in chosen if entry.may_be_lifted]
        form = confirm.ConfirmationWithReason(request)
        if not form.is_confirmed:
            others = len(chosen) - len(liftable)
            tokens = ngettext(
                "token is accepted again within a second, until it expires",
                "tokens are accepted again within a second, until they expire",
                len(liftable),
            )
            text = ngettext(
                "%d stays: only a block that staff set and that is in force can be removed. Ended sign-ins stay ended.",
                "%d stay: only blocks that staff set and that are in force can be removed. Ended sign-ins stay ended.",
                others,
            )
            return confirm.page(
                self,
                request,
                form,
                title=ngettext("Remove block?", "Remove blocks?", len(liftable)),
                button=ngettext("Remove this block", "Remove blocks", len(liftable)),
                effects=[(tokens, len(liftable))],
                notes=[text % others] if others else [],
            )
        lifted = sum(entry.lift(form.cleaned_data["why"]) for entry in liftable)
        text = ngettext("%d block removed.", "%d blocks removed.", lifted) % lifted
        self.message_user(request, text, messages.SUCCESS)
        return None

    # A leaked token

    @method_decorator(sensitive_post_parameters("found"))
    def leaked(self, request: HttpRequest) -> HttpResponse:
        """Identifies a leaked token, and acts on it in a second request. Only the first request contains the token."""
        if not self.has_block_permission(request):
            raise PermissionDenied
        if "finding" in request.POST:
            return self._act_on_leak(request)
        form = FoundForm(request.POST or None)
        if not form.is_valid():
            return self._leak_page(request, form=form)
        leak = leaks.identify(form.cleaned_data["found"])
        return self._leak_page(request, form=FoundForm(), leak=leak, is_unknown=leak is None, **self._options(leak))

    def _options(self, leak: leaks.Leak | None) -> dict[str, Any]:
        """The context of the possible actions. The form has the ids, signed, so that staff act on the token shown."""
        if leak is None:
            return {}
        finding = {
            "jti": leak.blockable_jti and leak.blockable_jti.hex,
            "sid": leak.sign_in and str(leak.sign_in.sid),
        }
        return {"finding": signing.dumps(finding, salt=FINDING_SALT), "why_form": ReasonForm()}

    def _act_on_leak(self, request: HttpRequest) -> HttpResponse:
        try:
            finding = signing.loads(request.POST["finding"], salt=FINDING_SALT, max_age=FINDING_MAX_AGE_SECONDS)
        except signing.BadSignature as error:
            raise SuspiciousOperation("The finding was not signed here, or is too old") from error
        sign_in = SignIn.objects.filter(pk=finding["sid"]).select_related("user").first() if finding["sid"] else None
        form = ReasonForm(request.POST)
        if not form.is_valid():
            return self._leak_page(request, form=FoundForm(), why_form=form, finding=request.POST["finding"])
        why = form.cleaned_data["why"]
        if request.POST.get("do") == "end" and sign_in:
            self._end(request, sign_in, why)
        elif request.POST.get("do") == "block" and finding["jti"]:
            self._block(request, UUID(finding["jti"]), sign_in, why)
        else:
            raise SuspiciousOperation("This action is not possible for the finding")
        return HttpResponseRedirect(reverse("admin:blocklist_entry_changelist"))

    def _block(self, request: HttpRequest, jti: UUID, sign_in: SignIn | None, why: str) -> None:
        """Blocks an access token. If its user is unknown, the permission suffices: the block lasts minutes."""
        if sign_in and not sign_in.user.is_manageable_by(request.user):
            raise PermissionDenied
        Entry.objects.block_leaked_token(jti, why, sign_in)
        self.message_user(request, _("The token is refused from now on."), messages.SUCCESS)

    def _end(self, request: HttpRequest, sign_in: SignIn, why: str) -> None:
        manageable = SignIn.objects.manageable_by(request.user).filter(pk=sign_in.pk)
        if not request.user.has_perm("accounts.end_signin") or not manageable.exists():
            raise PermissionDenied
        with request_context.acting(why):
            message_ended(self, request, manageable.end(SignIn.Reason.ENDED_BY_STAFF))

    def _leak_page(self, request: HttpRequest, **context: Any) -> TemplateResponse:
        leak = context.get("leak")
        page_context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _("Block a leaked token"),
            "may_end": bool(
                leak
                and leak.endable_sign_in
                and request.user.has_perm("accounts.end_signin")
                and leak.sign_in.user.is_manageable_by(request.user)
            ),
            "may_block": bool(leak and leak.blockable_by(request.user)),
            "owner": leak and leak.sign_in and admin_link(leak.sign_in.user),
            "sign_in": leak and leak.sign_in and admin_link(leak.sign_in),
            **context,
        }
        return TemplateResponse(request, "admin/leaked.html", page_context)


admin.site.unregister(SignIn)


@admin.register(SignIn)
class SignInOnBlocklistAdmin(SignInAdmin):
    """The admin of sign-ins, with the state of their tokens in the blocklist."""

    fields = [*SignInAdmin.fields, "on_blocklist"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[SignIn]:
        """Marks sign-ins that a wholesale entry has ended and whose rows are not updated yet."""
        entries = Entry.objects.in_force().filter(before__gt=OuterRef("created_at"))
        of_everybody = entries.filter(kind=Entry.Kind.EVERYBODY, owner_id=None)
        of_user = entries.filter(kind=Entry.Kind.USER, owner_id=OuterRef("user_id"))
        return super().get_queryset(request).annotate(is_revoked_wholesale=Exists(of_everybody) | Exists(of_user))

    @admin.display(description=_("state"))
    def state(self, sign_in: Any) -> Any:
        if sign_in.ended_at is None and sign_in.is_revoked_wholesale:
            return format_html('<span class="ended">{}</span>', _("ended with all others, row not updated yet"))
        return super().state(sign_in)

    @admin.display(description=_("blocklist"))
    def on_blocklist(self, sign_in: SignIn) -> Any:
        entry = Entry.objects.blocking(sign_in.sid, sign_in.user_id).first()
        if entry is None:
            return _("not on the blocklist")
        return format_html(
            '<a href="{}">{}</a>',
            reverse("admin:blocklist_entry_change", args=[entry.pk]),
            _("tokens refused until %s") % f"{entry.until:%Y-%m-%d %H:%M} UTC",
        )
