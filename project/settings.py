"""The settings, read from the environment. .env.example describes each variable; every one has a default."""

import os
from datetime import timedelta
from email.utils import formataddr
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

import environ
from django.utils.translation import gettext_lazy as _

from accounts.django_versions import mail_settings
from accounts.http.hosts import canonical_origin
from project import openid_providers, stores
from project.environment import MAIL_SCHEMES, Environment
from project.logging_config import logging_config
from project.secret_key import secret_key, secret_key_fallbacks
from project.setting_values import split_url
from project.stores import REDIS_TIMEOUT_SECONDS as REDIS_TIMEOUT_SECONDS

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = BASE_DIR / "var"

# Environment

env = Environment()
# An optional file beside manage.py; an empty ENV_FILE disables it.
env.read_file(BASE_DIR / ".env")

DEBUG = env.boolean("DEBUG")

# The brand: the name in pages, mails and apps; a logo and a style sheet (unset: none), as paths of static files; the
# colour of buttons in mails, on a light and on a dark ground.
SITE_NAME = env.title("SITE_NAME", default="Wristband & Passport")
BRAND_LOGO, BRAND_CSS, BRAND_COLORS = "accounts/favicon.svg", "", ("#0b5c6b", "#6fc7d6")
# The model with more fields of users, such as "product.Profile" (accounts.profiles). Unset: none.
PROFILE_MODEL = ""

# Installs /compare/, the page that compares both modes and creates throw-away accounts.
DEMO = env.boolean("DEMO", default=DEBUG and not env.text("DATABASE_URL"))
# Outside DEBUG the prefix binds a cookie to this host. In DEBUG all projects on 127.0.0.1 share their cookies, whatever
# their ports: the name contains a hash of the folder, so that a sign-in to one does not sign out of another.
COOKIE_NAME = f"{{}}-{sha256(str(BASE_DIR).encode()).hexdigest()[:8]}" if DEBUG else "__Host-{}"

SECRET_KEY = secret_key(env, VAR_DIR, debug=DEBUG)
SECRET_KEY_FALLBACKS = secret_key_fallbacks(env, debug=DEBUG)
ALLOWED_HOSTS = env.hosts("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"] if DEBUG else [])
CSRF_TRUSTED_ORIGINS = [canonical_origin(each) for each in env.origins("CSRF_TRUSTED_ORIGINS", wildcards=True)]
TRUSTED_PROXIES = env.networks("TRUSTED_PROXIES")
CORS_ALLOWED_ORIGINS = [canonical_origin(each) for each in env.origins("CORS_ALLOWED_ORIGINS")]
# The base URL of links in mails, and of the examples for API clients.
WEB_SCHEMES = ["https", "http"] if DEBUG else ["https"]
SITE_URL = env.site_url("SITE_URL", schemes=WEB_SCHEMES)
# Browser apps on other hosts or ports of this site, which may use the session cookie.
SITE_HOSTS = [urlsplit(SITE_URL).hostname or "", *ALLOWED_HOSTS]
APP_ORIGINS = [canonical_origin(each) for each in env.app_origins("APP_ORIGINS", SITE_HOSTS, debug=DEBUG)]
# Cookies with the prefix __Host- are valid for a whole host, and the paths of the API and the pages are fixed.
env.require(
    not os.environ.get("SCRIPT_NAME"),
    "SCRIPT_NAME must not be set: this project needs its own host name, not a path.",
)
# Where links in mails lead, if not to the project's own pages (accounts.links).
EMAIL_CONFIRM_URL = env.link_url(
    "EMAIL_CONFIRM_URL", WEB_SCHEMES, example="https://app.example.org/#/confirm/{uid}/{token}"
)
PASSWORD_RESET_URL = env.link_url(
    "PASSWORD_RESET_URL", WEB_SCHEMES, example="https://app.example.org/#/reset/{uid}/{token}"
)

# The providers by which users sign in, by id (accounts.openid). Without one, allauth is not imported.
OPENID_PROVIDERS = openid_providers.read(env, "OPENID_PROVIDERS", WEB_SCHEMES)
vars().update(openid_providers.allauth_settings(OPENID_PROVIDERS))

