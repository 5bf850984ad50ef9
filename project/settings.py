"""Settings, all from the environment (.env.example explains each); with nothing set, the embedded default."""

import os
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import environ
from django.core.management.utils import get_random_secret_key
from django.utils.translation import gettext_lazy as _

from accounts.http.hosts import canonical_origin
from project import stores
from project.environment import MAIL_SCHEMES, Environment, split_url
from project.stores import REDIS_TIMEOUT_SECONDS as REDIS_TIMEOUT_SECONDS

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = BASE_DIR / "var"

# Environment

env = Environment()
# A file beside manage.py for those who like one; ENV_FILE= for none.
env.read_file(BASE_DIR / ".env")

DEBUG = env.boolean("DEBUG")


def cookie_name(name: str) -> str:
    """
    Outside DEBUG the prefix keeps the cookie on this host. In DEBUG all projects on 127.0.0.1 share their cookies, on
    whichever ports, so the name differs by folder: a sign-in to one does not sign out of another.
    """
    return f"{name}-{sha256(str(BASE_DIR).encode()).hexdigest()[:8]}" if DEBUG else f"__Host-{name}"


def development_secret_key() -> str:
    """The key in var/secret_key, made on first use and readable by its owner only. Raises OSError."""
    VAR_DIR.mkdir(mode=0o700, exist_ok=True)
    path = VAR_DIR / "secret_key"
    if not path.exists():
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
    key = env.raw("SECRET_KEY")
    if not key and DEBUG:
        try:
            return development_secret_key()
        except OSError as error:
            env.require(
                False, f"SECRET_KEY is not set, and {error.filename} cannot be used for one ({error.strerror})."
            )
    env.require(
        DEBUG or not is_weak(key),
        "Outside DEBUG, SECRET_KEY must be set to a long random value of its own (50 characters or more).",
    )
    return key


SECRET_KEY = secret_key()
SECRET_KEY_FALLBACKS = env.items("SECRET_KEY_FALLBACKS")
env.require(
    DEBUG or not any(map(is_weak, SECRET_KEY_FALLBACKS)),
    "Outside DEBUG, SECRET_KEY_FALLBACKS must be as good as SECRET_KEY: they open as much.",
)
ALLOWED_HOSTS = env.hosts("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"] if DEBUG else [])
CSRF_TRUSTED_ORIGINS = [canonical_origin(each) for each in env.origins("CSRF_TRUSTED_ORIGINS", wildcards=True)]
TRUSTED_PROXIES = env.networks("TRUSTED_PROXIES")
CORS_ALLOWED_ORIGINS = [canonical_origin(each) for each in env.origins("CORS_ALLOWED_ORIGINS")]
# Cookies with the prefix __Host- are for a whole host, and the API and pages have fixed paths on it.
env.require(
    not os.environ.get("SCRIPT_NAME"),
    "SCRIPT_NAME must not be set: this project needs a host name of its own, not a path.",
)
# Where links in mails lead, and what clients are shown as the address of the API.
SITE_URL = env.site_url("SITE_URL", schemes=["https", "http"] if DEBUG else ["https"])

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
    "accounts.http.middleware.TrustedProxyMiddleware",
    "accounts.http.middleware.RequestContextMiddleware",
    "accounts.http.middleware.SecurityHeadersMiddleware",
    "accounts.http.middleware.HostMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "accounts.http.middleware.NoStoreMiddleware",
    # Before whatever may refuse, so that a page can read the refusal; and before sessions: a preflight reads none.
    "corsheaders.middleware.CorsMiddleware",
    "api.middleware.HttpsOnlyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "api.middleware.LanguageMiddleware",
    "accounts.http.middleware.CommonMiddleware",
    # After the host is checked, and before CSRF reads the form.
    "api.bodies.ChunkedBodyMiddleware",
    "accounts.http.middleware.FetchMetadataMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "accounts.http.middleware.AuthenticationMiddleware",
    "accounts.http.middleware.TooManyAttemptsMiddleware",
    "api.middleware.LockedMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "accounts.http.middleware.PostOnlyRedirectMiddleware",
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
MESSAGE_STORAGE = "accounts.messages.BoundedStorage"
LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("de", _("German"))]
LOCALE_PATHS = [BASE_DIR / "project" / "locale"]
LANGUAGE_COOKIE_NAME = cookie_name("language")
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
    "staticfiles": {"BACKEND": "project.static_files.Storage"},
}

