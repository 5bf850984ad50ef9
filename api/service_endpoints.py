"""
Endpoints for other services: public keys (RFC 7517), revocation (RFC 7009), introspection (RFC 7662) and status lists.
This is not an OAuth authorization server: users and clients sign in here, not to other services through this one.
"""

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.http import Http404, HttpResponse
from django.utils.cache import get_conditional_response
from django.utils.decorators import method_decorator
from django.views.decorators.cache import cache_control
from django.views.decorators.http import condition
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import APIException
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.permissions import BasePermission
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_simplejwt.exceptions import TokenError

from accounts.api_keys import PREFIX
from accounts.models import KeyScope, SignIn, User
from api.authentication import AuthenticatedRequest
from api.blocklist import status_list
from api.blocklist.api_keys import find_sign_in
from api.blocklist.status_list import status_lists
from api.fields import TextField
from api.keys import keyring
from api.openapi.responses import EMPTY, INTROSPECTION, JWK_SET
from api.parsers import MAX_FORM_FIELDS, StrictFormParser
from api.throttling import TokenThrottle
from api.tokens import AccessToken, IssuedToken
from api.views import PublicView

# How long other services may cache the keys, in seconds.
JWKS_MAX_AGE_SECONDS = 300


class NoHistory(APIException):
    status_code = status.HTTP_501_NOT_IMPLEMENTED
    default_detail = "Earlier lists are not stored. Leave `time` out to get the current one."
    default_code = "not_implemented"


class IgnoreClientContentNegotiation(BaseContentNegotiation):
    """Ignores the Accept header: the response has one media type."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str = "") -> tuple[BaseRenderer, str]:
        return renderers[0], renderers[0].media_type


def public_keys() -> dict[str, Any]:
    return {"keys": [key.jwk for key in keyring.by_kid.values() if key.is_public]}


def jwks_etag(request: Request) -> str:
    kids = " ".join(key["kid"] for key in public_keys()["keys"])
    return f'"{hashlib.sha256(kids.encode()).hexdigest()}"'


class JWKSView(PublicView):
    """Lists the public keys that verify tokens (RFC 7517); none while they are signed with a shared secret."""

    content_negotiation_class = IgnoreClientContentNegotiation
    renderer_classes = (JSONRenderer,)
    needs_database = False
    is_cacheable = True

    @extend_schema(
        operation_id="jwks",
        tags=["keys"],
        description="List the public keys that verify our tokens (RFC 7517). The list is empty while they are signed "
        "with a shared secret. Fetch it again for a token with an unknown `kid`.",
        responses={200: OpenApiResponse(JWK_SET, "The keys."), 304: OpenApiResponse(description="Not modified.")},
    )
    @method_decorator([cache_control(public=True, max_age=JWKS_MAX_AGE_SECONDS), condition(jwks_etag)])
    def get(self, request: Request) -> Response:
        return Response(public_keys())


class FormView(APIView):
    """Accepts a form instead of JSON. Its errors have OAuth's `error` too (RFC 6749, section 5.2)."""

    parser_classes = (StrictFormParser,)

    def handle_exception(self, exc: Exception) -> Response:
        response = super().handle_exception(exc)
        if response.status_code in range(400, 500) and response.status_code not in (401, 403):
            response.data.setdefault("error", "invalid_request")
        return response


class TokenFormSerializer(serializers.Serializer):
    # Other fields are ignored, but none may be repeated.
    schema = {"additionalProperties": {"type": "string"}, "maxProperties": MAX_FORM_FIELDS}

    token = TextField()
    # Ignored: a token contains its type.
    token_type_hint = TextField(required=False, allow_blank=True)


EXAMPLE_FORM = OpenApiExample(
    "token",
    {"token": "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"},
    request_only=True,
    media_type=StrictFormParser.media_type,
)


