"""The page on which a signed-in user starts a client's sign-in and copies its tokens."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.utils import timezone
from django.utils.text import slugify
from django.views.generic import FormView

from accounts import starting
from accounts.forms import ConnectClientForm
from accounts.http import request_context
from accounts.models import SignIn
from accounts.sessions import SignedInRequest
from accounts.views.sign_in import ReauthenticationRequiredMixin
from api.serializers import token_pair


class ConnectClientView(ReauthenticationRequiredMixin, FormView):
    """Starts a named client's sign-in. Its tokens are in this response only; they are not stored."""

    request: SignedInRequest
    form_class = ConnectClientForm
    template_name = "accounts/client_new.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**kwargs) | {
            "access_minutes": settings.ACCESS_TOKEN // timedelta(minutes=1),
            "refresh_days": settings.REFRESH_TOKEN.days,
            "most_days": settings.SIGN_IN_MAX.days,
        }

    def form_valid(self, form: ConnectClientForm) -> HttpResponse:
        issued_at = timezone.now()
        name = form.cleaned_data["name"]
        current: SignIn = self.request.session.sign_in  # type: ignore[assignment]
        sign_in = starting.start(
            self.request.user,
            SignIn.Kind.CLIENT,
            name=name,
            authenticated_at=current.authenticated_at,
            methods=current.methods.split(),
        )
        self.template_name = "accounts/client_connected.html"
        base = request_context.absolute_url("")
        return self.render_to_response(
            self.get_context_data(
                form=None,
                sign_in=sign_in,
                tokens=token_pair(sign_in, issued_at),
                base=base,
                file=file_name(sign_in),
            )
        )


def file_name(sign_in: SignIn) -> str:
    """The name of the file for a client's refresh token: letters, digits and hyphens, unique per sign-in."""
    # The end of the id is random. Its beginning is a time, which two clients may share.
    parts = ["refresh-token", slugify(sign_in.name)[:30], sign_in.pk.hex[-12:]]
    return "-".join(filter(None, parts))
