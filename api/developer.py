"""The page for developers: the clients of the signed-in user, and how a program uses the API."""

from django.contrib.auth.mixins import LoginRequiredMixin
from django.views.generic import TemplateView

from accounts.sessions import SignedInRequest


class DeveloperView(LoginRequiredMixin, TemplateView):
    """The clients of the signed-in user, and how a program uses the API."""

    request: SignedInRequest
    template_name = "accounts/developer.html"
