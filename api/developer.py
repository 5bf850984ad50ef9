"""The page for developers: the clients and API keys of the signed-in user, and how a program uses the API."""

from typing import Any

from django.conf import settings
from django.contrib.auth.mixins import LoginRequiredMixin
from django.views.generic import TemplateView

from accounts.http import request_context
from accounts.models import SignIn
from accounts.sessions import SignedInRequest

MAX_CLIENTS = 5


class DeveloperView(LoginRequiredMixin, TemplateView):
    """The clients and API keys of the signed-in user that were used last. Three statements."""

    request: SignedInRequest
    template_name = "accounts/developer.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        live = SignIn.objects.filter(user=self.request.user).live()
        latest, numbers = live.order_by("-last_seen_at", "pk"), live.by_kind()
        return super().get_context_data(**kwargs) | {
            "clients": latest.filter(kind=SignIn.Kind.CLIENT)[:MAX_CLIENTS],
            "number": numbers.get(SignIn.Kind.CLIENT, 0),
            "keys": latest.filter(kind=SignIn.Kind.API_KEY)[:MAX_CLIENTS],
            "number_of_keys": numbers.get(SignIn.Kind.API_KEY, 0),
            "has_api_keys": bool(settings.API_KEY_MAX),
            "has_device_flow": settings.DEVICE_FLOW,
            "base": request_context.absolute_url(""),
        }
