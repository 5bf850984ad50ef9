"""The credentials of ann at the peers' sites. Imports nothing of the project, which a stock site does not install."""

from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from rest_framework_simplejwt import tokens as simplejwt_tokens

from tests.benchmarks import wire


def ann() -> Any:
    """Returns the first user."""
    users = get_user_model().objects
    return users.filter(username="ann").first() or users.create_user("ann", "ann@example.org", wire.PASSWORD)


def none() -> dict[str, str]:
    assert ann().pk == 1
    return {}


def simplejwt() -> dict[str, str]:
    token = simplejwt_tokens.RefreshToken.for_user(ann()).access_token
    token["username"] = "ann"
    return wire.bearer(str(token))


def simplejwt_pairs(count: int) -> list[dict[str, str]]:
    return [{"refresh": str(simplejwt_tokens.RefreshToken.for_user(ann()))} for _ in range(count)]


def drf_token() -> dict[str, str]:
    from rest_framework.authtoken.models import Token

    return {"Authorization": f"Token {Token.objects.get_or_create(user=ann())[0].key}"}


def knox() -> dict[str, str]:
    from knox.models import AuthToken

    _, token = AuthToken.objects.create(ann())
    return {"Authorization": f"Token {token}"}


def django_session() -> dict[str, str]:
    # The data that login() stores; login() itself would also create a sign-in.
    user, session = ann(), session_store()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    return cookie(session)


def devices(count: int) -> None:
    """Creates rows of ann for the list of the stock project."""
    from tests.benchmarks.site.startproject.models import Device

    user = ann()
    Device.objects.bulk_create(
        Device(user=user, name=f"Firefox on Linux {number}", user_agent=wire.USER_AGENT, ip_address="203.0.113.9")
        for number in range(count)
    )


def session_store() -> Any:
    return import_module(settings.SESSION_ENGINE).SessionStore()


def cookie(session: Any) -> dict[str, str]:
    session.save()
    return {"Cookie": f"{settings.SESSION_COOKIE_NAME}={session.session_key}"}
