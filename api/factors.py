"""Views of the user's second factors: list, add, rename, remove; and the proof that sensitive actions ask for."""

from typing import Any
from uuid import UUID

from django.http import Http404
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import serializers, status
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.factors import changes, recovery_codes, requirements, totp
from accounts.factors.second_step import MAX_STEP_LENGTH
from accounts.models import AuthenticatorApp, Factor, Method, Passkey, RecoveryCodeSet, User
from accounts.models.factors import NAME_MAX_LENGTH
from api import step_up
from api.api_keys import NO_KEYS
from api.authentication import AuthenticatedRequest, sid_of
from api.fields import NameField, StrictBooleanField, TextField
from api.serializers import MAX_CODE_LENGTH
from api.sign_in_steps import CREDENTIAL, CredentialField, PasskeyOptionsResponse

STEP_EXAMPLE = "eyJjaGFsbGVuZ2UiOiIifQ:1x"


# Serializers


class NewAppSerializer(serializers.Serializer):
    name = NameField(max_length=NAME_MAX_LENGTH, required=False, allow_blank=True)


class RenameSerializer(serializers.Serializer):
    name = NameField(max_length=NAME_MAX_LENGTH, allow_blank=True)


class ConfirmAppSerializer(serializers.Serializer):
    id = serializers.UUIDField()
    code = TextField(max_length=MAX_CODE_LENGTH)


class NewPasskeyOptionsSerializer(serializers.Serializer):
    conditional = StrictBooleanField(
        required=False,
        help_text="For a conditional create after a sign-in by password: the authenticator need not ask the user.",
    )


class NewPasskeySerializer(serializers.Serializer):
    step = TextField(max_length=MAX_STEP_LENGTH)
    credential = CredentialField()
    name = NameField(max_length=NAME_MAX_LENGTH, required=False, allow_blank=True)


class FactorSerializer(serializers.Serializer):
    """A factor. The members after `is_disabled` are those of its kind."""

    optional = ("aaguid", "transports", "is_backed_up", "left", "recovery_codes")

    id = serializers.UUIDField()
    kind = serializers.ChoiceField(choices=[Passkey.KIND, AuthenticatorApp.KIND, RecoveryCodeSet.KIND])
    name = serializers.CharField()
    created_at = serializers.DateTimeField()
    last_used_at = serializers.DateTimeField(allow_null=True)
    is_disabled = serializers.BooleanField()
    aaguid = serializers.UUIDField()
    transports = serializers.ListField(child=serializers.CharField())
    is_backed_up = serializers.BooleanField()
    left = serializers.IntegerField(min_value=0)
    recovery_codes = serializers.ListField(child=serializers.CharField())


class FactorListSerializer(serializers.Serializer):
    results = FactorSerializer(many=True)


class NewAppResponse(serializers.Serializer):
    id = serializers.UUIDField()
    secret = serializers.CharField()
    uri = serializers.CharField()
    qr_svg = serializers.CharField()


class RecoveryCodesResponse(serializers.Serializer):
    recovery_codes = serializers.ListField(child=serializers.CharField())


def representation(factor: Factor, **members: Any) -> dict[str, Any]:
    """A factor as the API returns it: no key, secret or hash."""
    own: dict[str, Any] = {}
    if isinstance(factor, Passkey):
        transports = factor.transports.split()
        own = {"aaguid": str(factor.aaguid), "transports": transports, "is_backed_up": factor.is_backed_up}
    if isinstance(factor, RecoveryCodeSet):
        own = {"left": recovery_codes.left(factor.user)}
    return {
        "id": str(factor.pk),
        "kind": factor.KIND,
        "name": factor.name,
        "created_at": serializers.DateTimeField().to_representation(factor.created_at),
        "last_used_at": factor.last_used_at and serializers.DateTimeField().to_representation(factor.last_used_at),
        "is_disabled": factor.disabled_at is not None,
        **own,
        **members,
    }


# Factors


class FactorAPIView(APIView):
    api_key_scopes = NO_KEYS
    """Writing needs a recent proof at the level that the account has."""

    request: AuthenticatedRequest
    permission_classes = (IsAuthenticated, step_up.RecentAuthentication)

    def owner(self) -> User:
        """The user of the request, if the account can have factors. At most one statement. Raises PermissionDenied."""
        user = self.request.user.with_all_fields()
        if not requirements.can_add(user):
            raise PermissionDenied(_("This account can have no second factor."), "second_factor_unavailable")
        return user

    def mark_proved(self, method: str) -> None:
        """A factor that was just added was proved in this sign-in. That is not recorded if its key cannot change."""
        sign_in = step_up.current_sign_in(self.request)
        if sign_in and step_up.can_change_key(self.request, sign_in):
            step_up.mark_reauthenticated(self.request, sign_in, method)


class FactorListView(FactorAPIView):
    @extend_schema(operation_id="factors", responses={200: FactorListSerializer})
    def get(self, request: AuthenticatedRequest) -> Response:
        """List the user's second factors and recovery codes. The response has no secret."""
        return Response({"results": [representation(each) for each in changes.factors_of(request.user)]})


