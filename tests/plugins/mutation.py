"""`--mutation 6.3.1` replaces the control of that requirement (tests/security/mutation_check.py) for one run."""

import subprocess
import sys
from importlib import import_module
from typing import Any

import pytest

PRODUCT = ("accounts", "api", "project")


def owner_of(target: str) -> tuple[Any, str]:
    """Returns the module or class of a dotted name, and the name of the attribute. Raises AttributeError."""
    parts = target.split(".")
    owner: Any = import_module(parts[0])
    for depth, part in enumerate(parts[1:-1], 2):
        if not hasattr(owner, part):
            try:
                import_module(".".join(parts[:depth]))
            except ModuleNotFoundError as error:
                raise AttributeError(f"{target}: {error}") from error
        owner = getattr(owner, part)
    if not hasattr(owner, parts[-1]):
        raise AttributeError(f"{target}: {owner!r} has no attribute {parts[-1]!r}")
    return owner, parts[-1]


def replace(target: str, change: Any) -> None:
    owner, name = owner_of(target)
    original = getattr(owner, name)
    changed = change(original)
    setattr(owner, name, changed)
    if callable(original):
        # Also in modules that imported it by name.
        for module in [each for key, each in sys.modules.items() if key.startswith(PRODUCT)]:
            for other in [key for key, value in vars(module).items() if value is original]:
                setattr(module, other, changed)


def apply(requirement: str) -> None:
    from tests.security.mutation_check import CONTROLS

    [control] = [each for each in CONTROLS if each.requirement == requirement]
    replace(control.target, control.change)


def apply_in_child_processes(requirement: str) -> None:
    """Makes Python code that a test runs with -c apply the mutation first."""
    run = subprocess.run

    def mutated(command: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(command, list) and command[:2] == [sys.executable, "-c"]:
            first = f"from tests.plugins import mutation; mutation.apply({requirement!r}); "
            command = [*command[:2], first + command[2], *command[3:]]
        return run(command, *args, **kwargs)

    subprocess.run = mutated  # type: ignore[assignment]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--mutation", metavar="REQUIREMENT", required=True, help="the control that is replaced")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Runs after the setup of Django and before the import of test modules."""
    requirement = session.config.option.mutation
    apply(requirement)
    apply_in_child_processes(requirement)
