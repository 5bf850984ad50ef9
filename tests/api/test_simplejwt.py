"""The names of SimpleJWT that the project uses, and what api/README.md says of each."""

import ast
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from tests import servers

PACKAGE = "rest_framework_simplejwt"
# A name more is work more for whom replaces SimpleJWT: add it to the section of api/README.md too.
NAMES = {
    "authentication.AUTH_HEADER_TYPES",
    "authentication.JWTAuthentication",
    "backends.TokenBackend",
    "exceptions.AuthenticationFailed",
    "exceptions.ExpiredTokenError",
    "exceptions.InvalidToken",
    "exceptions.TokenBackendError",
    "exceptions.TokenBackendExpiredToken",
    "exceptions.TokenError",
    "serializers.TokenObtainSerializer",
    "settings.api_settings",
    "state.token_backend",
    "tokens.AccessToken",
    "tokens.RefreshToken",
    "tokens.Token",
    "utils.datetime_to_epoch",
    "views.TokenBlacklistView",
    "views.TokenRefreshView",
    "views.TokenVerifyView",
    "views.TokenViewBase",
    "views.token_obtain_pair",
}


def is_module(name: str) -> bool:
    return name == PACKAGE or (name.startswith(f"{PACKAGE}.") and name.count(".") == 1 and find_spec(name) is not None)


def names_in(path: Path) -> Iterator[str]:
    """Yields what a file imports, the attributes of the modules that it imports, and paths in strings."""
    tree = ast.parse(path.read_text())
    modules = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names if each.name.partition(".")[0] == PACKAGE)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(f"{PACKAGE}."):
            yield node.value
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == PACKAGE:
            for each in node.names:
                imported = f"{node.module}.{each.name}"
                if is_module(imported):
                    modules[each.asname or each.name] = imported
                else:
                    yield imported
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            yield f"{modules[node.value.id]}.{node.attr}"


def test_the_project_uses_these_names_of_simplejwt() -> None:
    paths = (path for app in ("accounts", "api", "project") for path in (servers.ROOT / app).rglob("*.py"))
    used = {name.removeprefix(f"{PACKAGE}.") for path in paths for name in names_in(path)}
    assert used == NAMES


def test_the_readme_says_what_replaces_each_name() -> None:
    section = (servers.ROOT / "api/README.md").read_text().partition("## Replace SimpleJWT\n")[2].partition("\n## ")[0]
    named = {name for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for name in re.findall("`(.+?)`", row)}
    assert named == {name.partition(".")[2] for name in NAMES}
