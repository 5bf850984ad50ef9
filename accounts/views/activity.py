"""Pages of the security events of an account."""

from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.forms import ChoiceField, Form, IntegerField
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.generic import TemplateView, View

from accounts import activity, csv_export, ending
from accounts.activity import ActivityPage
from accounts.models import SecurityEvent
from accounts.models.event_sentences import Importance
from accounts.sessions import SignedInRequest
from accounts.views.sign_in import ReauthenticationRequiredMixin

FILTERS = [("", gettext_lazy("All")), *Importance.choices]


class ActivityQuery(Form):
    """What an address of the activity page asks for."""

    show = ChoiceField(choices=FILTERS, required=False)
    # The largest id of PostgreSQL.
    before = IntegerField(min_value=1, max_value=2**63 - 1, required=False)


class ActivityView(LoginRequiredMixin, TemplateView):
    """
    The security events of the signed-in user by day, equal acts merged. Three statements for any number of events, the
    session among them; four with a filter.
    """

    request: SignedInRequest
    template_name = "accounts/activity.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        query = ActivityQuery(self.request.GET)
        if not query.is_valid():
            raise Http404
        shown, before = query.cleaned_data["show"], query.cleaned_data["before"]
        page = ActivityPage(self.request.user, Importance(shown) if shown else None, before)
        page.mark_sign_ins()
        today = timezone.localdate()
        return super().get_context_data(**kwargs) | {
            "page": page,
            "filters": FILTERS,
            "shown": shown,
            "is_first": before is None,
            "today": today,
            "yesterday": today - timedelta(days=1),
            "current_sign_in": self.request.session.sign_in,
        }


class DownloadActivityView(LoginRequiredMixin, View):
    """
    The events of the signed-in user as CSV. Recorded as an event, so that it needs a POST. Asks for no recent proof: it
    has nothing that the page does not show.
    """

    http_method_names = ["post", "options"]

    def post(self, request: SignedInRequest) -> StreamingHttpResponse:
        SecurityEvent.objects.record(SecurityEvent.Type.EVENTS_EXPORTED, request.user)
        return csv_export.as_download("activity", activity.as_csv(request.user))


class NotMeView(ReauthenticationRequiredMixin, TemplateView):
    """Ends a sign-in that the user does not recognise, and redirects to the password change, which ends all others."""

    request: SignedInRequest
    template_name = "accounts/not_me.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        event = get_object_or_404(SecurityEvent, user=self.request.user, pk=self.kwargs["pk"])
        sign_in = self.request.user.sign_ins.filter(pk=event.sid).first() if event.sid else None
        current = self.request.session.sign_in
        return super().get_context_data(**kwargs) | {"event": event, "sign_in": sign_in, "current_sign_in": current}

    def post(self, request: SignedInRequest, pk: int) -> HttpResponse:
        event = get_object_or_404(SecurityEvent, user=request.user, pk=pk)
        current = request.session.sign_in
        if sign_in := ending.end_disputed(event, keep=current.sid if current else None):
            messages.success(request, _("Signed out: %(device)s.") % {"device": sign_in.label})
        return redirect("password_change")
