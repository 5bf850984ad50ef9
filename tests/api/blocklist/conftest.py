"""Fixtures of the blocklist tests."""

from typing import Any

import pytest

from accounts.models import SignIn
from api.blocklist import status_list
from api.blocklist.mirror import mirror
from api.keys import Key
from tests import servers
from tests.api.blocklist.test_mirror import eventually, use


@pytest.fixture
def current_mirror(one_valkey: servers.Valkey, settings: Any) -> None:
    """The mirror of this process, which has read all from a running Valkey: sign-ins can be remembered."""
    if not one_valkey.answers():
        one_valkey.start()
    use(one_valkey.url, settings)
    eventually(lambda: mirror.blocks_if_current(SignIn().pk, SignIn().pk, 1) is False)


@pytest.fixture
def with_status_list(tmp_path, settings, monkeypatch):
    """A project with a public key and status lists enabled, before its first list is built."""
    (tmp_path / "key.pem").write_bytes(Key.generate("ES256").pem)
    settings.JWT_KEYS = str(tmp_path)
    settings.JWT_STATUS_LIST = True
    settings.JWT_ISSUER = "https://id.example.org"
    monkeypatch.setattr("api.service_endpoints.status_lists", status_list.StatusLists())
    monkeypatch.setattr(status_list, "REBUILD_SECONDS", 0)
