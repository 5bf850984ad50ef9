"""Views of the proof that sensitive actions ask for."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.exceptions import ValidationError
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.factors import second_step
from accounts.factors.errors import SecondStepFailed
from accounts.factors.second_step import MAX_STEP_LENGTH, Purpose
from accounts.models import Method
from api import errors, step_up
from api.api_keys import NO_KEYS
from api.authentication import AuthenticatedRequest, sid_of
from api.fields import PasswordField, TextField
from api.serializers import PasswordConfirmSerializer
from api.sign_in_steps import PasskeyOptionsResponse, ProofSerializer, code_in


class ReauthenticationSerializer(ProofSerializer):
    """One proof. A passkey needs the `step` of its options."""

    PROOFS = ("password", *ProofSerializer.PROOFS)

    password = PasswordField(required=False)
    step = TextField(required=False, max_length=MAX_STEP_LENGTH)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        super().validate(attrs)
        if ("credential" in attrs) != ("step" in attrs):
            raise ValidationError("Send credential and step together.")
        return attrs


class ReauthenticationOptionsView(APIView):
    # Also for a session whose device did not prove its key (api.dbsc).
    accepts_unproved = True
    api_key_scopes = NO_KEYS

    @extend_schema(operation_id="reauthentication_options", request=None, responses={200: PasskeyOptionsResponse})
    def post(self, request: AuthenticatedRequest) -> Response:
        """Get the options of the user's passkeys, to confirm who the user is. Send the `step` back."""
        user = request.user.with_all_fields()
        return Response(second_step.options(Purpose.REAUTHENTICATE, user, sid=sid_of(request)))


class ReauthenticateView(APIView):
    accepts_unproved = True
    api_key_scopes = NO_KEYS

    @extend_schema(
        operation_id="reauthenticate",
        request=ReauthenticationSerializer,
        responses={204: OpenApiResponse(description="The user is confirmed."), 400: None, 404: None, 429: None},
        examples=[OpenApiExample("password", {"password": "violet anchor hums at dawn"}, request_only=True)],
    )
    def post(self, request: AuthenticatedRequest) -> Response:
        """
        Confirm who the user is. The error `recent_sign_in_required` lists the `methods`. Then repeat its request. For
        an account with a second factor, a password is not enough.
        """
        serializer = ReauthenticationSerializer(data=request.data, context={"request": request})
        serializer.is_valid(raise_exception=True)
        sign_in = step_up.require_sign_in(request)
        step_up.check_key_can_change(request, sign_in)
        step_up.mark_reauthenticated(request, sign_in, _verify(request, serializer.validated_data))
        return Response(status=status.HTTP_204_NO_CONTENT)


def _verify(request: AuthenticatedRequest, proof: dict[str, Any]) -> str:
    """The method that was proved. A wrong code or passkey is a 400: a 401 would make clients refresh their token."""
    if "password" in proof:
        step_up.check_password_is_enough(request)
        password = PasswordConfirmSerializer(data={"password": proof["password"]}, context={"request": request})
        password.is_valid(raise_exception=True)
        return Method.PASSWORD
    user = request.user.with_all_fields()
    try:
        if "credential" in proof:
            second_step.reauthenticate_with_passkey(user, sid_of(request), proof["step"], proof["credential"])
            return Method.PASSKEY
        method, code = code_in(proof)
        second_step.check_code(user, method, code, is_after_password=False)
    except SecondStepFailed as error:
        raise errors.BadStep(error.message, error.code) from error
    return method
