"""The model of a browser's session."""

from importlib import import_module
from typing import ClassVar, Self

from django.conf import settings
from django.contrib.sessions.base_session import AbstractBaseSession, BaseSessionManager
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.pruning import PrunableQuerySet


class SessionQuerySet(PrunableQuerySet["Session"]):
    def prunable(self) -> Self:
        """Returns the expired sessions."""
        return self.filter(expire_date__lt=timezone.now())


class SessionManager(BaseSessionManager.from_queryset(SessionQuerySet)):  # type: ignore[misc]
    pass


class Session(AbstractBaseSession):
    """A browser's session. The table has the hash of its key, so that a dump of the table gives no access."""

    session_key = models.CharField(_("SHA-256 of the session key"), max_length=64, primary_key=True)
    sign_in = models.ForeignKey("accounts.SignIn", null=True, on_delete=models.CASCADE, related_name="sessions")

    objects: ClassVar[SessionManager] = SessionManager()

    @classmethod
    def get_session_store_class(cls) -> type:
        store: type = import_module(settings.SESSION_ENGINE).SessionStore
        return store
