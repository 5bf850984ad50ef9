"""Message storage: messages for the next page, in a signed cookie of this host."""

from typing import Any

from django.conf import settings
from django.contrib.messages.storage.cookie import CookieStorage as DjangoCookieStorage
from django.core import signing


class CookieStorage(DjangoCookieStorage):
    """
    Django's CookieStorage, for the session in which the message was added: the next user of a browser does not get the
    messages of the last. In the session itself, each page would read the session's data from the database. The cookie
    has at most 2 kB: the oldest messages are dropped.
    """

    cookie_name = settings.MESSAGE_COOKIE_NAME

    def _decode(self, data: str | None) -> Any:
        self.signer = self._signer_of_session()
        return super()._decode(data)  # type: ignore[misc]

    def _encode_parts(self, messages: Any, encode_empty: bool = False) -> Any:
        self.signer = self._signer_of_session()
        return super()._encode_parts(messages, encode_empty)  # type: ignore[misc]

    def _signer_of_session(self) -> signing.TimestampSigner:
        """Signs in or out during the request change the session key."""
        return signing.get_cookie_signer(salt=f"{self.key_salt} {self.request.session.session_key}")
