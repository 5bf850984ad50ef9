"""Views of sign-ins in two requests: the second step after the password, and passkeys alone."""

from typing import Any

from django.db import transaction
from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework_simplejwt.authentication import AUTH_HEADER_TYPES

from accounts.factors import recovery_codes, second_step
from accounts.factors.second_step import MAX_STEP_LENGTH, Purpose, Step
from accounts.models import Method, SecondStepRequired, SignIn, SignInRefused, User
from api import moved_in
from api.errors import as_api_errors
from api.fields import AudienceField, TextField
from api.openapi.views import TokenPair
from api.serializers import (
    MAX_CODE_LENGTH,
    TokenPairSerializer,
    no_active_account,
    proven_key,
    start_client,
    token_pair,
)
from api.throttling import TokenThrottle
from api.views import PublicView

KIND = SignIn.Kind.CLIENT
CREDENTIAL = {
    "id": "ZUq5cN0GqZ",
    "rawId": "ZUq5cN0GqZ",
    "type": "public-key",
    "response": {"clientDataJSON": "e30", "authenticatorData": "", "signature": "", "userHandle": "c2Q"},
}


class CredentialField(serializers.DictField):
    """A PublicKeyCredential as its toJSON() returns it (WebAuthn Level 3, section 5.1). Verified by passkeys.verify."""

    schema = {"required": ["id", "rawId", "type", "response"]}


class ProofSerializer(serializers.Serializer):
    """One proof of a second factor."""

    PROOFS: tuple[str, ...] = ("code", "recovery_code", "credential")

    code = TextField(required=False, max_length=MAX_CODE_LENGTH)
    recovery_code = TextField(required=False, max_length=recovery_codes.MAX_LENGTH)
    credential = CredentialField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if len(attrs.keys() & set(self.PROOFS)) != 1:
            raise ValidationError(f"Send one of: {', '.join(self.PROOFS)}.")
        return attrs


def code_in(proof: dict[str, Any]) -> tuple[Method, str]:
    """The method and the code of a proof that is no credential."""
    return (Method.TOTP, proof["code"]) if "code" in proof else (Method.RECOVERY_CODE, proof["recovery_code"])


class SecondStepSerializer(ProofSerializer):
    """A step, and one proof."""

    step = TextField(max_length=MAX_STEP_LENGTH)


class PasskeySignInSerializer(serializers.Serializer):
    step = TextField(max_length=MAX_STEP_LENGTH)
    credential = CredentialField()


class PasskeyOptionsSerializer(serializers.Serializer):
    audience = AudienceField(required=False, max_length=255)

    validate_audience = TokenPairSerializer.validate_audience


class PasskeyOptionsResponse(serializers.Serializer):
    step = serializers.CharField()
    publicKey = serializers.DictField()


class SignInStepView(PublicView):
    throttle_classes = (TokenThrottle,)

    def get_authenticate_header(self, request: Request) -> str:
        # As SimpleJWT's views: without it, DRF would send a 403 for a 401.
        return f'{AUTH_HEADER_TYPES[0]} realm="api"'

    def read_step(self, request: Request, token: str, purpose: Purpose) -> tuple[Step, str]:
        """The step of the body, and the thumbprint of the key of the request. Raises StepNotValid, ProofRefused."""
        key_thumbprint = proven_key(request)
        return second_step.read(token, purpose, kind=KIND, key_thumbprint=key_thumbprint), key_thumbprint

    def respond(self, user: User, step: Step, key_thumbprint: str) -> Response:
        """Starts the sign-in, and returns its tokens."""
        issued_at = timezone.now()
        try:
            sign_in = self.start(user, step, key_thumbprint)
        except SecondStepRequired as error:
            raise no_active_account() from error
        return Response(token_pair(sign_in, issued_at))

    def start(self, user: User, step: Step, key_thumbprint: str) -> SignIn:
        """Starts the sign-in. If a token of the site before has begun the step, that token is then used up."""
        if not moved_in.has_begun(step):
            return start_client(user, step.audience, key_thumbprint)
        with as_api_errors(), transaction.atomic():
            moved_in.use_up_token_of(step, user)
            return start_client(user, step.audience, key_thumbprint)


def prove(step: Step, body: dict[str, Any]) -> User:
    """The user of a step with the proof of a valid SecondStepSerializer. Raises SecondStepFailed, StepNotValid."""
    if "credential" in body:
        return second_step.finish_with_passkey(step, body["credential"])
    return second_step.finish_with_code(step, *code_in(body))


class SecondStepView(SignInStepView):
    @extend_schema(
        operation_id="finish_sign_in",
        request=SecondStepSerializer,
        responses={200: TokenPair, 400: None, 401: None},
        examples=[OpenApiExample("code", {"step": "eyJjaGFsbGVuZ2UiOiIifQ:1x", "code": "123456"}, request_only=True)],
    )
    def post(self, request: Request) -> Response:
        """
        Start a client's sign-in by its second step. Send the `step` of `second_step_required`, and a code of an
        authenticator app, a recovery code, or a passkey. A wrong one is `second_step_failed`.
        """
        serializer = SecondStepSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        step, key_thumbprint = self.read_step(request, serializer.validated_data["step"], Purpose.SIGN_IN)
        with as_api_errors():
            user = prove(step, serializer.validated_data)
        return self.respond(user, step, key_thumbprint)


class PasskeyOptionsView(SignInStepView):
    @extend_schema(
        operation_id="passkey_options",
        request=PasskeyOptionsSerializer,
        responses={200: PasskeyOptionsResponse},
        examples=[OpenApiExample("own API", {}, request_only=True)],
    )
    def post(self, request: Request) -> Response:
        """Get the options of a passkey of any account. With a DPoP proof, the `step` is bound to its key."""
        serializer = PasskeyOptionsSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        audience = serializer.validated_data.get("audience", "")
        bindings: dict[str, Any] = {"kind": KIND, "audience": audience, "key_thumbprint": proven_key(request)}
        return Response(second_step.options(Purpose.PASSKEY_SIGN_IN, **bindings))


class PasskeySignInView(SignInStepView):
    @extend_schema(
        operation_id="passkey_sign_in",
        request=PasskeySignInSerializer,
        responses={200: TokenPair, 400: None, 401: None, 404: OpenApiResponse(description="Unknown passkey.")},
        examples=[
            OpenApiExample(
                "passkey", {"step": "eyJjaGFsbGVuZ2UiOiIifQ:1x", "credential": CREDENTIAL}, request_only=True
            )
        ],
    )
    def post(self, request: Request) -> Response:
        """
        Start a client's sign-in by a passkey alone. The passkey must verify its user. If no account has it, the error
        is `unknown_passkey`.
        """
        serializer = PasskeySignInSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        step, key_thumbprint = self.read_step(request, serializer.validated_data["step"], Purpose.PASSKEY_SIGN_IN)
        try:
            with as_api_errors():
                user = second_step.sign_in_with_passkey(step, serializer.validated_data["credential"])
        except SignInRefused as error:
            raise no_active_account() from error
        return self.respond(user, step, key_thumbprint)
