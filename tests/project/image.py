"""The image of project/deploy/Dockerfile, built and run without Docker: in a folder, as an account without rights."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from tests import servers

DEPLOY = servers.ROOT / "project" / "deploy"
# Folders of a checkout that no pattern needs to look into.
SKIPPED = {".git", ".venv", "node_modules", "var"}
# As `docker run --read-only`: a mount namespace in which only file systems in memory, as /dev/shm, are writable.
READ_ONLY = ["unshare", "--mount", "sh", "-c", 'mount -o remount,bind,ro / && exec "$@"', "sh"]
# The interpreter of a developer may be in a home folder: the account may read every file, and write none.
WITHOUT_RIGHTS = [
    "--clear-groups",
    "--no-new-privs",
    *(f"--{of}=-all,+dac_read_search" for of in ("bounding-set", "inh-caps", "ambient-caps")),
]


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Yields the instructions of a Dockerfile with their arguments."""
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for line in lines.replace("\\\n", " ").splitlines():
        if line.strip():
            name, _space, rest = line.partition(" ")
            yield name.upper(), rest.strip()


def without_options(rest: str) -> str:
    return re.sub(r"^(--\S+\s+)*", "", rest)


def is_ignored(path: str, patterns: Sequence[str]) -> bool:
    """Whether the patterns of a .dockerignore leave out a file. The last one that matches decides."""
    ignored = False
    for pattern in patterns:
        is_exception, pattern = pattern.startswith("!"), pattern.lstrip("!")
        parts = re.escape(pattern).replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*")
        if re.fullmatch(f"{parts}(?:/.*)?", path):
            ignored = not is_exception
    return ignored


def build_context() -> Iterator[str]:
    """Yields the paths of the files that Docker would send to the build."""
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    for folder, folders, files in os.walk(servers.ROOT):
        folders[:] = [each for each in folders if each not in SKIPPED]
        for path in (os.path.relpath(os.path.join(folder, each), servers.ROOT) for each in files):
            if not is_ignored(path, patterns):
                yield path


def needed(requirements: Iterable[str]) -> Iterator[metadata.Distribution]:
    """Yields the installed packages that these lines require, directly or not."""
    seen: set[tuple[str, str]] = set()
    waiting = [Requirement(line.partition("#")[0].strip()) for line in requirements if not line.startswith("#")]
    while waiting:
        requirement = waiting.pop()
        package = metadata.distribution(requirement.name)
        for extra in ("", *requirement.extras):
            if (requirement.name, extra) in seen:
                continue
            if not extra:
                yield package
            seen.add((requirement.name, extra))
            others = map(Requirement, package.requires or [])
            waiting += [each for each in others if each.marker is None or each.marker.evaluate({"extra": extra})]


class Image:
    """All stages share one folder for the file system, so that paths in scripts of the venv stay valid."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env: dict[str, str] = {}
        self.user = ""
        self.command: list[str] = []
        self.health_check: list[str] = []
        python = folder / "usr" / "local" / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.symlink_to(Path(sys._base_executable).resolve())  # type: ignore[attr-defined]
        self._base_env = {"PATH": f"{python.parent}:/usr/sbin:/usr/bin:/sbin:/bin"}
        folder.chmod(0o755)

    def path(self, inside: str) -> Path:
        return self.folder / inside.lstrip("/")

    def build(self) -> None:
        """Raises CalledProcessError if an instruction fails."""
        for name, rest in instructions((DEPLOY / "Dockerfile").read_text()):
            self._execute(name, rest)

    def run(self, command: Sequence[str], env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Runs a command as in a container."""
        return subprocess.run(**self.container(command, env), capture_output=True, text=True, timeout=60)

    def container(self, command: Sequence[str], env: Mapping[str, str]) -> dict[str, Any]:
        """Returns arguments of Popen: the account of the image, no HOME, and no variables but these."""
        args = list(command)
        if os.geteuid() == 0:
            user, _colon, group = self.user.partition(":")
            args = ["setpriv", f"--reuid={user}", f"--regid={group}", *WITHOUT_RIGHTS, "--", *args]
            args = [*(READ_ONLY if can_be_read_only() else ()), *args]
        return {"args": args, "cwd": self.folder_of_code, "env": self.env | dict(env)}

    def _execute(self, name: str, rest: str) -> None:
        if name == "FROM":
            self.env = dict(self._base_env)
        elif name == "WORKDIR":
            self.folder_of_code = self.path(rest)
            self.folder_of_code.mkdir(parents=True, exist_ok=True)
        elif name == "ENV":
            pairs = dict(word.split("=", 1) for word in shlex.split(rest))
            self.env |= {key: self._mapped(value).replace("$PATH", self.env["PATH"]) for key, value in pairs.items()}
        elif name == "COPY":
            self._copy(rest)
        elif name == "RUN" and "pip install" in rest:
            assert rest.endswith(" --requirement requirements.txt")
            self._install()
        elif name == "RUN":
            shell = ["sh", "-ec", self._mapped(without_options(rest))]
            subprocess.run(shell, cwd=self.folder_of_code, env=self.env, check=True, capture_output=True, text=True)
        elif name == "USER":
            self.user = rest
        elif name == "HEALTHCHECK":
            self.health_check = json.loads(rest.partition("CMD ")[2])
        elif name == "CMD":
            self.command = json.loads(rest)
        elif name not in ("ARG", "EXPOSE"):
            raise NotImplementedError(name)

    def _copy(self, rest: str) -> None:
        if rest.startswith("--from="):
            _option, source, target = rest.split()
            assert source == target, "A venv works only at its own path"
            return
        [source, _target] = rest.split()
        for path in build_context():
            if source in (".", path):
                copy = self.folder_of_code / path
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(servers.ROOT / path, copy)

    def _install(self) -> None:
        """Links what pip would install to the packages of the tests: pip itself takes a minute on a busy machine."""
        venv = self.folder_of_code / ".venv"
        [site] = venv.glob("lib/*/site-packages")
        for package in needed((self.folder_of_code / "requirements.txt").read_text().splitlines()):
            files = package.files or []
            for name in {file.parts[0] for file in files} - {"..", "__pycache__"}:
                if not (site / name).exists():
                    (site / name).symlink_to(str(package.locate_file(name)))
            for script in (Path(str(package.locate_file(file))) for file in files if file.parts[-2:-1] == ("bin",)):
                text = re.sub(r"^#!.*", f"#!{venv}/bin/python", script.read_text())
                (venv / "bin" / script.name).write_text(text)
                (venv / "bin" / script.name).chmod(0o755)

    def _mapped(self, text: str) -> str:
        return text.replace("/srv/", f"{self.folder}/srv/")


@cache
def can_be_read_only() -> bool:
    """Whether this account may make a mount namespace."""
    return os.geteuid() == 0 and subprocess.run([*READ_ONLY, "true"], capture_output=True).returncode == 0
