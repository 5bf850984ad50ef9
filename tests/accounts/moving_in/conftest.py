"""Fixtures of tests of users who move in."""

from datetime import timedelta

import pytest
from django.test import override_settings
from django.utils import timezone

from tests import old_site
from tests.old_site import import_users, write_dump


@pytest.fixture
def run(tmp_path):
    """Imports a dump of users and other rows. Returns the output."""

    def run(rows, *options, **tables):
        return import_users(write_dump(tmp_path, rows, **tables), *options)

    return run


@pytest.fixture
def old_tokens():
    """Refresh tokens of before are taken."""
    with override_settings(LEGACY_JWT_KEY=old_site.JWT_KEY, LEGACY_JWT_UNTIL=timezone.now() + timedelta(days=9)):
        yield
