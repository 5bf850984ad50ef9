"""
The compared sites: each returns the user of a request. Bare sites differ only in authentication; deployed ones are
the whole project, and each peer in a stock Django project.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from importlib.util import find_spec
from typing import Any

SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
DJANGO_REDIS = {"default": {"BACKEND": "django_redis.cache.RedisCache"}}
SIMPLE_JWT = {"ACCESS_TOKEN_LIFETIME": timedelta(days=1)}
BLACKLIST = "rest_framework_simplejwt.token_blacklist"

# Settings modules: only the middlewares that the authentication needs; the whole project; a stock Django project.
BARE = "tests.benchmarks.site.settings"
WHOLE = "tests.benchmarks.site.deployed"
STOCK = "tests.benchmarks.site.startproject.settings"


@dataclass(frozen=True, eq=False)
class Contender:
    name: str
    # DRF's authentication class; without one, the user is ann.
    authentication: str = ""
    # A function in tests.benchmarks.site that returns the headers of a request by ann.
    credentials: str = "peer_credentials.none"
    middleware: tuple[str, ...] = ()
    apps: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    # The algorithm of the signature, with a key in JWT_KEYS.
    algorithm: str = ""
    # More of the environment.
    env: Mapping[str, str] = field(default_factory=dict)
    site: str = BARE
    path: str = "/whoami/"

    @property
    def missing(self) -> list[str]:
        """Returns the missing packages."""
        return [app for app in self.apps if find_spec(app.partition(".")[0]) is None]


FLOOR = Contender("floor")
WRISTBAND = Contender(
    "wristband",
    "api.authentication.SessionAuthentication",
    "credentials.wristband",
    middleware=("accounts.http.middleware.SessionMiddleware", "accounts.http.middleware.AuthenticationMiddleware"),
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
    "peer_credentials.simplejwt",
    settings={"SIMPLE_JWT": SIMPLE_JWT},
)
STATELESS_AND_REDIS = Contender(
    "SimpleJWT stateless + Redis GET of a revoked jti",
    "tests.benchmarks.site.authentication.StatelessAndRedis",
    "peer_credentials.simplejwt",
    settings={"SIMPLE_JWT": SIMPLE_JWT, "CACHES": DJANGO_REDIS},
)
SIMPLEJWT = Contender(
    "SimpleJWT default",
    "rest_framework_simplejwt.authentication.JWTAuthentication",
    "peer_credentials.simplejwt",
    settings={"SIMPLE_JWT": SIMPLE_JWT},
)
SIMPLEJWT_AND_BLACKLIST = Contender(
    "SimpleJWT default + its blacklist, for access tokens",
    "rest_framework_simplejwt.authentication.JWTAuthentication",
    "peer_credentials.simplejwt",
    apps=(BLACKLIST,),
    settings={
        "SIMPLE_JWT": SIMPLE_JWT
        | {"AUTH_TOKEN_CLASSES": ("tests.benchmarks.site.authentication.AccessTokenAndBlacklist",)}
    },
)
SIMPLEJWT_ROTATION = Contender(
    "SimpleJWT, rotation and blacklist",
    "rest_framework_simplejwt.authentication.JWTAuthentication",
    "peer_credentials.simplejwt",
    apps=(BLACKLIST,),
    settings={"SIMPLE_JWT": SIMPLE_JWT | {"ROTATE_REFRESH_TOKENS": True, "BLACKLIST_AFTER_ROTATION": True}},
)
DRF_TOKEN = Contender(
    "DRF TokenAuthentication",
    "rest_framework.authentication.TokenAuthentication",
    "peer_credentials.drf_token",
    apps=("rest_framework.authtoken",),
)
CACHED_SESSIONS = Contender(
    "sessions, cached_db on django-redis",
    "rest_framework.authentication.SessionAuthentication",
    "peer_credentials.django_session",
    middleware=(SESSIONS, "django.contrib.auth.middleware.AuthenticationMiddleware"),
    apps=("django.contrib.sessions",),
    settings={"SESSION_ENGINE": "django.contrib.sessions.backends.cached_db", "CACHES": DJANGO_REDIS},
)
DB_SESSIONS = Contender(
    "sessions, db",
    "rest_framework.authentication.SessionAuthentication",
    "peer_credentials.django_session",
    middleware=(SESSIONS, "django.contrib.auth.middleware.AuthenticationMiddleware"),
    apps=("django.contrib.sessions",),
    settings={"SESSION_ENGINE": "django.contrib.sessions.backends.db"},
)
KNOX = Contender("knox", "knox.auth.TokenAuthentication", "peer_credentials.knox", apps=("knox",))

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


def deployed(contender: Contender) -> Contender:
    """Returns the same as its documentation deploys it, with all middlewares of its site."""
    return replace(contender, site=WHOLE if contender in OURS else STOCK, path="/api/whoami/")


# A view without authentication: in a stock project, and behind all middlewares of this project.
DEPLOYED_FLOOR = replace(FLOOR, site=STOCK, path="/api/anyone/")
OPEN = Contender("ours, no authentication", site=WHOLE, path="/api/anyone/")

# The steps from the baseline to this project.
HEADER = Contender("floor, with the token in its header", credentials="credentials.passport")
COOKIE = Contender("floor, with the session's cookie", credentials="credentials.wristband")
ANY_STATEMENT = Contender(
    "SELECT 1 by psycopg", "tests.benchmarks.site.authentication.AnyStatement", "credentials.wristband"
)
OWN_STATEMENT = Contender(
    "the statement of session mode", "tests.benchmarks.site.authentication.OwnStatement", "credentials.wristband"
)
# Session mode that remembers no session.
WRISTBAND_ASKING = replace(WRISTBAND, name="wristband that queries each time", env={"SESSION_RECHECK_SECONDS": "0"})
# Sessions bound to the device: switched off; offered, to a browser without a key; and bound.
OFFERED = {"DBSC": "offered", "DBSC_TERM_SECONDS": "3600"}
NOT_OFFERED = replace(deployed(WRISTBAND), name="wristband, DBSC off", credentials="credentials.settled_wristband")
UNBOUND = replace(NOT_OFFERED, name="wristband, DBSC offered, not bound", env=OFFERED)
BOUND = replace(UNBOUND, name="wristband, DBSC offered, bound", credentials="credentials.bound_wristband")
PASSPORT_OFF = deployed(PASSPORT)
PASSPORT_OFFERED = replace(PASSPORT_OFF, name="passport HS256, DBSC offered", env=OFFERED)
STEPS = {
    "token mode": (FLOOR, HEADER, PASSPORT),
    "session mode": (FLOOR, COOKIE, WRISTBAND),
    "session mode with a query": (FLOOR, COOKIE, ANY_STATEMENT, OWN_STATEMENT, WRISTBAND_ASKING),
}

BINDING = ((PASSPORT_OFF, PASSPORT_OFFERED), (NOT_OFFERED, UNBOUND), (NOT_OFFERED, BOUND))
OTHERS = (
    NOT_OFFERED,
    UNBOUND,
    BOUND,
    PASSPORT_OFFERED,
    SIMPLEJWT_ROTATION,
    PASSPORT_BOUND,
    HEADER,
    COOKIE,
    ANY_STATEMENT,
    OWN_STATEMENT,
    WRISTBAND_ASKING,
)
BY_NAME = {contender.name: contender for contender in (*ALL, *OTHERS)}
