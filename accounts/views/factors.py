"""Page of the mailed link that stops a removal of second factors."""

from django.forms import Form
from django.http import HttpResponse
from django.shortcuts import render

from accounts.factors import removals
from accounts.models import User
from accounts.views.mailed_links import MailedLinkView


class StopRemovalView(MailedLinkView):
    """Stops a removal that staff requested. The button is the confirmation, as for other mailed links."""

    form_class = Form
    template_name = "accounts/factor_removal_stop.html"

    def get_user(self) -> User | None:
        self.removal = removals.get_by_token(self.kwargs["token"])
        return self.removal.user if self.removal else None

    def form_valid(self, form: Form) -> HttpResponse:
        if self.removal is None or not removals.stop(self.removal):
            return self.render_invalid_link()
        return render(self.request, "accounts/factor_removal_stopped.html")
