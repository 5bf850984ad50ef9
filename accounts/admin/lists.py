"""Lists that answer as quickly with a million rows: nothing counts, sorts or searches but by an index."""

from collections.abc import Sequence
from datetime import timedelta
from functools import cached_property
from typing import Any

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import SuspiciousOperation, ValidationError
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from accounts.models import User

# As far as a list is counted, and can be paged through.
FURTHEST = 10_000
PER_PAGE = 50


class BoundedPaginator(Paginator):
    @cached_property
    def _counted(self) -> int:
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]
        return rows.order_by().values("pk")[: FURTHEST + 1].count()

    @property
    def count(self) -> int:
        return min(self._counted, FURTHEST)

    @property
    def has_more(self) -> bool:
        """Whether there are rows that were not counted."""
        return self._counted > FURTHEST


class BoundedChangeList(ChangeList):
    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        """The list's own, whatever the address asks for: another would sort the whole table."""
        self.params.pop("o", None)
        return super().get_ordering(request, queryset)


class BoundedList(admin.ModelAdmin):
    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = PER_PAGE
    list_max_show_all = PER_PAGE
    sortable_by = ()
    change_form_template = "admin/object_with_actions.html"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return BoundedChangeList

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """What the filters offer, and nothing else that an address may ask for."""
        return lookup in {each.parameter_name for each in self.get_list_filter(request)}  # type: ignore[union-attr]

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Those of our own: the stock one deletes in one go, and shows all that it deletes."""
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """A made-up id is a bad request."""
        for pk in request.POST.getlist(ACTION_CHECKBOX_NAME):
            try:
                self.model._meta.pk.clean(pk, None)
            except ValidationError as error:
                raise SuspiciousOperation("Not an id") from error
        return super().response_action(request, queryset)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """With a button for each action that is possible, and panels of what hangs on the object."""
        shown = self.get_object(request, object_id) if object_id else None
        actions = self.get_actions(request).values() if shown else []
        context = {
            "object_actions": [(name, text) for _, name, text in actions if self.is_possible(request, name, shown)],
            "panels": self.panels(request, shown) if shown and self.has_view_permission(request, shown) else [],
        }
        return super().changeform_view(request, object_id, form_url, context | (extra_context or {}))

    def is_possible(self, request: HttpRequest, action: str, shown: Any) -> bool:
        """Whether the action would do anything to this object. The page of an object offers no other."""
        return True

    def panels(self, request: HttpRequest, shown: Any) -> "list[Panel]":
        return []


class ReadOnlyList(BoundedList):
    """Something to look at: made, changed and deleted elsewhere."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class Panel:
    """A short list on the page of something that it belongs to, and the way to all of it."""

    def __init__(self, title: Any, headings: Sequence[Any], rows: Sequence[Sequence[Any]], url: str) -> None:
        self.title = title
        self.headings = headings
        self.rows = rows
        self.url = url


class ListFilter(admin.SimpleListFilter):
    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if value is None:
            return queryset
        if value not in dict(self.lookup_choices):
            raise IncorrectLookupParameters
        return self.narrow(queryset, value)

    def narrow(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        raise NotImplementedError


class ChoiceFilter(ListFilter):
    """By a field with choices; its name is the parameter's."""

    options: Sequence[tuple[str, Any]]

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> Sequence[tuple[str, Any]]:
        return self.options

    def narrow(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        return queryset.filter((self.parameter_name, value))


class WindowFilter(ListFilter):
    """The last hour, day, week or month, in place of Django's date_hierarchy, which reads the whole table."""

    title = _("time")
    parameter_name = "within"
    field = "created_at"
    WINDOWS = {
        "hour": (_("Last hour"), timedelta(hours=1)),
        "day": (_("Last 24 hours"), timedelta(days=1)),
        "2days": (_("Last 48 hours"), timedelta(days=2)),
        "week": (_("Last 7 days"), timedelta(days=7)),
        "month": (_("Last 30 days"), timedelta(days=30)),
    }

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, Any]]:
        return [(name, text) for name, (text, _length) in self.WINDOWS.items()]

    def narrow(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        return queryset.filter(**{f"{self.field}__gte": timezone.now() - self.WINDOWS[value][1]})


class OneUserFilter(ListFilter):
    """Those of one user; offered only where a link leads to it, and to be taken away again."""

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        value = self.value()
        if value is None:
            return []
        try:
            return [(value, str(User.objects.get(pk=User._meta.pk.clean(value, None))))]
        except (ValidationError, User.DoesNotExist) as error:
            raise IncorrectLookupParameters from error

    def narrow(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        return queryset.filter((self.parameter_name, value))


def link(shown: Model | None) -> SafeString | str | None:
    """To its page; the name alone where there is none."""
    if shown is None:
        return None
    meta = shown._meta
    return format_html(
        '<a href="{}">{}</a>', reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[shown.pk]), shown
    )
