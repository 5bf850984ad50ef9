import time
from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from accounts import origin
from accounts.admin import confirm
from accounts.admin.events import EVENT_HEADINGS, event_rows
from accounts.admin.lists import ChoiceFilter, ListFilter, OneUserFilter, Panel, ReadOnlyList, WindowFilter, link
from accounts.admin.search import as_address, as_uuid
from accounts.models import SecurityEvent, SignIn, SignInQuerySet, User
from accounts.sessions import SignedInRequest

# How long one request goes on ending, in seconds; what is left then is ended by the next.
PATIENCE = 10.0
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
    title = _("why it ended")
    parameter_name = "end_reason"
    options = SignIn.Reason.choices

    def narrow(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        # As the index has it.
        return super().narrow(queryset, value).filter(ended_at__isnull=False)


class SignedInFilter(WindowFilter):
    title = _("signed in")


class UserFilter(OneUserFilter):
    title = _("user")
    parameter_name = "user"


@admin.register(SignIn)
class SignInAdmin(ReadOnlyList):
    list_display = ["device", "who", "kind", "state", "ip_address", "created_at", "last_seen_at", "expires_at"]
    list_filter = [StateFilter, KindFilter, ReasonFilter, SignedInFilter, UserFilter]
    list_select_related = ["user", "ended_by"]
    ordering = ["-created_at"]
    search_fields = ["user"]
    search_help_text = _("A username, an e-mail address, an IP address, or the id of a sign-in (sid).")
    fields = [
        "who",
        "device",
        "kind",
        "state",
        "ip_address",
        "id",
        "created_at",
        "last_seen_at",
        "expires_at",
        "ended_at",
        "end_reason",
        "ended_by",
        "user_agent",
    ]
    actions = ["end_selected"]
    change_list_template = "admin/sign_ins.html"

    @admin.display(description=_("user"))
    def who(self, sign_in: SignIn) -> Any:
        return link(sign_in.user)

    @admin.display(description=_("device"))
    def device(self, sign_in: SignIn) -> str:
        return sign_in.device

    @admin.display(description=_("state"))
    def state(self, sign_in: SignIn) -> Any:
        return state(sign_in)

    def get_search_results(
        self, request: HttpRequest, queryset: SignInQuerySet, search_term: str
    ) -> tuple[SignInQuerySet, bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        if sid := as_uuid(term):
            return queryset.filter(pk=sid), False
        if address := as_address(term):
            return queryset.filter(ip_address=address), False
        # Their ids first: PostgreSQL would rather read all sign-ins than believe that a join finds few.
        return queryset.filter(user__in=list(User.objects.called(term).values_list("pk", flat=True))), False

    def has_end_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.end_signin")

    def panels(self, request: HttpRequest, shown: SignIn) -> list[Panel]:
        if not request.user.has_perm("accounts.view_securityevent"):
            return []
        events = SecurityEvent.objects.filter(sid=shown.sid).select_related("user", "actor")[:ROWS_IN_PANEL]
        url = reverse("admin:accounts_securityevent_changelist", query={"q": shown.sid})
        return [Panel(_("Events"), EVENT_HEADINGS, event_rows(events), url)]

    @admin.action(description=_("End"), permissions=["end"])
    def end_selected(self, request: SignedInRequest, sign_ins: SignInQuerySet) -> HttpResponse | None:
        """Of many, as many as a request has patience for: the page then asks whether to go on."""
        unended = sign_ins.unended().within_reach_of(request.user)
        form = confirm.ConfirmationWithReason(request)
        if not form.is_given:
            return self._ask_to_end(request, sign_ins, form)
        with origin.because(form.cleaned_data["why"]):
            ended, is_all = end_with_patience(unended)
        say_ended(self, request, ended)
        return None if is_all else self._ask_to_end(request, sign_ins, form)

    def _ask_to_end(
        self, request: SignedInRequest, sign_ins: SignInQuerySet, form: confirm.Confirmation
    ) -> HttpResponse:
        unended = sign_ins.unended()
        reachable = unended.within_reach_of(request.user)
        counts = reachable.order_by().aggregate(
            all=Count("pk"),
            browsers=Count("pk", filter=Q(kind=SignIn.Kind.BROWSER)),
            clients=Count("pk", filter=Q(kind=SignIn.Kind.CLIENT)),
        )
        notes: list[Any] = []
        if not request.user.is_superuser and (others := unended.filter(user__is_superuser=True).count()):
            notes.append(
                ngettext(
                    "%d of a superuser is left alone: that is for superusers.",
                    "%d of superusers are left alone: that is for superusers.",
                    others,
                )
                % others
            )
        if ended := sign_ins.filter(ended_at__isnull=False).count():
            notes.append(ngettext("%d has ended already.", "%d have ended already.", ended) % ended)
        own = request.session.sign_in
        if own and reachable.filter(pk=own.pk).exists():
            notes.append(_("Your own, in this browser, is among them: you will have to sign in again."))
        return confirm.ask(
            self,
            request,
            form,
            title=_("End sign-ins?"),
            button=_("End them"),
            facts=[
                (_("sign-ins end at once"), counts["all"]),
                (_("of them browsers, whose sessions are gone"), counts["browsers"]),
                (_("of them clients, whose access and refresh tokens are refused"), counts["clients"]),
            ],
            notes=notes,
        )


def end_with_patience(sign_ins: SignInQuerySet) -> tuple[int, bool]:
    """Ends what it can in PATIENCE seconds: how many it ended, and whether that is all."""
    enough = time.monotonic() + PATIENCE
    ended = 0
    for number in sign_ins.end_in_batches(SignIn.Reason.ENDED_BY_STAFF):
        ended += number
        if time.monotonic() > enough:
            return ended, not sign_ins.exists()
    return ended, True


def say_ended(model_admin: admin.ModelAdmin, request: HttpRequest, ended: int) -> None:
    text = ngettext("%d sign-in ended.", "%d sign-ins ended.", ended) % ended
    model_admin.message_user(request, text, messages.SUCCESS)


def state(sign_in: SignIn) -> Any:
    """In a word, and why."""
    if sign_in.ended_at:
        by = f", {sign_in.ended_by}" if sign_in.ended_by else ""
        return format_html('<span class="ended">{}: {}{}</span>', _("ended"), sign_in.get_end_reason_display(), by)
    if timezone.now() >= min(sign_in.expires_at, sign_in.latest_end):
        return _("expired")
    return format_html('<strong class="live">{}</strong>', _("live"))
