"""The sample app beside the project: its own tests, and those of the project that read every URL, model or source."""

import os
import subprocess
import sys

import pytest

from tests import servers

pytestmark = [pytest.mark.once, pytest.mark.long, pytest.mark.timeout(300)]

SETTINGS = "tests.sample_app.settings"
TESTS_OF_THE_PROJECT = (
    "tests/accounts/test_names.py",
    "tests/api/test_errors_in_adopters_views.py",
    "tests/api/test_me_and_sign_ins.py",
    "tests/api/test_schema.py",
    "tests/project/test_all_responses.py",
    "tests/project/test_error_pages.py",
    "tests/project/test_migrations.py",
    "tests/project/test_not_allowed.py",
    "tests/security/test_access_control.py",
    "tests/security/test_csrf.py",
    "tests/security/test_urls.py",
)


def run(*command: str, **env: str) -> None:
    given = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    made = subprocess.run(
        [sys.executable, *command],
        cwd=servers.ROOT,
        env=given | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert made.returncode == 0, made.stdout[-5000:]


# As a developer works: DEBUG, and nothing else.
WORKING = {"DEBUG": "true", "SECRET_KEY": "", "ALLOWED_HOSTS": "", "DATABASE_URL": "", "REDIS_URL": "", "DEMO": ""}


def test_an_adopters_tests_pass_with_djangos_own_runner() -> None:
    run("manage.py", "test", "tests.sample_app", DJANGO_SETTINGS_MODULE=SETTINGS, **WORKING)


@pytest.mark.named
def test_the_tests_of_the_project_pass_beside_the_app() -> None:
    run("-m", "pytest", "-q", f"--ds={SETTINGS}", *TESTS_OF_THE_PROJECT, DATABASE_URL="", REDIS_URL="")


def test_the_migrations_of_the_app_are_complete() -> None:
    run("manage.py", "makemigrations", "--check", "--dry-run", DJANGO_SETTINGS_MODULE=SETTINGS, **WORKING)
