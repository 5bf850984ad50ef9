"""Static files with a hash in their names, as `collectstatic` creates them."""

import logging
import os
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.finders import AppDirectoriesFinder
from django.contrib.staticfiles.storage import ManifestFilesMixin, staticfiles_storage
from whitenoise.storage import CompressedManifestStaticFilesStorage

from accounts.http import request_context

logger = logging.getLogger(__name__)

COMMAND = "python manage.py collectstatic --no-input"
OWN_APPS = ["accounts", "api", "api.compare"]


class Storage(CompressedManifestStaticFilesStorage):
    """
    Serves a page without a missing style sheet instead of failing; above all the error page. Replaces hashed files and
    the manifest in one step: a worker that starts during `collectstatic` finds each of them, or it would not start.
    """

    _is_post_processing = False

    def post_process(self, *args: Any, **options: Any) -> Iterator[Any]:
        self._is_post_processing = True
        try:
            yield from super().post_process(*args, **options)
        finally:
            self._is_post_processing = False

    def delete(self, name: str) -> None:
        if not self._is_post_processing:
            super().delete(name)

    def _save(self, name: str, content: Any) -> str:
        if not self._is_post_processing:
            return str(super()._save(name, content))
        # The manifest and the hashed files, which Django deletes and saves again.
        os.replace(self.path(super()._save(f"{name}.new", content)), self.path(name))
        return name

    def stored_name(self, name: str) -> str:
        try:
            return super().stored_name(name)
        except ValueError:
            # WhiteNoise handles the error when it scans the files at the start.
            if request_context.request() is None:
                raise
            log_missing(name)
            return name


@lru_cache
def log_missing(name: str) -> None:
    """Logs each file once."""
    logger.error("The static file %s was not collected. Run: %s", name, COMMAND)


def problem() -> str | None:
    """Why pages would lack static files; None if all are collected."""
    if settings.DEBUG or not isinstance(staticfiles_storage, ManifestFilesMixin):
        return None
    collected = staticfiles_storage.hashed_files
    missing = [path for path, _storage in AppDirectoriesFinder(OWN_APPS).list([]) if path not in collected]
    if not missing:
        return None
    state = "are missing" if not collected else f"are older than the code (no {missing[0]})"
    return f"The static files in {settings.STATIC_ROOT} {state}. Run: {COMMAND}"
