"""Views of the user's API keys: list, create. One ends like any sign-in, at /api/sign-ins/{id}/."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.http import Http404
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiResponse,
    extend_schema,
    extend_schema_field,
    extend_schema_view,
)
from rest_framework import generics, serializers, status
from rest_framework.exceptions import APIException, NotAuthenticated
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response

from accounts import api_keys
from accounts.models import DPoPRequired, KeyScope, SignIn, SignInQuerySet, SignInRefused
from api import step_up
from api.api_keys import NO_KEYS
from api.authentication import AuthenticatedRequest
from api.errors import BoundTokensOnly
from api.fields import NameField, StrictIntegerField
from api.sign_ins import NAME_MAX_LENGTH
from api.throttling import TokenThrottle

EXAMPLE = {
    "id": "0197a1b2-0000-7000-8000-000000000001",
    "name": "nightly report",
    "scopes": ["read"],
    "created_at": "2026-11-29T08:00:00Z",
    "last_used_at": None,
    "expires_at": "2027-02-27T08:00:00Z",
}


class TooManyKeys(APIException):
    status_code = status.HTTP_409_CONFLICT
    default_code = "too_many_keys"


class ApiKeySerializer(serializers.ModelSerializer):
    scopes = serializers.SerializerMethodField(help_text="What the key can do, within what its owner can do.")
    last_used_at = serializers.SerializerMethodField(help_text="To about five minutes; null if it was never used.")

    class Meta:
        model = SignIn
        fields = ["id", "name", "scopes", "created_at", "last_used_at", "expires_at"]

    @extend_schema_field({"type": "array", "items": {"type": "string", "enum": KeyScope.values}})
    def get_scopes(self, sign_in: SignIn) -> list[str]:
        return sign_in.scopes.split()

    @extend_schema_field({"type": ["string", "null"], "format": "date-time"})
    def get_last_used_at(self, sign_in: SignIn) -> str | None:
        return None if sign_in.is_unused_key else serializers.DateTimeField().to_representation(sign_in.last_seen_at)


class ScopesField(serializers.ListField):
    """A list whose errors are a list too, as those of all fields; DRF's own names the positions."""

    def run_child_validation(self, data: list[Any]) -> list[Any]:
        try:
            values: list[Any] = super().run_child_validation(data)
        except serializers.ValidationError as error:
            found: Any = error.detail
            raise serializers.ValidationError([text for texts in found.values() for text in texts]) from error
        return values


class NewApiKeySerializer(serializers.Serializer):
    name = NameField(max_length=NAME_MAX_LENGTH)
    scopes = ScopesField(
        child=serializers.ChoiceField(KeyScope.choices),
        required=False,
        allow_empty=False,
        min_length=1,
        max_length=len(KeyScope),
        help_text='By default `["read"]`: safe methods (GET). `write`: all other methods.',
    )
    expires_in_days = StrictIntegerField(
        required=False, min_value=1, max_value=settings.API_KEY_MAX.days or 1, help_text="By default 90, or the limit."
    )

    def validate_name(self, name: str) -> str:
        if not name.strip():
            self.fields["name"].fail("blank")
        return name.strip()


class MadeApiKeySerializer(ApiKeySerializer):
    key = serializers.CharField(read_only=True, help_text="Shown only in this response. Only its hash is stored.")

    class Meta(ApiKeySerializer.Meta):
        fields = [*ApiKeySerializer.Meta.fields, "key"]


@extend_schema_view(get=extend_schema(operation_id="api_keys", description="List the user's API keys, newest first."))
class ApiKeyView(generics.ListAPIView):
    serializer_class = ApiKeySerializer
    permission_classes = (IsAuthenticated, step_up.RecentAuthentication)
    throttle_classes = (TokenThrottle,)
    api_key_scopes = NO_KEYS

    def get_queryset(self) -> SignInQuerySet:
        keys = SignIn.objects.filter(user=self.request.user.pk, kind=SignIn.Kind.API_KEY)
        return keys.live().order_by("-created_at", "pk")

    @extend_schema(
        operation_id="make_api_key",
        description="Create an API key. It is valid until it expires or is ended (`DELETE /api/sign-ins/{id}/`), or "
        "until the user's password changes. Refused with `recent_sign_in_required` if the user was confirmed too long "
        "ago, with 404 if the site has no API keys, and with 409 `too_many_keys` if the user has 50.",
        request=NewApiKeySerializer,
        responses={
            201: OpenApiResponse(
                MadeApiKeySerializer,
                examples=[OpenApiExample("made", EXAMPLE | {"key": "wp_" + "a" * 64})],
            ),
            404: None,
            409: OpenApiResponse({"$ref": "#/components/schemas/Error"}, "The user has too many keys."),
        },
        examples=[
            OpenApiExample(
                "report", {"name": "nightly report", "scopes": ["read"], "expires_in_days": 90}, request_only=True
            )
        ],
    )
    def post(self, request: AuthenticatedRequest) -> Response:
        if not settings.API_KEY_MAX:
            raise Http404
        serializer = NewApiKeySerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        wanted, current = serializer.validated_data, step_up.require_sign_in(request)
        days = wanted.get("expires_in_days", min(api_keys.DEFAULT_DAYS, settings.API_KEY_MAX.days))
        try:
            sign_in, key = api_keys.make(
                request.user.with_all_fields(),
                wanted["name"],
                wanted.get("scopes", [KeyScope.READ]),
                timedelta(days=days),
                methods=current.methods.split(),
                authenticated_at=current.authenticated_at,
            )
        except api_keys.TooManyKeys as error:
            raise TooManyKeys(" ".join(error.messages)) from error
        except DPoPRequired as error:
            raise BoundTokensOnly from error
        except SignInRefused as error:
            raise NotAuthenticated from error
        return Response({**ApiKeySerializer(sign_in).data, "key": key}, status=status.HTTP_201_CREATED)
