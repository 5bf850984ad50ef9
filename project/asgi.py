"""The ASGI application."""

import os

from django.core.asgi import get_asgi_application

from project import DEFAULT_SETTINGS

os.environ.setdefault("DJANGO_SETTINGS_MODULE", DEFAULT_SETTINGS)

application = get_asgi_application()

from project import startup  # noqa: E402 (needs the settings)

startup.prepare()
