"""Authentication of API requests by API key: whose it is, and what it can do."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, NoReturn
from uuid import UUID

from rest_framework.exceptions import AuthenticationFailed, PermissionDenied, Throttled
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request

from accounts import api_keys
from accounts.models import KeyScope, SignIn, User
from api.blocklist.api_keys import find_sign_in
from api.throttling import RefusedKeyThrottle

PREFIX = api_keys.PREFIX.encode()
# The scope that each method needs, for the attribute `api_key_scopes` of a view. No other method can be used.
READ_ONLY: Mapping[str, str] = dict.fromkeys(SAFE_METHODS, KeyScope.READ.value)
NO_KEYS: Mapping[str, str] = {}
READ_AND_WRITE: Mapping[str, str] = {
    **READ_ONLY,
    **dict.fromkeys(("POST", "PUT", "PATCH", "DELETE"), KeyScope.WRITE.value),
}


class ApiKeyNotValid(AuthenticationFailed):
    default_detail = "The API key is not valid: it is unknown or expired, or was ended."
    default_code = "api_key_not_valid"


class ApiKeyNotAllowed(PermissionDenied):
    """No API key can do this, whatever its scopes: it is no proof of who the user is."""

    default_detail = "An API key cannot do this. Sign in."
    default_code = "api_key_not_allowed"


class InsufficientScope(PermissionDenied):
    """RFC 6750, section 3.1."""

    default_code = "insufficient_scope"

    def __init__(self, scope: str) -> None:
        super().__init__(f"The API key does not have the scope {scope}.")
        self.challenge = f'Bearer realm="api", error="insufficient_scope", scope="{scope}"'


class ApiKey:
    """The API key of a request: `request.auth`."""

    def __init__(self, sign_in: SignIn) -> None:
        self.sign_in = sign_in

    @property
    def sid(self) -> UUID:
        return self.sign_in.sid

    @property
    def user_id(self) -> int:
        return self.sign_in.user_id

    @cached_property
    def scopes(self) -> frozenset[str]:
        """Its scopes (KeyScope)."""
        return frozenset(self.sign_in.scopes.split())


def authenticate(request: Request, raw: bytes) -> tuple[User, ApiKey]:
    """
    Returns the owner and the key. No statement for a remembered key, otherwise one, and another at most every five
    minutes, which records the use. Raises ApiKeyNotValid, ApiKeyNotAllowed, InsufficientScope, and Throttled after too
    many keys that are not valid.
    """
    sign_in = find_sign_in(raw)
    if sign_in is None:
        _refuse(request)
    key = ApiKey(sign_in)
    _check_scope(request, key)
    sign_in.touch()
    return sign_in.user, key


def _refuse(request: Request) -> NoReturn:
    throttle = RefusedKeyThrottle()
    if not throttle.allow_request(request, None):
        raise Throttled(throttle.wait())
    raise ApiKeyNotValid


def _check_scope(request: Request, key: ApiKey) -> None:
    view: Any = (request.parser_context or {}).get("view")
    scope = getattr(view, "api_key_scopes", READ_AND_WRITE).get(request.method or "")
    if scope is None:
        raise ApiKeyNotAllowed
    if scope not in key.scopes:
        raise InsufficientScope(scope)
