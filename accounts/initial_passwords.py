"""Initial passwords of service accounts, which make_service prints. They expire, so that services set their own."""

import logging
import secrets
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

logger = logging.getLogger(__name__)

# Each initial password starts with it, so that no column is needed to recognise one.
PREFIX = "initial-"
LIFETIME = timedelta(days=3)


def generate() -> str:
    """Returns a new initial password, of 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def expires_at(service: Any) -> datetime:
    """Returns when the initial password of a service account expires."""
    return service.date_joined + LIFETIME


def is_expired(user: Any, password: str) -> bool:
    """Returns whether this password, which is the user's, is the initial one of a service account and has expired."""
    if not user.is_service or not password.startswith(PREFIX) or timezone.now() <= expires_at(user):
        return False
    logger.warning(
        "The initial password of the service account %s has expired: set one by manage.py changepassword", user.username
    )
    return True
