import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

application = get_asgi_application()

from django.conf import settings  # noqa: E402

from api.keys import keyring  # noqa: E402 (needs the settings)
from project.postgresql import patience  # noqa: E402

patience.limit = settings.DATABASE_TIMEOUT_SECONDS

# Keys that will not do are told at the start, and not at the first request.
keyring.load()
