"""The page of the mailed link that stops the removal of second factors."""

from django.forms import Form
from django.http import HttpResponse
from django.shortcuts import render

from accounts.factors import removals
from accounts.models import User
from accounts.views.mailed_links import MailedLinkView


class StopFactorRemovalView(MailedLinkView):
    """Stops the pending removal of the second factors of the link's user. The user need not be signed in."""

    form_class = Form
    template_name = "accounts/removal_stop.html"

    def get_user(self) -> User | None:
        return removals.get_by_token(self.kwargs["uidb64"], self.kwargs["token"])

    def form_valid(self, form: Form) -> HttpResponse:
        if self.user:
            removals.cancel(self.user, "link")
        return render(self.request, "accounts/removal_stopped.html")
