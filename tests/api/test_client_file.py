"""The client for browser apps, as the project serves it."""

import gzip

import pytest
from django.contrib.staticfiles import finders

from tests.servers import ROOT

MODULE = ROOT / "api" / "static" / "api" / "client.js"
MAX_BYTES = 4096


def test_the_client_has_at_most_four_kilobytes_compressed():
    assert len(gzip.compress(MODULE.read_bytes(), 9)) <= MAX_BYTES


def test_the_client_needs_no_other_module():
    source = MODULE.read_text()
    assert "import" not in source
    assert "require(" not in source


@pytest.mark.parametrize("name", ["client.js", "client.d.ts", "schema.d.ts"])
def test_the_client_and_its_types_are_static_files(name):
    assert finders.find(f"api/{name}") == str(MODULE.parent / name)
