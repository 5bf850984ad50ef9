"""The model of a browser's session."""

from importlib import import_module
from typing import Any, ClassVar, Self

from django.conf import settings
from django.contrib.sessions.base_session import AbstractBaseSession, BaseSessionManager
from django.db import models, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.pruning import PrunableQuerySet
from accounts.signals import session_keys_revoked


class SessionQuerySet(PrunableQuerySet["Session"]):
    def prunable(self) -> Self:
        """Returns the expired sessions."""
        return self.filter(expire_date__lt=timezone.now())

    def delete(self) -> tuple[int, dict[str, int]]:
        """As Django's. Also revokes the keys, which processes may remember, and the tokens of the sessions."""
        with transaction.atomic(using=self.db):
            sids = dict(self.exclude(sign_in=None).values_list("pk", "sign_in"))
            deleted = super().delete()
            session_keys_revoked.send(sender=self.model, stored_keys=list(sids), sids=list(sids.values()))
        return deleted

    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]

    def delete_silently(self) -> int:
        """Deletes the sessions without `session_keys_revoked`, since their sign-ins have ended. One statement."""
        return self._raw_delete(self.db)

    delete_silently.alters_data = True  # type: ignore[attr-defined]


class SessionManager(BaseSessionManager.from_queryset(SessionQuerySet)):  # type: ignore[misc]
    def delete_stored(self, stored_key: str) -> None:
        """
        Deletes the session with this stored key, if there is one, and revokes the key. One statement. Processes refuse
        its tokens within a second: a trigger blocks its sign-in, which is not read here.
        """
        if self.filter(pk=stored_key).delete_silently():
            session_keys_revoked.send(sender=self.model, stored_keys=[stored_key])


class Session(AbstractBaseSession):
    """A browser's session. The table has the hash of its key, so that a dump of the table gives no access."""

    session_key = models.CharField(_("SHA-256 of the session key"), max_length=64, primary_key=True)
    sign_in = models.ForeignKey("accounts.SignIn", null=True, on_delete=models.CASCADE, related_name="sessions")

    objects: ClassVar[SessionManager] = SessionManager()

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """As Django's. Also revokes the key, and the tokens of the session."""
        stored_key, deleted = self.pk, super().delete(*args, **kwargs)
        sids = [self.sign_in_id] if self.sign_in_id else []
        session_keys_revoked.send(sender=Session, stored_keys=[stored_key], sids=sids)
        return deleted

    @classmethod
    def get_session_store_class(cls) -> type:
        store: type = import_module(settings.SESSION_ENGINE).SessionStore
        return store
