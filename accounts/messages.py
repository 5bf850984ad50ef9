"""Message storage: messages for the next page, in the session."""

from collections.abc import Sequence
from typing import Any

from django.contrib.messages.storage.session import SessionStorage

# A client that posts forms and reads no page must not grow its session without limit.
MAX_MESSAGES = 10


class BoundedStorage(SessionStorage):
    """Django's SessionStorage, with the newest MAX_MESSAGES messages only."""

    def serialize_messages(self, messages: Sequence[Any]) -> str:
        return super().serialize_messages(list(messages)[-MAX_MESSAGES:])
