"""Every URL of the project, read from its URL conf, so that tests include new ones."""

import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import quote

from django.apps import apps
from django.contrib.admin import AdminSite
from django.urls import Resolver404, URLResolver, get_resolver
from django.urls.resolvers import LocalePrefixPattern, RegexPattern, RoutePattern
from hypothesis import HealthCheck, find, settings
from hypothesis import strategies as st
from hypothesis.errors import HypothesisException
from rest_framework.views import APIView

PARAMETER = re.compile(r"<(?:(\w+):)?(\w+)>")
# Values of parameters by converter; other converters use one of these, or a text that matches their regular
# expression.
ANYTHING = {
    "uuid": "0197a1b2-0000-7000-8000-000000000001",
    "int": "1",
    "slug": "1",
    "str": "MQ",
    "path": "1",
    None: "MQ",
}
SAMPLES = ("1", "MQ", ANYTHING["uuid"], "2026-11-25", "en", ".json")
# By name of the parameter: the format suffix of Django REST framework, which answers 404 for an unknown format.
BY_NAME = {"format": ("json",)}
# The packages whose views are the project's own.
OURS = {"accounts", "api", "project", "django", "drf_spectacular", "rest_framework_simplejwt"}
CHANGING = ("POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True)
class Url:
    route: str
    view: Any
    # The route with {name} in place of each parameter, and a value for each by name of its converter.
    template: str = ""
    parameters: Mapping[str, str | None] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.route

    def path(self, **values: object) -> str:
        return self.template.format_map(self.values | {name: str(value) for name, value in values.items()})

    @property
    def view_class(self) -> type | None:
        return getattr(self.view, "cls", None) or getattr(self.view, "view_class", None)

    @property
    def is_ours(self) -> bool:
        return str(getattr(self.view_class or self.view, "__module__", "")).partition(".")[0] in OURS

    @property
    def is_api(self) -> bool:
        return isinstance(self.view_class, type) and issubclass(self.view_class, APIView)

    @property
    def is_admin(self) -> bool:
        return self.route.startswith("/admin/")

    @property
    def reads_no_cookie(self) -> bool:
        """Whether the view authenticates no request, so that a cookie has no effect."""
        return self.is_api and not self._setting("authentication_classes")

    def _setting(self, name: str) -> Any:
        # as_view(name=…) takes precedence over the class.
        return self.view.initkwargs.get(name, getattr(self.view_class, name))

    @property
    def methods(self) -> list[str]:
        """The methods that may change data and that the view accepts; at least POST."""
        if not self.is_api:
            return ["POST"]
        handlers = getattr(self.view, "actions", None) or self.view_class
        has = handlers.__contains__ if isinstance(handlers, dict) else lambda name: hasattr(handlers, name)
        return [method for method in CHANGING if has(method.lower())] or ["POST"]


class NotTried(Exception):
    """No URL could be built for a route."""


class Part(NamedTuple):
    """The part that one pattern adds to a route."""

    template: str
    parameters: dict[str, str | None]
    values: dict[str, str]


def _part_of(pattern: Any) -> Part:
    """Returns the part of a pattern. Raises NotTried."""
    if isinstance(pattern, RoutePattern):
        return _part_of_route(pattern)
    if isinstance(pattern, RegexPattern):
        return _part_of_regex(pattern)
    if isinstance(pattern, LocalePrefixPattern):
        return Part(_literal(pattern.language_prefix), {}, {})
    raise NotTried(f"unknown pattern {type(pattern).__name__}")


def _part_of_route(pattern: RoutePattern) -> Part:
    route = str(pattern)
    names = {name: converter or None for converter, name in PARAMETER.findall(route)}
    values = {name: _value_for(names[name], converter) for name, converter in pattern.converters.items()}
    between = PARAMETER.split(route)
    template = "".join(_literal(text) + (f"{{{name}}}" if name else "") for text, name in _pairs(between))
    return Part(template, names, values)


def _pairs(split: list[str]) -> Iterator[tuple[str, str]]:
    """Yields each text and the name after it: re.split() returns converter and name between the texts."""
    for position in range(0, len(split), 3):
        yield split[position], split[position + 2] if position + 2 < len(split) else ""


def _value_for(name: str | None, converter: Any) -> str:
    if name in ANYTHING:
        return ANYTHING[name]
    for sample in SAMPLES:
        if re.fullmatch(converter.regex, sample) and _is_taken(converter, sample):
            return sample
    sample = _example_of(converter.regex)
    if not _is_taken(converter, sample):
        raise NotTried(f"the converter {name} takes none of our samples")
    return quote(sample)


def _is_taken(converter: Any, sample: str) -> bool:
    try:
        converter.to_python(sample)
    except ValueError:
        return False
    except Exception:
        # It reads a database that does not exist yet: the request will show whether it works.
        return True
    return True


def _part_of_regex(pattern: RegexPattern) -> Part:
    regex = pattern.regex
    text = _example_of(regex.pattern)
    for name in regex.groupindex:
        text = _with_plain_value(regex, text, name)
    match = regex.search(text)
    if match is None:
        raise NotTried("no text for its regular expression")
    template, values, end = "", {}, 0
    for name in sorted(regex.groupindex, key=match.start):
        # A missing or nested group has no URL of its own.
        if match.start(name) >= end:
            template += _literal(text[end : match.start(name)]) + f"{{{name}}}"
            values[name], end = quote(match[name]), match.end(name)
    return Part(template + _literal(text[end:]), dict.fromkeys(values, "regex"), values)


def _with_plain_value(regex: re.Pattern[str], text: str, name: str) -> str:
    """Returns the part with one of the sample values, if one matches."""
    for sample in (*BY_NAME.get(name, ()), *SAMPLES):
        match = regex.search(text)
        if match and match.start(name) >= 0:
            tried = text[: match.start(name)] + sample + text[match.end(name) :]
            again = regex.search(tried)
            if again and again[name] == sample and again.end() == len(tried):
                return tried
    return text


@cache
def _example_of(regex: str) -> str:
    """Returns the simplest text that the pattern matches in full. Raises NotTried."""
    texts = st.from_regex(regex, fullmatch=True, alphabet=st.characters(min_codepoint=33, max_codepoint=126))
    quiet = settings(database=None, deadline=None, max_examples=200, suppress_health_check=list(HealthCheck))
    try:
        return find(texts, lambda _text: True, settings=quiet)
    except HypothesisException as error:
        raise NotTried("no text for its regular expression") from error


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def walk(urlconf: Any = None) -> tuple[list[Url], dict[str, str]]:
    """Returns all URLs that can be built, and the reason for each other route."""
    resolver = get_resolver(urlconf)
    skipped: dict[str, str] = {}
    found = list(_walk(resolver.url_patterns, Url("/", None, "/"), skipped))
    reasons = [_reason_against(resolver, url) for url in found]
    urls = [url for url, reason in zip(found, reasons, strict=True) if not reason]
    tried = {url.route for url in urls}
    skipped |= {url.route: reason for url, reason in zip(found, reasons, strict=True) if reason}
    # A second pattern with the same route is unreachable.
    return urls, {route: reason for route, reason in skipped.items() if route not in tried}


def _walk(patterns: Any, before: Url, skipped: dict[str, str]) -> Iterator[Url]:
    for each in patterns:
        route = before.route + str(each.pattern)
        # A catch-all: a redirect or a 404.
        if getattr(each.callback, "__name__", "") == AdminSite.catch_all_view.__name__:
            continue
        try:
            part = _part_of(each.pattern)
        except NotTried as reason:
            skipped[route] = str(reason)
            continue
        url = Url(
            route,
            None if isinstance(each, URLResolver) else each.callback,
            before.template + part.template,
            before.parameters | part.parameters,
            before.values | part.values,
        )
        if isinstance(each, URLResolver):
            yield from _walk(each.url_patterns, url, skipped)
        else:
            yield url


def _reason_against(resolver: URLResolver, url: Url) -> str:
    """Returns why a URL resolves to another view; empty if it resolves to its own."""
    try:
        found = resolver.resolve(url.path())
    except Resolver404:
        return f"nothing answers at {url.path()}"
    except Exception:
        # A converter that reads a database: the request will show whether it works.
        return ""
    return "" if found.func == url.view else f"another view answers at {url.path()}"


def all_urls() -> list[Url]:
    """Returns all URLs, and warns about skipped routes."""
    urls, skipped = walk()
    for route, reason in skipped.items():
        warnings.warn(f"Not tried: {route} ({reason})", stacklevel=2)
    return urls


def all_rows() -> dict[str, list[Any]]:
    """Returns all rows of the project's tables."""
    models = [model for app in ("accounts", "api", "blocklist") for model in apps.get_app_config(app).get_models()]
    return {model._meta.label: list(model._base_manager.order_by("pk").values()) for model in models}
