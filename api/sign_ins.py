"""Views of the user's sign-ins and security events: list, rename, end, dispute."""

from datetime import timedelta
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import generics, mixins, serializers, status, viewsets
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import ending
from accounts.http.headers import CLEAR_SITE_DATA
from accounts.models import SecurityEvent, SignIn, SignInQuerySet
from api import step_up
from api.api_keys import NO_KEYS, READ_ONLY
from api.authentication import AuthenticatedRequest, sid_of, uses_session
from api.fields import NameField

# How long the sign-ins that ended or expired are listed.
ENDED_LISTED_FOR = timedelta(days=30)
NAME_MAX_LENGTH = SignIn._meta.get_field("name").max_length


# Serializers


class SignInSerializer(serializers.ModelSerializer):
    current = serializers.SerializerMethodField()
    bound = serializers.BooleanField(
        source="is_bound", read_only=True, help_text="Whether it is bound to a key of the device (DBSC) or app (DPoP)."
    )

    class Meta:
        model = SignIn
        fields = [
            "id",
            "kind",
            "name",
            "device",
            "ip_address",
            "created_at",
            "last_seen_at",
            "expires_at",
            "current",
            "bound",
        ]

    def get_current(self, sign_in: SignIn) -> bool:
        return sign_in.sid == sid_of(self.context["request"])


class RenameSignInSerializer(serializers.Serializer):
    name = NameField(max_length=NAME_MAX_LENGTH, required=False, allow_blank=True)

    def validate_name(self, name: str) -> str:
        return name.strip()


class EndedSignInSerializer(serializers.ModelSerializer):
    ended_at = serializers.DateTimeField(source="ended_or_expired_at", read_only=True)
    end_reason = serializers.SerializerMethodField(help_text="The reason of the end, or `expired`.")

    class Meta:
        model = SignIn
        fields = ["id", "kind", "name", "device", "ip_address", "created_at", "last_seen_at", "ended_at", "end_reason"]

    def get_end_reason(self, sign_in: SignIn) -> str:
        return sign_in.end_reason or "expired"


class SecurityEventSerializer(serializers.ModelSerializer):
    device = serializers.CharField(source="owners_device", read_only=True)
    ip_address = serializers.IPAddressField(source="owners_ip_address", read_only=True, allow_null=True)
    details = serializers.DictField(read_only=True)
    is_disputable = serializers.BooleanField(
        read_only=True, help_text="Whether the user can report the event as not their own action."
    )

    class Meta:
        model = SecurityEvent
        fields = ["id", "type", "sid", "device", "ip_address", "created_at", "details", "is_disputable"]


# Sign-ins


ENDED_RESPONSE = OpenApiResponse(
    {"type": "object", "properties": {"ended": {"type": "integer", "minimum": 0}}, "required": ["ended"]},
    "The number of sign-ins that have ended.",
    examples=[OpenApiExample("two", {"ended": 2})],
)
OTHERS_ENDED_RESPONSE = OpenApiResponse(
    {
        "type": "object",
        "properties": {"ended": {"type": "integer", "minimum": 0}, "left": {"type": "integer", "minimum": 1}},
        "required": ["ended"],
    },
    "The number of sign-ins that have ended. `left`, if present, counts the rest: repeat the request.",
    examples=[OpenApiExample("two", {"ended": 2})],
)


