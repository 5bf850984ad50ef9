"""Serializers of the API: tokens and the account."""

from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib.auth import authenticate
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError as DjangoValidationError
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _
from rest_framework import serializers
from rest_framework.exceptions import AuthenticationFailed, ValidationError
from rest_framework.request import Request
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.serializers import TokenObtainSerializer
from rest_framework_simplejwt.utils import datetime_to_epoch

from accounts import passwords, profiles, registration, starting
from accounts.factors import passkeys, requirements, second_step
from accounts.forms import MAX_LOGIN_LENGTH
from accounts.models import (
    DPoPRequired,
    Method,
    RefreshRefused,
    SecondFactorMissing,
    SecondStepRequired,
    SignIn,
    SignInRefused,
    User,
)
from api import dpop, errors, metrics, moved_in
from api.blocklist.models import StatusIndex
from api.errors import as_api_errors, as_throttled
from api.fields import AudienceField, EmailTextField, NewPasswordField, PasswordField, TextField, UsernameField
from api.profiles import ProfileFieldsMixin, fields_of
from api.tokens import AccessToken, AnyToken, RefreshToken, legacy

# Of the user id and of the token in a mailed link.
MAX_UID_LENGTH = 64
MAX_TOKEN_LENGTH = 128
INVALID_LINK = _("The link is not valid: it was already used, or has expired.")
# Of a code of an authenticator app: room for white space.
MAX_CODE_LENGTH = 16


def check_new_password(password: str, user: User | None = None) -> str:
    """Returns the password. Raises ValidationError if a validator refuses it."""
    try:
        validate_password(password, user)
    except DjangoValidationError as error:
        raise ValidationError(error.messages) from error
    return password


# Tokens


def check_audience(audience: str) -> str:
    """Returns the audience as SignIn.audience. Raises ValidationError if no tokens are issued for it."""
    if audience not in settings.JWT_AUDIENCES:
        raise ValidationError(_("No tokens are issued for this audience."), "audience_unknown")
    return "" if audience == settings.JWT_AUDIENCE else audience


class TokenPairSerializer(TokenObtainSerializer):
    """Starts a client's sign-in. If the request has a DPoP proof, its tokens are bound to the key of the proof."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"] = TextField(
            write_only=True,
            max_length=MAX_LOGIN_LENGTH,
            help_text="The username or the e-mail address, in upper or lower case.",
        )
        self.fields["password"] = PasswordField()
        self.fields["code"] = TextField(
            write_only=True,
            required=False,
            max_length=MAX_CODE_LENGTH,
            help_text="The code of an authenticator app, for an account with a second factor.",
        )
        self.fields["audience"] = AudienceField(write_only=True, required=False, max_length=255)

    def validate_audience(self, audience: str) -> str:
        return check_audience(audience)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        kind = SignIn.Kind.CLIENT
        audience, code = attrs.pop("audience", ""), attrs.pop("code", "")
        request = self.context["request"]
        key_thumbprint = proven_key(request)
        with as_throttled():
            user = authenticate(request, **attrs, kind=kind)
        if user is None:
            raise no_active_account()
        issued_at = timezone.now()
        try:
            sign_in = start_client(user, audience, key_thumbprint)
        except SecondStepRequired as error:
            if not code:
                raise second_step_of(user, audience, key_thumbprint) from error
            with as_api_errors():
                second_step.add_code(user, Method.TOTP, code)
            sign_in = start_client(user, audience, key_thumbprint)
        return token_pair(sign_in, issued_at)


def proven_key(request: Request) -> str:
    """The thumbprint of the key of the request's DPoP proof; empty if it has none. Raises ProofRefused."""
    return dpop.verify_proof(request) if dpop.has_proof(request) else ""


def no_active_account() -> AuthenticationFailed:
    return AuthenticationFailed(TokenObtainSerializer.default_error_messages["no_active_account"], "no_active_account")


def start_client(user: User, audience: str, key_thumbprint: str) -> SignIn:
    """Starts a client's sign-in. Raises SecondStepRequired, and other refusals as errors of the API."""
    try:
        return starting.start(user, SignIn.Kind.CLIENT, audience=audience, key_thumbprint=key_thumbprint)
    except SecondStepRequired:
        raise
    except DPoPRequired as error:
        raise dpop.ProofRefused(_("A DPoP proof is needed.")) from error
    except SecondFactorMissing as error:
        raise errors.SecondFactorMissing from error
    except SignInRefused as error:
        raise no_active_account() from error


