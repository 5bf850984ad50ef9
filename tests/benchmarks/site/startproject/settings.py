"""
The settings of a stock Django project, as `startproject` writes them and Django's deployment checklist completes them,
with the authentication of the peer that CONTENDER names, as its own documentation installs it.
"""

import os
from urllib.parse import unquote

from environ import Env

from tests.benchmarks.site.contenders import BY_NAME, DJANGO_REDIS, Contender

# Without a name: for `migrate`, which creates the tables of all peers.
_named = BY_NAME.get(os.environ["CONTENDER"])
_contender = _named or Contender("", apps=tuple(dict.fromkeys(app for each in BY_NAME.values() for app in each.apps)))

SECRET_KEY = os.environ["SECRET_KEY"]
DEBUG = False
ALLOWED_HOSTS = os.environ["ALLOWED_HOSTS"].split(",")
INSTALLED_APPS = list(
    dict.fromkeys(
        [
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
            "django.contrib.staticfiles",
            "rest_framework",
            "tests.benchmarks.site.startproject",
            *(app for app in _contender.apps if app not in _contender.missing),
        ]
    )
)
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "tests.benchmarks.site.startproject.urls"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [],
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
_database = Env.db_url_config(os.environ["DATABASE_URL"])
# Persistent connections, as in this project.
DATABASES = {"default": _database | {"HOST": unquote(_database["HOST"]), "CONN_MAX_AGE": 600}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True
STATIC_URL = "static/"

# The deployment checklist, behind a proxy that terminates TLS.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_SSL_REDIRECT = True
SECURE_REDIRECT_EXEMPT = [r"^health/"]
SECURE_HSTS_SECONDS = 365 * 24 * 3600
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [_contender.authentication] if _contender.authentication else [],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    # As in this project.
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
}
vars().update(_contender.settings)
if _contender.settings.get("CACHES") is DJANGO_REDIS:
    CACHES = {"default": DJANGO_REDIS["default"] | {"LOCATION": os.environ["REDIS_URL"]}}
