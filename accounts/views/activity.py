"""Pages of the security events of an account."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _
from django.views.generic import ListView, TemplateView

from accounts import ending
from accounts.models import SecurityEvent
from accounts.sessions import SignedInRequest
from accounts.views.sign_in import ReauthenticationRequiredMixin


class ActivityView(LoginRequiredMixin, ListView):
    """The security events of the signed-in user, each with its sign-in."""

    request: SignedInRequest
    template_name = "accounts/activity.html"
    context_object_name = "events"
    paginate_by = 25

    def get_queryset(self) -> QuerySet[SecurityEvent]:
        return SecurityEvent.objects.filter(user=self.request.user)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        sign_ins = self.request.user.sign_ins.in_bulk({event.sid for event in context["events"] if event.sid})
        for event in context["events"]:
            event.sign_in = sign_ins.get(event.sid)
        return context | {"current_sign_in": self.request.session.sign_in}


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
            messages.success(request, _("Sign-in ended: %(device)s.") % {"device": sign_in.label})
        return redirect("password_change")
