"""The recorded exchanges of /compare/: the server still gives these answers."""

import json
import re

import pytest

from api.compare import recorded
from tests.benchmarks import acts

pytestmark = pytest.mark.django_db


def outcomes(kept):
    """Returns the calls of each act, and their answers, without ids, times and statements."""
    return {
        act: [(each["mode"], each["method"], each["path"], each["status"], each["times"]) for each in exchanges]
        for act, exchanges in kept["acts"].items()
    }


@pytest.mark.once
@pytest.mark.long
def test_a_new_recording_has_the_same_outcomes():
    kept, new = json.loads(recorded.FILE.read_text()), acts.record()
    assert outcomes(new) == outcomes(kept), "Run: python -m tests.benchmarks acts"
    assert new["lanes"] == kept["lanes"]


def test_the_recording_contains_no_secret():
    text = recorded.FILE.read_text()
    assert not re.search(r"eyJ[\w-]+\.[\w-]+\.[\w-]+", text)
