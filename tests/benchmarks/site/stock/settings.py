"""The settings of the stock project with the views of this package, and SimpleJWT with rotation (CONTENDER)."""

from pathlib import Path

from tests.benchmarks.site.startproject.settings import *  # noqa: F403
from tests.benchmarks.site.startproject.settings import REST_FRAMEWORK, TEMPLATES

ROOT_URLCONF = "tests.benchmarks.site.stock.urls"
TEMPLATES = [TEMPLATES[0] | {"DIRS": [Path(__file__).parent / "templates"]}]
# The cheapest one, as in tests.benchmarks.site.unhashed.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_REDIRECT_URL = "/"
REST_FRAMEWORK = REST_FRAMEWORK | {
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.PageNumberPagination",
    "PAGE_SIZE": 25,
}
