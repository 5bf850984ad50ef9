"""The credentials of ann at the sites with the project's own authentication."""

import json
import time
from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256
from uuid import UUID, uuid4

import jwt
from django.contrib.auth import login
from django.http import HttpRequest
from django.utils import timezone
from jwt.utils import base64url_encode

from accounts import starting
from accounts.models import SignIn
from tests.benchmarks import wire
from tests.benchmarks.output import Progress
from tests.benchmarks.site.peer_credentials import ann, cookie, session_store


def wristband() -> dict[str, str]:
    request = HttpRequest()
    request.session = session_store()
    login(request, ann())
    return cookie(request.session)


def wristbands(count: int) -> list[dict[str, str]]:
    return [wristband() for _ in range(count)]


def settled_wristband() -> dict[str, str]:
    """The user signed in an hour ago: the browser can no longer bind its session."""
    headers = wristband()
    SignIn.objects.update(authenticated_at=timezone.now() - timedelta(hours=1))
    return headers


def bound_wristband() -> dict[str, str]:
    """With the bound cookie of the session."""
    from django.http import HttpResponse

    from api.dbsc import cookies
    from api.keys import Key

    headers, key = wristband(), Key.generate("ES256")
    sign_in = SignIn.objects.latest("created_at")
    sign_in.bind(key.kid, json.dumps(key.jwk))
    response = HttpResponse()
    cookies.set_on(response, sign_in.sid, key.kid)
    [bound] = response.cookies.values()
    return {"Cookie": f"{headers['Cookie']}; {bound.key}={bound.value}"}


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


def signed_in(count: int) -> dict[str, dict[str, str]]:
    """Returns the headers of a browser and of a client of ann, who has so many sign-ins."""
    headers = {"session": wristband(), "token": passport()}
    passports(count - len(headers))
    ann().sign_ins.update(user_agent=wire.USER_AGENT, ip_address="203.0.113.9")
    return headers


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
