"""The compared sites: each returns the user of a request, and they differ only in authentication."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.util import find_spec
from typing import Any

SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
DJANGO_REDIS = {"default": {"BACKEND": "django_redis.cache.RedisCache"}}
SIMPLE_JWT = {"ACCESS_TOKEN_LIFETIME": timedelta(days=1)}
BLACKLIST = "rest_framework_simplejwt.token_blacklist"


@dataclass(frozen=True, eq=False)
class Contender:
    name: str
    # DRF's authentication class; without one, the user is ann.
    authentication: str = ""
    # A function in tests.benchmarks.site that returns the headers of a request by ann.
    credentials: str = "credentials.none"
    middleware: tuple[str, ...] = ()
    apps: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    # The algorithm of the signature, with a key in JWT_KEYS.
    algorithm: str = ""

    @property
    def missing(self) -> list[str]:
        """Returns the missing packages."""
        return [app for app in self.apps if find_spec(app.partition(".")[0]) is None]


FLOOR = Contender("floor")
WRISTBAND = Contender(
    "wristband",
    "api.authentication.SessionAuthentication",
    "credentials.wristband",
    middleware=(SESSIONS, "accounts.http.middleware.AuthenticationMiddleware"),
)
PASSPORT = Contender("passport HS256", "api.authentication.TokenAuthentication", "credentials.passport")
PASSPORT_ES256 = Contender(
    "passport ES256", "api.authentication.TokenAuthentication", "credentials.passport", algorithm="ES256"
)
PASSPORT_BOUND = Contender(
    "passport HS256, bound by DPoP (ES256)", "api.authentication.TokenAuthentication", "credentials.bound_passport"
)
PASSPORT_RS256 = Contender(
    "passport RS256", "api.authentication.TokenAuthentication", "credentials.passport", algorithm="RS256"
)
STATELESS = Contender(
    "SimpleJWT stateless, no revocation",
    "rest_framework_simplejwt.authentication.JWTStatelessUserAuthentication",
    "credentials.simplejwt",
    settings={"SIMPLE_JWT": SIMPLE_JWT},
)
STATELESS_AND_REDIS = Contender(
    "SimpleJWT stateless + Redis GET of a revoked jti",
    "tests.benchmarks.site.authentication.StatelessAndRedis",
    "credentials.simplejwt",
    settings={"SIMPLE_JWT": SIMPLE_JWT, "CACHES": DJANGO_REDIS},
)
SIMPLEJWT = Contender(
    "SimpleJWT default",
    "rest_framework_simplejwt.authentication.JWTAuthentication",
    "credentials.simplejwt",
    settings={"SIMPLE_JWT": SIMPLE_JWT},
)
SIMPLEJWT_AND_BLACKLIST = Contender(
    "SimpleJWT default + its blacklist, for access tokens",
    "rest_framework_simplejwt.authentication.JWTAuthentication",
    "credentials.simplejwt",
    apps=(BLACKLIST,),
    settings={
        "SIMPLE_JWT": SIMPLE_JWT
        | {"AUTH_TOKEN_CLASSES": ("tests.benchmarks.site.authentication.AccessTokenAndBlacklist",)}
    },
)
SIMPLEJWT_ROTATION = Contender(
    "SimpleJWT, rotation and blacklist",
    "rest_framework_simplejwt.authentication.JWTAuthentication",
    "credentials.simplejwt",
    apps=(BLACKLIST,),
    settings={"SIMPLE_JWT": SIMPLE_JWT | {"ROTATE_REFRESH_TOKENS": True, "BLACKLIST_AFTER_ROTATION": True}},
)
DRF_TOKEN = Contender(
    "DRF TokenAuthentication",
    "rest_framework.authentication.TokenAuthentication",
    "credentials.drf_token",
    apps=("rest_framework.authtoken",),
)
CACHED_SESSIONS = Contender(
    "sessions, cached_db on django-redis",
    "rest_framework.authentication.SessionAuthentication",
    "credentials.django_session",
    middleware=(SESSIONS, "django.contrib.auth.middleware.AuthenticationMiddleware"),
    apps=("django.contrib.sessions",),
    settings={"SESSION_ENGINE": "django.contrib.sessions.backends.cached_db", "CACHES": DJANGO_REDIS},
)
DB_SESSIONS = Contender(
    "sessions, db",
    "rest_framework.authentication.SessionAuthentication",
    "credentials.django_session",
    middleware=(SESSIONS, "django.contrib.auth.middleware.AuthenticationMiddleware"),
    apps=("django.contrib.sessions",),
    settings={"SESSION_ENGINE": "django.contrib.sessions.backends.db"},
)
KNOX = Contender("knox", "knox.auth.TokenAuthentication", "credentials.knox", apps=("knox",))

OURS = (WRISTBAND, PASSPORT, PASSPORT_ES256, PASSPORT_RS256)
PEERS = (
    STATELESS,
    STATELESS_AND_REDIS,
    SIMPLEJWT,
    SIMPLEJWT_AND_BLACKLIST,
    DRF_TOKEN,
    CACHED_SESSIONS,
    DB_SESSIONS,
    KNOX,
)
ALL = (FLOOR, *OURS, *PEERS)

# The steps from the baseline to this project.
HEADER = Contender("floor, with the token in its header", credentials="credentials.passport")
COOKIE = Contender("floor, with the session's cookie", credentials="credentials.wristband")
ANY_STATEMENT = Contender(
    "SELECT 1 by psycopg", "tests.benchmarks.site.authentication.AnyStatement", "credentials.wristband"
)
OWN_STATEMENT = Contender(
    "the statement of session mode", "tests.benchmarks.site.authentication.OwnStatement", "credentials.wristband"
)
STEPS = {
    "token mode": (FLOOR, HEADER, PASSPORT),
    "session mode": (FLOOR, COOKIE, ANY_STATEMENT, OWN_STATEMENT, WRISTBAND),
}

OTHERS = (SIMPLEJWT_ROTATION, PASSPORT_BOUND, HEADER, COOKIE, ANY_STATEMENT, OWN_STATEMENT)
BY_NAME = {contender.name: contender for contender in (*ALL, *OTHERS)}
