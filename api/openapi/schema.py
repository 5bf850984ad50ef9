"""Additions to drf-spectacular's OpenAPI document: errors, headers, links, security schemes and health checks."""

from collections.abc import Iterable
from copy import deepcopy
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.core.validators import ProhibitNullCharactersValidator
from drf_spectacular import openapi
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.plumbing import ResolvedComponent
from rest_framework import permissions
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.views import APIView
from rest_framework_simplejwt.views import TokenViewBase

from api.openapi.responses import CACHEABLE, ERROR_RESPONSES, HEADERS, LINKS, NO_STORE, SCHEMAS, Json

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class AutoSchema(openapi.AutoSchema):
    """
    drf-spectacular's generator, with errors, headers and links that it cannot derive from the views. Overrides private
    methods: its public hooks see only the finished document. tests/api/test_schema_conformance.py checks the result.
    """

    view: APIView

    def get_operation(self, *args: Any, **kwargs: Any) -> Json | None:
        operation: Json | None = super().get_operation(*args, **kwargs)
        if operation:
            for status, links in LINKS.get(operation["operationId"], {}).items():
                operation["responses"][status]["links"] = links
        return operation

    def get_summary(self) -> str:
        return self.get_description().partition(".")[0]

    def _map_serializer(self, serializer: Any, direction: Any, bypass_extensions: bool = False) -> Json:
        schema: Json = super()._map_serializer(serializer, direction, bypass_extensions)
        properties: dict[str, Json] = schema.get("properties", {})
        if direction == "response":
            # A response has every field, including those that are optional in a request.
            schema["required"] = sorted(properties.keys() - getattr(serializer, "optional", ()))
            return schema
        for name, constraints in properties.items():
            field = serializer.fields[name]
            if any(isinstance(each, ProhibitNullCharactersValidator) for each in field.validators):
                constraints |= {"pattern": r"^[^\u0000]*$"}
            constraints |= getattr(field, "schema", {})
        return schema | getattr(serializer, "schema", {})

    def _get_response_bodies(self, direction: Any = "response") -> Json:
        responses: Json = super()._get_response_bodies(direction)
        for status, response in responses.items():
            response["description"] = response["description"] or HTTPStatus(int(status)).phrase
            is_cacheable = getattr(self.view, "is_cacheable", False) and status < "400"
            response["headers"] = self._headers(CACHEABLE if is_cacheable else NO_STORE)
        errors = {
            status: self._error_response(status)
            for status in {*self._error_statuses(), *responses} & ERROR_RESPONSES.keys()
        }
        return dict(sorted((responses | errors).items()))

    def _error_statuses(self) -> Iterable[str]:
        """The error statuses that the view may return, derived from its classes and methods."""
        if issubclass(self.view.content_negotiation_class, DefaultContentNegotiation):
            yield "406"
        if getattr(self.view, "needs_database", True):
            yield "503"
        if self._get_request_body():
            yield from ("400", "411", "413", "415")
        if "{" in self.path or self._is_list_view():
            yield "404"
        if self._is_list_view():
            yield from ("400", "414")
        authenticators = self.view.get_authenticators()
        if authenticators or isinstance(self.view, TokenViewBase):
            yield "401"
        if authenticators and self.method not in SAFE_METHODS:
            # A page of another site may have sent the session cookie.
            yield "403"
        if any(type(each) not in UNRESTRICTED_PERMISSIONS for each in self.view.get_permissions()):
            yield "403"
        if self.view.get_throttles():
            yield "429"

    def _error_response(self, status: str) -> Json:
        error = ERROR_RESPONSES[status]
        if not error.examples:
            return self._component(ResolvedComponent.RESPONSE, error.name, {"description": error.description})
        schema = self._component(ResolvedComponent.SCHEMA, error.schema, deepcopy(SCHEMAS[error.schema]))
        examples = {name: {"value": value} for name, value in error.examples.items()}
        return self._component(
            ResolvedComponent.RESPONSE,
            error.name,
            {
                "description": error.description,
                "headers": self._headers(error.headers),
                "content": {"application/json": {"schema": schema, "examples": examples}},
            },
        )

    def _headers(self, described: dict[str, str]) -> Json:
        return {
            header: self._component(ResolvedComponent.HEADER, name, HEADERS[name]) for header, name in described.items()
        }

    def _component(self, kind: str, name: str, schema: Json) -> Json:
        component = ResolvedComponent(name, kind, schema, object=name)
        self.registry.register_on_missing(component)
        return component.ref


UNRESTRICTED_PERMISSIONS = (permissions.AllowAny, permissions.IsAuthenticated)


class AccessTokenScheme(OpenApiAuthenticationExtension):
    target_class = "api.authentication.TokenAuthentication"
    name = ["accessToken", "boundToken"]

    def get_security_requirement(self, auto_schema: AutoSchema) -> list[Json]:
        return [{name: []} for name in self.name]

    def get_security_definition(self, auto_schema: AutoSchema) -> list[Json]:
        return [
            {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT",
                "description": "For clients, from any origin: the `access` token of `POST /api/token/`, or an API key.",
            },
            {
                "type": "http",
                "scheme": "dpop",
                "description": "As `accessToken`, for a sign-in with a proof in the header `DPoP` (RFC 9449). Every "
                "request needs a new proof by the same key.",
            },
        ]


class SessionScheme(OpenApiAuthenticationExtension):
    target_class = "api.authentication.SessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: AutoSchema) -> Json:
        return {
            "type": "apiKey",
            "in": "cookie",
            "name": settings.SESSION_COOKIE_NAME,
            "description": "For the project's own pages, and browser apps of `APP_ORIGINS`: the session cookie of a "
            "browser. A request that writes must show by `Sec-Fetch-Site` or `Origin` that such a page sent it, or "
            "have the CSRF token in `X-CSRFToken`.",
        }


# Endpoints that are not DRF views


def _health(operation: str, description: str, *members: str) -> Json:
    schema = {"type": "object", "properties": {name: {"type": "string"} for name in members}, "required": [*members]}
    return {
        "operationId": operation,
        "description": description,
        "summary": description.partition(".")[0],
        "tags": ["health"],
        "responses": {
            status: {
                "description": HTTPStatus(int(status)).phrase,
                "headers": {"Cache-Control": {"$ref": "#/components/headers/NoStore"}},
                "content": {"application/json": {"schema": schema}},
            }
            for status in (["200", "503"] if "database" in members else ["200"])
        },
    }


def add_health(result: Json, **kwargs: Any) -> Json:
    live = _health("is_live", "Check whether the process responds.", "status")
    ready = _health(
        "is_ready",
        "Check whether the node can serve: database, migrations, static files, keys. Redis may be unavailable, and"
        " mails may wait.",
        "status",
        "database",
        "static_files",
        "keys",
        "redis",
        "mail",
    )
    result["paths"] |= {"/health/live": {"get": live}, "/health/ready": {"get": ready}}
    return result
