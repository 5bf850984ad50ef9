"""
The session of a browser app on our own site: sign-in, sign-out, and access tokens of the session for other hosts. The
session cookie takes the place of a refresh token. Only the cookie counts here: a call with an Authorization header is
refused. api.authentication has the rules against cross-site requests.
"""

from typing import Any

from django.contrib.auth import authenticate, logout
from django.http import Http404
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.exceptions import AuthenticationFailed, MethodNotAllowed, NotAuthenticated
from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_simplejwt.exceptions import TokenError

from accounts import sessions, starting
from accounts.factors import requirements, second_step
from accounts.factors.second_step import MAX_STEP_LENGTH, Purpose, Step
from accounts.forms import MAX_LOGIN_LENGTH
from accounts.http.headers import CLEAR_SITE_DATA
from accounts.models import DPoPRequired, Method, SecondFactorMissing, SecondStepRequired, SignIn, SignInRefused, User
from api import dpop, errors, step_up
from api.authentication import (
    AuthenticatedRequest,
    IsFromOwnSite,
    SessionAuthentication,
    read_sign_in,
    session_sign_in,
)
from api.errors import as_api_errors, as_throttled
from api.fields import AudienceField, PasswordField, StrictBooleanField, TextField
from api.openapi.views import TOKEN
from api.serializers import (
    UserSerializer,
    access_token,
    check_audience,
    no_active_account,
    proven_key,
    seconds_left,
    step_error,
)
from api.sign_in_steps import CREDENTIAL, CredentialField, PasskeyOptionsResponse, SecondStepSerializer, prove
from api.throttling import TokenThrottle

# A scheme without a meaning to browsers, which show no dialog for it.
CHALLENGE = 'Session realm="api"'
# Of signed steps: those of pages and of clients are not valid here.
STEP_KIND = f"{SignIn.Kind.BROWSER.value}-app"
REMEMBER = "Whether the session lasts after the browser is closed."
STEP_EXAMPLE = "eyJjaGFsbGVuZ2UiOiIifQ:1x"


class SessionSignInSerializer(serializers.Serializer):
    username = TextField(
        max_length=MAX_LOGIN_LENGTH, help_text="The username or the e-mail address, in upper or lower case."
    )
    password = PasswordField()
    remember = StrictBooleanField(default=False, help_text=REMEMBER)


class SessionPasskeySerializer(serializers.Serializer):
    step = TextField(max_length=MAX_STEP_LENGTH)
    credential = CredentialField()
    remember = StrictBooleanField(default=False, help_text=REMEMBER)


class SessionTokenSerializer(serializers.Serializer):
    audience = AudienceField(required=False, max_length=255)

    def validate_audience(self, audience: str) -> str:
        return check_audience(audience)


class SessionTokenResponse(serializers.Serializer):
    access = serializers.CharField(help_text="An access token of the sign-in of the session.")
    token_type = serializers.ChoiceField(["Bearer", "DPoP"])
    expires_in = serializers.IntegerField(min_value=0, help_text="The seconds until the access token expires.")


class SessionSignInResponse(serializers.ModelSerializer):
    class Meta:
        model = SignIn
        fields = ["id", "created_at", "expires_at"]


class SessionResponse(serializers.ModelSerializer):
    """A session: its user, its sign-in, and what the user proved."""

    user = UserSerializer(read_only=True)
    sign_in = SessionSignInResponse(source="*", read_only=True)
    authenticated_at = serializers.DateTimeField(read_only=True, help_text="When the user last proved who they are.")
    methods = serializers.SerializerMethodField()

    class Meta:
        model = SignIn
        fields = ["user", "sign_in", "authenticated_at", "methods"]

    @extend_schema_field({"type": "array", "items": {"type": "string", "enum": Method.values}})
    def get_methods(self, sign_in: SignIn) -> list[str]:
        return sign_in.methods.split()


