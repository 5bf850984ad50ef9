"""Messages for the next page, in the session."""

from collections.abc import Sequence
from typing import Any

from django.contrib.messages.storage.session import SessionStorage

# A client that posts forms and reads no page must not make its session grow.
MOST_WAITING = 10


class BoundedStorage(SessionStorage):
    """Keeps the newest messages."""

    def serialize_messages(self, messages: Sequence[Any]) -> str:
        return super().serialize_messages(list(messages)[-MOST_WAITING:])
