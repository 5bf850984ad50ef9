from django.contrib.auth import update_session_auth_hash
from django.db.models import QuerySet
from rest_framework import generics, mixins, status, viewsets
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import SecurityEvent, SignIn, SignInQuerySet, User
from api import serializers
from api.authentication import AuthenticatedRequest
from api.throttling import AccountThrottle


class OpenToAll(APIView):
    """No session is read, so no CSRF token is needed either."""

    authentication_classes = ()
    permission_classes = (AllowAny,)


class MeView(generics.RetrieveUpdateAPIView):
    request: AuthenticatedRequest
    serializer_class = serializers.UserSerializer
    http_method_names = ["get", "patch", "head", "options"]

    def get_object(self) -> User:
        return self.request.user.with_all_fields()


class RegisterView(OpenToAll, generics.CreateAPIView):
    throttle_classes = (AccountThrottle,)
    serializer_class = serializers.RegistrationSerializer


class PasswordChangeView(APIView):
    def post(self, request: AuthenticatedRequest) -> Response:
        """Ends every other sign-in; the one that asks goes on."""
        user = request.user.with_all_fields()
        serializer = serializers.PasswordChangeSerializer(user, data=request.data)
        serializer.is_valid(raise_exception=True)
        user.change_password(
            serializer.validated_data["new_password"], keep=SignIn.objects.filter(pk=request.auth.sid).first()
        )
        if isinstance(request.auth, SignIn):
            update_session_auth_hash(request._request, user)
        return Response(status=status.HTTP_204_NO_CONTENT)


class PasswordResetView(OpenToAll):
    throttle_classes = (AccountThrottle,)

    def post(self, request: Request) -> Response:
        serializer = serializers.PasswordResetSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        User.objects.ask_password_reset(serializer.validated_data["email"])
        return Response({}, status=status.HTTP_202_ACCEPTED)


class PasswordResetConfirmView(OpenToAll):
    throttle_classes = (AccountThrottle,)

    def post(self, request: Request) -> Response:
        serializer = serializers.PasswordResetConfirmSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        serializer.validated_data["user"].reset_password(serializer.validated_data["new_password"])
        return Response(status=status.HTTP_204_NO_CONTENT)


class SignInViewSet(mixins.ListModelMixin, viewsets.GenericViewSet):
    serializer_class = serializers.SignInSerializer

    def get_queryset(self) -> SignInQuerySet:
        return SignIn.objects.filter(user=self.request.user.pk).live()

    def destroy(self, request: AuthenticatedRequest, pk: str) -> Response:
        """Ending what has ended is no error."""
        sign_in = generics.get_object_or_404(SignIn, user=request.user.pk, pk=pk)
        sign_in.end(SignIn.Reason.ENDED_BY_USER)
        return Response(status=status.HTTP_204_NO_CONTENT)

    def end_others(self, request: AuthenticatedRequest) -> Response:
        current = SignIn.objects.filter(pk=request.auth.sid).first()
        return Response({"ended": SignIn.objects.end_all(request.user, SignIn.Reason.ENDED_BY_USER, keep=current)})

    def end_all(self, request: AuthenticatedRequest) -> Response:
        return Response({"ended": SignIn.objects.end_all(request.user, SignIn.Reason.ENDED_BY_USER)})


class SecurityEventView(generics.ListAPIView):
    serializer_class = serializers.SecurityEventSerializer

    def get_queryset(self) -> QuerySet[SecurityEvent]:
        return SecurityEvent.objects.filter(user=self.request.user.pk)
