"""Fixtures of all tests: users, browsers, API clients, the clock, mails and servers."""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import hypothesis
import jwt
import pytest
import time_machine
from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection
from django.db.models.signals import post_migrate
from django.test import Client, override_settings
from django.utils import timezone, translation

from accounts import rate_limits, refusals
from accounts.mail_worker import Worker
from accounts.models import QueuedMail, SignIn
from api import outages
from api.blocklist.api_keys import remembered_keys
from api.blocklist.mirror import mirror
from api.blocklist.sessions import remembered_sessions
from project import health
from tests import databases, servers

# No deadline, since machines may be slow. In CI every run tries the same examples.
hypothesis.settings.register_profile("tests", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("tests")


class Browser(Client):
    """Django's test client over HTTPS, which production requires."""

    def generic(self, *args: Any, **kwargs: Any) -> Any:
        return super().generic(*args, **kwargs | {"secure": True})


class ApiClient:
    """An API client that sends JSON and has tokens."""

    def __init__(self, access: str = "", refresh: str = "") -> None:
        self.access = access
        self.refresh = refresh
        self.http = Browser()

    def get(self, path: str, **options: Any) -> Any:
        return self.request("GET", path, **options)

    def post(self, path: str, data: object = None, **options: Any) -> Any:
        return self.request("POST", path, data, **options)

    def patch(self, path: str, data: object = None, **options: Any) -> Any:
        return self.request("PATCH", path, data, **options)

    def delete(self, path: str, **options: Any) -> Any:
        return self.request("DELETE", path, **options)

    def request(
        self, method: str, path: str, data: object = None, headers: Mapping[str, str] | None = None, **options: Any
    ) -> Any:
        bearer = {"Authorization": f"Bearer {self.access}"} if self.access else {}
        headers = bearer | dict(headers or {})
        body = "" if data is None else json.dumps(data, cls=DjangoJSONEncoder)
        return self.http.generic(method, path, body, "application/json", headers=headers, **options)

    def sign_in(self, username: str, password: str) -> Any:
        """Starts a client sign-in and stores its tokens."""
        return self._keep(ApiClient().post("/api/token/", {"username": username, "password": password}))

    def renew(self) -> Any:
        """Uses the refresh token and stores the new pair."""
        return self._keep(ApiClient().post("/api/token/refresh/", {"refresh": self.refresh}))

    def _keep(self, response: Any) -> Any:
        if response.status_code == 200:
            self.access, self.refresh = response.json()["access"], response.json()["refresh"]
        return response


@dataclass(frozen=True)
class Fleet:
    """A node of four worker processes with its own stores."""

    url: str
    env: dict[str, str]

    def shell(self, code: str) -> str:
        """Returns the output of this code, run in another process on the same stores."""
        return servers.manage(self.env, "shell", "--verbosity=0", "--command", code)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if connection.vendor == "sqlite":
        # A file as in production. Connections to a database in memory share one cache: they have no queue for the
        # write lock and no WAL, so tests with threads would test different behaviour.
        connection.settings_dict["TEST"]["NAME"] = str(tmp_path_factory.mktemp("sqlite") / "test.sqlite3")


@pytest.fixture(scope="session", autouse=True)
def rows_of_migrations() -> Iterator[None]:
    """Makes the group Support again after a test that has emptied the database, whatever the order of the tests."""
    migration = import_module("accounts.migrations.0013_support_group")

    def make_group(**kwargs: Any) -> None:
        migration.make_group(apps, SimpleNamespace(connection=connection))

    post_migrate.connect(make_group, sender=apps.get_app_config("accounts"))
    yield
    post_migrate.disconnect(make_group, sender=apps.get_app_config("accounts"))


@pytest.fixture(scope="session", autouse=True)
def quick_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    static = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    with override_settings(
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        # WhiteNoise reads the whole folder for every test client.
        STATIC_ROOT=tmp_path_factory.mktemp("static"),
        STORAGES={"default": {"BACKEND": "django.core.files.storage.InMemoryStorage"}, "staticfiles": static},
        # Django's own test client sends HTTP. Tests of the redirect enable it.
        SECURE_SSL_REDIRECT=False,
    ):
        yield


@pytest.fixture(autouse=True)
def empty_cache() -> None:
    cache.clear()


@pytest.fixture(autouse=True)
def default_language() -> None:
    """A request leaves its language active in its thread."""
    translation.deactivate()


@pytest.fixture(autouse=True)
def empty_mirror() -> None:
    """Tables are emptied between tests. The mirror could still hold entries of a test with a clock in the future."""
    mirror.__init__()  # type: ignore[misc]
    remembered_sessions.clear()
    remembered_keys.clear()


@pytest.fixture(autouse=True)
def no_refusals() -> None:
    """Refusals that an earlier test left in the memory of this process."""
    rate_limits.recent_refusals.clear()
    refusals.window.__init__()  # type: ignore[misc]


@pytest.fixture(autouse=True)
def no_outages() -> None:
    """The end of what an earlier test left in the memory of this process would be logged in this one."""
    health.mail_queue.is_late = False
    outages.database_outages.__init__()  # type: ignore[misc]


def send_mails() -> None:
    """Sends the mails that are due, as `manage.py db_worker --batch` does, in this process."""
    worker = Worker(
        queue_names=["default"],
        excluded_queue_names=[],
        interval=0,
        batch=True,
        backend_name="default",
        startup_delay=False,
        max_tasks=None,
        worker_id="tests",
    )
    with pytest.MonkeyPatch.context() as patch:
        if connection.in_atomic_block:
            # The worker would drop a connection whose transaction is the test. Django's test client does the same.
            patch.setattr(connection, "close_if_unusable_or_obsolete", lambda: None)
        worker.run()


def newest_link(mails: Sequence[Any], pattern: str) -> re.Match[str]:
    """Sends the mails that are due, and returns the first match in the newest mail with one."""
    send_mails()
    return next(found for each in reversed(mails) if (found := re.search(pattern, each.body)))


def claims_of(token: str) -> dict[str, Any]:
    """Returns the claims of a token, without verification."""
    return jwt.decode(token, options={"verify_signature": False})


def header_of(token: str) -> dict[str, Any]:
    return jwt.get_unverified_header(token)


def bearer(access: str) -> dict[str, str]:
    """The header of a request with an access token."""
    return {"Authorization": f"Bearer {access}"}


def sign_in_of(user: Any) -> SignIn:
    """Returns the latest sign-in of the user."""
    return SignIn.objects.filter(user=user).latest("created_at")


@pytest.fixture
def clock() -> Iterator[Any]:
    """A frozen clock that tests move."""
    with time_machine.travel(timezone.now().replace(microsecond=0), tick=False) as traveller:
        yield traveller


@pytest.fixture
def mails_of(
    mailoutbox: list[Any], django_capture_on_commit_callbacks: Any
) -> Callable[[Callable[[], Any]], list[Any]]:
    """Returns a function that runs a piece of work and returns its mails, in the order in which they are sent."""

    def run(work: Callable[[], Any]) -> list[Any]:
        mailoutbox.clear()
        # Mails of what happened before.
        QueuedMail.objects.all().delete()
        with django_capture_on_commit_callbacks(execute=True):
            work()
        send_mails()
        return list(mailoutbox)

    return run


@pytest.fixture(scope="module")
def one_valkey() -> Iterator[servers.Valkey]:
    with servers.valkey() as valkey:
        yield valkey


@pytest.fixture
def password() -> str:
    return "violet anchor hums at dawn"


@pytest.fixture
def ann(db: None, password: str) -> Any:
    return get_user_model().objects.create_user("ann", "ann@example.org", password, email_confirmed_at=timezone.now())


@pytest.fixture
def bob(db: None, password: str) -> Any:
    return get_user_model().objects.create_user("bob", "bob@example.org", password, email_confirmed_at=timezone.now())


@pytest.fixture
def staff(db: None, password: str) -> Any:
    return get_user_model().objects.create_superuser(
        "sue", "sue@example.org", password, email_confirmed_at=timezone.now()
    )


@pytest.fixture
def browser() -> type[Browser]:
    return Browser


@pytest.fixture
def browser_of(password: str) -> Callable[[Any], Browser]:
    def sign_in(user: Any) -> Browser:
        browser = Browser()
        response = browser.post("/accounts/login/", {"username": user.username, "password": password})
        assert response.status_code == 302, response.content.decode()
        return browser

    return sign_in


@pytest.fixture
def client_of(password: str) -> Callable[[Any], ApiClient]:
    def sign_in(user: Any) -> ApiClient:
        client = ApiClient()
        response = client.sign_in(user.username, password)
        assert response.status_code == 200, response.content.decode()
        return client

    return sign_in


@pytest.fixture
def hers(client_of: Callable[[Any], ApiClient], ann: Any) -> ApiClient:
    """Ann's client."""
    return client_of(ann)


@pytest.fixture
def page(browser_of: Callable[[Any], Browser], staff: Any) -> Browser:
    """A browser in which the staff member is signed in."""
    return browser_of(staff)


@pytest.fixture
def anonymous() -> ApiClient:
    return ApiClient()


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    database_url = databases.migrated(tmp_path_factory.mktemp("fleet"), "fleet")
    # DEBUG allows HTTP on loopback and cookies without Secure.
    # No rates, since all tests send from one address.
    env = {"DATABASE_URL": database_url, "DEBUG": "true", "TOKEN_RATE": "", "ACCOUNT_RATE": ""}
    with servers.node(env) as node:
        yield Fleet(node.url, env)
