"""Security events in the admin, and their export as CSV."""

from collections.abc import Iterable, Iterator
from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.db.models import QuerySet
from django.http import HttpRequest, StreamingHttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from accounts import addresses, csv_export
from accounts.admin.lists import ChoiceFilter, OneUserFilter, ReadOnlyList, WindowFilter, admin_link, short_time
from accounts.admin.search import as_address, as_uuid
from accounts.models import SecurityEvent, User

COLUMNS = {
    "id": "id",
    "time": "created_at",
    "event": "type",
    "user id": "user_id",
    "user": "user__username",
    "actor id": "actor_id",
    "actor": "actor__username",
    "sid": "sid",
    "address": "ip_address",
    "user agent": "user_agent",
    "details": "details",
}
# Rows that an export reads in one statement.
EXPORT_PAGE_SIZE = 2000
EVENT_HEADINGS = [_("time"), _("event"), _("by"), _("IP address"), _("device"), _("details")]


class TypeFilter(ChoiceFilter):
    title = _("event")
    parameter_name = "type"
    options = SecurityEvent.Type.choices


class UserFilter(OneUserFilter):
    title = _("user")
    parameter_name = "user"


class ActorFilter(OneUserFilter):
    title = _("by")
    parameter_name = "actor"


@admin.register(SecurityEvent)
class SecurityEventAdmin(ReadOnlyList):
    """The list of security events."""

    list_display = ["created_at", "type", "user_link", "actor_link", "sign_in", "ip_address", "device", "details_text"]
    headings = {"created_at": _("time"), "type": _("event"), "ip_address": _("IP address")}
    list_filter = [WindowFilter, TypeFilter, UserFilter, ActorFilter]
    list_select_related = ["user", "actor"]
    ordering = ["-created_at"]
    search_fields = ["user"]
    search_help_text = _("A username, an e-mail address, an IP address, or the id of a sign-in (sid).")
    fields = [
        "created_at",
        "type",
        "user_link",
        "actor_link",
        "sign_in",
        "ip_address",
        "device",
        "user_agent",
        "details_text",
    ]
    change_list_template = "admin/events.html"

    @admin.display(description=_("user"))
    def user_link(self, event: SecurityEvent) -> Any:
        return admin_link(event.user)

    @admin.display(description=_("by"))
    def actor_link(self, event: SecurityEvent) -> Any:
        return admin_link(event.actor)

    @admin.display(description=_("sign-in"))
    def sign_in(self, event: SecurityEvent) -> Any:
        """A link to the sign-in, with the first 8 characters of its id."""
        url = event.sid and reverse("admin:accounts_signin_change", args=[event.sid])
        return url and format_html('<a href="{}">{}</a>', url, str(event.sid)[:8])

    @admin.display(description=_("device"))
    def device(self, event: SecurityEvent) -> str:
        return event.device if event.user_agent else ""

    @admin.display(description=_("details"))
    def details_text(self, event: SecurityEvent) -> Any:
        return details_text(event)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[SecurityEvent], search_term: str
    ) -> tuple[QuerySet[SecurityEvent], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        if sid := as_uuid(term):
            return queryset.filter(sid=sid), False
        if address := as_address(term):
            return queryset.filter(ip_address__in=addresses.spellings(address)), False
        return queryset.filter(user__in=list(User.objects.with_login(term).values_list("pk", flat=True))), False

    def get_urls(self) -> list[URLPattern]:
        export = path("export/", self.admin_site.admin_view(self.export), name="accounts_securityevent_export")
        return [export, *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        context = {"may_export": self._may_export(request)}
        return super().changelist_view(request, context | (extra_context or {}))

    def _may_export(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request) and request.user.has_perm("accounts.export_securityevent")

    @method_decorator(require_POST)
    def export(self, request: HttpRequest) -> StreamingHttpResponse:
        """Streams the filtered events as CSV. The export is recorded as an event, so that it needs a POST."""
        if not self._may_export(request):
            raise PermissionDenied
        try:
            events = self.get_changelist_instance(request).get_queryset(request)
        except IncorrectLookupParameters as error:
            raise SuspiciousOperation("Not a filter") from error
        SecurityEvent.objects.record(
            SecurityEvent.Type.EVENTS_EXPORTED, None, filter=request.GET.urlencode()[:500] or "all"
        )
        return csv_export.as_download("events", as_csv(events))

    # The POST of an export is read-only, apart from its event: project.admin_site asks for no recent proof.
    export.changes_nothing = True  # type: ignore[attr-defined]


def as_csv(events: QuerySet[SecurityEvent]) -> Iterator[str]:
    """Yields the lines, newest event first. One statement for each EXPORT_PAGE_SIZE rows."""
    return csv_export.as_lines(COLUMNS, _rows(events))


def _rows(events: QuerySet[SecurityEvent]) -> Iterator[tuple[Any, ...]]:
    # In pages: one statement for a large table would exceed the statement timeout of requests.
    rows = events.order_by("-id").values_list(*COLUMNS.values())
    page = rows[:EXPORT_PAGE_SIZE]
    while page:
        for row in page:
            yield row
        page = rows.filter(id__lt=row[0])[:EXPORT_PAGE_SIZE]


def details_text(event: SecurityEvent) -> Any:
    return format_html_join(", ", "{}: {}", sorted(event.details.items()))


def event_rows(events: Iterable[SecurityEvent]) -> list[list[Any]]:
    """The rows of a panel with the columns EVENT_HEADINGS."""
    return [
        [
            short_time(each.created_at),
            each.get_type_display(),
            admin_link(each.actor),
            each.ip_address,
            each.device if each.user_agent else None,
            details_text(each),
        ]
        for each in events
    ]
