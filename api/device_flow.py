"""
The device flow (RFC 8628): a program without a browser signs in by a code that its user types into a page of the site.
As for clients that are connected by hand, there is no list of clients: `client_id` is a name that the program chooses.
"""

from typing import Any

from django.conf import settings
from django.db import transaction
from django.http import Http404
from django.urls import reverse
from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework_simplejwt.exceptions import TokenError

from accounts import starting
from accounts.http import request_context
from accounts.models import DeviceCode, DPoPRequired, SignIn, SignInRefused
from accounts.models.device_codes import CLIENT_NAME_MAX_LENGTH, LIFETIME, POLL_SECONDS
from api import dpop
from api.fields import NameField, TextField
from api.openapi.views import TOKEN
from api.parsers import MAX_FORM_FIELDS, StrictFormParser
from api.serializers import TokenRefreshSerializer, proven_key, token_pair
from api.service_endpoints import FormView
from api.throttling import AccountThrottle, TokenThrottle
from api.tokens.refresh import find_sign_in
from api.views import PublicView

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
REFRESH_GRANT = "refresh_token"
MAX_CODE_LENGTH = 128
DETAILS = {
    "authorization_pending": "The user has not decided yet. Ask again after the interval.",
    "slow_down": "Ask less often: the interval is 5 seconds longer from now on.",
    "access_denied": "The user refused the device, or was signed out.",
    "expired_token": "The device code has expired. Start again.",
    "invalid_grant": "The code or token is unknown, or was used.",
    "unsupported_grant_type": f"Send the grant_type {DEVICE_GRANT} or {REFRESH_GRANT}.",
}


class Refused(APIException):
    """An error of OAuth (RFC 8628, section 3.5; RFC 6749, section 5.2): `code` and `error` are the same."""

    status_code = status.HTTP_400_BAD_REQUEST

    def __init__(self, error: str) -> None:
        super().__init__(DETAILS[error], error)
        self.members = {"error": error}


class OAuthFormSerializer(serializers.Serializer):
    # Other fields are ignored, but none may be repeated.
    schema = {"additionalProperties": {"type": "string"}, "maxProperties": MAX_FORM_FIELDS}


class DeviceCodeSerializer(OAuthFormSerializer):
    client_id = NameField(
        max_length=CLIENT_NAME_MAX_LENGTH, help_text="The name of the program, which the user sees and can change."
    )

    def validate_client_id(self, client_id: str) -> str:
        if not client_id.strip():
            self.fields["client_id"].fail("blank")
        return client_id.strip()


class DeviceTokenSerializer(OAuthFormSerializer):
    grant_type = TextField(max_length=MAX_CODE_LENGTH)
    device_code = TextField(max_length=MAX_CODE_LENGTH, required=False)
    refresh_token = TextField(required=False)


class DeviceCodeResponse(serializers.Serializer):
    device_code = serializers.CharField(help_text="Send it to `/api/device/token/`. It is a secret.")
    user_code = serializers.CharField(help_text="Show it to the user, with `verification_uri`.")
    verification_uri = serializers.URLField(help_text="The page into which the user types `user_code`.")
    expires_in = serializers.IntegerField(help_text="The seconds until both codes expire.")
    interval = serializers.IntegerField(help_text="The seconds to wait between two requests for the tokens.")


class OAuthTokenResponse(serializers.Serializer):
    access_token = serializers.CharField()
    token_type = serializers.ChoiceField(["Bearer", "DPoP"])
    expires_in = serializers.IntegerField()
    refresh_token = serializers.CharField()
    refresh_expires_in = serializers.IntegerField()


TOKENS = {
    "access_token": TOKEN,
    "token_type": "Bearer",
    "expires_in": 300,
    "refresh_token": TOKEN,
    "refresh_expires_in": 1209600,
}
FORM = StrictFormParser.media_type


