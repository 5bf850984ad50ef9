"""Views of the API for the user's account: registration, names, password, deletion."""

from django.contrib.auth import logout, update_session_auth_hash
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import generics, status
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import passwords
from accounts.factors import requirements
from accounts.models import User
from api import serializers, step_up
from api.api_keys import NO_KEYS
from api.authentication import AuthenticatedRequest, uses_session
from api.openapi.responses import EMPTY
from api.sign_ins import sign_out_headers
from api.throttling import AccountThrottle


class PublicView(APIView):
    """A view without authentication. It reads no session, so it needs no CSRF token."""

    authentication_classes = ()
    permission_classes = (AllowAny,)


@extend_schema_view(
    get=extend_schema(operation_id="me", description="Get the user who is signed in."),
    patch=extend_schema(
        operation_id="change_me",
        description="Change fields of the user's profile, such as the first and last name.",
        examples=[OpenApiExample("names", {"first_name": "Alice", "last_name": "Ayres"}, request_only=True)],
    ),
)
class MeView(generics.RetrieveUpdateAPIView):
    request: AuthenticatedRequest
    serializer_class = serializers.UserSerializer
    http_method_names = ["get", "patch", "head", "options"]

    def get_object(self) -> User:
        return self.request.user.with_all_fields()


@extend_schema_view(
    post=extend_schema(
        operation_id="register",
        description="Register an account. It does not sign in.",
        responses={201: serializers.UserSerializer, 429: None},
        examples=[
            OpenApiExample(
                "carol",
                {"username": "carol", "email": "carol@example.org", "password": "quiet copper lantern drifts"},
                request_only=True,
            )
        ],
    )
)
class RegisterView(PublicView, generics.CreateAPIView):
    serializer_class = serializers.RegistrationSerializer


class PasswordChangeView(APIView):
    api_key_scopes = NO_KEYS

    @extend_schema(
        operation_id="change_password",
        request=serializers.PasswordChangeSerializer,
        responses={204: OpenApiResponse(description="The password is changed."), 429: None},
        examples=[
            OpenApiExample(
                "alice",
                {"old_password": "violet anchor hums at dawn", "new_password": "amber kettle sings by noon"},
                request_only=True,
            )
        ],
    )
    def post(self, request: AuthenticatedRequest) -> Response:
        """Change the user's password. All other sign-ins end; the current one continues."""
        user = request.user.with_all_fields()
        # With a second factor, the old password proves one of two.
        needs_proof = requirements.has_second_factor(user)
        current = step_up.check_recent(request) if needs_proof else step_up.current_sign_in(request)
        step_up.check_key_can_change(request, current)
        serializer = serializers.PasswordChangeSerializer(user, data=request.data, context={"request": request})
        serializer.is_valid(raise_exception=True)
        passwords.change(serializer.instance, serializer.validated_data["new_password"], keep=current)
        if uses_session(request):
            update_session_auth_hash(request._request, serializer.instance)
        return Response(status=status.HTTP_204_NO_CONTENT)


class PasswordConfirmView(APIView):
    api_key_scopes = NO_KEYS

    @extend_schema(
        operation_id="confirm_password",
        request=serializers.PasswordConfirmSerializer,
        responses={204: OpenApiResponse(description="The password is correct."), 429: None},
        examples=[OpenApiExample("alice", {"password": "violet anchor hums at dawn"}, request_only=True)],
    )
    def post(self, request: AuthenticatedRequest) -> Response:
        """
        Confirm the user's password. Then repeat the request that got `recent_sign_in_required`. An account with a
        second factor gets that again: use `/api/reauthenticate/`.
        """
        serializer = serializers.PasswordConfirmSerializer(data=request.data, context={"request": request})
        serializer.is_valid(raise_exception=True)
        sign_in = step_up.require_sign_in(request)
        step_up.check_key_can_change(request, sign_in)
        step_up.check_password_is_enough(request)
        step_up.mark_reauthenticated(request, sign_in)
        return Response(status=status.HTTP_204_NO_CONTENT)


class PasswordResetView(PublicView):
    throttle_classes = (AccountThrottle,)

    @extend_schema(
        operation_id="ask_password_reset",
        description="Send a link for a new password by e-mail, if an account has the address. The link works once, for "
        "an hour. The response does not reveal whether such an account exists.",
        request=serializers.PasswordResetSerializer,
        responses={202: OpenApiResponse(EMPTY, "The request is accepted.")},
        examples=[OpenApiExample("alice", {"email": "alice@example.org"}, request_only=True)],
    )
    def post(self, request: Request) -> Response:
        serializer = serializers.PasswordResetSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        passwords.request_reset(serializer.validated_data["email"])
        return Response({}, status=status.HTTP_202_ACCEPTED)


class PasswordResetConfirmView(PublicView):
    throttle_classes = (AccountThrottle,)

    @extend_schema(
        operation_id="reset_password",
        description="Set a new password with the link of the mail. Its URL is `…/reset/{uid}/{token}/`. All sign-ins "
        "of the account end.",
        request=serializers.PasswordResetConfirmSerializer,
        responses={204: OpenApiResponse(description="The password is changed."), 403: None},
        examples=[
            OpenApiExample(
                "link",
                {"uid": "MQ", "token": "c9x8b7-0123456789abcdef", "new_password": "amber kettle sings by noon"},
                request_only=True,
            )
        ],
    )
    def post(self, request: Request) -> Response:
        serializer = serializers.PasswordResetConfirmSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        passwords.reset(serializer.validated_data["user"], serializer.validated_data["new_password"])
        return Response(status=status.HTTP_204_NO_CONTENT)


class DeleteAccountView(APIView):
    api_key_scopes = NO_KEYS

    @extend_schema(
        operation_id="delete_me",
        description="Delete the user's account, and end all of its sign-ins. Send the password, or first prove who the "
        "user is at `/api/reauthenticate/`: the sign-in itself is not enough. For an account with a second factor, the "
        "password is not enough. This cannot be undone.",
        request=serializers.DeletionSerializer,
        responses={204: OpenApiResponse(description="The account is deleted."), 429: None},
        examples=[OpenApiExample("alice", {"password": "violet anchor hums at dawn"}, request_only=True)],
    )
    def post(self, request: AuthenticatedRequest) -> Response:
        serializer = serializers.DeletionSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        user = request.user.with_all_fields()
        proof = serializer.validated_data
        if "password" in proof and not requirements.has_second_factor(user):
            password = serializers.PasswordConfirmSerializer(data=proof, context={"request": request})
            password.is_valid(raise_exception=True)
        else:
            step_up.check_confirmed(request)
        user.delete()
        if uses_session(request):
            logout(request._request)
        return Response(status=status.HTTP_204_NO_CONTENT, headers=sign_out_headers(request))
