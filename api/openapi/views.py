"""The views of the OpenAPI document and its page, and the document's descriptions of SimpleJWT's views."""

from functools import cache
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import translation
from drf_spectacular import renderers
from drf_spectacular.extensions import OpenApiViewExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema, extend_schema_view
from drf_spectacular.views import SpectacularSwaggerSplitView
from rest_framework import permissions, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.http.headers import with_policy
from api.openapi.responses import EMPTY


class TokenPair(serializers.Serializer):
    """The tokens that a sign-in and a refresh return."""

    access = serializers.CharField(help_text="The access token, valid for minutes.")
    refresh = serializers.CharField(help_text="The refresh token, valid for one refresh, for days.")
    expires_in = serializers.IntegerField(min_value=0, help_text="The seconds until the access token expires.")
    refresh_expires_in = serializers.IntegerField(min_value=0, help_text="The same of the refresh token.")
    token_type = serializers.ChoiceField(["DPoP"], help_text="Present if the tokens are bound to a key of the client.")
    optional = ["token_type"]


TOKEN = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"  # noqa: S105
EXAMPLE_PAIR = {"access": TOKEN, "refresh": TOKEN, "expires_in": 300, "refresh_expires_in": 1209600}
TOKEN_PAIR = OpenApiResponse(TokenPair, examples=[OpenApiExample("tokens", EXAMPLE_PAIR)])
DESCRIPTIONS = {
    "TokenObtainPairView": extend_schema(
        operation_id="sign_in",
        description="Start a client's sign-in. With a proof in the header `DPoP` (RFC 9449), its tokens are bound to "
        "the key of the proof. For an account with a second factor, the response is `second_step_required`, unless the "
        "`code` of an authenticator app is sent along.",
        responses={200: TOKEN_PAIR, 403: None, 429: None},
        examples=[
            OpenApiExample("alice", {"username": "alice", "password": "violet anchor hums at dawn"}, request_only=True)
        ],
    ),
    "TokenRefreshView": extend_schema(
        operation_id="refresh",
        description="Exchange a refresh token for the next pair. It works once. For some seconds the same token "
        "returns the same pair (a lost response, two tabs); after that its reuse ends the sign-in, as theft. "
        "A bound token needs a proof in the header `DPoP`.",
        responses=TOKEN_PAIR,
        examples=[OpenApiExample("refresh", {"refresh": TOKEN}, request_only=True)],
    ),
    "TokenVerifyView": extend_schema(
        operation_id="verify",
        description="Check whether an access or refresh token is valid now.",
        responses=OpenApiResponse(EMPTY, "The token is valid."),
        examples=[OpenApiExample("token", {"token": TOKEN}, request_only=True)],
    ),
    "TokenBlacklistView": extend_schema(
        operation_id="sign_out",
        description="End the sign-in of a refresh token. Its access tokens are refused immediately.",
        responses=OpenApiResponse(EMPTY, "The sign-in has ended."),
        examples=[OpenApiExample("refresh", {"refresh": TOKEN}, request_only=True)],
    ),
}


class SimpleJWTView(OpenApiViewExtension):
    """Describes SimpleJWT's views by subclasses that only the document uses."""

    target_class = "rest_framework_simplejwt.views.TokenViewBase"
    match_subclasses = True

    def view_replacement(self) -> type[APIView]:
        described = type(self.target.__name__, (self.target,), {})
        return extend_schema_view(post=DESCRIPTIONS[self.target.__name__])(described)


@cache
def document() -> dict[str, Any]:
    """The document, generated once per process: that takes a tenth of a second, and the endpoint is public."""
    with translation.override(settings.LANGUAGE_CODE):
        generated: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    return generated


class SchemaView(APIView):
    needs_database = False
    authentication_classes = ()
    permission_classes = (permissions.AllowAny,)
    renderer_classes = (
        renderers.OpenApiJsonRenderer2,
        renderers.OpenApiJsonRenderer,
        renderers.OpenApiYamlRenderer2,
        renderers.OpenApiYamlRenderer,
    )

    @extend_schema(
        operation_id="schema", responses=OpenApiResponse({"type": "object"}, "An OpenAPI document."), parameters=[]
    )
    def get(self, request: Request) -> Response:
        """Get this document, as JSON or YAML."""
        return Response(document())


class DocsView(SpectacularSwaggerSplitView):
    authentication_classes = ()
    permission_classes = (permissions.AllowAny,)

    # Swagger UI's style sheet contains its icons as data: URLs.
    @with_policy(img_src=["'self'", "data:"])
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response: HttpResponse = super().dispatch(request, *args, **kwargs)  # type: ignore[assignment]
        return response
