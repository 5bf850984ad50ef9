"""The same mail server and tasks on each version of Django, and no other module that depends on the version."""

import re
from typing import Any

import environ
import pytest
from django.core.mail import EmailMessage

from accounts import delivery, mail
from accounts.django_versions import mail_connection, mail_settings
from accounts.models import QueuedMail
from project.environment import MAIL_SCHEMES
from tests import servers

# Of the versions of Django and Python, and the packages of tasks.
DEPENDS_ON_A_VERSION = re.compile(r"django\.VERSION|sys\.version|^(?:from|import) django[._]tasks\b", re.MULTILINE)


def connect(settings: Any, url: str, timeout_seconds: float = 10) -> Any:
    for name, value in mail_settings(environ.Env.email_url_config(url), timeout_seconds).items():
        setattr(settings, name, value)
    return mail_connection(delivery.Backend)


def test_the_mail_server_is_that_of_the_url(settings: Any) -> None:
    server = connect(settings, "smtp+tls://wristband:pass%2Fword@mail.example.org:587", 7)
    assert isinstance(server, delivery.Backend)
    assert (server.host, server.port, server.timeout) == ("mail.example.org", 587, 7)
    assert (server.username, server.password) == ("wristband", "pass/word")
    assert (server.use_tls, server.use_ssl) == (True, False)


@pytest.mark.parametrize("scheme", MAIL_SCHEMES)
def test_each_scheme_has_its_backend(settings: Any, tmp_path: Any, scheme: str) -> None:
    url = f"{scheme}:///{tmp_path}" if scheme == "filemail" else f"{scheme}://localhost"
    server = connect(settings, url)
    # By environ, on each version.
    assert (
        server.__class__.__mro__[scheme.startswith("smtp")].__module__
        == environ.Env.EMAIL_SCHEMES[scheme].rpartition(".")[0]
    )


def test_djangos_own_functions_send_by_the_same_server(settings: Any, tmp_path: Any) -> None:
    connect(settings, f"filemail:///{tmp_path}")
    EmailMessage("Written by an app", "Hello", to=["ann@example.org"]).send()
    [path] = tmp_path.iterdir()
    assert "Subject: Written by an app" in path.read_text()


@pytest.mark.django_db
def test_a_queued_mail_is_a_task_of_the_librarys_class(ann: Any) -> None:
    ann.notify("token_reused", client="script")
    row = QueuedMail.objects.get()
    # Raises SuspiciousOperation for a task of the other package.
    assert row.task.func is mail.send.func
    assert isinstance(mail.TaskContext(task_result=row.task_result).attempt, int)


def test_one_module_depends_on_the_version_of_django() -> None:
    paths = {path for app in ("accounts", "api", "project") for path in (servers.ROOT / app).rglob("*.py")}
    found = {str(path.relative_to(servers.ROOT)) for path in paths if DEPENDS_ON_A_VERSION.search(path.read_text())}
    assert found == {"accounts/django_versions.py"}
