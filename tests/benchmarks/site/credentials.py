"""The credentials of ann at each compared site."""

import time
from collections.abc import Callable
from hashlib import sha256
from importlib import import_module
from uuid import UUID, uuid4

import jwt
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, login
from django.http import HttpRequest
from django.utils import timezone
from jwt.utils import base64url_encode
from rest_framework_simplejwt import tokens as simplejwt_tokens

from accounts import starting
from accounts.models import SignIn, User
from tests.benchmarks import wire
from tests.benchmarks.output import Progress


def ann() -> User:
    """Returns the first user."""
    return User.objects.filter(username="ann").first() or User.objects.create_user(
        "ann", "ann@example.org", wire.PASSWORD
    )


def none() -> dict[str, str]:
    assert ann().pk == 1
    return {}


def wristband() -> dict[str, str]:
    request = HttpRequest()
    request.session = _session_store()
    login(request, ann())
    return _cookie(request.session)


def wristbands(count: int) -> list[dict[str, str]]:
    return [wristband() for _ in range(count)]


def passport() -> dict[str, str]:
    return wire.bearer(passports(1)[0]["access"])


def passports(count: int) -> list[dict[str, str]]:
    """Returns the tokens of a number of sign-ins of ann."""
    user = ann()
    with Progress(count) as progress:
        pairs = []
        for _ in range(count):
            progress.at("signing in")
            pairs.append(pair(starting.start(user, SignIn.Kind.CLIENT)))
            progress.step()
    return pairs


def pair(sign_in: SignIn) -> dict[str, str]:
    # Imported here, since the other sites do not need it.
    from api.tokens import AccessToken, RefreshToken

    access = AccessToken.for_sign_in(sign_in, timezone.now())
    return {"access": str(access), "refresh": str(RefreshToken.for_sign_in(sign_in))}


def bound_passport() -> Callable[[], dict[str, str]]:
    """Returns a function that makes the headers of one call, each with its own proof."""
    from api.dpop.replay import _new_nonce, redis_store
    from api.keys import Key

    key = Key.generate("ES256")
    sign_in = starting.start(ann(), SignIn.Kind.CLIENT, key_thumbprint=key.kid)
    access = pair(sign_in)["access"]
    _is_new, store_id = redis_store.add(uuid4())
    claims = {
        "htm": "GET",
        "htu": "http://localhost/whoami/",
        "ath": base64url_encode(sha256(access.encode()).digest()).decode(),
        "nonce": _new_nonce(str(store_id)),
    }
    headers = {"typ": "dpop+jwt", "jwk": {name: key.jwk[name] for name in ("kty", "crv", "x", "y")}}

    def call() -> dict[str, str]:
        with_time = claims | {"iat": int(time.time()), "jti": uuid4().hex}
        proof = jwt.encode(with_time, key.signing, algorithm="ES256", headers=headers)
        return {"Authorization": f"DPoP {access}", "DPoP": proof, "Host": "localhost"}

    return call


def pairs(sids: list[str]) -> list[dict[str, str]]:
    """Returns the tokens of these sign-ins."""
    return [pair(each) for each in SignIn.objects.filter(pk__in=map(UUID, sids)).select_related("user")]


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
    user, session = ann(), _session_store()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    return _cookie(session)


def _session_store():
    return import_module(settings.SESSION_ENGINE).SessionStore()


def _cookie(session) -> dict[str, str]:
    session.save()
    return {"Cookie": f"{settings.SESSION_COOKIE_NAME}={session.session_key}"}
