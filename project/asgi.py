import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

application = get_asgi_application()

from api.keys import keyring  # noqa: E402 (needs the settings)

# Keys that will not do are told at the start, and not at the first request.
keyring.load()