class SessionEndpoint(APIView):
    """The base of the endpoints that start or end a session. They authenticate no request, but check its origin."""

    authentication_classes: tuple[type[SessionAuthentication], ...] = ()
    permission_classes: tuple[type[BasePermission], ...] = (IsFromOwnSite,)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuses an unknown method, and an Authorization header, even a valid one: the cookie is never a fallback."""
        if request.method not in self.allowed_methods:
            raise MethodNotAllowed(str(request.method))
        if "HTTP_AUTHORIZATION" in request.META:
            text = "Here only the session cookie counts: send no Authorization header."
            raise AuthenticationFailed(text, "bad_authorization_header")
        super().initial(request, *args, **kwargs)

    def get_authenticate_header(self, request: Request) -> str:
        return CHALLENGE

    def start(self, request: Request, user: User, remember: bool) -> Response:
        """Starts the session of a user with the methods in User.proved, in place of the one of the request."""
        http: Any = request._request
        try:
            sign_in = sessions.sign_in(http, user, remember=remember)
        except SecondStepRequired as error:
            path = "/api/session/second-step/"
            raise step_error(user, path, kind=STEP_KIND, remember=remember) from error
        except SecondFactorMissing as error:
            raise errors.SecondFactorMissing from error
        except SignInRefused as error:
            raise no_active_account() from error
        return Response(SessionResponse(sign_in).data)


class SessionView(SessionEndpoint):
    """The session. Reading it needs a signed-in user; starting and ending it does not."""

    authentication_classes = (SessionAuthentication,)
    permission_classes = (IsAuthenticated,)

    def get_authenticators(self) -> list[Any]:
        return super().get_authenticators() if self._reads else []

    def get_permissions(self) -> Any:
        return super().get_permissions() if self._reads else [IsFromOwnSite()]

    @property
    def _reads(self) -> bool:
        # The schema is generated without a request.
        return getattr(self.request, "method", "") not in ("POST", "DELETE")

    @extend_schema(operation_id="session", responses={200: SessionResponse})
    def get(self, request: AuthenticatedRequest) -> Response:
        """Get the user and the sign-in of the session. Without a session the error is `not_authenticated`."""
        return Response(SessionResponse(current_sign_in(request)).data)

    @extend_schema(
        operation_id="start_session",
        auth=[],
        request=SessionSignInSerializer,
        responses={200: SessionResponse, 401: None, 403: None, 429: None},
        examples=[
            OpenApiExample("alice", {"username": "alice", "password": "violet anchor hums at dawn"}, request_only=True)
        ],
    )
    def post(self, request: Request) -> Response:
        """
        Start a session, in place of the current one, by username and password. The response sets the session cookie.
        For an account with a second factor the error is `second_step_required`.
        """
        serializer = SessionSignInSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        proof = dict(serializer.validated_data)
        remember = proof.pop("remember")
        with as_throttled():
            user = authenticate(request._request, **proof, kind=SignIn.Kind.BROWSER)
        if user is None:
            raise no_active_account()
        return self.start(request, user, remember)

    @extend_schema(
        operation_id="end_session",
        auth=[],
        responses={204: OpenApiResponse(description="There is no session any more."), 401: None, 403: None},
    )
    def delete(self, request: Request) -> Response:
        """End the sign-in of the session, and with it all its access tokens. It is no error if it has ended."""
        logout(request._request)
        return Response(status=status.HTTP_204_NO_CONTENT, headers={"Clear-Site-Data": CLEAR_SITE_DATA})


def current_sign_in(request: AuthenticatedRequest) -> SignIn:
    """
    The sign-in of the session with the fields of SessionResponse, and its user. One statement if the session is a
    remembered one, otherwise none. Raises NotAuthenticated.
    """
    sign_in = session_sign_in(request)
    if sign_in is None:
        # After a test's force_authenticate().
        raise NotAuthenticated
    return read_sign_in(request) if "methods" in sign_in.get_deferred_fields() else sign_in


class SessionSecondStepView(SessionEndpoint):
    throttle_classes = (TokenThrottle,)

    @extend_schema(
        operation_id="finish_session",
        request=SecondStepSerializer,
        responses={200: SessionResponse, 400: None, 401: None, 403: None},
        examples=[OpenApiExample("code", {"step": STEP_EXAMPLE, "code": "123456"}, request_only=True)],
    )
    def post(self, request: Request) -> Response:
        """
        Start a session by its second step. Send the `step` of `second_step_required`, and a code of an authenticator
        app, a recovery code, or a passkey. A wrong one is `second_step_failed`.
        """
        serializer = SecondStepSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        with as_api_errors():
            step = read_step(serializer.validated_data["step"], Purpose.SIGN_IN)
            user = prove(step, serializer.validated_data)
        return self.start(request, user, step.extra["remember"])


def read_step(token: str, purpose: Purpose) -> Step:
    """The step of a request. Raises StepNotValid."""
    return second_step.read(token, purpose, kind=STEP_KIND)


class PasskeyEndpoint(SessionEndpoint):
    """404 if no account can have a passkey (SECOND_FACTOR)."""

    throttle_classes = (TokenThrottle,)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if not requirements.is_on():
            raise Http404


class SessionPasskeyOptionsView(PasskeyEndpoint):
    @extend_schema(
        operation_id="session_passkey_options",
        request=None,
        responses={200: PasskeyOptionsResponse, 401: None, 403: None, 404: None},
    )
    def post(self, request: Request) -> Response:
        """Get the options of a passkey of any account, to start a session."""
        return Response(second_step.options(Purpose.PASSKEY_SIGN_IN, kind=STEP_KIND))


class SessionPasskeyView(PasskeyEndpoint):
    @extend_schema(
        operation_id="start_session_by_passkey",
        request=SessionPasskeySerializer,
        responses={
            200: SessionResponse,
            400: None,
            401: None,
            403: None,
            404: OpenApiResponse(description="Unknown passkey."),
        },
        examples=[OpenApiExample("passkey", {"step": STEP_EXAMPLE, "credential": CREDENTIAL}, request_only=True)],
    )
    def post(self, request: Request) -> Response:
        """
        Start a session by a passkey alone. The passkey must verify its user. If no account has it, the error is
        `unknown_passkey`.
        """
        serializer = SessionPasskeySerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        proof = serializer.validated_data
        try:
            with as_api_errors():
                step = read_step(proof["step"], Purpose.PASSKEY_SIGN_IN)
                user = second_step.sign_in_with_passkey(step, proof["credential"])
        except SignInRefused as error:
            raise no_active_account() from error
        return self.start(request, user, proof["remember"])


class SessionTokenView(SessionEndpoint):
    in_support = True
    authentication_classes = (SessionAuthentication,)
    permission_classes = (IsAuthenticated,)
    throttle_classes = (TokenThrottle,)

    @extend_schema(
        operation_id="session_token",
        request=SessionTokenSerializer,
        responses={
            200: OpenApiResponse(
                SessionTokenResponse,
                examples=[OpenApiExample("token", {"access": TOKEN, "token_type": "Bearer", "expires_in": 300})],
            )
        },
        examples=[OpenApiExample("own API", {}, request_only=True)],
    )
    def post(self, request: AuthenticatedRequest) -> Response:
        """
        Get an access token of the session's sign-in, for another host or service. It is revoked when the sign-in ends.
        With a proof in the header `DPoP` (RFC 9449), it is bound to the key of the proof.
        """
        serializer = SessionTokenSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        key_thumbprint = proven_key(request)
        # Before the row is read, which a remembered session was not: an end from now on outlasts the token.
        issued_at = timezone.now()
        sign_in = read_sign_in(request)
        if not step_up.has_device_proof(request):
            step_up.refuse(request)
        try:
            starting.check_allowed(sign_in.user, SignIn.Kind.CLIENT, key_thumbprint)
        except DPoPRequired as error:
            raise dpop.ProofRefused(_("A DPoP proof is needed.")) from error
        # Of this token only: the row is not saved.
        sign_in.audience, sign_in.key_thumbprint = serializer.validated_data.get("audience", ""), key_thumbprint
        try:
            token = access_token(sign_in, issued_at)
        except TokenError as error:
            raise NotAuthenticated from error
        kind = "DPoP" if key_thumbprint else "Bearer"
        return Response({"access": str(token), "token_type": kind, "expires_in": seconds_left(token)})
