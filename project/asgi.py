"""The ASGI application."""

import os

from django.core.asgi import get_asgi_application

from project import DEFAULT_SETTINGS
from project.content_types import limited_asgi

os.environ.setdefault("DJANGO_SETTINGS_MODULE", DEFAULT_SETTINGS)

application = limited_asgi(get_asgi_application())

from project import startup  # noqa: E402 (needs the settings)

startup.prepare()