# Data

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"


# Whether PgBouncer in transaction mode stands between.
DATABASE_PGBOUNCER = env.boolean("DATABASE_PGBOUNCER")
# Connections that the threads of a process share, in psycopg's pool; 0: each thread keeps one of its own.
DATABASE_POOL_SIZE = env.integer("DATABASE_POOL_SIZE", default=0, low=0, high=1000)
# A statement of a request is given up after so long. Commands wait as long as they need.
DATABASE_TIMEOUT_SECONDS = env.number("DATABASE_TIMEOUT_SECONDS", default=5.0, low=0.1, high=3600)
DATABASE_URL = stores.database_url(env, "DATABASE_URL")
if DATABASE_URL and not DATABASE_URL.startswith("sqlite:"):
    DATABASES = {
        "default": stores.postgresql(DATABASE_URL, pool_size=DATABASE_POOL_SIZE, is_behind_pgbouncer=DATABASE_PGBOUNCER)
    }
else:
    if not DATABASE_URL:
        env.make_folder(VAR_DIR, "DATABASE_URL is not set, and there is no folder for the embedded database")
    DATABASES = {"default": stores.sqlite(DATABASE_URL or f"sqlite:///{VAR_DIR / 'db.sqlite3'}")}

REDIS_CLUSTER = env.boolean("REDIS_CLUSTER")
REDIS_URL = stores.redis_url(env, "REDIS_URL", is_cluster=REDIS_CLUSTER)
# The URLs of the Sentinels, if any: REDIS_URL then names the service in place of a host.
REDIS_SENTINELS = stores.redis_urls(env, "REDIS_SENTINELS")
env.require(not (REDIS_SENTINELS and REDIS_CLUSTER), "REDIS_SENTINELS and REDIS_CLUSTER exclude each other.")
env.require(
    env.text("REDIS_URL") or not (REDIS_SENTINELS or REDIS_CLUSTER),
    "REDIS_SENTINELS and REDIS_CLUSTER need a REDIS_URL.",
)
CACHES = stores.caches(REDIS_URL, REDIS_SENTINELS, is_cluster=REDIS_CLUSTER)

# Whether /compare/ gives every visitor a throw-away account: of its own accord only where nothing is at stake.
DEMO = env.boolean("DEMO", default=DEBUG and not DATABASE_URL)

# Sign-ins

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["accounts.backends.PasswordBackend"]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = None

# No more than accounts.password_validation takes.
PASSWORD_MIN_LENGTH = env.integer("PASSWORD_MIN_LENGTH", default=15, low=1, high=128)
PASSWORD_RESET_TIMEOUT = 3600
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
# Of a node's workers all but one; gunicorn reads the same variable.
WEB_CONCURRENCY = env.integer("WEB_CONCURRENCY", default=4, low=1, high=1000)
HASHES_AT_ONCE = env.integer("HASHES_AT_ONCE", default=max(1, WEB_CONCURRENCY - 1), low=1, high=1000)
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "accounts.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": PASSWORD_MIN_LENGTH},
    },
    {"NAME": "accounts.password_validation.MaximumLengthValidator"},
    {"NAME": "accounts.password_validation.GuessablePasswordValidator"},
    {"NAME": "accounts.password_validation.PersonalPasswordValidator"},
]

