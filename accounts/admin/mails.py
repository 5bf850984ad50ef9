"""The queue of mails in the admin: what waits, and what failed. It shows no link, since none is stored."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from django_tasks_db import admin as admin_of_library

from accounts.admin import confirm
from accounts.admin.lists import ListFilter, ReadOnlyList, short_time
from accounts.mail import Status
from accounts.models import QueuedMail
from accounts.models.mails import QueuedMailQuerySet

# The list of the library has other columns and filters, and would show the tasks of mails a second time.
admin.site.unregister(admin_of_library.DBTaskResult)  # type: ignore[attr-defined]

STATES = {
    Status.READY: _("waits"),
    Status.RUNNING: _("is being sent"),
    Status.FAILED: _("failed"),
    Status.SUCCESSFUL: _("sent"),
}


class StateFilter(ListFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> Sequence[tuple[str, Any]]:
        return [("waiting", _("Waiting")), ("delayed", _("Delayed")), ("failed", _("Failed"))]

    def narrow(self, queryset: QueuedMailQuerySet, value: str) -> QueuedMailQuerySet:
        states = {"waiting": queryset.waiting, "delayed": queryset.delayed, "failed": queryset.failed}
        return states[value]()


@admin.register(QueuedMail)
class QueuedMailAdmin(ReadOnlyList):
    """The mails that wait or have failed. A mail that was sent has no row."""

    list_display = ["queued", "kind", "user_link", "address", "state", "attempts", "next_attempt", "cause"]
    list_filter = [StateFilter]
    actions = ["try_again"]
    ordering = ["-enqueued_at"]
    fields = ["kind", "user_link", "address", "queued", "state", "attempts", "next_attempt", "cause"]

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.retry_queuedmail")

    def is_available(self, request: HttpRequest, action: str, obj: QueuedMail) -> bool:
        return obj.status == Status.FAILED

    @admin.action(description=_("Try again"), permissions=["retry"])
    def try_again(self, request: HttpRequest, mails: QueuedMailQuerySet) -> HttpResponse | None:
        """Returns failed mails to the queue, for example after the cause was corrected."""
        form = confirm.Confirmation(request)
        if not form.is_confirmed:
            return self._confirm(request, mails.failed().count(), form)
        count = mails.try_again()
        text = ngettext("%d e-mail is tried again.", "%d e-mails are tried again.", count) % count
        self.message_user(request, text, messages.SUCCESS)
        return None

    def _confirm(self, request: HttpRequest, count: int, form: confirm.Confirmation) -> HttpResponse:
        return confirm.page(
            self,
            request,
            form,
            title=ngettext("Try this e-mail again?", "Try these e-mails again?", count),
            button=ngettext("Try this e-mail again", "Try e-mails again", count),
            effects=[(ngettext("e-mail is tried again for a day", "e-mails are tried again for a day", count), count)],
            notes=[_("An e-mail whose link has expired, or that has no purpose any more, is removed and not sent.")],
        )

    @admin.display(description=_("queued"))
    def queued(self, mail: QueuedMail) -> Any:
        return short_time(mail.enqueued_at)

    @admin.display(description=_("kind"))
    def kind(self, mail: QueuedMail) -> str:
        return str(mail)

    @admin.display(description=_("user"))
    def user_link(self, mail: QueuedMail) -> Any:
        if (user_id := mail.letter.get("user_id")) is None:
            return None
        return format_html('<a href="{}">{}</a>', reverse("admin:accounts_user_change", args=[user_id]), user_id)

    @admin.display(description=_("e-mail address"))
    def address(self, mail: QueuedMail) -> str:
        return str(mail.letter.get("address", ""))

    @admin.display(description=_("state"))
    def state(self, mail: QueuedMail) -> Any:
        return STATES[Status(mail.status)]

    @admin.display(description=_("attempts"))
    def attempts(self, mail: QueuedMail) -> int:
        return len(mail.worker_ids)

    @admin.display(description=_("next attempt"))
    def next_attempt(self, mail: QueuedMail) -> Any:
        return short_time(mail.retry_at)

    @admin.display(description=_("cause"))
    def cause(self, mail: QueuedMail) -> str:
        return str(mail.exception_class_path)