# Where security events are sent (project.forwarding), and traces (project.tracing). Unset: nowhere.
EVENTS_URL = env.events_url("EVENTS_URL")
TRACES_URL = env.traces_url("TRACES_URL")

# Applications

INSTALLED_APPS = [
    "project",
    # After project, which replaces its command.
    "django_tasks_db",
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
    "django.forms",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "corsheaders",
    *(["api.compare"] if DEMO else []),
    *(openid_providers.APPS if OPENID_PROVIDERS else []),
]
MIDDLEWARE = [
    *(["api.compare.costs.CostMiddleware"] if DEMO else []),
    "accounts.http.middleware.TrustedProxyMiddleware",
    "accounts.http.middleware.RequestContextMiddleware",
    *(["project.tracing.middleware.RequestMiddleware"] if TRACES_URL else []),
    # Outside all that may respond, so that every response has the headers.
    "accounts.http.middleware.SecurityHeadersMiddleware",
    "accounts.http.middleware.HostMiddleware",
    "accounts.http.middleware.HttpsRedirectMiddleware",
    "project.static_files.Middleware",
    # Before each middleware that may refuse a request, so that pages of other origins can read the error; and before
    # sessions, since a preflight request has none.
    "api.middleware.CorsMiddleware",
    "api.middleware.HttpsOnlyMiddleware",
    "accounts.http.middleware.SessionMiddleware",
    "api.dbsc.middleware.DeviceMiddleware",
    "project.middleware.LanguageMiddleware",
    "accounts.http.middleware.CommonMiddleware",
    # After the host check, and before CsrfViewMiddleware reads the form.
    "project.chunked_bodies.ChunkedBodyMiddleware",
    "project.uploads.UploadMiddleware",
    "accounts.http.middleware.FetchMetadataMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "accounts.http.middleware.AuthenticationMiddleware",
    *(["accounts.moving_in.middleware.OldSessionMiddleware"] if env.text("LEGACY_SESSION_KEY") else []),
    "accounts.http.support.SupportMiddleware",
    "accounts.http.middleware.TooManyAttemptsMiddleware",
    "project.middleware.TooManyRequestsMiddleware",
    "project.middleware.MessageMiddleware",
    *(openid_providers.MIDDLEWARE if OPENID_PROVIDERS else []),
    "accounts.http.middleware.PostOnlyRedirectMiddleware",
    # Last: its page needs the session and the user.
    "project.middleware.NotAllowedMiddleware",
    *(["project.tracing.middleware.ViewMiddleware"] if TRACES_URL else []),
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
                "project.site_context.site",
            ],
        },
    },
]
FORM_RENDERER = "project.form_rendering.Renderer"
MESSAGE_STORAGE = "accounts.messages.CookieStorage"
MESSAGE_COOKIE_NAME = COOKIE_NAME.format("messages")
LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("de", _("German"))]
LOCALE_PATHS = [BASE_DIR / "project" / "locale"]
LANGUAGE_COOKIE_NAME = COOKIE_NAME.format("language")
LANGUAGE_COOKIE_SECURE = not DEBUG
LANGUAGE_COOKIE_HTTPONLY = True
LANGUAGE_COOKIE_SAMESITE = "Lax"
LANGUAGE_COOKIE_AGE = 365 * 24 * 3600
# The choice of the light or dark theme (project.theme).
THEME_COOKIE_NAME = COOKIE_NAME.format("theme")
THEME_COOKIE_SECURE = not DEBUG
THEME_COOKIE_AGE = 365 * 24 * 3600
# Links of the footer; without them the footer has none. The contact is also in /.well-known/security.txt (RFC 9116).
SOURCE_URL = env.url("SOURCE_URL", ["https", "http"], example="https://git.example.org/wristband")
SECURITY_CONTACT = env.contact("SECURITY_CONTACT")
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


