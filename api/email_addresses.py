"""Views of the user's e-mail address: change, confirmation by a mailed link, and the link again."""

from django.core.exceptions import ValidationError as DjangoValidationError
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import ValidationError
from rest_framework.permissions import SAFE_METHODS, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import email_addresses
from accounts.models import AccountChanged
from api import step_up
from api.api_keys import NO_KEYS
from api.authentication import AuthenticatedRequest
from api.errors import as_throttled
from api.fields import EmailTextField, TextField
from api.openapi.responses import EMPTY
from api.serializers import INVALID_LINK, MAX_TOKEN_LENGTH, MAX_UID_LENGTH
from api.throttling import AccountThrottle
from api.views import PublicView


class EmailChangeSerializer(serializers.Serializer):
    new_email = EmailTextField(max_length=254)


class EmailConfirmSerializer(serializers.Serializer):
    uid = TextField(max_length=MAX_UID_LENGTH)
    token = TextField(max_length=MAX_TOKEN_LENGTH)


class EmailChangeView(APIView):
    api_key_scopes = NO_KEYS
    """To cancel a change needs no recent proof, as on the page."""

    permission_classes = (
        IsAuthenticated,
        step_up.RecentAuthentication.of(exempt_methods=(*SAFE_METHODS, "DELETE")),
    )

    @extend_schema(
        operation_id="change_email",
        description="Send a link to a new e-mail address. The address changes when the link is used. The response does "
        "not reveal whether another account has the address: its mailbox gets a mail without a link. Refused with "
        "`recent_sign_in_required` if the user was confirmed too long ago.",
        request=EmailChangeSerializer,
        responses={202: OpenApiResponse(EMPTY, "The request is accepted."), 429: None},
        examples=[OpenApiExample("alice", {"new_email": "alice@example.net"}, request_only=True)],
    )
    def post(self, request: AuthenticatedRequest) -> Response:
        serializer = EmailChangeSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        try:
            with as_throttled():
                email_addresses.request_change(request.user.with_all_fields(), serializer.validated_data["new_email"])
        except DjangoValidationError as error:
            raise ValidationError({"new_email": error.messages}) from error
        return Response({}, status=status.HTTP_202_ACCEPTED)

    @extend_schema(
        operation_id="cancel_email_change",
        description="Cancel a pending change of the e-mail address. Its link becomes invalid. It is no error if no "
        "change is pending.",
        responses={204: OpenApiResponse(description="No change is pending.")},
    )
    def delete(self, request: AuthenticatedRequest) -> Response:
        request.user.with_all_fields().cancel_email_change()
        return Response(status=status.HTTP_204_NO_CONTENT)


class EmailConfirmView(PublicView):
    throttle_classes = (AccountThrottle,)

    @extend_schema(
        operation_id="confirm_email",
        description="Confirm an e-mail address with the link of the mail. Its URL is `…/email/{uid}/{token}/`, or that "
        "of the setting `EMAIL_CONFIRM_URL`. For an hour, it is no error if the link has already confirmed it.",
        request=EmailConfirmSerializer,
        responses={204: OpenApiResponse(description="The address is confirmed.")},
        examples=[
            OpenApiExample(
                "link",
                {"uid": "MQ", "token": "c9x8b7-0123456789abcdef.c9x8b7-fedcba9876543210"},
                request_only=True,
            )
        ],
    )
    def post(self, request: Request) -> Response:
        serializer = EmailConfirmSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        link = serializer.validated_data["uid"], serializer.validated_data["token"]
        try:
            email_addresses.confirm(*link)
        except AccountChanged as error:
            if email_addresses.get_by_used_token(*link) is None:
                raise ValidationError({"token": [INVALID_LINK]}) from error
        return Response(status=status.HTTP_204_NO_CONTENT)


class EmailResendView(APIView):
    api_key_scopes = NO_KEYS

    @extend_schema(
        operation_id="resend_email_confirmation",
        description="Send the link again that confirms an e-mail address. The response is the same if no address is to "
        "be confirmed, and if too many mails were sent.",
        request=None,
        responses={202: OpenApiResponse(EMPTY, "The request is accepted.")},
    )
    def post(self, request: AuthenticatedRequest) -> Response:
        email_addresses.resend_confirmation(request.user.with_all_fields())
        return Response({}, status=status.HTTP_202_ACCEPTED)
