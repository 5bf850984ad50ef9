"""Views of the API for the user's account: registration, password, sign-ins and security events."""

from django.contrib.auth import update_session_auth_hash
from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import generics, mixins, status, viewsets
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import ending, passwords
from accounts.factors import requirements
from accounts.http.headers import CLEAR_SITE_DATA
from accounts.models import SecurityEvent, SignIn, SignInQuerySet, User
from api import serializers, step_up
from api.authentication import AuthenticatedRequest, sid_of
from api.openapi.responses import EMPTY
from api.throttling import AccountThrottle


class PublicView(APIView):
    """A view without authentication. It reads no session, so it needs no CSRF token."""

    authentication_classes = ()
    permission_classes = (AllowAny,)


@extend_schema_view(
    get=extend_schema(operation_id="me", description="Get the user who is signed in."),
    patch=extend_schema(
        operation_id="change_me",
        description="Change the user's first and last name.",
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
        if isinstance(request.auth, SignIn):
            update_session_auth_hash(request._request, serializer.instance)
        return Response(status=status.HTTP_204_NO_CONTENT)


class PasswordConfirmView(APIView):
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
    serializer_class = serializers.SignInSerializer

    def get_queryset(self) -> SignInQuerySet:
        return SignIn.objects.filter(user=self.request.user.pk).live()

    @extend_schema(operation_id="end_sign_in", responses={204: OpenApiResponse(description="The sign-in has ended.")})
    def destroy(self, request: AuthenticatedRequest, pk: str) -> Response:
        """
        End one of the user's sign-ins. It is no error if it has ended already. Refused with `recent_sign_in_required`
        if the user was confirmed too long ago.
        """
        self._check_recent(request)
        sign_in = generics.get_object_or_404(SignIn, user=request.user.pk, pk=pk)
        sign_in.end(SignIn.Reason.ENDED_BY_USER)
        return Response(status=status.HTTP_204_NO_CONTENT, headers=_sign_out_headers(request, sign_in == request.auth))

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
        return Response({"ended": ended}, headers=_sign_out_headers(request))

    def _check_recent(self, request: AuthenticatedRequest) -> None:
        """Raises RecentSignInRequired (OWASP ASVS 7.5.2). After a test's force_authenticate() there is no sign-in."""
        if sid_of(request) is not None:
            step_up.check_recent(request)


def _sign_out_headers(request: AuthenticatedRequest, ends_current: bool = True) -> dict[str, str]:
    """The headers of a response that signs a browser out."""
    return {"Clear-Site-Data": CLEAR_SITE_DATA} if ends_current and isinstance(request.auth, SignIn) else {}


@extend_schema_view(
    get=extend_schema(
        operation_id="events", description="List the security events of the user's account, newest first."
    )
)
class SecurityEventView(generics.ListAPIView):
    serializer_class = serializers.SecurityEventSerializer

    def get_queryset(self) -> QuerySet[SecurityEvent]:
        return SecurityEvent.objects.filter(user=self.request.user.pk)