# Connections go through PgBouncer in transaction mode.
DATABASE_PGBOUNCER = env.boolean("DATABASE_PGBOUNCER")
# The size of psycopg's pool, which the threads of a process share. 0: each thread has its own connection.
DATABASE_POOL_SIZE = env.integer("DATABASE_POOL_SIZE", default=0, low=0, high=1000)
# The deadline of one statement while a request is served. Commands have none.
DATABASE_TIMEOUT_SECONDS = env.number("DATABASE_TIMEOUT_SECONDS", default=5.0, low=0.1, high=3600)
DATABASE_URL = stores.database_url(env, "DATABASE_URL")
DATABASES = stores.databases(
    env, DATABASE_URL, VAR_DIR, pool_size=DATABASE_POOL_SIZE, is_behind_pgbouncer=DATABASE_PGBOUNCER
)

REDIS_CLUSTER = env.boolean("REDIS_CLUSTER")
REDIS_URL = stores.redis_url(env, "REDIS_URL", is_cluster=REDIS_CLUSTER)
# The URLs of the Sentinels, if any: REDIS_URL then has the name of the service instead of a host.
REDIS_SENTINELS = stores.redis_urls(env, "REDIS_SENTINELS")
env.require(not (REDIS_SENTINELS and REDIS_CLUSTER), "REDIS_SENTINELS and REDIS_CLUSTER exclude each other.")
env.require(
    env.text("REDIS_URL") or not (REDIS_SENTINELS or REDIS_CLUSTER),
    "REDIS_SENTINELS and REDIS_CLUSTER need a REDIS_URL.",
)
CACHES = stores.caches(REDIS_URL, REDIS_SENTINELS, is_cluster=REDIS_CLUSTER, is_demo=DEMO)

# Sign-ins

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["accounts.backends.PasswordBackend"]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = None

# The maximum is the maximum length of a password (accounts.passwords).
PASSWORD_MIN_LENGTH = env.integer("PASSWORD_MIN_LENGTH", default=15, low=1, high=128)
PASSWORD_RESET_TIMEOUT = 3600
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
    # Of users who moved in: verified, and replaced at the first sign-in.
    "django.contrib.auth.hashers.PBKDF2SHA1PasswordHasher",
    "django.contrib.auth.hashers.ScryptPasswordHasher",
    "django.contrib.auth.hashers.BCryptSHA256PasswordHasher",
    "accounts.moving_in.old_hashes.BCryptHasher",
]
# gunicorn reads the same variable. By default one worker of a node hashes no passwords.
WEB_CONCURRENCY = env.integer("WEB_CONCURRENCY", default=4, low=1, high=1000)
HASHES_AT_ONCE = env.integer("HASHES_AT_ONCE", default=max(1, WEB_CONCURRENCY - 1), low=1, high=1000)
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "accounts.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": PASSWORD_MIN_LENGTH}},
    {"NAME": "accounts.password_validation.MaximumLengthValidator"},
    {"NAME": "accounts.password_validation.GuessablePasswordValidator"},
    {"NAME": "accounts.password_validation.PersonalPasswordValidator"},
    {"NAME": "accounts.known_passwords.KnownPasswordValidator"},
]
# A file of SHA-1 hashes of breached passwords (accounts.hash_list). Unset: only the list of common passwords is used.
BREACHED_PASSWORDS = env.hash_list("BREACHED_PASSWORDS")

