"""Message storage: messages for the next page, in a signed cookie of this host."""

from django.conf import settings
from django.contrib.messages.storage.cookie import CookieStorage as DjangoCookieStorage


class CookieStorage(DjangoCookieStorage):
    """
    Django's CookieStorage, with a cookie name of this project. In the session, each page would read the session from
    the database. The cookie has at most 2 kB: the oldest messages are dropped.
    """

    cookie_name = settings.MESSAGE_COOKIE_NAME
