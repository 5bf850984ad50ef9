"""The WSGI application."""

import os

from django.core.wsgi import get_wsgi_application

from project import DEFAULT_SETTINGS

os.environ.setdefault("DJANGO_SETTINGS_MODULE", DEFAULT_SETTINGS)

application = get_wsgi_application()

from project import startup  # noqa: E402 (needs the settings)

startup.prepare()
