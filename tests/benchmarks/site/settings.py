"""The settings of the project, overridden by those of the site that CONTENDER names."""

from project.settings import *  # noqa: F403
from project.settings import AUTHENTICATION_BACKENDS, CACHES, INSTALLED_APPS, REDIS_URL, env
from tests.benchmarks.site.contenders import BY_NAME, OURS, WRISTBAND_ASKING, Contender

# Without a name: for `migrate`, which creates the tables of all sites.
_named = BY_NAME.get(env.text("CONTENDER"))
_contender = _named or Contender("", apps=tuple(dict.fromkeys(app for each in BY_NAME.values() for app in each.apps)))

INSTALLED_APPS = [*INSTALLED_APPS, *(app for app in _contender.apps if app not in _contender.missing)]
MIDDLEWARE = list(_contender.middleware)
ROOT_URLCONF = "tests.benchmarks.site.urls"
AUTHENTICATION_BACKENDS = (
    AUTHENTICATION_BACKENDS
    if _contender in (*OURS, WRISTBAND_ASKING)
    else ["django.contrib.auth.backends.ModelBackend"]
)
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [_contender.authentication] if _contender.authentication else [],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    # The baseline has no authentication.
    "UNAUTHENTICATED_USER": "tests.benchmarks.site.authentication.ann",
}
vars().update(_contender.settings)
for _cache in CACHES.values():
    _cache["LOCATION"] = REDIS_URL
