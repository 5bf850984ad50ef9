"""Base classes of lists, filters and panels of the admin. Every count, sort and search uses an index."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import SuspiciousOperation, ValidationError
from django.core.paginator import Paginator
from django.db.models import DateTimeField, Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from accounts.models import User

# A list is counted, and can be paged through, up to this many rows.
MAX_COUNTED = 10_000
ROWS_PER_PAGE = 50


class BoundedPaginator(Paginator):
    """Counts up to MAX_COUNTED rows. One statement."""

    @cached_property
    def _bounded_count(self) -> int:
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]
        return rows.order_by().values("pk")[: MAX_COUNTED + 1].count()

    @property
    def count(self) -> int:
        return min(self._bounded_count, MAX_COUNTED)

    @property
    def has_more(self) -> bool:
        """Whether the list has more rows than MAX_COUNTED."""
        return self._bounded_count > MAX_COUNTED


class BoundedChangeList(ChangeList):
    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        """Ignores the `o` parameter: another order than the list's own would sort the whole table."""
        self.params.pop("o", None)
        return super().get_ordering(request, queryset)


class BoundedList(admin.ModelAdmin):
    """A list whose statements take bounded time, with actions and panels on the page of each object."""

    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = ROWS_PER_PAGE
    list_max_show_all = ROWS_PER_PAGE
    sortable_by = ()
    change_list_template = "admin/bounded_list.html"
    change_form_template = "admin/object_with_actions.html"
    # Headings of columns whose field has no verbose name.
    headings: Mapping[str, Any] = {}
    # Names of actions that lock users out. Their buttons are red and apart from the others.
    severe_actions: frozenset[str] = frozenset()

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return BoundedChangeList

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        """Shows the date and time fields of the list in short, and the headings of `headings`."""
        return [self._column(name) for name in super().get_list_display(request)]

    def _column(self, name: Any) -> Any:
        """The column of a list: the name of a field or method, or a callable that shows the field."""
        field = next((field for field in self.opts.concrete_fields if field.name == name), None)
        is_time = isinstance(field, DateTimeField)
        if field is None or not (is_time or name in self.headings):
            return name

        @admin.display(description=self.headings.get(name, field.verbose_name))
        def column(obj: Any) -> Any:
            if is_time:
                return short_time(getattr(obj, name))
            return getattr(obj, f"get_{name}_display")() if field.choices else getattr(obj, name)

        # The name is the class of the column's cells.
        column.__name__ = name
        return column

    def get_list_display_links(self, request: HttpRequest, list_display: Any) -> list[Any]:
        """As Django's, for the columns that get_list_display() has replaced."""
        names = list(super().get_list_display_links(request, list_display) or ())
        return [each for each in list_display if each in names or getattr(each, "__name__", None) in names]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Removes the empty parameters of the form of filters from the URL."""
        if request.method == "GET" and "" in request.GET.values():
            chosen = QueryDict(mutable=True)
            for name, values in request.GET.lists():
                chosen.setlist(name, [value for value in values if value])
            return HttpResponseRedirect(f"{request.path}?{chosen.urlencode()}")
        return super().changelist_view(request, extra_context)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Allows the parameters of the filters only: other look-ups in the URL have no index."""
        return lookup in {each.parameter_name for each in self.get_list_filter(request)}  # type: ignore[union-attr]

    def get_actions(self, request: HttpRequest, action_location: Any = None) -> dict[str, Any]:
        """
        Without Django's delete action, which deletes in one transaction and lists every related object. Django 6.1
        passes the page of the actions; 5.2 has no such argument.
        """
        location = {} if action_location is None else {"action_location": action_location}
        actions = super().get_actions(request, **location)
        actions.pop("delete_selected", None)
        return actions

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any], **location: Any) -> HttpResponse | None:
        """Raises SuspiciousOperation for an invalid id. `location` as in get_actions()."""
        for pk in request.POST.getlist(ACTION_CHECKBOX_NAME):
            try:
                self.model._meta.pk.clean(pk, None)
            except ValidationError as error:
                raise SuspiciousOperation("Not an id") from error
        return super().response_action(request, queryset, **location)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Adds a button for each available action, and the panels of related objects."""
        obj = self.get_object(request, object_id) if object_id else None
        actions = self.get_action_choices(request, default_choices=[]) if obj else []
        context = {
            "object_actions": [
                (name, text, name in self.severe_actions)
                for name, text in actions
                if self.is_available(request, name, obj)
            ],
            "badges": self.badges(obj) if obj else [],
            "panels": self.panels(request, obj) if obj and self.has_view_permission(request, obj) else [],
        }
        return super().changeform_view(request, object_id, form_url, context | (extra_context or {}))

    def is_available(self, request: HttpRequest, action: str, obj: Any) -> bool:
        """Whether the action has an effect on this object. The page of the object shows a button only then."""
        return True

    def badges(self, obj: Any) -> "list[Badge]":
        """What staff must see of the object before anything else. No statement."""
        return []

    def panels(self, request: HttpRequest, obj: Any) -> "list[Panel]":
        """The panels of related objects."""
        return []


class ReadOnlyList(BoundedList):
    """A list without add, change and delete."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class Badge(NamedTuple):
    """A state of an object, shown below its name."""

    text: Any
    is_warning: bool = False


class Panel:
    """A short list of related objects on the page of an object, with a link to the complete list if it is longer."""

    def __init__(
        self, title: Any, headings: Sequence[Any], rows: Sequence[Sequence[Any]], url: str = "", note: Any = ""
    ) -> None:
        self.title = title
        self.headings = headings
        self.rows = rows
        self.url = url
        self.note = note


class ListFilter(admin.SimpleListFilter):
    """A filter that answers 400 to a value that it does not offer."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if value is None:
            return queryset
        if value not in dict(self.lookup_choices):
            raise IncorrectLookupParameters
        return self.narrow(queryset, value)

    def narrow(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        """The rows that the value selects. `value` is one of lookups()."""
        raise NotImplementedError


class ChoiceFilter(ListFilter):
    """Filters by a field with choices. The parameter has the name of the field."""

    options: Sequence[tuple[str, Any]]

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> Sequence[tuple[str, Any]]:
        return self.options

    def narrow(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        return queryset.filter((self.parameter_name, value))


class WindowFilter(ListFilter):
    """Filters by age. Replaces Django's date_hierarchy, which reads the whole table."""

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
    """Filters by one user. Shown only if the URL has the parameter, so that the filter can be removed."""

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


def short_time(moment: datetime | None) -> SafeString | None:
    """The date and the minute in UTC, with the complete time as a tooltip; None for no time."""
    if moment is None:
        return None
    complete = f"{date_format(moment, 'DATE_FORMAT')}, {moment:%H:%M:%S} UTC"
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', moment.isoformat(), complete, f"{moment:%Y-%m-%d %H:%M}"
    )


def admin_link(obj: Model | None) -> SafeString | None:
    """A link to the object's page in the admin; None for no object."""
    if obj is None:
        return None
    meta = obj._meta
    url = reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[obj.pk])
    return format_html('<a href="{}">{}</a>', url, obj)
