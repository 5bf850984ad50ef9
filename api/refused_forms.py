"""Log lines about forms, and calls with a cookie, that were refused because another page may have sent them."""

import logging
import re
from http import HTTPStatus

from django.http import HttpRequest

logger = logging.getLogger(__name__)

MAX_REASON_LENGTH = 300
URL_PATH = re.compile(r"(://[^/?#\s]*)[/?#]\S*")


def log(request: HttpRequest, reason: str) -> None:
    extra = {"request": request, "status_code": HTTPStatus.FORBIDDEN.value}
    logger.warning("Refused a form (%s): %s", _without_secrets(reason), request.path, extra=extra)


def _without_secrets(reason: str) -> str:
    """Django quotes the Referer: its path may be a link from a mail."""
    return URL_PATH.sub(r"\1", reason)[:MAX_REASON_LENGTH]
