"""A product on this project: the sample of tests/sample in a repository of its own, before and after an update."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import servers

pytestmark = [pytest.mark.once, pytest.mark.long, pytest.mark.timeout(600)]

NOT_COPIED = shutil.ignore_patterns(".git", "var", ".venv", ".*_cache", "__pycache__", "node_modules", "pictures")
OURS = ("PYTEST_", "SECRET_KEY", "DEBUG", "DEMO", "ALLOWED_HOSTS", "DATABASE_URL", "REDIS_URL", "EMAIL_URL", "DJANGO_")
SAMPLE = servers.ROOT / "tests" / "sample" / "product"
# A column of users, and lines in the files that a product would change if it had no folder of its own.
COLUMN = '\n    plan = models.CharField(max_length=20, blank=True, default="", db_default="")\n'
CHANGES = {
    "accounts/models/users.py": ("    is_service = models.BooleanField(", COLUMN.strip("\n") + "\n{}"),
    "project/settings.py": ("INSTALLED_APPS = [", "# Changed by the update.\n{}\n    # Changed by the update."),
    "project/urls.py": ("urlpatterns = [", "# Changed by the update.\n{}\n    # Changed by the update."),
    "templates/base.html": ("<body>", "{}\n  <!-- Changed by the update. -->"),
    "accounts/forms.py": ("class ProfileForm(", "# Changed by the update.\n{}"),
    "README.md": ("## Run it", "Changed by the update.\n\n{}"),
}


def run(folder: Path, *command: str, **env: str) -> str:
    """Returns the output of a command in the folder, with the environment of a new user."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    made = subprocess.run([*command], cwd=folder, env=clean | env, **options)
    assert made.returncode == 0, f"{' '.join(command)}\n{made.stdout}"
    return str(made.stdout)


def git(folder: Path, *arguments: str) -> str:
    names = ("-c", "user.name=Ann", "-c", "user.email=ann@example.org", "-c", "core.hooksPath=/dev/null")
    return run(folder, "git", *names, *arguments)


def manage(folder: Path, *arguments: str) -> str:
    return run(folder, sys.executable, "manage.py", *arguments, DEBUG="true")


def pytest_in(folder: Path, *arguments: str) -> str:
    return run(folder, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments)


def shell(folder: Path, code: str) -> str:
    return manage(folder, "shell", "--verbosity=0", "--command", code).strip()


def commit(folder: Path, subject: str) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", subject)


def change(folder: Path) -> None:
    """Makes what an update may contain, with a migration of users."""
    for path, (line, new) in CHANGES.items():
        text = (folder / path).read_text()
        assert text.count(line) == 1, path
        (folder / path).write_text(text.replace(line, new.format(line)))
    manage(folder, "makemigrations", "accounts", "--name", "plan")


@pytest.fixture(scope="module")
def updated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The product after `git merge` of a newer tag, with a database that a user wrote to before."""
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    folder = tmp_path_factory.mktemp("product") / "project"
    shutil.copytree(servers.ROOT, folder, ignore=NOT_COPIED)
    # The sample takes the place of the product that may be here.
    shutil.rmtree(folder / "product", ignore_errors=True)
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit(folder, "Release 1")
    git(folder, "checkout", "--quiet", "-b", "product")
    shutil.copytree(SAMPLE, folder / "product", ignore=shutil.ignore_patterns("__pycache__"))
    commit(folder, "Add the product")
    manage(folder, "migrate", "--verbosity=0")
    shell(
        folder,
        "from accounts.models import User; from accounts import profiles;"
        "profiles.save(User.objects.create_user('ann', 'ann@example.org', 'x'), {'company': 'Acme'})",
    )
    git(folder, "checkout", "--quiet", "main")
    change(folder)
    commit(folder, "Release 2")
    git(folder, "tag", "v2")
    git(folder, "checkout", "--quiet", "product")
    git(folder, "merge", "--quiet", "--no-edit", "v2")
    return folder


def test_an_update_merges_without_a_conflict(updated: Path) -> None:
    changed = git(updated, "diff", "--name-only", "v2", "HEAD").splitlines()
    assert {path.partition("/")[0] for path in changed} == {"product"}
    assert "Changed by the update." in (updated / "project/settings.py").read_text()


def test_the_migrations_of_both_apply_to_the_old_database(updated: Path) -> None:
    manage(updated, "makemigrations", "--check", "--dry-run")
    manage(updated, "migrate", "--verbosity=0")
    code = "from accounts.models import User; ann = User.objects.get(); print(ann.profile.company, repr(ann.plan))"
    assert shell(updated, code) == "Acme ''"


def test_the_tests_of_the_product_pass_after_the_update(updated: Path) -> None:
    assert re.search(r"\d\d passed", pytest_in(updated, "product"))


def test_the_product_passes_the_checks_of_the_project(updated: Path) -> None:
    run(updated, sys.executable, "-m", "ruff", "check", "product")
    manage(updated, "check")
    manage(updated, "spectacular", "--validate", "--fail-on-warn", "--file", os.devnull)


@pytest.mark.named
def test_walks_of_the_project_accept_the_pages_of_the_product(updated: Path) -> None:
    """Tests that read every URL, with the settings of the product. (Others send a profile without its new fields.)"""
    paths = ("tests/security/test_csrf.py", "tests/api/test_schema.py", "-k", "site or get or test_schema")
    assert "passed" in pytest_in(updated, "--ds=product.settings", *paths)


@pytest.mark.named
def test_the_tests_of_the_project_ignore_the_product(updated: Path) -> None:
    paths = ("tests/project/test_home.py", "tests/api/test_me_and_sign_ins.py", "tests/accounts/test_mails.py")
    assert "passed" in pytest_in(updated, *paths, "tests/project/test_deploy_files.py")