def second_step_of(user: User, audience: str, key_thumbprint: str, **extra: Any) -> errors.SecondStepRequired:
    """The error that asks a client for the second step, as step_error()."""
    return step_error(user, kind=SignIn.Kind.CLIENT, audience=audience, key_thumbprint=key_thumbprint, **extra)


def step_error(user: User, path: str = "/api/token/second-step/", **bindings: Any) -> errors.SecondStepRequired:
    """The error that asks for the second step: with the signed step, and options if the user has a passkey."""
    methods = requirements.methods_of(user)
    step, challenge = second_step.begin(second_step.Purpose.SIGN_IN, user, **bindings)
    options = {"passkey": passkeys.request_options(challenge, user)} if Method.PASSKEY in methods else {}
    return errors.SecondStepRequired(path, step=step, methods=methods, **options)


class TokenRefreshSerializer(serializers.Serializer):
    refresh = TextField()
    access = TextField(read_only=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        try:
            token = RefreshToken(attrs["refresh"])
        except TokenError:
            if old_token := legacy.read(attrs["refresh"]):
                return self.exchange(old_token)
            raise
        if token.key_thumbprint:
            # Before the rotation: a thief without the key neither uses the token up nor ends the sign-in.
            dpop.verify_proof(self.context["request"], key_thumbprint=token.key_thumbprint)
        issued_at = timezone.now()
        try:
            sign_in = SignIn.objects.rotate(token.get_sign_in, token.jti, token.issued_at)
        except RefreshRefused as error:
            metrics.refreshes.labels("refused").inc()
            raise TokenError(_("Token is blacklisted")) from error
        metrics.refreshes.labels("rotated").inc()
        return token_pair(sign_in, issued_at)

    def exchange(self, old_token: legacy.LegacyToken) -> dict[str, Any]:
        """The pair of a token of the site before, as api.moved_in.exchange()."""
        key_thumbprint = proven_key(self.context["request"])
        issued_at = timezone.now()
        try:
            sign_in = moved_in.exchange(old_token, key_thumbprint)
        except moved_in.OwnerNeedsSecondStep as error:
            raise second_step_of(error.user, "", key_thumbprint, **error.extra) from error
        return token_pair(sign_in, issued_at)


def token_pair(sign_in: SignIn, issued_at: datetime) -> dict[str, Any]:
    """
    The access and refresh token of a sign-in, and the seconds until each expires. `issued_at` is a time before its row
    was read. Raises TokenError if the sign-in has ended meanwhile, or if its audience is no longer configured.
    """
    access = access_token(sign_in, issued_at)
    refresh = RefreshToken.for_sign_in(sign_in)
    pair = {
        "access": str(access),
        "refresh": str(refresh),
        "expires_in": seconds_left(access),
        "refresh_expires_in": seconds_left(refresh),
    }
    # RFC 9449, section 5
    return pair | {"token_type": "DPoP"} if sign_in.key_thumbprint else pair


def access_token(sign_in: SignIn, issued_at: datetime) -> AccessToken:
    """A new access token of a sign-in, with its index in the status list if there are lists. As token_pair()."""
    if sign_in.audience and sign_in.audience not in settings.JWT_AUDIENCES:
        raise TokenError(_("Token is invalid"))
    if settings.JWT_STATUS_LIST and sign_in.status_index is None and not StatusIndex.objects.assign(sign_in):
        raise TokenError(_("Token is blacklisted"))
    return AccessToken.for_sign_in(sign_in, issued_at)


def seconds_left(token: AccessToken | RefreshToken) -> int:
    """The seconds until a token expires, in the whole seconds of its claims: 300 for a new one of five minutes."""
    return max(0, token["exp"] - datetime_to_epoch(timezone.now()))


class TokenVerifySerializer(serializers.Serializer):
    token = TextField(write_only=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, str]:
        AnyToken(attrs["token"]).check_not_revoked()
        return {}


class TokenBlacklistSerializer(serializers.Serializer):
    refresh = TextField(write_only=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, str]:
        RefreshToken(attrs["refresh"]).revoke()
        return {}


# The account


class UserSerializer(ProfileFieldsMixin, serializers.ModelSerializer):
    email_confirmed = serializers.SerializerMethodField(help_text="Whether `email` was confirmed by a mailed link.")
    new_email = serializers.EmailField(
        read_only=True, allow_blank=True, help_text="The address of a pending change, or an empty text."
    )

    class Meta:
        model = User
        fields = [
            "id",
            "username",
            "email",
            "date_joined",
            "email_confirmed",
            "new_email",
        ]
        read_only_fields = ["id", "username", "email", "date_joined"]

    def get_email_confirmed(self, user: User) -> bool:
        return user.email_confirmed_at is not None


class RegistrationSerializer(serializers.Serializer):
    """Validates each field by itself, so that one response names all errors."""

    username = UsernameField(max_length=150)
    email = EmailTextField(max_length=254)
    password = NewPasswordField()

    def get_fields(self) -> dict[str, serializers.Field]:
        return super().get_fields() | fields_of(profiles.sign_up_names())

    def to_internal_value(self, data: Any) -> Any:
        """Counts the attempt first: validation reveals which names are taken."""
        with as_throttled():
            registration.count_sign_up()
        return super().to_internal_value(data)

    def validate_username(self, username: str) -> str:
        try:
            registration.validate_new_username(username)
        except DjangoValidationError as error:
            raise ValidationError(error.messages) from error
        return self._validate_by_model("username", username)

    def validate_email(self, email: str) -> str:
        return self._validate_by_model("email", email)

    def validate_password(self, password: str) -> str:
        names = filter(profiles.is_of_user, ("username", "email", *profiles.sign_up_names()))
        fields = {name: self.initial_data.get(name) for name in names}
        user = User(**{name: text for name, text in fields.items() if isinstance(text, str)})
        return check_new_password(password, user)

    def _validate_by_model(self, name: str, text: str) -> str:
        try:
            User(**{name: text}).clean_one_field(name)
        except DjangoValidationError as error:
            raise ValidationError(error.message_dict[name]) from error
        return text

    def create(self, validated_data: dict[str, Any]) -> User:
        try:
            with as_throttled():
                profile = {
                    name: validated_data.pop(name) for name in profiles.sign_up_names() if name in validated_data
                }
                return registration.create_account(**validated_data, profile=profile)
        except DjangoValidationError as error:
            raise ValidationError(error.message_dict) from error

    def to_representation(self, user: User) -> dict[str, Any]:
        return UserSerializer(user).data


class PasswordChangeSerializer(serializers.Serializer):
    instance: User

    old_password = PasswordField()
    new_password = NewPasswordField()

    def validate_old_password(self, old_password: str) -> str:
        with as_throttled():
            self.instance = passwords.reauthenticate(self.context["request"], old_password)
        return old_password

    def validate_new_password(self, new_password: str) -> str:
        return check_new_password(new_password, self.instance)


class PasswordConfirmSerializer(serializers.Serializer):
    instance: User

    password = PasswordField()

    def validate_password(self, password: str) -> str:
        with as_throttled():
            passwords.reauthenticate(self.context["request"], password)
        return password


class DeletionSerializer(serializers.Serializer):
    password = PasswordField(required=False)


class PasswordResetSerializer(serializers.Serializer):
    email = serializers.EmailField(max_length=254)


class PasswordResetConfirmSerializer(serializers.Serializer):
    uid = TextField(max_length=MAX_UID_LENGTH)
    token = TextField(max_length=MAX_TOKEN_LENGTH)
    new_password = NewPasswordField()

    @cached_property
    def link_user(self) -> User | None:
        """The user of the link; None if it is invalid. Known early, so that one response names all errors."""
        uid, token = (self.initial_data.get(name) for name in ("uid", "token"))
        if not isinstance(uid, str) or not isinstance(token, str) or len(uid) > MAX_UID_LENGTH:
            return None
        return passwords.get_by_reset_token(uid, token)

    def validate_token(self, token: str) -> str:
        if self.link_user is None:
            raise ValidationError(INVALID_LINK)
        return token

    def validate_new_password(self, new_password: str) -> str:
        return check_new_password(new_password, self.link_user)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        return attrs | {"user": self.link_user}
