"""The parts of the OpenAPI document that many endpoints share: error responses, schemas, headers and links."""

from typing import Any, NamedTuple

# Headers by the components that describe them.
NO_STORE = {"Cache-Control": "NoStore"}
CACHEABLE = {"Cache-Control": "Kept", "ETag": "ETag"}
Json = dict[str, Any]


# What is refused, and how


class ErrorResponse(NamedTuple):
    """A status that many endpoints answer with, described once."""

    name: str
    description: str
    examples: dict[str, Json]
    schema: str = "Error"
    headers: dict[str, str] = NO_STORE


ERROR_RESPONSES = {
    "400": ErrorResponse(
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
    "401": ErrorResponse(
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
    "403": ErrorResponse(
        "Forbidden",
        "Not allowed to whoever asks, or not before they confirm their password (`recent_sign_in_required`); or a "
        "session cookie came without its CSRF token.",
        {"not allowed": {"detail": "You do not have permission to perform this action.", "code": "permission_denied"}},
    ),
    "404": ErrorResponse(
        "NotFound",
        "There is no such thing, or none of one's own.",
        {"not found": {"detail": "Not found.", "code": "not_found"}},
    ),
    "406": ErrorResponse(
        "NotAcceptable",
        "The answer cannot be had in any media type of the `Accept` header.",
        {"not acceptable": {"detail": "Could not satisfy the request Accept header.", "code": "not_acceptable"}},
    ),
    "411": ErrorResponse(
        "LengthRequired",
        "The body has no `Content-Length`, and the application server does not mark its end. gunicorn does.",
        {
            "no length": {
                "detail": "The request body has no Content-Length, which this server needs. Send one.",
                "code": "length_required",
            }
        },
    ),
    "413": ErrorResponse(
        "TooLarge",
        "The body is larger than 1.5 MB of JSON, or 64 kB of form.",
        {"too large": {"detail": "The request body is too large.", "code": "too_large"}},
    ),
    "414": ErrorResponse(
        "AddressTooLong", "The address is longer than 4094 bytes. The application server says so, in HTML.", {}
    ),
    "415": ErrorResponse(
        "UnsupportedMediaType",
        "The body is of another media type, or of another charset than UTF-8.",
        {
            "media type": {
                "detail": 'Unsupported media type "text/plain" in request.',
                "code": "unsupported_media_type",
            }
        },
    ),
    "429": ErrorResponse(
        "TooManyRequests",
        "Too often. Wait for `Retry-After` seconds.",
        {"throttled": {"detail": "Request was throttled. Expected available in 30 seconds.", "code": "throttled"}},
        headers=NO_STORE | {"Retry-After": "Wait"},
    ),
    "503": ErrorResponse(
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
INTROSPECTION: Json = {
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


TOKEN_LINKS = {
    "revokeAccess": _link("revoke", {"token": "$response.body#/access"}),
    "introspectAccess": _link("introspect", {"token": "$response.body#/access"}),
    "refreshOnce": _link("refresh", {"refresh": "$response.body#/refresh"}),
    "verifyAccess": _link("verify", {"token": "$response.body#/access"}),
    "verifyRefresh": _link("verify", {"token": "$response.body#/refresh"}),
    "signOut": _link("sign_out", {"refresh": "$response.body#/refresh"}),
}
REGISTRATION_LINKS = {
    "signIn": _link("sign_in", {"username": "$request.body#/username", "password": "$request.body#/password"})
}
SIGN_INS_LINKS = {
    "endTheLatest": {"operationId": "end_sign_in", "parameters": {"id": "$response.body#/results/0/id"}},
}
LINKS: dict[str, dict[str, Json]] = {
    "register": {"201": REGISTRATION_LINKS},
    "sign_in": {"200": TOKEN_LINKS},
    "refresh": {"200": TOKEN_LINKS},
    "sign_ins": {"200": SIGN_INS_LINKS},
}
