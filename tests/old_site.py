"""A small site whose users move in: its users as rows, its tokens and its sessions."""

import base64
import csv
import hashlib
import io
import json
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from django.contrib.auth.hashers import MD5PasswordHasher
from django.core import signing
from django.core.management import call_command
from django.utils.crypto import salted_hmac

from accounts.models import SignIn
from tests.conftest import ApiClient

PASSWORD = "violet anchor hums at dawn"
HASH = MD5PasswordHasher().encode(PASSWORD, "salt")
JWT_KEY = "the key with which the old site has signed its tokens"
SECRET_KEY = "django-insecure-the-old-secret-key-of-that-site"
REFRESH = "/api/token/refresh/"
# 160 bits in hexadecimal, as django-otp has them.
OTP_KEY = "3132333435363738393031323334353637383930"
USER = {"id": 7, "username": "carol", "email": "carol@old.example", "password": HASH}


DAVE = {"id": 8, "username": "dave", "email": "dave@old.example", "password": HASH}
# Of allauth's rows of an authenticator app.
APP_SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


def users(**changes: Any) -> list[dict[str, Any]]:
    """Returns carol and dave, with changes to dave."""
    return [USER, DAVE | changes]


def live_sign_ins() -> set[tuple[int, str]]:
    """Returns the user and the name of each live sign-in here."""
    return set(SignIn.objects.live().values_list("user", "name"))


def code_now() -> str:
    """Returns what the app with APP_SECRET shows."""
    return TOTP(base64.b32decode(APP_SECRET), 6, SHA1(), 30).generate(int(time.time())).decode()  # noqa: S303


def dump_of(users: Sequence[dict[str, Any]], **tables: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns what dumpdata writes: users, and rows of other models by "app__model"."""
    objects = [("auth.user", user) for user in users]
    objects += [(name.replace("__", "."), row) for name, rows in tables.items() for row in rows]
    return [
        {"model": model, "pk": row.get("id"), "fields": {name: value for name, value in row.items() if name != "id"}}
        for model, row in objects
    ]


def write_dump(folder: Path, users: Sequence[dict[str, Any]], **tables: Sequence[dict[str, Any]]) -> Path:
    path = folder / "dump.json"
    path.write_text(json.dumps(dump_of(users, **tables)))
    return path


def write_csv(folder: Path, users: Sequence[dict[str, Any]]) -> Path:
    path = folder / "users.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for user in users for name in user)))
        writer.writeheader()
        writer.writerows(users)
    return path


def import_users(source: object, *options: str) -> str:
    """Runs the command. Returns its output."""
    out = io.StringIO()
    call_command("import_users", str(source), *options, stdout=out)
    return out.getvalue()


def refresh_token(user_id: object = 7, key: Any = JWT_KEY, algorithm: str = "HS256", **changes: Any) -> str:
    """Returns a refresh token as SimpleJWT makes it. A change to None removes the claim."""
    now = int(time.time())
    claims = {"token_type": "refresh", "exp": now + 3600, "iat": now - 60, "jti": uuid.uuid4().hex, "user_id": user_id}
    claims = {name: value for name, value in (claims | changes).items() if value is not None}
    return jwt.encode(claims, key, algorithm=algorithm)


def exchange(token: str, **options: Any) -> Any:
    """Sends an old token in place of one of ours. Returns the response."""
    return ApiClient().post(REFRESH, {"refresh": token}, **options)


def is_taken(token: str) -> bool:
    return bool(exchange(token).status_code == 200)


def is_refused(token: str) -> bool:
    """Returns whether an old token gets the answer of an invalid one, and no client is signed in."""
    response = exchange(token)
    is_invalid = response.status_code == 401 and response.json()["code"] == "token_not_valid"
    return is_invalid and not SignIn.objects.filter(kind=SignIn.Kind.CLIENT).exists()


def password_claim(encoded: str) -> str:
    """Returns the claim of SimpleJWT's CHECK_REVOKE_TOKEN."""
    return hashlib.md5(encoded.encode()).hexdigest().upper()  # noqa: S324


def session_content(user_id: object = 7, encoded: str = HASH, key: str = SECRET_KEY) -> dict[str, str]:
    salt = "django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash"
    return {
        "_auth_user_id": str(user_id),
        "_auth_user_backend": "django.contrib.auth.backends.ModelBackend",
        "_auth_user_hash": salted_hmac(salt, encoded, secret=key, algorithm="sha256").hexdigest(),
    }


def session_row(session_key: str, content: dict[str, str], expires: str = "2099-01-01T00:00Z", key: str = SECRET_KEY):
    """Returns a row of django_session."""
    data = signing.dumps(content, key=key, salt="django.contrib.sessions.SessionStore", compress=True)
    return {"id": session_key, "session_data": data, "expire_date": expires}


def session_cookie(content: dict[str, str], key: str = SECRET_KEY) -> str:
    """Returns a cookie of the backend signed_cookies."""
    return signing.dumps(content, key=key, salt="django.contrib.sessions.backends.signed_cookies", compress=True)
