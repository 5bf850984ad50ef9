"""
The exchange with a provider, by allauth: where the browser is sent, and who comes back. allauth checks `state`, PKCE,
and the issuer, audience and expiry of the ID token; this module checks its nonce. What then happens is decided in
accounts.openid.views: none of allauth's own pages, sign-ins and tables is used.
"""

import logging
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter, get_adapter
from allauth.socialaccount.internal.statekit import STATE_TTL
from allauth.socialaccount.models import SocialApp, SocialLogin
from allauth.socialaccount.providers.base import AuthError
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.oauth2.provider import OAuth2Provider
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import Http404, HttpRequest
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from requests import RequestException

from accounts.models import Identity
from accounts.sessions import BrowserRequest

logger = logging.getLogger(__name__)

# How long a user may take at the provider. allauth's.
MAX_AGE = timedelta(seconds=STATE_TTL)
# The clock of a provider may differ that much.
LEEWAY = timedelta(minutes=1)
LOG_INTERVAL = timedelta(minutes=1)
_last_logged: dict[tuple[str, str], datetime] = {}
# What a provider's answer raises if it is not what its protocol says. allauth does not catch these.
MALFORMED = (
    ArithmeticError,
    AttributeError,
    ImproperlyConfigured,
    LookupError,
    OSError,
    TypeError,
    ValueError,
    OAuth2Error,
)


class Cause(StrEnum):
    """Why an exchange failed."""

    CANCELLED = "cancelled"
    # Started in another session, used, or too old.
    EXPIRED = "expired"
    UNAVAILABLE = "unavailable"
    # The provider refused the code, or its answer cannot be used.
    INVALID = "invalid"
    # Not a new sign-in there.
    NOT_RECENT = "not_recent"


class State(NamedTuple):
    """What is kept in the session during the exchange."""

    purpose: str
    nonce: str
    # Seconds since 1970.
    started_at: float
    next: str = ""
    keep: bool = False
    sid: str = ""


class ExchangeFailed(Exception):
    """The provider has not said who the user is. `state` is known if the exchange was started in this session."""

    def __init__(self, cause: Cause, state: State | None = None) -> None:
        super().__init__(cause)
        self.cause = cause
        self.state = state


class _Proved(Exception):
    """Raised where allauth would sign in: ends its part of the exchange."""

    def __init__(self, login: SocialLogin) -> None:
        self.login = login


class Adapter(DefaultSocialAccountAdapter):
    """allauth's hooks: providers come from OPENID_PROVIDERS, none from its tables, and allauth signs in no user."""

    def list_apps(self, request: HttpRequest, provider: Any = None, client_id: Any = None) -> list[SocialApp]:
        if provider is None:
            return [_app(each) for each in settings.OPENID_PROVIDERS]
        return [_app(provider)] if provider in settings.OPENID_PROVIDERS else []

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        raise _Proved(sociallogin)

    def on_authentication_error(
        self,
        request: HttpRequest,
        provider: Any,
        error: Any = None,
        exception: Any = None,
        extra_context: Any = None,
    ) -> None:
        stashed = (extra_context or {}).get("state")
        raise ExchangeFailed(_cause_of(provider, stashed, error, exception), _state_of(stashed))


def start(request: BrowserRequest, provider_id: str, purpose: str, *, is_new_sign_in: bool = False, **kept: Any) -> str:
    """
    Returns the URL of the provider's sign-in page, and keeps the state in the session. `is_new_sign_in`: the provider
    asks its user to sign in again. Raises Http404 for an unknown provider, and ExchangeFailed.
    """
    provider = _provider(request, provider_id)
    state = State(purpose, secrets.token_urlsafe(24), timezone.now().timestamp(), **kept)
    params = provider.get_auth_params() | {"nonce": state.nonce}
    if is_new_sign_in:
        params |= _parameters_of_new_sign_in(provider_id)
    try:
        response = provider.redirect(request, process="login", data=state._asdict(), auth_params=params)
        url = str(response["Location"])
    except RequestException as error:
        raise ExchangeFailed(_logged(provider_id, Cause.UNAVAILABLE, error)) from error
    except MALFORMED as error:
        raise ExchangeFailed(_logged(provider_id, Cause.INVALID, error)) from error
    if urlsplit(url).scheme not in settings.WEB_SCHEMES:
        raise ExchangeFailed(_logged(provider_id, Cause.INVALID, "its sign-in page does not use HTTPS"))
    return url


