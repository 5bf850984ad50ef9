"""Checks of `manage.py check`, which also runs before `migrate`."""

import os
from difflib import get_close_matches
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning, register

# How alike two names are: TRUSTED_PROXY and TRUSTED_PROXIES, and not REDIS_PORT and REDIS_URL.
LIKENESS = 0.85


@register
def check_names(**kwargs: Any) -> list[CheckMessage]:
    """Of the environment, and of the file that ENV_FILE names."""
    known = settings.ENVIRONMENT_NAMES
    given = {*os.environ, *settings.ENVIRONMENT_FILE_NAMES} - known
    found = {name: get_close_matches(name.upper(), known, 1, LIKENESS) for name in sorted(given)}
    return [
        Warning(f"{name} is no setting of this project. Is {meant[0]} meant?", id="project.W001")
        for name, meant in found.items()
        if meant
    ]
