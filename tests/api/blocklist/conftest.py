"""Fixtures of the blocklist tests."""

import pytest

from api.blocklist import status_list
from api.keys import Key


@pytest.fixture
def with_status_list(tmp_path, settings, monkeypatch):
    """A project with a public key and status lists enabled, before its first list is built."""
    (tmp_path / "key.pem").write_bytes(Key.generate("ES256").pem)
    settings.JWT_KEYS = str(tmp_path)
    settings.JWT_STATUS_LIST = True
    settings.JWT_ISSUER = "https://id.example.org"
    monkeypatch.setattr("api.service_endpoints.status_lists", status_list.StatusLists())
    monkeypatch.setattr(status_list, "REBUILD_SECONDS", 0)
