"""The OpenAPI document: what drf-spectacular cannot see in the views, so that it is complete and true."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, NamedTuple

from django.conf import settings
from django.core.validators import ProhibitNullCharactersValidator
from drf_spectacular import openapi
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.plumbing import ResolvedComponent
from rest_framework import permissions
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.views import APIView
from rest_framework_simplejwt.views import TokenViewBase

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
# Headers by the components that describe them.
NO_STORE = {"Cache-Control": "NoStore"}
KEPT = {"Cache-Control": "Kept", "ETag": "ETag"}
Json = dict[str, Any]


# What is refused, and how


class Refusal(NamedTuple):
    """A status that many endpoints answer with, described once."""

    name: str
    description: str
    examples: dict[str, Json]
    schema: str = "Error"
    headers: dict[str, str] = NO_STORE


REFUSALS = {
    "400": Refusal(
        "Invalid",
        "The input is not valid; what is wrong with a field stands under its name.",
        {
            "fields": {
                "username": ["This field is required."],
                "detail": "The input is not valid.",
                "code": "invalid",
            },
            "no JSON": {"detail": "The request body is not valid JSON.", "code": "parse_error"},
        },
        schema="InvalidInput",
        headers=NO_STORE | {"DPoP-Nonce": "Nonce"},
    ),
    "401": Refusal(
        "Unauthorized",
        "Nobody is signed in, or the token or password is not good. The challenge names `invalid_token` if the token "
        "is to blame: refresh, then try once more.",
        {
            "no sign-in": {"detail": "Authentication credentials were not provided.", "code": "not_authenticated"},
            "bad token": {"detail": "Token is blacklisted", "code": "token_not_valid"},
            "bad password": {
                "detail": "No active account found with the given credentials",
                "code": "no_active_account",
            },
        },
        headers=NO_STORE | {"WWW-Authenticate": "Challenge", "DPoP-Nonce": "Nonce"},
    ),
    "403": Refusal(
        "Forbidden",
        "Not allowed to whoever asks, or not before they confirm their password (`recent_sign_in_required`); or a "
        "session cookie came without its CSRF token.",
        {"not allowed": {"detail": "You do not have permission to perform this action.", "code": "permission_denied"}},
    ),
    "404": Refusal(
        "NotFound",
        "There is no such thing, or none of one's own.",
        {"not found": {"detail": "Not found.", "code": "not_found"}},
    ),
    "406": Refusal(
        "NotAcceptable",
        "The answer cannot be had in any media type of the `Accept` header.",
        {"not acceptable": {"detail": "Could not satisfy the request Accept header.", "code": "not_acceptable"}},
    ),
    "411": Refusal(
        "LengthRequired",
        "The body has no `Content-Length`, and the application server does not mark its end. gunicorn does.",
        {
            "no length": {
                "detail": "The request body has no Content-Length, which this server needs. Send one.",
                "code": "length_required",
            }
        },
    ),
    "413": Refusal(
        "TooLarge",
        "The body is larger than 1.5 MB of JSON, or 64 kB of form.",
        {"too large": {"detail": "The request body is too large.", "code": "too_large"}},
    ),
    "414": Refusal(
        "AddressTooLong", "The address is longer than 4094 bytes. The application server says so, in HTML.", {}
    ),
    "415": Refusal(
        "UnsupportedMediaType",
        "The body is of another media type, or of another charset than UTF-8.",
        {
            "media type": {
                "detail": 'Unsupported media type "text/plain" in request.',
                "code": "unsupported_media_type",
            }
        },
    ),
    "429": Refusal(
        "TooManyRequests",
        "Too often. Wait for `Retry-After` seconds.",
        {"throttled": {"detail": "Request was throttled. Expected available in 30 seconds.", "code": "throttled"}},
        headers=NO_STORE | {"Retry-After": "Wait"},
    ),
    "503": Refusal(
        "Unavailable",
        "The service is in trouble, and cannot tell a good token from an ended one. The token is as good as before.",
        {
            "database": {
                "detail": "The service cannot reach its database. Try again in a moment.",
                "code": "unavailable",
            }
        },
        headers=NO_STORE | {"Retry-After": "Wait"},
    ),
}

ERROR_PROPERTIES: Json = {
    "detail": {"type": "string", "description": "For people."},
    "code": {"type": "string", "description": "For programs."},
    "error": {"type": "string", "description": "OAuth's code, where an RFC asks for it (RFC 6749, section 5.2)."},
}
SCHEMAS: dict[str, Json] = {
    "Error": {
        "type": "object",
        "properties": ERROR_PROPERTIES
        | {
            "messages": {
                "type": "array",
                "description": "With `token_not_valid`: why, for each kind of token that was tried.",
                "items": {"type": "object", "additionalProperties": {"type": "string"}},
            }
        },
        "required": ["detail", "code"],
    },
    "InvalidInput": {
        "type": "object",
        "properties": ERROR_PROPERTIES
        | {
            "error": {
                "type": "string",
                "description": "As OAuth names it, where tokens are given (RFC 9449, section 5).",
            }
        },
        "required": ["detail", "code"],
        "additionalProperties": {"type": "array", "items": {"type": "string"}},
    },
}
EMPTY: Json = {"type": "object", "maxProperties": 0}
JWK_SET: Json = {
    "type": "object",
    "properties": {
        "keys": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "kty": {"type": "string", "enum": ["EC", "RSA", "OKP"]},
                    "alg": {"type": "string", "enum": ["ES256", "RS256", "EdDSA"]},
                    "use": {"type": "string", "enum": ["sig"]},
                    "kid": {"type": "string", "description": "RFC 7638."},
                },
                "required": ["kty", "alg", "use", "kid"],
                "additionalProperties": {"type": "string"},
            },
        }
    },
    "required": ["keys"],
}
INTROSPECTED: Json = {
    "type": "object",
    "properties": {
        "active": {
            "type": "boolean",
            "description": "Whether it is good now; if not, nothing else is told.",
        },
        "token_type": {"type": "string", "enum": ["Bearer", "DPoP"]},
        "cnf": {
            "type": "object",
            "description": "With DPoP: the key that the token is bound to, by its thumbprint (RFC 7638).",
            "properties": {"jkt": {"type": "string"}},
            "required": ["jkt"],
        },
        "username": {"type": "string"},
        "iss": {"type": "string"},
        "sub": {"type": "string"},
        "aud": {"type": "string"},
        "exp": {"type": "integer"},
        "iat": {"type": "integer"},
        "jti": {"type": "string"},
        "sid": {"type": "string", "format": "uuid"},
    },
    "required": ["active"],
}
CHALLENGE = r'^(Bearer realm="api"|DPoP (error="[a-z_]+", )?algs="ES256 EdDSA")(, error="invalid_token")?$'
HEADERS: dict[str, Json] = {
    "Nonce": {
        "description": "Belongs into the next proof; comes with `use_dpop_nonce` (RFC 9449, section 8).",
        "schema": {"type": "string"},
    },
    "NoStore": {
        "description": "Nobody keeps the answer.",
        "required": True,
        "schema": {"type": "string", "pattern": "no-store"},
    },
    "Kept": {
        "description": "Caches may keep the answer for so many seconds.",
        "required": True,
        "schema": {"type": "string", "pattern": "public"},
    },
    "ETag": {"required": True, "schema": {"type": "string"}},
    "Challenge": {
        "description": "RFC 6750, section 3; RFC 9449, section 7.1.",
        "required": True,
        "schema": {"type": "string", "pattern": CHALLENGE},
    },
    "Wait": {
        "description": "Seconds.",
        "required": True,
        "schema": {"type": "integer", "minimum": 0},
    },
}


# What goes on from an answer: {operation: {status: {name: link}}}


def _link(operation: str, body: dict[str, str]) -> Json:
    return {"operationId": operation, "requestBody": body}


OF_TOKENS = {
    "revokeAccess": _link("revoke", {"token": "$response.body#/access"}),
    "introspectAccess": _link("introspect", {"token": "$response.body#/access"}),
    "refreshOnce": _link("refresh", {"refresh": "$response.body#/refresh"}),
    "verifyAccess": _link("verify", {"token": "$response.body#/access"}),
    "verifyRefresh": _link("verify", {"token": "$response.body#/refresh"}),
    "signOut": _link("sign_out", {"refresh": "$response.body#/refresh"}),
}
OF_REGISTRATION = {
    "signIn": _link("sign_in", {"username": "$request.body#/username", "password": "$request.body#/password"})
}
OF_SIGN_INS = {
    "endTheLatest": {"operationId": "end_sign_in", "parameters": {"id": "$response.body#/results/0/id"}},
}
LINKS: dict[str, dict[str, Json]] = {
    "register": {"201": OF_REGISTRATION},
    "sign_in": {"200": OF_TOKENS},
    "refresh": {"200": OF_TOKENS},
    "sign_ins": {"200": OF_SIGN_INS},
}


class AutoSchema(openapi.AutoSchema):
    """As drf-spectacular's, with the refusals, the headers and the links that it does not see."""

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
            # Whether or not it may be left out of a request.
            schema["required"] = sorted(properties.keys() - getattr(serializer, "optional", ()))
            return schema
        for name, facts in properties.items():
            field = serializer.fields[name]
            if any(isinstance(each, ProhibitNullCharactersValidator) for each in field.validators):
                facts |= {"pattern": r"^[^\u0000]*$"}
            facts |= getattr(field, "schema", {})
        return schema | getattr(serializer, "schema", {})

    def _get_response_bodies(self, direction: Any = "response") -> Json:
        answers: Json = super()._get_response_bodies(direction)
        for status, answer in answers.items():
            answer["description"] = answer["description"] or HTTPStatus(int(status)).phrase
            is_kept = getattr(self.view, "may_be_kept", False) and status < "400"
            answer["headers"] = self._headers(KEPT if is_kept else NO_STORE)
        refusals = {status: self._refusal(status) for status in {*self._refused_with(), *answers} & REFUSALS.keys()}
        return dict(sorted((answers | refusals).items()))

    def _refused_with(self) -> Iterable[str]:
        """By the rules that the views follow."""
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
            # The session cookie needs a CSRF token.
            yield "403"
        if any(type(each) not in OPEN_DOORS for each in self.view.get_permissions()):
            yield "403"
        if self.view.get_throttles():
            yield "429"

    def _refusal(self, status: str) -> Json:
        refusal = REFUSALS[status]
        if not refusal.examples:
            return self._component(ResolvedComponent.RESPONSE, refusal.name, {"description": refusal.description})
        schema = self._component(ResolvedComponent.SCHEMA, refusal.schema, SCHEMAS[refusal.schema])
        examples = {name: {"value": value} for name, value in refusal.examples.items()}
        return self._component(
            ResolvedComponent.RESPONSE,
            refusal.name,
            {
                "description": refusal.description,
                "headers": self._headers(refusal.headers),
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


OPEN_DOORS = (permissions.AllowAny, permissions.IsAuthenticated)


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
                "description": "For programs, from anywhere: the `access` token of `POST /api/token/`.",
            },
            {
                "type": "http",
                "scheme": "dpop",
                "description": "As `accessToken`, where a proof in the header `DPoP` came with the sign-in (RFC 9449): "
                "the token opens nothing without a new proof of the same key, at every call.",
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
            "description": "For the project's own pages: the cookie of a browser that is signed in. "
            "What writes needs the CSRF token too, in `X-CSRFToken`.",
        }


# What is not made of DRF's views


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
    live = _health("is_live", "Check whether the process answers.", "status")
    ready = _health(
        "is_ready",
        "Check whether the database answers and is migrated. Redis may be away.",
        "status",
        "database",
        "redis",
    )
    result["paths"] |= {"/health/live": {"get": live}, "/health/ready": {"get": ready}}
    return result