SIGN_IN_MAX = timedelta(days=env.integer("SIGN_IN_MAX_DAYS", default=30, low=1, high=3650))
REMEMBER_ME_IDLE_TIMEOUT = timedelta(days=env.integer("BROWSER_SESSION_DAYS", default=14, low=1, high=3650))
# A browser that was not asked to keep its person signed in.
BROWSER_IDLE_TIMEOUT = timedelta(days=1)
ACCESS_TOKEN = timedelta(minutes=env.integer("ACCESS_TOKEN_MINUTES", default=5, low=1, high=1440))
REFRESH_TOKEN = timedelta(days=env.integer("REFRESH_TOKEN_DAYS", default=14, low=1, high=3650))
# What matters most asks for the password again if it was not given for this long.
REAUTHENTICATION_TIMEOUT = timedelta(minutes=env.integer("RECENT_PROOF_MINUTES", default=15, low=1, high=43200))
REFRESH_GRACE = timedelta(seconds=env.integer("REFRESH_GRACE_SECONDS", default=10, low=0, high=3600))
# How long `manage.py prune` leaves what is over: sign-ins that have ended, and security events.
SIGN_IN_KEEP = timedelta(days=env.integer("SIGN_IN_KEEP_DAYS", default=30, low=0, high=36500))
EVENT_KEEP = timedelta(days=env.integer("EVENT_KEEP_DAYS", default=365, low=0, high=36500))
UNCONFIRMED_KEEP = timedelta(days=env.integer("UNCONFIRMED_KEEP_DAYS", default=30, low=1, high=36500))
JWT_LEEWAY = timedelta(seconds=env.integer("JWT_LEEWAY_SECONDS", default=15, low=0, high=600))
env.require(REFRESH_GRACE < ACCESS_TOKEN, "REFRESH_GRACE_SECONDS must be less than ACCESS_TOKEN_MINUTES.")
env.require(JWT_LEEWAY < ACCESS_TOKEN, "JWT_LEEWAY_SECONDS must be less than ACCESS_TOKEN_MINUTES.")
env.require(ACCESS_TOKEN <= REFRESH_TOKEN, "ACCESS_TOKEN_MINUTES must be no more than REFRESH_TOKEN_DAYS.")
DPOP_REQUIRED = env.choice("DPOP_REQUIRED", ["staff", "all"])

# Session mode: the row decides how long a session lives (SignIn.expires_at), the cookie only has to last as long.

SESSION_ENGINE = "accounts.sessions"
SESSION_COOKIE_AGE = int(SIGN_IN_MAX.total_seconds())
SESSION_COOKIE_NAME = cookie_name("sessionid")
SESSION_COOKIE_SECURE = not DEBUG
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_NAME = cookie_name("csrftoken")
CSRF_COOKIE_SECURE = not DEBUG
CSRF_COOKIE_SAMESITE = "Lax"
# Says that its user signed in here before, and no more (accounts.known_browsers).
DEVICE_COOKIE_NAME = cookie_name("device")
DEVICE_COOKIE_AGE = 365 * 24 * 3600
CSRF_FAILURE_VIEW = "api.errors.csrf_failure"

# Token mode

JWT_KEYS = env.text("JWT_KEYS")
JWT_AUDIENCE = env.word("JWT_AUDIENCE", default="api")
JWT_AUDIENCES = [JWT_AUDIENCE, *env.words("JWT_AUDIENCES")]
JWT_ISSUER = env.word("JWT_ISSUER", default="wristband")
JWT_STATUS_LIST = env.boolean("JWT_STATUS_LIST")
env.require(
    (JWT_KEYS and split_url(JWT_ISSUER, ["https", "http"])) or not JWT_STATUS_LIST,
    "JWT_STATUS_LIST needs JWT_KEYS, and a JWT_ISSUER that is the URL of this project, such as https://www.example.org.",
)
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
    "DEFAULT_PAGINATION_CLASS": "api.pagination.StrictPageNumberPagination",
    # From one address (api.throttling).
    "DEFAULT_THROTTLE_RATES": {
        "tokens": env.rate("TOKEN_RATE", default="600/minute"),
        "accounts": env.rate("ACCOUNT_RATE", default="60/hour"),
    },
    "EXCEPTION_HANDLER": "api.errors.exception_handler",
    "DEFAULT_SCHEMA_CLASS": "api.openapi.schema.AutoSchema",
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
    "POSTPROCESSING_HOOKS": ["drf_spectacular.hooks.postprocess_schema_enums", "api.openapi.schema.add_health"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    # Written into the page's script as it is: the plugin is in api/static/api/docs.js.
    "SWAGGER_UI_SETTINGS": '{"deepLinking": true, "plugins": [AccessibleDocs]}',
}