SIGN_IN_MAX = timedelta(days=env.integer("SIGN_IN_MAX_DAYS", default=30, low=1, high=3650))
REMEMBER_ME_IDLE_TIMEOUT = timedelta(days=env.integer("BROWSER_SESSION_DAYS", default=14, low=1, high=3650))
# The idle timeout of a browser whose user did not choose to stay signed in.
BROWSER_IDLE_TIMEOUT = timedelta(days=1)
# Shorter limits of staff members and of members of groups (accounts.models.limits). Zero: as for all users.
STAFF_IDLE = timedelta(minutes=env.integer("STAFF_IDLE_MINUTES", default=0, low=10, high=1440))
STAFF_MAX = timedelta(hours=env.integer("STAFF_MAX_HOURS", default=0, low=1, high=8760))
GROUP_LIMITS = env.group_limits("GROUP_LIMITS")
# The oldest sign-in of a user beyond this number ends. 0: no limit.
SIGN_INS_PER_USER = env.integer("SIGN_INS_PER_USER", default=0, low=0, high=1000)
ACCESS_TOKEN = timedelta(minutes=env.integer("ACCESS_TOKEN_MINUTES", default=5, low=1, high=1440))
REFRESH_TOKEN = timedelta(days=env.integer("REFRESH_TOKEN_DAYS", default=14, low=1, high=3650))
# The longest lifetime of an API key. 0: there are no API keys, and existing ones are refused.
API_KEY_MAX = timedelta(days=env.integer("API_KEY_MAX_DAYS", default=365, low=0, high=3650))
# Programs without a browser can sign in by a code that their user types into a page (RFC 8628).
DEVICE_FLOW = env.boolean("DEVICE_FLOW")
# For how long a process accepts a session that it has checked, without a statement. 0: each request is checked.
SESSION_RECHECK = timedelta(seconds=env.integer("SESSION_RECHECK_SECONDS", default=30, low=0, high=300))
# Sensitive actions require the password again if it was last entered longer ago.
REAUTHENTICATION_TIMEOUT = timedelta(minutes=env.integer("RECENT_PROOF_MINUTES", default=15, low=1, high=43200))
REFRESH_GRACE = timedelta(seconds=env.integer("REFRESH_GRACE_SECONDS", default=10, low=0, high=3600))
# For how long the parent of a refresh token that was never used is accepted as a retry (SignIn.is_late_retry).
REFRESH_PARENT_GRACE = timedelta(days=env.integer("REFRESH_PARENT_GRACE_DAYS", default=0, low=0, high=90))
# Which accounts can have, or must have, a second factor (accounts.factors.requirements).
SECOND_FACTOR = env.choice("SECOND_FACTOR", ["off", "offered", "staff", "all"]) or "offered"
# Whose browsers are asked to bind their sessions to their device (api.dbsc), and how long a proof of it counts.
DBSC = env.choice("DBSC", ["off", "offered", "staff"]) or "off"
DBSC_TERM = timedelta(seconds=env.integer("DBSC_TERM_SECONDS", default=600, low=2, high=3600))
# How long `manage.py prune` keeps sign-ins that have ended, security events, and accounts that were never confirmed.
SIGN_IN_KEEP = timedelta(days=env.integer("SIGN_IN_KEEP_DAYS", default=30, low=0, high=36500))
EVENT_KEEP = timedelta(days=env.integer("EVENT_KEEP_DAYS", default=365, low=0, high=36500))
UNCONFIRMED_KEEP = timedelta(days=env.integer("UNCONFIRMED_KEEP_DAYS", default=30, low=1, high=36500))
# A local database of places, which pages show for IP addresses. Unset: no places.
GEOIP_PATH = env.geoip_database("GEOIP_PATH")
JWT_LEEWAY = timedelta(seconds=env.integer("JWT_LEEWAY_SECONDS", default=15, low=0, high=600))
env.require(REFRESH_GRACE < ACCESS_TOKEN, "REFRESH_GRACE_SECONDS must be less than ACCESS_TOKEN_MINUTES.")
env.require(JWT_LEEWAY < ACCESS_TOKEN, "JWT_LEEWAY_SECONDS must be less than ACCESS_TOKEN_MINUTES.")
env.require(ACCESS_TOKEN <= REFRESH_TOKEN, "ACCESS_TOKEN_MINUTES must be no more than REFRESH_TOKEN_DAYS.")
DPOP_REQUIRED = env.choice("DPOP_REQUIRED", ["staff", "all"])

# Session mode. The lifetime of a session is in its row (SignIn.expires_at); the cookie must last at least as long.

