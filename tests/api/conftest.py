import json
from datetime import timedelta

import pytest
import time_machine
from django.core.management import call_command
from django.utils import timezone

from accounts.models import User
from api.keys import rotation
from tests import old_site
from tests.api.dpop_client import Holder


@pytest.fixture
def holder(ann, password):
    holder = Holder()
    assert holder.sign_in(ann.username, password).status_code == 200
    # From here on it knows the nonce, if one is required.
    assert holder.me().status_code == 200
    return holder


@pytest.fixture
def old_tokens_taken(settings):
    settings.LEGACY_JWT_KEY, settings.LEGACY_JWT_UNTIL = old_site.JWT_KEY, timezone.now() + timedelta(days=20)
    settings.SECOND_FACTOR = "offered"


@pytest.fixture
def carol(tmp_path, old_tokens_taken):
    """A user who moved in, and whose tokens of the site before are taken."""
    old_site.import_users(old_site.write_dump(tmp_path, [old_site.USER]))
    return User.objects.get(username="carol")


@pytest.fixture
def poll_every_time(monkeypatch):
    """The ring polls the folder before every response, so that no test waits for the next poll."""
    monkeypatch.setattr("api.keys.ring.POLL_SECONDS", 0)
    monkeypatch.setattr("api.management.commands.keys.POLL_SECONDS", 0)


@pytest.fixture
def folder(tmp_path, settings):
    """JWT_KEYS of a project that signs with SECRET_KEY: one key is published, and may be promoted."""
    make = rotation.Rotation(str(tmp_path / "keys"))
    with time_machine.travel(timezone.now() - timedelta(minutes=11)):
        make.publish("ES256")
    settings.JWT_KEYS = str(tmp_path / "keys")
    return make.folder.path


@pytest.fixture
def command(capsys):
    """Runs `manage.py keys` and returns the words of each line."""

    def command(*words):
        call_command("keys", *words)
        return [line.split() for line in capsys.readouterr().out.splitlines()]

    return command


@pytest.fixture
def ring(folder):
    """Returns the states by kid, as stored in the folder."""
    return lambda: {kid: each["state"] for kid, each in json.loads((folder / "ring.json").read_text()).items()}


@pytest.fixture
def of(ring):
    """Returns the kid of the key that is in a state."""
    return lambda state: next(kid for kid, each in ring().items() if each == state)