def finish(request: BrowserRequest, provider_id: str) -> tuple[Identity, State]:
    """Returns who came back, and what was kept. Raises Http404 for an unknown provider, and ExchangeFailed."""
    provider = _provider(request, provider_id)
    try:
        OAuth2CallbackView.adapter_view(provider.get_oauth2_adapter(request))(request)
    except _Proved as proved:
        return _read(proved.login, provider_id)
    except RequestException as error:
        raise ExchangeFailed(_logged(provider_id, Cause.UNAVAILABLE, error)) from error
    except (*MALFORMED, ImmediateHttpResponse) as error:
        raise ExchangeFailed(_logged(provider_id, Cause.INVALID, error)) from error
    raise ExchangeFailed(_logged(provider_id, Cause.INVALID, "unexpected response of allauth"))


def is_new_sign_in(identity: Identity, state: State) -> bool:
    """
    Returns whether the user has signed in at the provider since the exchange was started. A provider that does not
    report it (Google, GitHub) is believed: then the exchange shows only that the browser is signed in there.
    """
    if not settings.OPENID_PROVIDERS[identity.provider]["auth_time"]:
        return True
    since = datetime.fromtimestamp(state.started_at, UTC) - LEEWAY
    return identity.authenticated_at is not None and identity.authenticated_at >= since


def _app(provider_id: str) -> SocialApp:
    """The client of a provider, for allauth. Its fields are a row of allauth's table, which stays empty."""
    provider = settings.OPENID_PROVIDERS[provider_id]
    return SocialApp(
        provider=provider["kind"],
        provider_id=provider_id,
        name=provider["name"],
        client_id=provider["client_id"],
        secret=provider["secret"],
        settings={"server_url": provider["server_url"], "oauth_pkce_enabled": True},
    )


def _provider(request: HttpRequest, provider_id: str) -> OAuth2Provider:
    if provider_id not in settings.OPENID_PROVIDERS:
        raise Http404
    provider: OAuth2Provider = get_adapter().get_provider(request, provider_id)
    return provider


def _parameters_of_new_sign_in(provider_id: str) -> dict[str, str]:
    """OpenID Connect Core 1.0, section 3.1.2.1. With max_age, the ID token must have auth_time."""
    if settings.OPENID_PROVIDERS[provider_id]["auth_time"]:
        return {"prompt": "login", "max_age": "0"}
    return {"prompt": "select_account"}


def _read(login: SocialLogin, provider_id: str) -> tuple[Identity, State]:
    state = _state_of(login.state)
    if state is None:
        raise ExchangeFailed(Cause.EXPIRED)
    try:
        return _identity(login, provider_id, state), state
    except MALFORMED as error:
        raise ExchangeFailed(_logged(provider_id, Cause.INVALID, error), state) from error


def _identity(login: SocialLogin, provider_id: str, state: State) -> Identity:
    claims = _id_token(login.account.extra_data, state) if _is_openid(provider_id) else {}
    subject = str(login.account.uid)
    if claims and claims["sub"] != subject:
        # OpenID Connect Core 1.0, section 5.3.2: allauth reads userinfo, and does not compare.
        raise ValueError("userinfo is of another account than the ID token")
    # allauth has sorted them: primary and verified ones first.
    addresses = [each for each in login.email_addresses if each.verified] or login.email_addresses
    auth_time = claims.get("auth_time")
    return Identity(
        provider=provider_id,
        subject=subject,
        email=addresses[0].email if addresses else "",
        is_verified=bool(addresses and addresses[0].verified),
        username=login.user.username if login.user else "",
        authenticated_at=min(datetime.fromtimestamp(auth_time, UTC), timezone.now()) if auth_time else None,
    )


def _id_token(data: Mapping[str, Any], state: State) -> Mapping[str, Any]:
    """The claims of the ID token. Raises ValueError for another nonce, and KeyError without an ID token."""
    claims: Mapping[str, Any] = data["id_token"]
    if not constant_time_compare(str(claims.get("nonce", "")), state.nonce):
        raise ValueError("the ID token has another nonce")
    return claims


def _is_openid(provider_id: str) -> bool:
    return bool(settings.OPENID_PROVIDERS[provider_id]["kind"] == "openid_connect")


def _state_of(stashed: Any) -> State | None:
    data = (stashed or {}).get("data")
    return State(**data) if data else None


def _cause_of(provider: Any, stashed: Any, error: Any, exception: Any) -> Cause:
    if stashed is None:
        return Cause.EXPIRED
    if error == AuthError.CANCELLED:
        return Cause.CANCELLED
    cause = Cause.UNAVAILABLE if isinstance(exception, RequestException) else Cause.INVALID
    return _logged(provider.sub_id, cause, exception or "an error response")


def _logged(provider_id: str, cause: Cause, error: object) -> Cause:
    """Logs what only the operator or the provider can mend, each cause once a minute. Returns the cause."""
    now = timezone.now()
    if now - _last_logged.get((provider_id, cause), datetime.min.replace(tzinfo=UTC)) >= LOG_INTERVAL:
        _last_logged[provider_id, cause] = now
        logger.warning("The sign-in by %s failed: %s (%s)", provider_id, f"{error!r}"[:500], cause)
    return cause
