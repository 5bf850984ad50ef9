"""The view of a mailed link: a page with a button, which uses the link."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.views.generic import FormView

from accounts.models import User


class MailedLinkView(FormView):
    """
    The page of a link in a mail. GET changes nothing, since mail scanners follow links: the form uses the link. The
    token stays in the URL, which is sent to no other site, and is not stored in the session.
    """

    def get_user(self) -> User | None:
        """The user to whom the link was mailed; None if it is not valid."""
        raise NotImplementedError

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.user = self.get_user()
        response = super().dispatch(request, *args, **kwargs) if self.user else self.render_invalid_link()
        # Not "no-referrer": browsers would send the form with `Origin: null`, which is refused.
        response["Referrer-Policy"] = "strict-origin"
        return response

    def render_invalid_link(self) -> HttpResponse:
        return self.render_to_response({"form": None}, status=400)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**kwargs) | {"owner": self.user}