class RevokeView(PublicView, FormView):
    throttle_classes = (TokenThrottle,)

    @extend_schema(
        operation_id="revoke",
        request=TokenFormSerializer,
        responses=OpenApiResponse(EMPTY, "The token is invalid now."),
        examples=[EXAMPLE_FORM],
    )
    def post(self, request: Request) -> Response:
        """
        Revoke a token (RFC 7009). A refresh token ends its sign-in; of an access token, only that token is blocked. An
        API key ends: who finds one can revoke it. An unknown token is no error.
        """
        form = TokenFormSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        _revoke(form.validated_data["token"])
        return Response({})


def _revoke(found: str) -> None:
    """Revokes an API key or a token. An unknown one is no error."""
    if found.startswith(PREFIX):
        if sign_in := find_sign_in(found.encode(errors="replace")):
            sign_in.end(SignIn.Reason.SIGNED_OUT)
        return
    with suppress(TokenError):
        IssuedToken(found).revoke()  # type: ignore[arg-type]


class MayIntrospect(BasePermission):
    def has_permission(self, request: AuthenticatedRequest, view: APIView) -> bool:
        """Reads the user's rights from the database, not from the token. One statement."""
        if not request.user.is_authenticated:
            return False
        user = request.user.with_all_fields()
        return user.is_staff or user.has_scope(User.Scope.INTROSPECT)


class IntrospectView(FormView):
    permission_classes = (MayIntrospect,)
    # It changes nothing.
    api_key_scopes: Mapping[str, str] = {"POST": KeyScope.READ.value}

    @extend_schema(
        operation_id="introspect",
        request=TokenFormSerializer,
        responses=OpenApiResponse(
            INTROSPECTION,
            "Whether the token is active, and its claims.",
            examples=[OpenApiExample("ended", {"active": False})],
        ),
        examples=[EXAMPLE_FORM],
    )
    def post(self, request: AuthenticatedRequest) -> Response:
        """
        Check an access token and get its claims (RFC 7662). A refresh token is not active, so that no service accepts
        it as an access token.
        """
        form = TokenFormSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        try:
            token = IssuedToken(form.validated_data["token"])
            token.check_not_revoked()
        except TokenError:
            return Response({"active": False})
        user = User.objects.filter(pk=token["sub"]).first()
        if user is None or token["token_type"] != AccessToken.token_type:
            return Response({"active": False})
        claims = {name: token[name] for name in ("iss", "sub", "aud", "exp", "iat", "jti", "sid")}
        claims |= {name: token[name] for name in ("act", "scope") if name in token.payload}
        if token.key_thumbprint:
            # RFC 9449, section 6.2
            claims["cnf"] = {"jkt": token.key_thumbprint}
        scheme = "DPoP" if token.key_thumbprint else "Bearer"
        return Response({"active": True, "token_type": scheme, "username": user.username, **claims})


class StatusListView(PublicView):
    """The sign-ins that have ended, for services that do not introspect each token."""

    content_negotiation_class = IgnoreClientContentNegotiation
    renderer_classes = (JSONRenderer,)
    is_cacheable = True

    @extend_schema(
        operation_id="status_list",
        tags=["keys"],
        description="Get a Token Status List (draft-ietf-oauth-status-list). It is a signed JWT that lists which "
        "sign-ins have ended. 404 unless the setting JWT_STATUS_LIST is on. Lists of an earlier `time` are not stored.",
        responses={
            (200, "application/statuslist+jwt"): OpenApiResponse({"type": "string"}, "The list."),
            304: OpenApiResponse(description="Not modified."),
            501: OpenApiResponse(
                {"$ref": "#/components/schemas/Error"}, "The request has a `time`: earlier lists are not stored."
            ),
        },
    )
    @method_decorator(cache_control(public=True, max_age=status_list.ISSUE_INTERVAL_SECONDS))
    def get(self, request: Request, number: int) -> HttpResponse:
        built = status_lists.get(number) if settings.JWT_STATUS_LIST else None
        if built is None:
            raise Http404
        if "time" in request.query_params:
            # Section 8.4 of the draft, historical resolution
            raise NoHistory
        response = HttpResponse(built.token, content_type="application/statuslist+jwt", headers={"ETag": built.etag})
        return get_conditional_response(request, etag=built.etag, response=response) or response
