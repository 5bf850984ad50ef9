"""Settings, all from the environment (.env.example explains each); with nothing set, the embedded default."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured
from django.core.management.utils import get_random_secret_key
from django.utils.translation import gettext_lazy as _
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry
from redis.sentinel import SentinelManagedSSLConnection

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = BASE_DIR / "var"

# Environment

env = environ.Env()
# A file beside manage.py for those who like one; ENV_FILE= for none.
if env_file := env.str("ENV_FILE", default=str(BASE_DIR / ".env")):
    environ.Env.read_env(env_file)

DEBUG = env.bool("DEBUG", default=False)


def development_secret_key() -> str:
    """The key in var/secret_key, made on first use and readable by its owner only."""
    path = VAR_DIR / "secret_key"
    if not path.exists():
        VAR_DIR.mkdir(exist_ok=True)
        draft = VAR_DIR / f"secret_key.{os.getpid()}"
        draft.touch(mode=0o600)
        draft.write_text(get_random_secret_key())
        # A link is all or nothing: of several processes that start at once, one key wins.
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text().strip()


def is_weak(key: str) -> bool:
    return len(key) < 50 or len(set(key)) < 5 or key.startswith("django-insecure-")


def secret_key() -> str:
    key = env.str("SECRET_KEY", default="")
    if not key and DEBUG:
        return development_secret_key()
    if not DEBUG and is_weak(key):
        raise ImproperlyConfigured(
            "Outside DEBUG, SECRET_KEY must be set to a long random value of its own (50 characters or more)."
        )
    return key


SECRET_KEY = secret_key()
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])
if not DEBUG and any(map(is_weak, SECRET_KEY_FALLBACKS)):
    raise ImproperlyConfigured("Outside DEBUG, SECRET_KEY_FALLBACKS must be as good as SECRET_KEY: they open as much.")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"] if DEBUG else [])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
TRUSTED_PROXIES = env.list("TRUSTED_PROXIES", default=[])
CORS_ALLOWED_ORIGINS = env.list("CORS_ALLOWED_ORIGINS", default=[])

# Applications

INSTALLED_APPS = [
    "project",
    "accounts",
    "api",
    "api.blocklist",
    "project.apps.StaffAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "corsheaders",
]
MIDDLEWARE = [
    "api.compare.costs.CostMiddleware",
    "accounts.middleware.TrustedProxyMiddleware",
    "accounts.middleware.OriginMiddleware",
    "accounts.middleware.PolicyMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "accounts.middleware.NoStoreMiddleware",
    # Before whatever may refuse, so that a page can read the refusal; and before sessions: a preflight reads none.
    "corsheaders.middleware.CorsMiddleware",
    "api.middleware.HttpsOnlyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "api.middleware.LanguageMiddleware",
    "accounts.middleware.CommonMiddleware",
    "accounts.middleware.ForeignPageMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "accounts.middleware.AuthenticationMiddleware",
    "accounts.middleware.LockMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "accounts.middleware.LandingMiddleware",
    # Last, as its page needs what the others bring.
    "api.middleware.NotAllowedMiddleware",
]
ROOT_URLCONF = "project.urls"
WSGI_APPLICATION = "project.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("de", _("German"))]
LOCALE_PATHS = [BASE_DIR / "project" / "locale"]
LANGUAGE_COOKIE_NAME = "language" if DEBUG else "__Host-language"
LANGUAGE_COOKIE_SECURE = not DEBUG
LANGUAGE_COOKIE_HTTPONLY = True
LANGUAGE_COOKIE_SAMESITE = "Lax"
LANGUAGE_COOKIE_AGE = 365 * 24 * 3600
USE_TZ = True
TIME_ZONE = "UTC"

STATIC_URL = "static/"
STATIC_ROOT = VAR_DIR / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

# Data

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"


def database(url: str) -> dict[str, Any]:
    config = env.db_url_config(url)
    if config["ENGINE"] == "django.db.backends.sqlite3":
        config["OPTIONS"] = {
            # Writers queue for the lock where a transaction begins, so that no transaction fails half-way.
            "transaction_mode": "IMMEDIATE",
            "timeout": 10,
            "init_command": "PRAGMA journal_mode=WAL",
        }
        return config
    host = urlsplit(url).netloc.rpartition("@")[2]
    if host.upper().startswith("%2F"):
        config["HOST"] = unquote(host)
    config["ENGINE"] = "project.postgresql"
    config["CONN_MAX_AGE"] = 0 if DATABASE_POOL_SIZE else 600
    # What one transaction leaves on a connection of PgBouncer's, the next does not find.
    config["DISABLE_SERVER_SIDE_CURSORS"] = DATABASE_PGBOUNCER
    # Planned once per connection: PostgreSQL plans the statement of every browser's request longer than it runs it.
    prepared = {"server_side_binding": True, "prepare_threshold": None if DATABASE_PGBOUNCER else 3}
    config["OPTIONS"] = DATABASE_PATIENCE | prepared | config.get("OPTIONS", {})
    if DATABASE_POOL_SIZE:
        config["OPTIONS"]["pool"] = DATABASE_POOL
    return config


# Whether PgBouncer in transaction mode stands between.
DATABASE_PGBOUNCER = env.bool("DATABASE_PGBOUNCER", default=False)
# Connections that the threads of a process share, in psycopg's pool; 0: each thread keeps one of its own.
DATABASE_POOL_SIZE = env.int("DATABASE_POOL_SIZE", default=0)
DATABASE_POOL = {
    "min_size": 0,
    "max_size": DATABASE_POOL_SIZE,
    # To wait for one, in seconds; and until it is told that none can be had: its attempts come ever more seldom.
    "timeout": 3,
    "reconnect_timeout": 1,
}
# A statement of a request is given up after so long. Commands wait as long as they need.
DATABASE_TIMEOUT_SECONDS = env.float("DATABASE_TIMEOUT_SECONDS", default=5.0)
DATABASE_PATIENCE = {
    "connect_timeout": 3,
    # A way that drops packets is noticed by commands, too: in seconds, and by the kernel in milliseconds.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
    # Of project.postgresql: whether the limit goes along at the start of a connection, for PostgreSQL to keep.
    "sends_limits": not DATABASE_PGBOUNCER,
}


DATABASE_URL = env.str("DATABASE_URL", default="")
if not DATABASE_URL:
    VAR_DIR.mkdir(exist_ok=True)
DATABASES = {"default": database(DATABASE_URL or f"sqlite:///{VAR_DIR / 'db.sqlite3'}")}

REDIS_URL = env.str("REDIS_URL", default="")
# The URLs of the Sentinels, if any: REDIS_URL then names the service in place of a host.
REDIS_SENTINELS = env.list("REDIS_SENTINELS", default=[])
REDIS_CLUSTER = env.bool("REDIS_CLUSTER", default=False)
if REDIS_SENTINELS and REDIS_CLUSTER:
    raise ImproperlyConfigured("REDIS_SENTINELS and REDIS_CLUSTER exclude each other.")
if (REDIS_SENTINELS or REDIS_CLUSTER) and not REDIS_URL:
    raise ImproperlyConfigured("REDIS_SENTINELS and REDIS_CLUSTER need a REDIS_URL.")
# To connect, and to get an answer: together within the 250 ms that a request may wait for Redis.
REDIS_TIMEOUT_SECONDS = 0.12
REDIS_PATIENCE = {"socket_connect_timeout": REDIS_TIMEOUT_SECONDS, "socket_timeout": REDIS_TIMEOUT_SECONDS}


def sentinel_options(urls: list[str]) -> dict[str, Any]:
    """Of django-redis. All Sentinels are reached as the first is: its credentials, its TLS."""
    sentinels = [parse_url(url) for url in urls]
    addresses = [(each.pop("host"), each.pop("port", 26379)) for each in sentinels]
    kwargs = {"ssl": sentinels[0].pop("connection_class", None) is not None, "retry": Retry(NoBackoff(), 0)}
    # Not django-redis's SentinelClient, which reads from replicas: they lag behind.
    return {
        "CONNECTION_FACTORY": "django_redis.pool.SentinelConnectionFactory",
        "CONNECTION_POOL_CLASS": "api.compare.costs.CountedSentinelPool",
        "SENTINELS": addresses,
        "SENTINEL_KWARGS": REDIS_PATIENCE | kwargs | sentinels[0],
    }


def redis_options() -> dict[str, Any]:
    """What differs from a single server."""
    if REDIS_SENTINELS:
        return sentinel_options(REDIS_SENTINELS)
    return {"CONNECTION_FACTORY": "api.redis_cluster.ClusterFactory"} if REDIS_CLUSTER else {}


# Once more for a connection that Redis closed meanwhile, and never after a time-out.
REDIS_POOL: dict[str, Any] = {"retry": Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,))}
if REDIS_SENTINELS and REDIS_URL.startswith("rediss://"):
    REDIS_POOL["connection_class"] = SentinelManagedSSLConnection
CACHES: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": [REDIS_URL],
        "KEY_PREFIX": "wp",
        "OPTIONS": {
            # Pickle, the default, would run the code of whoever writes to Redis.
            "SERIALIZER": "django_redis.serializers.json.JSONSerializer",
            "CONNECTION_POOL_CLASS": "api.compare.costs.CountedPool",
            "SOCKET_CONNECT_TIMEOUT": REDIS_TIMEOUT_SECONDS,
            "SOCKET_TIMEOUT": REDIS_TIMEOUT_SECONDS,
            "CONNECTION_POOL_KWARGS": REDIS_POOL,
        }
        | redis_options(),
    }
    if REDIS_URL
    else {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
}

# Whether /compare/ gives every visitor a throw-away account: of its own accord only where nothing is at stake.
DEMO = env.bool("DEMO", default=DEBUG and not DATABASE_URL)

# Sign-ins

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["accounts.backends.PasswordBackend"]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = None

PASSWORD_MIN_LENGTH = env.int("PASSWORD_MIN_LENGTH", default=15)
PASSWORD_RESET_TIMEOUT = 3600
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
# Of a node's workers all but one; gunicorn reads the same variable.
HASHES_AT_ONCE = env.int("HASHES_AT_ONCE", default=max(1, env.int("WEB_CONCURRENCY", default=4) - 1))
if HASHES_AT_ONCE < 1:
    raise ImproperlyConfigured("HASHES_AT_ONCE must be 1 or more.")
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": PASSWORD_MIN_LENGTH},
    },
    {"NAME": "accounts.passwords.MaximumLengthValidator"},
    {"NAME": "accounts.passwords.GuessableValidator"},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
]

SIGN_IN_MAX = timedelta(days=env.int("SIGN_IN_MAX_DAYS", default=30))
BROWSER_SESSION = timedelta(days=env.int("BROWSER_SESSION_DAYS", default=14))
# A browser that was not asked to keep its person signed in.
BROWSER_SESSION_UNKEPT = timedelta(days=1)
ACCESS_TOKEN = timedelta(minutes=env.int("ACCESS_TOKEN_MINUTES", default=5))
REFRESH_TOKEN = timedelta(days=env.int("REFRESH_TOKEN_DAYS", default=14))
# What matters most asks for the password again if it was not given for this long.
RECENT_PROOF = timedelta(minutes=env.int("RECENT_PROOF_MINUTES", default=15))
REFRESH_GRACE = timedelta(seconds=env.int("REFRESH_GRACE_SECONDS", default=10))
# How long `manage.py prune` leaves what is over: sign-ins that have ended, and security events.
SIGN_IN_KEEP = timedelta(days=env.int("SIGN_IN_KEEP_DAYS", default=30))
EVENT_KEEP = timedelta(days=env.int("EVENT_KEEP_DAYS", default=365))
UNCONFIRMED_KEEP = timedelta(days=env.int("UNCONFIRMED_KEEP_DAYS", default=30))
JWT_LEEWAY = timedelta(seconds=env.int("JWT_LEEWAY_SECONDS", default=15))
DPOP_REQUIRED = env.str("DPOP_REQUIRED", default="")
if DPOP_REQUIRED not in ("", "staff", "all"):
    raise ImproperlyConfigured("DPOP_REQUIRED must be empty, staff or all.")

# Session mode: the row decides how long a session lives (SignIn.expires_at), the cookie only has to last as long.

SESSION_ENGINE = "accounts.sessions"
SESSION_COOKIE_AGE = int(SIGN_IN_MAX.total_seconds())
SESSION_COOKIE_NAME = "sessionid" if DEBUG else "__Host-sessionid"
SESSION_COOKIE_SECURE = not DEBUG
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_NAME = "csrftoken" if DEBUG else "__Host-csrftoken"
CSRF_COOKIE_SECURE = not DEBUG
CSRF_COOKIE_SAMESITE = "Lax"
# Says that its user signed in here before, and no more (accounts.locks).
DEVICE_COOKIE_NAME = "device" if DEBUG else "__Host-device"
DEVICE_COOKIE_AGE = 365 * 24 * 3600
CSRF_FAILURE_VIEW = "api.errors.csrf_failure"

# Token mode

JWT_KEYS = env.str("JWT_KEYS", default="")
JWT_AUDIENCE = env.str("JWT_AUDIENCE", default="api")
JWT_AUDIENCES = [JWT_AUDIENCE, *env.list("JWT_AUDIENCES", default=[])]
JWT_ISSUER = env.str("JWT_ISSUER", default="wristband")
JWT_STATUS_LIST = env.bool("JWT_STATUS_LIST", default=False)
if JWT_STATUS_LIST and not (JWT_KEYS and JWT_ISSUER.startswith(("https://", "http://"))):
    raise ImproperlyConfigured("JWT_STATUS_LIST needs JWT_KEYS, and a JWT_ISSUER that is the URL of this project.")
SIMPLE_JWT = {
    "ACCESS_TOKEN_LIFETIME": ACCESS_TOKEN,
    "REFRESH_TOKEN_LIFETIME": REFRESH_TOKEN,
    "LEEWAY": JWT_LEEWAY,
    "ISSUER": JWT_ISSUER,
    "AUDIENCE": JWT_AUDIENCE,
    "USER_ID_CLAIM": "sub",
    "AUTH_TOKEN_CLASSES": ["api.tokens.AccessToken"],
    "TOKEN_OBTAIN_SERIALIZER": "api.serializers.TokenPairSerializer",
    "TOKEN_REFRESH_SERIALIZER": "api.serializers.TokenRefreshSerializer",
    "TOKEN_VERIFY_SERIALIZER": "api.serializers.TokenVerifySerializer",
    "TOKEN_BLACKLIST_SERIALIZER": "api.serializers.TokenBlacklistSerializer",
}
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "api.authentication.TokenAuthentication",
        "api.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["api.parsers.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"]
    + (["rest_framework.renderers.BrowsableAPIRenderer"] if DEBUG else []),
    "DEFAULT_PAGINATION_CLASS": "api.pagination.Pages",
    # From one address (api.throttling).
    "DEFAULT_THROTTLE_RATES": {
        "tokens": env.str("TOKEN_RATE", default="600/minute") or None,
        "accounts": env.str("ACCOUNT_RATE", default="60/hour") or None,
    },
    "EXCEPTION_HANDLER": "api.errors.exception_handler",
    "DEFAULT_SCHEMA_CLASS": "api.schema.AutoSchema",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "OAS_VERSION": "3.1.0",
    "TITLE": "Wristband & Passport",
    "DESCRIPTION": "Two ways to stay signed in. Programs carry an access token and a refresh token; the project's own "
    "pages carry a session cookie. Every error has a `detail` for people and a `code` for programs.",
    "VERSION": "1",
    "SCHEMA_PATH_PREFIX": "/api",
    "SERVERS": [{"url": "/"}],
    "COMPONENT_SPLIT_REQUEST": True,
    "SORT_OPERATIONS": False,
    "ENUM_NAME_OVERRIDES": {
        "SignInKind": "accounts.models.SignIn.Kind",
        "SecurityEventType": "accounts.models.SecurityEvent.Type",
    },
    "POSTPROCESSING_HOOKS": ["drf_spectacular.hooks.postprocess_schema_enums", "api.schema.add_health"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    # Written into the page's script as it is: the plugin is in api/static/api/docs.js.
    "SWAGGER_UI_SETTINGS": '{"deepLinking": true, "plugins": [AccessibleDocs]}',
}

# Security

SECURE_SSL_REDIRECT = not DEBUG
# The API refuses plain HTTP (api.middleware): a redirect would teach clients to send their tokens in the clear.
SECURE_REDIRECT_EXEMPT = [r"^api/", r"^health/", r"^metrics$"]
SECURE_HSTS_SECONDS = 0 if DEBUG else 365 * 24 * 3600
SECURE_HSTS_INCLUDE_SUBDOMAINS = not DEBUG
SECURE_HSTS_PRELOAD = not DEBUG
SECURE_REFERRER_POLICY = "same-origin"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUSTED_PROXIES else None
X_FRAME_OPTIONS = "DENY"
# What pages may load and do, as Django 6 names and writes it. A view that needs more: accounts.policy.
SECURE_CSP = {
    "default-src": ["'self'"],
    "object-src": ["'none'"],
    "base-uri": ["'none'"],
    "frame-ancestors": ["'none'"],
    "form-action": ["'self'"],
}
PERMISSIONS_POLICY: dict[str, list[str]] = {
    feature: []
    for feature in (
        "camera",
        "display-capture",
        "geolocation",
        "microphone",
        "payment",
        "publickey-credentials-get",
        "usb",
    )
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 256 * 1024

# Pages of other origins bring a token; a cookie of ours is not asked for, and not honoured (api.authentication).
CORS_URLS_REGEX = r"^/(api|\.well-known)/"
CORS_ALLOW_CREDENTIALS = False
CORS_ALLOW_METHODS = ["GET", "POST", "PATCH", "DELETE", "OPTIONS"]
CORS_ALLOW_HEADERS = ["accept", "authorization", "content-type", "dpop"]
CORS_EXPOSE_HEADERS = ["DPoP-Nonce", "Retry-After", "WWW-Authenticate"]
# Browsers keep a preflight's answer no longer than two hours.
CORS_PREFLIGHT_MAX_AGE = 7200

# Mail

vars().update(env.email_url("EMAIL_URL", default="consolemail://" if DEBUG else "smtp://localhost:25"))
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="Wristband & Passport <noreply@localhost>")

# Metrics: whoever is not named here, or does not know the secret, gets none.

METRICS_ADDRESSES = env.list("METRICS_ADDRESSES", default=[])
METRICS_TOKEN = env.str("METRICS_TOKEN", default="")
if METRICS_TOKEN and len(METRICS_TOKEN) < 32:
    raise ImproperlyConfigured("METRICS_TOKEN must have 32 characters or more.")

# Logging

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "{asctime} {levelname} {name} {message}", "style": "{"},
        "json": {"()": "project.logs.Formatter"},
    },
    "filters": {"paths": {"()": "accounts.reports.WithoutPaths"}},
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": "line" if DEBUG else "json",
            "filters": [] if DEBUG else ["paths"],
        }
    },
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {
        "django": {"handlers": [], "level": "WARNING"},
        # A refused request is an answer, not an incident.
        "django.request": {"level": "ERROR"},
        # A line for each security event.
        "accounts.events": {"level": "WARNING" if DEBUG else "INFO"},
    },
}
# Of whoever adds Django's handler that mails errors; it wants the filter, too.
DEFAULT_EXCEPTION_REPORTER = "accounts.reports.Report"
DEFAULT_EXCEPTION_REPORTER_FILTER = "accounts.reports.ReportFilter"
