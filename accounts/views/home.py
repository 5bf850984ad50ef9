"""The home page."""

from typing import Any

from django.views.generic import TemplateView

from accounts.models import SecurityEvent, SignIn
from accounts.sessions import BrowserRequest

EVENTS_ON_HOME = 5
SIGN_INS_ON_HOME = 3


class HomeView(TemplateView):
    request: BrowserRequest
    template_name = "home.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        sign_in = self.request.session.sign_in
        if sign_in:
            sign_ins = SignIn.objects.filter(user=sign_in.user).live()
            context |= {
                "number": sign_ins.count(),
                "sign_ins": sign_ins.current_first(sign_in)[:SIGN_INS_ON_HOME],
                "events": SecurityEvent.objects.filter(user=sign_in.user)[:EVENTS_ON_HOME],
            }
        return context