# Security

SECURE_SSL_REDIRECT = not DEBUG
# The API refuses plain HTTP (api.middleware): a redirect would teach clients to send their tokens in the clear.
SECURE_REDIRECT_EXEMPT = [r"^api/", r"^health/", r"^metrics$"]
# Answered before the host is checked: load balancers ask an instance by its address.
PROBE_PATHS = ["/health/live", "/health/ready"]
SECURE_HSTS_SECONDS = 0 if DEBUG else 365 * 24 * 3600
SECURE_HSTS_INCLUDE_SUBDOMAINS = not DEBUG
SECURE_HSTS_PRELOAD = not DEBUG
SECURE_REFERRER_POLICY = "same-origin"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUSTED_PROXIES else None
X_FRAME_OPTIONS = "DENY"
# What pages may load and do, as Django 6 names and writes it. A view that needs more: accounts.http.headers.
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
# Of a page's form, without the files in it. The API has limits of its own (api.parsers).
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * env.integer("MAX_FORM_KILOBYTES", default=256, low=16, high=1_000_000)
# No page takes a file: a large one is dropped, and never written to a temporary folder.
FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.MemoryFileUploadHandler"]

# Pages of other origins bring a token; a cookie of ours is not asked for, and not honoured (api.authentication).
CORS_URLS_REGEX = r"^/(api|\.well-known)/"
CORS_ALLOW_CREDENTIALS = False
CORS_ALLOW_METHODS = ["GET", "POST", "PATCH", "DELETE", "OPTIONS"]
CORS_ALLOW_HEADERS = ["accept", "authorization", "content-type", "dpop"]
CORS_EXPOSE_HEADERS = ["DPoP-Nonce", "Retry-After", "WWW-Authenticate"]
# Browsers keep a preflight's answer no longer than two hours.
CORS_PREFLIGHT_MAX_AGE = 7200

# Mail

EMAIL_URL = env.url("EMAIL_URL", MAIL_SCHEMES, example="smtp+tls://user:password@mail.example.org:587")
vars().update(environ.Env.email_url_config(EMAIL_URL or ("consolemail://" if DEBUG else "smtp://localhost:25")))
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.email_address("DEFAULT_FROM_EMAIL", default="Wristband & Passport <noreply@localhost>")

# Metrics: whoever is not named here, or does not know the secret, gets none.

METRICS_ADDRESSES = env.networks("METRICS_ADDRESSES")
METRICS_TOKEN = env.word("METRICS_TOKEN", least=32, is_secret=True)
# prometheus_client reads it from the environment, when the first count is made.
PROMETHEUS_MULTIPROC_DIR = env.folder("PROMETHEUS_MULTIPROC_DIR")

# Logging

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "{asctime} {levelname} {name} {message}", "style": "{"},
        "json": {"()": "project.logs.Formatter"},
    },
    "filters": {
        "paths": {"()": "accounts.reports.WithoutPaths"},
        "one_line": {"()": "project.logs.OneLine"},
    },
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
        "django.security.DisallowedHost": {"filters": ["one_line"]},
        "django.security.RequestDataTooBig": {"filters": ["one_line"]},
        "django.security.TooManyFieldsSent": {"filters": ["one_line"]},
        "django.security.TooManyFilesSent": {"filters": ["one_line"]},
        # api.errors says the same, without the path of the Referer.
        "django.security.csrf": {"level": "ERROR"},
        # A line for each security event.
        "accounts.events": {"level": "WARNING" if DEBUG else "INFO"},
    },
}
# Of whoever adds Django's handler that mails errors; it wants the filter, too.
DEFAULT_EXCEPTION_REPORTER = "accounts.reports.Report"
DEFAULT_EXCEPTION_REPORTER_FILTER = "accounts.reports.ReportFilter"

env.stop_if_refused()
# For project.checks.
ENVIRONMENT_NAMES = frozenset(env.names)
ENVIRONMENT_FILE_NAMES = tuple(env.names_in_file)