# accounts.sessions, with sessions that a process remembers.
SESSION_ENGINE = "api.blocklist.sessions"
SESSION_COOKIE_AGE = int(SIGN_IN_MAX.total_seconds())
SESSION_COOKIE_NAME = COOKIE_NAME.format("sessionid")
SESSION_COOKIE_SECURE = not DEBUG
SESSION_COOKIE_SAMESITE = "Lax"
# The session of a staff member who is signed in as a user meanwhile (accounts.support).
STAFF_COOKIE_NAME = COOKIE_NAME.format("staff")
CSRF_COOKIE_NAME = COOKIE_NAME.format("csrftoken")
CSRF_COOKIE_SECURE = not DEBUG
CSRF_COOKIE_SAMESITE = "Lax"
# Marks a browser in which its user has signed in before (accounts.known_browsers).
DEVICE_COOKIE_NAME = COOKIE_NAME.format("device")
DEVICE_COOKIE_AGE = 365 * 24 * 3600
BOUND_COOKIE_NAME = COOKIE_NAME.format("bound")
# The user declined the offer to add a passkey (accounts.passkey_offer).
PASSKEY_OFFER_COOKIE_NAME = COOKIE_NAME.format("passkey_offer")
PASSKEY_OFFER_COOKIE_AGE = 365 * 24 * 3600
CSRF_FAILURE_VIEW = "project.error_pages.csrf_failure"

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
# Sign-ins of the site that users moved in from: the key of its refresh tokens, its SECRET_KEY, and until when.
LEGACY_JWT_KEY = env.legacy_key("LEGACY_JWT_KEY")
LEGACY_JWT_UNTIL = env.until("LEGACY_JWT_UNTIL", "LEGACY_JWT_KEY", LEGACY_JWT_KEY)
LEGACY_SESSION_KEY = env.word("LEGACY_SESSION_KEY", is_secret=True)
LEGACY_SESSION_UNTIL = env.until("LEGACY_SESSION_UNTIL", "LEGACY_SESSION_KEY", LEGACY_SESSION_KEY)
LEGACY_SESSION_COOKIE = env.word("LEGACY_SESSION_COOKIE", default="sessionid")
# For each client address: sign-ups and password resets.
ACCOUNT_RATE = env.rate("ACCOUNT_RATE", default="60/hour")
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
    # For each client address (api.throttling).
    "DEFAULT_THROTTLE_RATES": {
        "tokens": env.rate("TOKEN_RATE", default="600/minute"),
        "accounts": ACCOUNT_RATE,
    },
    "EXCEPTION_HANDLER": "api.errors.exception_handler",
    "DEFAULT_SCHEMA_CLASS": "api.openapi.schema.AutoSchema",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "OAS_VERSION": "3.1.0",
    "TITLE": SITE_NAME,
    "DESCRIPTION": "API clients authenticate with an access token and renew it with a refresh token; the project's own "
    "pages use a session cookie. Every error has a `detail` for people and a `code` for programs.",
    "VERSION": "1",
    "SCHEMA_PATH_PREFIX": "/api",
    "SERVERS": [{"url": "/"}],
    "COMPONENT_SPLIT_REQUEST": True,
    "SORT_OPERATIONS": False,
    "ENUM_NAME_OVERRIDES": {
        "SignInKind": "accounts.models.SignIn.Kind",
        "KeyScope": "accounts.models.KeyScope",
        "TokenType": ["Bearer", "DPoP"],
        "SecurityEventType": "accounts.models.SecurityEvent.Type",
    },
    "POSTPROCESSING_HOOKS": ["drf_spectacular.hooks.postprocess_schema_enums", "api.openapi.schema.add_health"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    # Copied into the script of the page unchanged: the plugin is in api/static/api/docs.js.
    "SWAGGER_UI_SETTINGS": '{"deepLinking": true, "plugins": [AccessibleDocs]}',
}

# Security

