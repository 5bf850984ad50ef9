"""Static files with a hash in their names, as `collectstatic` creates them."""

import logging
import math
import os
import time
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, cast

from django.conf import settings
from django.contrib.staticfiles.finders import AppDirectoriesFinder
from django.contrib.staticfiles.storage import ManifestFilesMixin, staticfiles_storage
from django.http import HttpRequest, HttpResponseNotFound
from django.http.response import HttpResponseBase
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.storage import CompressedManifestStaticFilesStorage

from accounts.http import request_context
from api.outages import OutageLog

logger = logging.getLogger(__name__)

COMMAND = "python manage.py collectstatic --no-input"
# How long are_missing() repeats its answer, in seconds.
FRESH_SECONDS = 10.0
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


class Middleware(WhiteNoiseMiddleware):
    """Answers 404 for a file that was deleted since the start, and logs it once. WhiteNoise raises an error."""

    @staticmethod
    def serve(static_file: Any, request: HttpRequest) -> HttpResponseBase:
        try:
            return cast(HttpResponseBase, WhiteNoiseMiddleware.serve(static_file, request))
        except FileNotFoundError:
            log_missing(request.path_info.removeprefix(f"/{settings.STATIC_URL.strip('/')}/"))
            return HttpResponseNotFound()


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


class CollectedFiles:
    """Whether the files that this process links to are in STATIC_ROOT. Logs once that they are missing, and the end."""

    def __init__(self) -> None:
        self._are_missing = False
        # On the monotonic clock, in seconds.
        self._next_look = -math.inf
        self._outage_log = OutageLog("Static files are missing; pages have no style", "No static file is missing")

    def are_missing(self) -> bool:
        """Looks at most once in FRESH_SECONDS: about a millisecond for a few hundred files."""
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + FRESH_SECONDS
            missing = self._missing_file()
            self._are_missing = missing is not None
            if missing:
                self._outage_log.failed(FileNotFoundError(f"{missing}. Run: {COMMAND}"))
            else:
                self._outage_log.recovered()
        return self._are_missing

    def _missing_file(self) -> str | None:
        if settings.DEBUG or not isinstance(staticfiles_storage, Storage):
            return None
        names = [staticfiles_storage.manifest_name, *staticfiles_storage.hashed_files.values()]
        paths = map(staticfiles_storage.path, names)
        return next((path for path in paths if not os.path.exists(path)), None)


collected_files = CollectedFiles()