class DeviceFlowView(PublicView, FormView):
    """404 unless the setting DEVICE_FLOW is on, and 405 for an unknown method in any case."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        if not settings.DEVICE_FLOW and request.method in self.allowed_methods:
            raise Http404
        super().initial(request, *args, **kwargs)


class DeviceCodeView(DeviceFlowView):
    throttle_classes = (AccountThrottle,)

    @extend_schema(
        operation_id="device_code",
        request=DeviceCodeSerializer,
        responses={
            200: OpenApiResponse(
                DeviceCodeResponse,
                examples=[
                    OpenApiExample(
                        "codes",
                        {
                            "device_code": "GmRhmhcxhwAzkoEqiMEg_DnyEysNkuNhszIySk9eS",
                            "user_code": "WDJB-MJHT",
                            "verification_uri": "https://www.example.org/accounts/device/",
                            "expires_in": 600,
                            "interval": 5,
                        },
                    )
                ],
            ),
            404: None,
        },
        examples=[OpenApiExample("program", {"client_id": "backup"}, request_only=True, media_type=FORM)],
    )
    def post(self, request: Request) -> Response:
        """
        Start the sign-in of a device without a browser (RFC 8628). Show the user `verification_uri` and `user_code`.
        404 unless the setting DEVICE_FLOW is on.
        """
        form = DeviceCodeSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        codes = DeviceCode.objects.start(form.validated_data["client_id"])
        return Response(
            {
                "device_code": codes.device_code,
                "user_code": codes.user_code,
                "verification_uri": request_context.absolute_url(reverse("connect_device")),
                "expires_in": int(LIFETIME.total_seconds()),
                "interval": POLL_SECONDS,
            }
        )


class DeviceTokenView(DeviceFlowView):
    throttle_classes = (TokenThrottle,)

    @extend_schema(
        operation_id="device_token",
        request=DeviceTokenSerializer,
        responses={
            200: OpenApiResponse(OAuthTokenResponse, examples=[OpenApiExample("tokens", TOKENS)]),
            404: None,
        },
        examples=[
            OpenApiExample(
                "device",
                {"grant_type": DEVICE_GRANT, "device_code": "GmRhmhcxhwAzkoEqiMEg_DnyEysNkuNhszIySk9eS"},
                request_only=True,
                media_type=FORM,
            )
        ],
    )
    def post(self, request: Request) -> Response:
        """
        Get the tokens of a device (RFC 8628). While the user has not decided, the `error` is `authorization_pending`;
        after requests that come too early it is `slow_down`. With a proof in the header `DPoP` (RFC 9449), the tokens
        are bound to its key. The `grant_type` `refresh_token` does what `/api/token/refresh/` does, for OAuth clients.
        """
        form = DeviceTokenSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        sent = form.validated_data
        if sent["grant_type"] == DEVICE_GRANT:
            return Response(_oauth(self._exchange(request, _given(sent, "device_code"))))
        if sent["grant_type"] == REFRESH_GRANT:
            return Response(_oauth(self._refresh(_given(sent, "refresh_token"))))
        raise Refused("unsupported_grant_type")

    def _refresh(self, refresh_token: str) -> dict[str, Any]:
        serializer = TokenRefreshSerializer(data={"refresh": refresh_token}, context={"request": self.request})
        try:
            serializer.is_valid(raise_exception=True)
        except TokenError as error:
            raise Refused("invalid_grant") from error
        pair: dict[str, Any] = serializer.validated_data
        return pair

    def _exchange(self, request: Request, device_code: str) -> dict[str, Any]:
        key_thumbprint = proven_key(request)
        device = _decided(device_code)
        with transaction.atomic():
            if not device.use_up():
                raise Refused("invalid_grant")
            issued_at = timezone.now()
            sign_in = _start(device, key_thumbprint)
        return token_pair(sign_in, issued_at)


def _given(sent: dict[str, Any], name: str) -> str:
    if name not in sent:
        raise ValidationError({name: serializers.Field.default_error_messages["required"]})
    text: str = sent[name]
    return text


def _decided(device_code: str) -> DeviceCode:
    """The row of a device that its user has allowed. Raises Refused. At most two statements."""
    device = DeviceCode.objects.get_by_device_code(device_code)
    if device is None:
        raise Refused("invalid_grant")
    if device.denied_at:
        raise Refused("access_denied")
    if device.is_expired:
        raise Refused("expired_token")
    if device.approved_in is None:
        raise Refused("slow_down" if device.polls_too_early() else "authorization_pending")
    return device


def _start(device: DeviceCode, key_thumbprint: str) -> SignIn:
    """
    Starts the client's sign-in, unless the browser that allowed it, or all of the user's sign-ins, ended since. It
    has the methods of that browser, but no recent proof: an attacker who tricked the user cannot take over the account.
    """
    browser = find_sign_in(device.approved_in, device.owner_id)  # type: ignore[arg-type]
    if browser is None or not browser.is_live():
        raise Refused("access_denied")
    # start() refuses another generation than that of the row.
    browser.user.generation = device.generation  # type: ignore[assignment]
    not_recent = timezone.now() - settings.REAUTHENTICATION_TIMEOUT
    try:
        return starting.start(
            browser.user,
            SignIn.Kind.CLIENT,
            name=device.name,
            key_thumbprint=key_thumbprint,
            methods=browser.methods.split(),
            authenticated_at=min(browser.authenticated_at, not_recent),
        )
    except DPoPRequired as error:
        raise dpop.ProofRefused("A DPoP proof is needed.") from error
    except SignInRefused as error:
        raise Refused("access_denied") from error


def _oauth(pair: dict[str, Any]) -> dict[str, Any]:
    """A pair with the names of OAuth (RFC 6749, section 5.1)."""
    return {
        "access_token": pair["access"],
        "token_type": pair.get("token_type", "Bearer"),
        "expires_in": pair["expires_in"],
        "refresh_token": pair["refresh"],
        "refresh_expires_in": pair["refresh_expires_in"],
    }
