"""The page on which a signed-in user creates an API key and copies it."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _
from django.views.generic import FormView

from accounts import api_keys
from accounts.forms import ApiKeyForm
from accounts.http import request_context
from accounts.models import DPoPRequired, SignIn
from accounts.sessions import SignedInRequest
from accounts.views.sign_in import ReauthenticationRequiredMixin


class MakeApiKeyView(ReauthenticationRequiredMixin, FormView):
    """Creates an API key. It is in this response only; its hash is stored."""

    request: SignedInRequest
    form_class = ApiKeyForm
    template_name = "accounts/api_key_new.html"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not settings.API_KEY_MAX:
            raise Http404
        return super().dispatch(request, *args, **kwargs)

    def form_valid(self, form: ApiKeyForm) -> HttpResponse:
        current: SignIn = self.request.session.sign_in  # type: ignore[assignment]
        wanted = form.cleaned_data
        try:
            sign_in, key = api_keys.make(
                self.request.user,
                wanted["name"],
                wanted["scopes"].split(),
                timedelta(days=wanted["days"]),
                methods=current.methods.split(),
                authenticated_at=current.authenticated_at,
            )
        except api_keys.TooManyKeys as error:
            return self._refused(form, error)
        except DPoPRequired:
            text = _("Your account uses tokens that are bound to a key. It can have no API key.")
            return self._refused(form, ValidationError(text))
        self.template_name = "accounts/api_key_made.html"
        base = request_context.absolute_url("")
        return self.render_to_response(self.get_context_data(form=None, sign_in=sign_in, key=key, base=base))

    def _refused(self, form: ApiKeyForm, error: ValidationError) -> HttpResponse:
        form.add_error(None, error)
        return self.form_invalid(form)
