"""
Generates the types of the API for api/static/api/client.d.ts, with openapi-typescript. After a change of the API:
`python -m tests.api.client_types`.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.plugins import nodejs
from tests.servers import ROOT

TYPES = ROOT / "api" / "static" / "api" / "schema.d.ts"
HEADER = "// Generated from the OpenAPI schema: python -m tests.api.client_types\n\n"
# Texts and errors, which types do not need.
EMPTY = re.compile(r"^ *(parameters: \{\n *\}|headers: \{\n.*\n *\}|\w+\?: never);\n", re.MULTILINE)
LEFT_OUT = {"description", "summary", "headers", "links", "examples", "example", "operationId", "tags", "security"}


def generate(document: dict[str, Any]) -> str:
    """The types of an OpenAPI document, without texts, errors and headers."""
    packages = nodejs.require_packages()
    with TemporaryDirectory() as folder:
        source = Path(folder) / "openapi.json"
        source.write_text(json.dumps(_without_texts(document)))
        command = [packages / ".bin" / "openapi-typescript", source, "--root-types=false", "--alphabetize"]
        made = subprocess.run(command, check=True, capture_output=True, text=True)
    types = made.stdout[made.stdout.index("export interface paths {") :]
    return HEADER + EMPTY.sub("", EMPTY.sub("", types))


def _without_texts(node: Any, is_named: bool = False) -> Any:
    """`is_named`: the keys of the node are names, such as those of fields."""
    if isinstance(node, list):
        return [_without_texts(each) for each in node]
    if not isinstance(node, dict):
        return node
    return {
        key: _without_texts(value, key in ("properties", "schemas", "paths"))
        for key, value in node.items()
        if is_named or not (key in LEFT_OUT or (key.isdigit() and key >= "300"))
    }


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    os.environ.setdefault("DEBUG", "true")
    import django

    django.setup()
    TYPES.write_text(generate(schema()))


def schema() -> dict[str, Any]:
    from drf_spectacular.generators import SchemaGenerator

    document: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    return json.loads(json.dumps(document, default=str))


if __name__ == "__main__":
    sys.exit(main())
