"""Every address of the project, found in its URL conf: a new one is tried before anybody names it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.urls import URLPattern, URLResolver, get_resolver
from django.urls.resolvers import RoutePattern
from rest_framework.views import APIView

PARAMETER = re.compile(r"<(?:(\w+):)?(\w+)>")
# What stands for a parameter whose value does not matter.
ANYTHING = {"uuid": "0197a1b2-0000-7000-8000-000000000001", "int": "1", "path": "1", None: "MQ"}
CHANGING = ("POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True)
class Place:
    route: str
    view: Any

    def __str__(self) -> str:
        return self.route

    @property
    def parameters(self) -> dict[str, str | None]:
        """Their converters by name."""
        return {name: converter or None for converter, name in PARAMETER.findall(self.route)}

    def path(self, **values: object) -> str:
        return PARAMETER.sub(lambda found: str(values.get(found[2], ANYTHING[found[1]])), self.route)

    @property
    def view_class(self) -> type | None:
        return getattr(self.view, "cls", None) or getattr(self.view, "view_class", None)

    @property
    def is_api(self) -> bool:
        return isinstance(self.view_class, type) and issubclass(self.view_class, APIView)

    @property
    def is_admin(self) -> bool:
        return self.route.startswith("/admin/")

    @property
    def reads_no_cookie(self) -> bool:
        """Whoever calls is nobody there, so that a cookie lends no power."""
        return self.is_api and not self._setting("authentication_classes")

    def _setting(self, name: str) -> Any:
        # as_view(name=…) comes before the class.
        return self.view.initkwargs.get(name, getattr(self.view_class, name))

    @property
    def methods(self) -> list[str]:
        """What it answers to, of what may change something; POST at least."""
        if not self.is_api:
            return ["POST"]
        handlers = getattr(self.view, "actions", None) or self.view_class
        has = handlers.__contains__ if isinstance(handlers, dict) else lambda name: hasattr(handlers, name)
        return [method for method in CHANGING if has(method.lower())] or ["POST"]


def _walk(patterns: Any, prefix: str) -> Iterator[Place]:
    for each in patterns:
        # The admin's last pattern takes whatever is left; it is a redirect or a 404.
        if not isinstance(each.pattern, RoutePattern):
            continue
        route = prefix + str(each.pattern)
        if isinstance(each, URLResolver):
            yield from _walk(each.url_patterns, route)
        elif isinstance(each, URLPattern):
            yield Place(route, each.callback)


def all_places() -> list[Place]:
    return list(_walk(get_resolver().url_patterns, "/"))


def all_rows() -> dict[str, list[Any]]:
    """All that there is in our tables."""
    models = [model for app in ("accounts", "api", "blocklist") for model in apps.get_app_config(app).get_models()]
    return {model._meta.label: list(model._base_manager.order_by("pk").values()) for model in models}
