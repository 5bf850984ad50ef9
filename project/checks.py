"""System checks: `manage.py check` and `migrate` run them."""

import os
from difflib import get_close_matches
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning, register

# The cutoff of difflib: TRUSTED_PROXY is similar to TRUSTED_PROXIES, REDIS_PORT is not similar to REDIS_URL.
MIN_SIMILARITY = 0.85


@register
def check_names(**kwargs: Any) -> list[CheckMessage]:
    """Warns of a variable, in the environment or the file ENV_FILE, whose name is similar to that of a setting."""
    known = settings.ENVIRONMENT_NAMES
    given = {*os.environ, *settings.ENVIRONMENT_FILE_NAMES} - known
    found = {name: get_close_matches(name.upper(), known, 1, MIN_SIMILARITY) for name in sorted(given)}
    return [
        Warning(f"{name} is no setting of this project. Did you mean {meant[0]}?", id="project.W001")
        for name, meant in found.items()
        if meant
    ]
