"""The rows of the queue of mails: what waits, what failed, and how a worker ends or repeats an attempt."""

from datetime import timedelta
from typing import Any, Self

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django_tasks_db.models import DBTaskResult, get_date_max

from accounts.mail import Status, send
from accounts.pruning import PrunableQuerySet

# How long a mail is tried; after that it has failed. RFC 5321, section 4.5.4.1, asks for days of a relay.
RETRY_FOR = timedelta(days=1)
SHORTEST_PAUSE, LONGEST_PAUSE = timedelta(seconds=10), timedelta(hours=1)
# Of alarms and password resets.
LONGEST_URGENT_PAUSE = timedelta(minutes=5)
# A worker that sends for longer was killed: another one takes the mail. Longer than all steps of an SMTP session, of
# which the longest is accounts.delivery.DATA_SECONDS.
LEASE = timedelta(minutes=15)
KEEP_FAILED = timedelta(days=30)


class QueuedMailQuerySet(PrunableQuerySet["QueuedMail"]):
    """Selections of mails, and the ends of an attempt. A mail that was sent, or is not to be sent, has no row."""

    def waiting(self) -> Self:
        """Returns the mails that are to be sent, now or later."""
        return self.filter(status__in=[Status.READY, Status.RUNNING])

    def delayed(self) -> Self:
        """Returns the waiting mails that the mail server has refused for now, or whose attempt failed."""
        return self.waiting().exclude(run_after=get_date_max())

    def failed(self) -> Self:
        """Returns the mails that were refused, or could not be sent for RETRY_FOR."""
        return self.filter(status=Status.FAILED)

    def prunable(self) -> Self:
        """Returns the mails that failed longer ago than KEEP_FAILED."""
        return self.failed().filter(finished_at__lt=timezone.now() - KEEP_FAILED)

    def abandoned(self) -> Self:
        """Returns the mails whose worker was killed before it had recorded the end of its attempt."""
        return self.filter(status=Status.RUNNING, started_at__lt=timezone.now() - LEASE)

    def too_old(self) -> Self:
        """Returns the mails that are not tried again."""
        return self.filter(status=Status.READY, enqueued_at__lt=timezone.now() - RETRY_FOR)

    def claimed_as(self, row: DBTaskResult) -> Self:
        """Returns the mail if the attempt of `row` is still its last: after LEASE, another worker may have taken it."""
        return self.filter(pk=row.pk, status=Status.RUNNING, started_at=row.started_at)

    def put_back(self, **changes: Any) -> int:
        """Returns the mails to the queue. One statement."""
        return self.update(status=Status.READY, **changes)

    put_back.alters_data = True  # type: ignore[attr-defined]

    def fail(self, cause: str) -> int:
        """Marks the mails as failed. The cause is stored without a traceback, which could quote a link."""
        return self.update(status=Status.FAILED, finished_at=timezone.now(), exception_class_path=cause)

    fail.alters_data = True  # type: ignore[attr-defined]

    def try_again(self) -> int:
        """Returns the failed mails to the queue, for RETRY_FOR. No quota is counted a second time. One statement."""
        return self.failed().put_back(
            enqueued_at=timezone.now(), run_after=get_date_max(), finished_at=None, exception_class_path=""
        )

    try_again.alters_data = True  # type: ignore[attr-defined]

    def figures(self) -> dict[str, Any]:
        """
        Returns the numbers `waiting`, `delayed` and `failed`, and `oldest`: when the first waiting mail became due, or
        None. A mail becomes due when it is queued, and at its next attempt. One statement.
        """
        is_waiting = models.Q(status__in=[Status.READY, Status.RUNNING])
        is_new = models.Q(run_after=get_date_max())
        due_since = models.Case(models.When(is_new, then="enqueued_at"), default="run_after")
        is_due = is_waiting & (is_new | models.Q(run_after__lte=timezone.now()))
        return self.aggregate(
            waiting=models.Count("pk", filter=is_waiting),
            delayed=models.Count("pk", filter=is_waiting & ~is_new),
            failed=models.Count("pk", filter=models.Q(status=Status.FAILED)),
            oldest=models.Min(due_since, filter=is_due),
        )


class QueuedMailManager(models.Manager.from_queryset(QueuedMailQuerySet)):  # type: ignore[misc]
    def get_queryset(self) -> QueuedMailQuerySet:
        """Returns the tasks of mails: an adopter's tasks may be in the same table."""
        queryset: QueuedMailQuerySet = super().get_queryset().filter(task_path=send.module_path)
        return queryset


class QueuedMail(DBTaskResult):
    """A mail that waits or has failed: a row of django-tasks-db, whose arguments are an accounts.letters.Letter."""

    objects = QueuedMailManager()  # type: ignore[misc]

    class Meta:
        proxy = True
        verbose_name = _("e-mail in the queue")
        verbose_name_plural = _("e-mails in the queue")
        ordering = ["-enqueued_at"]
        default_permissions = ["view"]
        permissions = [("retry_queuedmail", "Can try failed e-mails again")]

    def __str__(self) -> str:
        return str(self.letter.get("template", self.pk))

    @property
    def retry_at(self) -> Any:
        """When it is tried again after a temporary refusal; None before the first one."""
        return self.run_after if self.status == Status.READY and self.run_after != get_date_max() else None

    @property
    def letter(self) -> dict[str, Any]:
        """The fields of the stored letter."""
        fields: dict[str, Any] = self.args_kwargs["kwargs"].get("letter", {})
        return fields
