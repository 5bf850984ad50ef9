"""The WSGI application."""

import os

from django.core.wsgi import get_wsgi_application

from project import DEFAULT_SETTINGS
from project.content_types import limited_wsgi

os.environ.setdefault("DJANGO_SETTINGS_MODULE", DEFAULT_SETTINGS)

application = limited_wsgi(get_wsgi_application())

from project import startup  # noqa: E402 (needs the settings)

startup.prepare()
