"""The whole project, whose pages name static files that nobody has collected."""

from project.settings import *  # noqa: F403
from project.settings import STORAGES

STORAGES = STORAGES | {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
