"""The home page."""

from typing import Any

from django.views.generic import TemplateView

from accounts.models import SecurityEvent, SignIn
from accounts.sessions import BrowserRequest

MAX_EVENTS_SHOWN = 5
MAX_SIGN_INS_SHOWN = 3


class HomeView(TemplateView):
    """The home page: of the account for a signed-in user, of the site for a visitor."""

    request: BrowserRequest
    template_name = "home.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        sign_in = self.request.session.sign_in
        if sign_in:
            sign_ins = SignIn.objects.filter(user=sign_in.user).live()
            context |= {
                "number": sign_ins.count(),
                "sign_ins": sign_ins.current_first(sign_in)[:MAX_SIGN_INS_SHOWN],
                "events": SecurityEvent.objects.filter(user=sign_in.user)[:MAX_EVENTS_SHOWN],
            }
        return context
