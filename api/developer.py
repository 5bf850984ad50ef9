"""The page for developers: the clients of the signed-in user, and how a program uses the API."""

from typing import Any

from django.contrib.auth.mixins import LoginRequiredMixin
from django.views.generic import TemplateView

from accounts.http import request_context
from accounts.models import SignIn
from accounts.sessions import SignedInRequest

MAX_CLIENTS = 5


class DeveloperView(LoginRequiredMixin, TemplateView):
    """The clients of the signed-in user that were used last, and how a program uses the API. Two statements."""

    request: SignedInRequest
    template_name = "accounts/developer.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        clients = SignIn.objects.filter(user=self.request.user, kind=SignIn.Kind.CLIENT).live()
        return super().get_context_data(**kwargs) | {
            "clients": clients.order_by("-last_seen_at", "pk")[:MAX_CLIENTS],
            "number": clients.count(),
            "base": request_context.absolute_url(""),
        }
