"""The page on which a signed-in user types the code of a device, and allows or refuses it (RFC 8628)."""

from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _
from django.views.generic import FormView

from accounts import quotas
from accounts.forms import AllowDeviceForm, UserCodeForm
from accounts.models import AttemptCounter, DeviceCode, SignIn, User
from accounts.sessions import SignedInRequest
from accounts.views.sign_in import ReauthenticationRequiredMixin


class ConnectDeviceView(ReauthenticationRequiredMixin, FormView):
    """Asks for the code, shows which device has it, and records the decision. The URL never contains a code."""

    request: SignedInRequest
    form_class = UserCodeForm
    template_name = "accounts/device_code.html"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not settings.DEVICE_FLOW:
            raise Http404
        return super().dispatch(request, *args, **kwargs)

    def form_valid(self, form: UserCodeForm) -> HttpResponse:
        try:
            device = self._find(form.cleaned_data["user_code"])
        except ValidationError as error:
            form.add_error("user_code", error)
            return self.form_invalid(form)
        if self.request.POST.get("decision") == "deny":
            device.deny()
            return self._show("accounts/device_denied.html")
        if self.request.POST.get("decision") != "allow":
            return self._ask(device, AllowDeviceForm(initial={"name": device.client_name}), form)
        allowed = AllowDeviceForm(self.request.POST)
        if not allowed.is_valid():
            return self._ask(device, allowed, form)
        current: SignIn = self.request.session.sign_in  # type: ignore[assignment]
        user: User = self.request.user.with_all_fields()
        device.approve(current, user.generation, allowed.cleaned_data["name"])
        return self._show("accounts/device_allowed.html", name=allowed.cleaned_data["name"])

    def _find(self, user_code: str) -> DeviceCode:
        """The waiting device with this code. Raises TooManyAttempts, and ValidationError if there is none."""
        AttemptCounter.objects.consume_quota(quotas.user_codes(self.request.user))
        device = DeviceCode.objects.get_by_user_code(user_code)
        if device is None:
            raise ValidationError(_("This code is unknown, was used, or has expired. Ask the device for a new one."))
        return device

    def _ask(self, device: DeviceCode, form: AllowDeviceForm, code_form: UserCodeForm) -> HttpResponse:
        user_code = code_form.cleaned_data["user_code"]
        return self._show("accounts/device_allow.html", form=form, device=device, user_code=user_code)

    def _show(self, template_name: str, **context: Any) -> HttpResponse:
        self.template_name = template_name
        return self.render_to_response(self.get_context_data(**{"form": None} | context))
