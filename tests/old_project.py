"""A stock Django project with SimpleJWT, as `startproject` makes it: its own folder, SQLite file and processes."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests import servers

# What the documentation of SimpleJWT says to add.
SETTINGS = """
INSTALLED_APPS += ["rest_framework", "rest_framework_simplejwt", "rest_framework_simplejwt.token_blacklist"]
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework_simplejwt.authentication.JWTAuthentication"],
}
ALLOWED_HOSTS = ["127.0.0.1"]
LOGIN_REDIRECT_URL = "/"
"""
URLS = """
from django.contrib.auth.views import LoginView
from django.http import HttpResponse
from django.urls import path
from rest_framework_simplejwt.views import TokenBlacklistView, TokenObtainPairView, TokenRefreshView

urlpatterns = [
    path("", lambda request: HttpResponse(request.user.username)),
    path("health/live", lambda request: HttpResponse("ok")),
    path("api/token/", TokenObtainPairView.as_view()),
    path("api/token/refresh/", TokenRefreshView.as_view()),
    path("api/token/blacklist/", TokenBlacklistView.as_view()),
]
"""
# Users with cheap hashes, a live token of each tenth one, a session of others.
POPULATE = """
import json
from datetime import timedelta
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.auth.models import Group
from django.contrib.sessions.backends.db import SessionStore
from django.core.management import call_command
from django.utils import timezone
from rest_framework_simplejwt.tokens import RefreshToken

call_command("migrate", verbosity=0)
User = get_user_model()
joined = timezone.now() - timedelta(days=400)
encode = PBKDF2PasswordHasher().encode
User.objects.bulk_create(
    User(
        username=f"user{n}", email=f"user{n}@old.example",
        password=encode("passphrase number " + str(n), "salt", iterations=1),
        date_joined=joined, last_login=joined, is_staff=n % 100 == 0,
    )
    for n in range(1, COUNT + 1)
)
editors = Group.objects.create(name="Editors")
users = list(User.objects.order_by("pk"))
editors.user_set.add(*users[:50])
tokens, sessions = {}, {}
for user in users:
    if user.pk % 10 == 5:
        tokens[user.username] = str(RefreshToken.for_user(user))
    if user.pk % 10 == 6:
        session = SessionStore()
        session["_auth_user_id"] = str(user.pk)
        session["_auth_user_backend"] = "django.contrib.auth.backends.ModelBackend"
        session["_auth_user_hash"] = user.get_session_auth_hash()
        session.save()
        sessions[user.username] = session.session_key
print(json.dumps({"tokens": tokens, "sessions": sessions}))
"""


@dataclass(frozen=True)
class OldProject:
    folder: Path
    secret_key: str

    @property
    def env(self) -> dict[str, str]:
        return {"DJANGO_SETTINGS_MODULE": "old.settings", "PYTHONPATH": str(self.folder)}

    @property
    def database_url(self) -> str:
        return f"sqlite:///{self.folder / 'db.sqlite3'}"

    def manage(self, *command: str) -> str:
        run = [sys.executable, "manage.py", *command]
        return subprocess.run(
            run, cwd=self.folder, env=os.environ | self.env, stdout=subprocess.PIPE, text=True, check=True
        ).stdout

    def populate(self, count: int) -> dict[str, dict[str, str]]:
        """Creates the tables and users. Returns their refresh tokens and session keys by username."""
        code = POPULATE.replace("COUNT", str(count))
        found: dict[str, dict[str, str]] = json.loads(self.manage("shell", "-v", "0", "-c", code))
        return found

    @contextmanager
    def served(self) -> Iterator[str]:
        """Serves the project. Yields its URL."""
        with servers.node(self.env, workers=1, application="old.wsgi", root=self.folder) as node:
            yield node.url


def start_project(folder: Path) -> OldProject:
    subprocess.run([sys.executable, "-m", "django", "startproject", "old", str(folder)], check=True, env=_clean_env())
    settings, urls = folder / "old/settings.py", folder / "old/urls.py"
    settings.write_text(settings.read_text() + SETTINGS)
    urls.write_text(URLS)
    secret_key = next(
        line.partition(" = ")[2].strip("'\"\n")
        for line in settings.read_text().splitlines()
        if line.startswith("SECRET_KEY")
    )
    return OldProject(folder, secret_key)


def _clean_env() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