@extend_schema_view(
    list=extend_schema(operation_id="sign_ins", description="List the user's live sign-ins, latest use first.")
)
class SignInViewSet(mixins.ListModelMixin, viewsets.GenericViewSet):
    serializer_class = SignInSerializer
    api_key_scopes = READ_ONLY

    def get_queryset(self) -> SignInQuerySet:
        return SignIn.objects.filter(user=self.request.user.pk).live()

    @extend_schema(
        operation_id="rename_sign_in",
        description="Change the name of one of the user's live sign-ins. With an empty name, lists show its device.",
        request=RenameSignInSerializer,
        responses={200: SignInSerializer},
        examples=[OpenApiExample("phone", {"name": "My phone"}, request_only=True)],
    )
    def rename(self, request: AuthenticatedRequest, pk: UUID) -> Response:
        sign_in = self.get_object()
        serializer = RenameSignInSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        if "name" in serializer.validated_data:
            sign_in.rename(serializer.validated_data["name"])
        return Response(self.get_serializer(sign_in).data)

    @extend_schema(operation_id="end_sign_in", responses={204: OpenApiResponse(description="The sign-in has ended.")})
    def destroy(self, request: AuthenticatedRequest, pk: str) -> Response:
        """
        End one of the user's sign-ins. It is no error if it has ended already. Refused with `recent_sign_in_required`
        if the user was confirmed too long ago.
        """
        self._check_recent(request)
        sign_in = generics.get_object_or_404(SignIn, user=request.user.pk, pk=pk)
        sign_in.end(SignIn.Reason.ENDED_BY_USER)
        headers = sign_out_headers(request, ends_current=sign_in.sid == sid_of(request))
        return Response(status=status.HTTP_204_NO_CONTENT, headers=headers)

    @extend_schema(
        operation_id="end_other_sign_ins",
        description="End all of the user's sign-ins except the current one. Refused with `recent_sign_in_required` if "
        "its user was confirmed too long ago: `POST /api/reauthenticate/`, then repeat the request.",
        request=None,
        responses=OTHERS_ENDED_RESPONSE,
    )
    def end_others(self, request: AuthenticatedRequest) -> Response:
        if sid_of(request) is None:
            # After a test's force_authenticate(), no sign-in is the current one.
            return self.end_all(request)
        current = step_up.check_recent(request)
        ended, left = ending.end_others(request.user, SignIn.Reason.ENDED_BY_USER, current)
        return Response({"ended": ended, "left": left} if left else {"ended": ended})

    @extend_schema(
        operation_id="end_all_sign_ins",
        description="End all of the user's sign-ins, including the current one. Refused as for one.",
        request=None,
        responses=ENDED_RESPONSE,
    )
    def end_all(self, request: AuthenticatedRequest) -> Response:
        self._check_recent(request)
        ended = ending.end_all(request.user, SignIn.Reason.ENDED_BY_USER)
        return Response({"ended": ended}, headers=sign_out_headers(request))

    def _check_recent(self, request: AuthenticatedRequest) -> None:
        """Raises RecentSignInRequired (OWASP ASVS 7.5.2). After a test's force_authenticate() there is no sign-in."""
        if sid_of(request) is not None:
            step_up.check_recent(request)


def sign_out_headers(request: AuthenticatedRequest, ends_current: bool = True) -> dict[str, str]:
    """The headers of a response that signs a browser out."""
    return {"Clear-Site-Data": CLEAR_SITE_DATA} if ends_current and uses_session(request) else {}


@extend_schema_view(
    get=extend_schema(
        operation_id="ended_sign_ins",
        description="List the user's sign-ins that have ended or expired. Those of the last 30 days, the latest first.",
    )
)
class EndedSignInView(generics.ListAPIView):
    serializer_class = EndedSignInSerializer

    def get_queryset(self) -> SignInQuerySet:
        ended_after = timezone.now() - ENDED_LISTED_FOR
        return SignIn.objects.filter(user=self.request.user.pk).ended_since(ended_after)


# Events


@extend_schema_view(
    get=extend_schema(
        operation_id="events", description="List the security events of the user's account, newest first."
    )
)
class SecurityEventView(generics.ListAPIView):
    serializer_class = SecurityEventSerializer

    def get_queryset(self) -> QuerySet[SecurityEvent]:
        return SecurityEvent.objects.filter(user=self.request.user.pk)


class NotMeView(APIView):
    api_key_scopes = NO_KEYS
    permission_classes = (IsAuthenticated, step_up.RecentAuthentication)

    @extend_schema(
        operation_id="dispute_event",
        description="End the sign-in of an event that was not the user's own action. The current sign-in does not end. "
        "Then let the user change the password, which ends all others. Refused with `recent_sign_in_required` if the "
        "user was confirmed too long ago.",
        request=None,
        responses={200: ENDED_RESPONSE},
    )
    def post(self, request: AuthenticatedRequest, pk: int) -> Response:
        event = generics.get_object_or_404(SecurityEvent, user=request.user.pk, pk=pk)
        return Response({"ended": 1 if ending.end_disputed(event, keep=sid_of(request)) else 0})