SECURE_SSL_REDIRECT = not DEBUG
# The API refuses plain HTTP (api.middleware): with a redirect, clients would go on sending tokens unencrypted.
SECURE_REDIRECT_EXEMPT = [r"^api/", r"^health/", r"^metrics$"]
# Exempt from the host check: load balancers send the address of the instance as Host.
PROBE_PATHS = ["/health/live", "/health/ready"]
SECURE_HSTS_SECONDS = 0 if DEBUG else 365 * 24 * 3600
SECURE_HSTS_INCLUDE_SUBDOMAINS = env.boolean("HSTS_SUBDOMAINS", default=True)
SECURE_HSTS_PRELOAD = env.boolean("HSTS_PRELOAD")
env.require(SECURE_HSTS_INCLUDE_SUBDOMAINS or not SECURE_HSTS_PRELOAD, "HSTS_PRELOAD needs HSTS_SUBDOMAINS.")
SECURE_REFERRER_POLICY = "same-origin"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUSTED_PROXIES else None
X_FRAME_OPTIONS = "DENY"
# Django expects its SecurityMiddleware and XFrameOptionsMiddleware; accounts.http.middleware does their work.
SILENCED_SYSTEM_CHECKS = ["security.W001", "security.W002"]
# The Content Security Policy, in the format of Django 6. For a view that needs more: accounts.http.headers.
SECURE_CSP = {
    "default-src": ["'self'"],
    "object-src": ["'none'"],
    "base-uri": ["'none'"],
    "frame-ancestors": ["'none'"],
    "form-action": ["'self'"],
    "report-uri": ["/csp-report/"],
}
PERMISSIONS_POLICY: dict[str, list[str]] = {
    "camera": [],
    "display-capture": [],
    "geolocation": [],
    "microphone": [],
    "payment": [],
    "publickey-credentials-create": ["self"],
    "publickey-credentials-get": ["self"],
    "usb": [],
}
# The maximum size of a form, without files. The API has its own limit (api.parsers).
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * env.integer("MAX_FORM_KILOBYTES", default=256, low=16, high=1_000_000)
# A view that accepts larger files declares their size (accounts.http.uploads). Only these go to a temporary folder.
FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.MemoryFileUploadHandler"]

# Pages of other origins use a token; the session cookie is not accepted from them (api.authentication), except from
# APP_ORIGINS, which api.middleware adds.
CORS_URLS_REGEX = r"^/(api|\.well-known)/"
CORS_ALLOW_CREDENTIALS = False
CORS_ALLOW_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
CORS_ALLOW_HEADERS = ["accept", "authorization", "content-type", "dpop", *env.header_names("CORS_ALLOW_HEADERS")]
CORS_EXPOSE_HEADERS = ["DPoP-Nonce", "Retry-After", "WWW-Authenticate", *env.header_names("CORS_EXPOSE_HEADERS")]
# In seconds. Browsers cache the answer to a preflight request for two hours at most.
CORS_PREFLIGHT_MAX_AGE = 7200

# Mail

EMAIL_URL = env.url("EMAIL_URL", MAIL_SCHEMES, example="smtp+tls://user:password@mail.example.org:587")
MAIL_SERVER = environ.Env.email_url_config(EMAIL_URL or ("consolemail://" if DEBUG else "smtp://localhost:25"))
MAIL_TIMEOUT_SECONDS = 10
vars().update(mail_settings(MAIL_SERVER, MAIL_TIMEOUT_SECONDS))
TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
DEFAULT_FROM_EMAIL = env.email_address("DEFAULT_FROM_EMAIL", default=formataddr((SITE_NAME, "noreply@localhost")))

# Metrics: for clients with one of these addresses, or with this token.

METRICS_ADDRESSES = env.networks("METRICS_ADDRESSES")
METRICS_TOKEN = env.word("METRICS_TOKEN", min_length=32, is_secret=True)
# prometheus_client reads the variable itself, from the environment.
PROMETHEUS_MULTIPROC_DIR = env.folder("PROMETHEUS_MULTIPROC_DIR")

# Logging

LOGGING = logging_config(debug=DEBUG)
# Used if AdminEmailHandler is added, which needs the filter "paths" as well.
DEFAULT_EXCEPTION_REPORTER = "project.error_reports.ErrorReport"
DEFAULT_EXCEPTION_REPORTER_FILTER = "project.error_reports.ErrorReportFilter"

env.stop_if_refused()
# For project.checks.
ENVIRONMENT_NAMES = frozenset(env.names)
ENVIRONMENT_FILE_NAMES = tuple(env.names_in_file)
