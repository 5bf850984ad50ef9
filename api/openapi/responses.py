"""The parts of the OpenAPI document that many endpoints share: error responses, schemas, headers and links."""

from typing import Any, NamedTuple

from accounts.models.choices import Method

# Headers by the components that describe them.
NO_STORE = {"Cache-Control": "NoStore"}
CACHEABLE = {"Cache-Control": "Kept", "ETag": "ETag"}
Json = dict[str, Any]


# Error responses


class ErrorResponse(NamedTuple):
    """An error status of many endpoints, described once as a component."""

    name: str
    description: str
    examples: dict[str, Json]
    schema: str = "Error"
    headers: dict[str, str] = NO_STORE


ERROR_RESPONSES = {
    "400": ErrorResponse(
        "Invalid",
        "The input is invalid. The errors of a field are listed under its name.",
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
        "The request has no sign-in, or its token or password is invalid. After `token_not_valid`, refresh the token "
        "and repeat the request; after `sign_in_ended`, the user must sign in again. An API key that has ended is "
        "`api_key_not_valid`.",
        {
            "no sign-in": {"detail": "Authentication credentials were not provided.", "code": "not_authenticated"},
            "bad token": {"detail": "Token is blacklisted", "code": "token_not_valid"},
            "ended": {"detail": "The sign-in has ended. Sign in again.", "code": "sign_in_ended"},
            "bad password": {
                "detail": "No active account found with the given credentials",
                "code": "no_active_account",
            },
        },
        headers=NO_STORE | {"WWW-Authenticate": "Challenge", "DPoP-Nonce": "Nonce"},
    ),
    "403": ErrorResponse(
        "Forbidden",
        "The user is not allowed to do this, or must confirm who they are first (`recent_sign_in_required`, by one of "
        "`methods`), or must finish the sign-in with a second factor (`second_step_required`, with `step` and "
        "`methods`), or another site may have sent the request with the session cookie (`csrf_failed`), or it has an "
        "access token of a session instead of the cookie (`session_required`), or an API key, which cannot do this at "
        "all (`api_key_not_allowed`) or not in its scopes (`insufficient_scope`).",
        {
            "not allowed": {
                "detail": "You do not have permission to perform this action.",
                "code": "permission_denied",
            },
            "second step": {
                "detail": "Finish the sign-in with a second factor, at /api/token/second-step/, by one of the methods.",
                "code": "second_step_required",
                "step": "eyJjaGFsbGVuZ2UiOiIifQ:1x",
                "methods": ["totp", "recovery_code"],
            },
        },
    ),
    "404": ErrorResponse(
        "NotFound",
        "The object does not exist, or belongs to another user.",
        {"not found": {"detail": "Not found.", "code": "not_found"}},
    ),
    "406": ErrorResponse(
        "NotAcceptable",
        "The response is not available in any media type of the `Accept` header.",
        {"not acceptable": {"detail": "Could not satisfy the request Accept header.", "code": "not_acceptable"}},
    ),
    "411": ErrorResponse(
        "LengthRequired",
        "The body has no `Content-Length`, which this application server needs. gunicorn does not need it.",
        {
            "no length": {
                "detail": "The request body has no Content-Length, which this server needs. Send one.",
                "code": "length_required",
            }
        },
    ),
    "413": ErrorResponse(
        "TooLarge",
        "The body is larger than 1.5 MB (JSON) or 64 kB (form).",
        {"too large": {"detail": "The request body is too large.", "code": "too_large"}},
    ),
    "414": ErrorResponse(
        "AddressTooLong", "The URL is longer than 4094 bytes. The application server returns this error as HTML.", {}
    ),
    "415": ErrorResponse(
        "UnsupportedMediaType",
        "The body has an unsupported media type, or a charset other than UTF-8.",
        {
            "media type": {
                "detail": 'Unsupported media type "text/plain" in request.',
                "code": "unsupported_media_type",
            }
        },
    ),
    "429": ErrorResponse(
        "TooManyRequests",
        "Too many requests. Wait for `Retry-After` seconds.",
        {"throttled": {"detail": "Request was throttled. Expected available in 30 seconds.", "code": "throttled"}},
        headers=NO_STORE | {"Retry-After": "Wait"},
    ),
    "503": ErrorResponse(
        "Unavailable",
        "The database is unavailable, so tokens cannot be checked. The client's token is still valid: try again later.",
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
    "detail": {"type": "string", "description": "A text for users."},
    "code": {"type": "string", "description": "A code for clients."},
    "error": {"type": "string", "description": "OAuth's error code, where an RFC requires it (RFC 6749, section 5.2)."},
}
SCHEMAS: dict[str, Json] = {
    "Error": {
        "type": "object",
        "properties": ERROR_PROPERTIES
        | {
            "messages": {
                "type": "array",
                "description": "With `token_not_valid`: the reason, for each type of token that was tried.",
                "items": {"type": "object", "additionalProperties": {"type": "string"}},
            },
            "methods": {
                "type": "array",
                "description": "With `second_step_required` and `recent_sign_in_required`: what the user can prove.",
                "items": {"type": "string", "enum": Method.values},
            },
            "step": {"type": "string", "description": "With `second_step_required`: send it back with the proof."},
            "passkey": {
                "type": "object",
                "description": "With `second_step_required`: the options for `navigator.credentials.get()`.",
            },
        },
        "required": ["detail", "code"],
    },
    "InvalidInput": {
        "type": "object",
        "properties": ERROR_PROPERTIES
        | {
            "error": {
                "type": "string",
                "description": "OAuth's error code, at the token endpoints (RFC 9449, section 5).",
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
            "description": "Whether the token is valid now. If not, no other member is present.",
        },
        "token_type": {"type": "string", "enum": ["Bearer", "DPoP"]},
        "cnf": {
            "type": "object",
            "description": "With DPoP: the thumbprint of the key that the token is bound to (RFC 7638).",
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
CHALLENGE = r'^((Bearer|Session) realm="api"|DPoP (error="[a-z_]+", )?algs="ES256 EdDSA")(, error="invalid_token")?$'
HEADERS: dict[str, Json] = {
    "Nonce": {
        "description": "The nonce for the next proof, sent with `use_dpop_nonce` (RFC 9449, section 8).",
        "schema": {"type": "string"},
    },
    "NoStore": {
        "description": "Caches must not store the response.",
        "required": True,
        "schema": {"type": "string", "pattern": "no-store"},
    },
    "Kept": {
        "description": "Caches may store the response for `max-age` seconds.",
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
        "description": "The time to wait, in seconds.",
        "required": True,
        "schema": {"type": "integer", "minimum": 0},
    },
}


# Links from a response to the next operation: {operation: {status: {name: link}}}


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
    "renameTheLatest": {"operationId": "rename_sign_in", "parameters": {"id": "$response.body#/results/0/id"}},
}
LINKS: dict[str, dict[str, Json]] = {
    "register": {"201": REGISTRATION_LINKS},
    "sign_in": {"200": TOKEN_LINKS},
    "refresh": {"200": TOKEN_LINKS},
    "sign_ins": {"200": SIGN_INS_LINKS},
}