@extend_schema_view(
    patch=extend_schema(
        operation_id="rename_factor",
        description="Change the name of a factor.",
        request=RenameSerializer,
        responses={200: FactorSerializer, 404: None},
        examples=[OpenApiExample("phone", {"name": "Phone"}, request_only=True)],
    ),
    delete=extend_schema(
        operation_id="remove_factor",
        description="End the use of a factor. With the last passkey or authenticator app, the recovery codes are "
        "deleted, and all other sign-ins end.",
        responses={204: OpenApiResponse(description="The factor is removed."), 404: None},
    ),
)
class FactorView(FactorAPIView):
    def patch(self, request: AuthenticatedRequest, pk: UUID) -> Response:
        factor = self._get(pk)
        serializer = RenameSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        changes.rename(factor, serializer.validated_data["name"])
        return Response(representation(factor))

    def delete(self, request: AuthenticatedRequest, pk: UUID) -> Response:
        factor = self._get(pk)
        changes.remove(request.user.with_all_fields(), factor, keep=step_up.current_sign_in(request))
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _get(self, pk: UUID) -> Factor:
        factor = changes.get_factor(self.request.user, pk)
        if factor is None:
            raise Http404
        return factor


class NewAppView(FactorAPIView):
    @extend_schema(
        operation_id="new_authenticator_app",
        request=NewAppSerializer,
        responses={201: NewAppResponse},
        examples=[OpenApiExample("phone", {"name": "Phone"}, request_only=True)],
    )
    def post(self, request: AuthenticatedRequest) -> Response:
        """Get the secret of a new authenticator app. It is a factor after its first code is confirmed."""
        serializer = NewAppSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        user = self.owner()
        app, secret = changes.new_app(user, serializer.validated_data.get("name", ""))
        uri = totp.uri(user, secret)
        members = {"id": app.pk, "secret": totp.shown_secret(secret), "uri": uri, "qr_svg": totp.qr_svg(uri)}
        return Response(members, status=status.HTTP_201_CREATED)


class ConfirmAppView(FactorAPIView):
    @extend_schema(
        operation_id="confirm_authenticator_app",
        request=ConfirmAppSerializer,
        responses={200: RecoveryCodesResponse, 404: None},
        examples=[
            OpenApiExample("code", {"id": "5f0c2a52-5d2e-4f0b-9c53-0c1f5f9a7c11", "code": "123456"}, request_only=True)
        ],
    )
    def post(self, request: AuthenticatedRequest) -> Response:
        """
        Confirm a new authenticator app by its first code. `recovery_codes` has ten codes if it is the first factor of
        the account, and is empty otherwise. They are returned only once.
        """
        serializer = ConfirmAppSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        try:
            codes = changes.confirm_app(
                self.owner(), serializer.validated_data["id"], serializer.validated_data["code"]
            )
        except AuthenticatorApp.DoesNotExist as error:
            raise Http404 from error
        self.mark_proved(Method.TOTP)
        return Response({"recovery_codes": codes})


class NewPasskeyOptionsView(FactorAPIView):
    @extend_schema(
        operation_id="new_passkey_options",
        request=NewPasskeyOptionsSerializer,
        responses={200: PasskeyOptionsResponse},
        examples=[OpenApiExample("button", {}, request_only=True)],
    )
    def post(self, request: AuthenticatedRequest) -> Response:
        """Get the options to create a passkey in the browser. They and the `step` are valid for five minutes."""
        serializer = NewPasskeyOptionsSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        return Response(
            changes.passkey_options(
                self.owner(), sid_of(request), is_conditional=serializer.validated_data.get("conditional", False)
            )
        )


class NewPasskeyView(FactorAPIView):
    @extend_schema(
        operation_id="add_passkey",
        request=NewPasskeySerializer,
        responses={201: FactorSerializer},
        examples=[
            OpenApiExample(
                "laptop", {"step": STEP_EXAMPLE, "credential": CREDENTIAL, "name": "Laptop"}, request_only=True
            )
        ],
    )
    def post(self, request: AuthenticatedRequest) -> Response:
        """Register a new passkey. `recovery_codes` is as when an authenticator app is confirmed."""
        serializer = NewPasskeySerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        data = serializer.validated_data
        user = self.owner()
        passkey, codes = changes.add_passkey_by_step(
            user, sid_of(request), data["step"], data["credential"], data.get("name", "")
        )
        self.mark_proved(Method.PASSKEY)
        return Response(representation(passkey, recovery_codes=codes), status=status.HTTP_201_CREATED)


class RecoveryCodesView(FactorAPIView):
    @extend_schema(
        operation_id="new_recovery_codes",
        request=None,
        responses={200: RecoveryCodesResponse, 409: OpenApiResponse(description="The account has no second factor.")},
    )
    def post(self, request: AuthenticatedRequest) -> Response:
        """Exchange the recovery codes for ten new ones. They are returned only once; the old ones become invalid."""
        return Response({"recovery_codes": changes.make_recovery_codes(self.owner())})
