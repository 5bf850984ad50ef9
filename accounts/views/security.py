"""The security page: the password and the second factors of an account. Rename, remove, new recovery codes."""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.generic import FormView, TemplateView, View

from accounts import passkey_offer, passwords
from accounts.factors import authenticators, changes, passkeys, recovery_codes, requirements
from accounts.factors.errors import FactorRefused
from accounts.factors.forms import FactorNameForm
from accounts.models import AuthenticatorApp, ConnectedAccount, Factor, Passkey, RecoveryCodeSet, User
from accounts.sessions import SignedInRequest
from accounts.views.enrolment import SignedInOwner, redirect_to_security, render_codes

# Key of the session: the argument of signalAllAcceptedCredentials() after the last passkey was removed.
NO_PASSKEYS = "no_passkeys_left"


class SecurityView(LoginRequiredMixin, TemplateView):
    """
    The password and the second factors of the signed-in user, and what the browser is told about passkeys. Seven
    statements, three of them for the factors, and one more if OPENID_PROVIDERS is set.
    """

    request: SignedInRequest
    template_name = "accounts/security.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        user = self.request.user.with_all_fields()
        context = super().get_context_data(**kwargs) | {
            "can_add": requirements.can_add(user),
            "password_set_at": passwords.set_at(user),
            "event_days": settings.EVENT_KEEP.days,
            "has_password": requirements.has_password(user),
            "providers": settings.OPENID_PROVIDERS,
        }
        if settings.OPENID_PROVIDERS:
            context["connections"] = ConnectedAccount.objects.of(user)
        if not context["can_add"]:
            return context
        factors = changes.factors_of(user)
        codes = next((each for each in factors if isinstance(each, RecoveryCodeSet)), None)
        return context | {
            "passkeys": _labelled(factors, Passkey),
            "apps": _labelled(factors, AuthenticatorApp),
            "codes": codes,
            "codes_left": recovery_codes.left(user) if codes else 0,
            "others": user.sign_ins.live().count() - 1 if "changed" in self.request.GET else 0,
            "signals": self._signals(user),
        }

    def _signals(self, user: User) -> dict[str, Any]:
        """The arguments of the signal methods of PublicKeyCredential (WebAuthn Level 3, section 5.1.10)."""
        accepted = passkeys.accepted_credentials(user)
        if not accepted["userId"]:
            without = self.request.session.pop(NO_PASSKEYS, None)
            return {"accepted": without} if without else {}
        name = user.get_username()
        details = {"rpId": accepted["rpId"], "userId": accepted["userId"], "name": name, "displayName": name}
        return {"accepted": accepted, "details": details}


def _labelled(factors: list[Factor], model: type[Factor]) -> list[tuple[Factor, str]]:
    return [(factor, authenticators.label_of(factor)) for factor in factors if isinstance(factor, model)]


class FactorMixin(SignedInOwner):
    """For pages of one passkey or app of the signed-in user."""

    kwargs: dict[str, Any]

    def get_factor(self) -> Factor:
        factor = changes.get_factor(self.owner, self.kwargs["pk"])
        if factor is None or isinstance(factor, RecoveryCodeSet):
            raise Http404
        return factor


class RenameFactorView(FactorMixin, FormView):  # type: ignore[misc]
    form_class = FactorNameForm
    template_name = "accounts/factor_name.html"

    def get_initial(self) -> dict[str, Any]:
        return {"name": self.get_factor().name}

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**kwargs) | {"label": authenticators.label_of(self.get_factor())}

    def form_valid(self, form: FactorNameForm) -> HttpResponse:
        factor = self.get_factor()
        changes.rename(factor, form.cleaned_data["name"])
        messages.success(self.request, _("Saved: %(name)s.") % {"name": authenticators.label_of(factor)})
        return redirect("security")


class RemoveFactorView(FactorMixin, TemplateView):  # type: ignore[misc]
    """Removes a factor. With the last one, the recovery codes are deleted, and the other sign-ins end."""

    template_name = "accounts/factor_remove.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        factor = self.get_factor()
        factors = [each for each in changes.factors_of(self.owner) if not isinstance(each, RecoveryCodeSet)]
        return super().get_context_data(**kwargs) | {
            "factor": factor,
            "label": authenticators.label_of(factor),
            "is_last": len(factors) == 1,
        }

    def post(self, request: SignedInRequest, pk: UUID) -> HttpResponse:
        factor = self.get_factor()
        accepted = passkeys.accepted_credentials(self.owner)
        changes.remove(self.owner, factor, keep=request.session.sign_in)
        if len(accepted["allAcceptedCredentialIds"]) == 1 and isinstance(factor, Passkey):
            # The next page has no user handle any more to tell the browser that there is no passkey.
            request.session[NO_PASSKEYS] = accepted | {"allAcceptedCredentialIds": []}
        messages.success(request, _("Removed: %(name)s.") % {"name": authenticators.label_of(factor)})
        return redirect_to_security()


class NewRecoveryCodesView(SignedInOwner, TemplateView):  # type: ignore[misc]
    """Replaces the recovery codes, and shows the new ones once."""

    template_name = "accounts/recovery_codes_new.html"

    def post(self, request: SignedInRequest) -> HttpResponse:
        try:
            return render_codes(request, changes.make_recovery_codes(self.owner))
        except FactorRefused as error:
            messages.error(request, error.message)
            return redirect("security")


class DeclineOfferView(View):
    """Stores in the browser that the user declined the offer to add a passkey."""

    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest) -> HttpResponse:
        response = redirect("home")
        passkey_offer.decline(response)
        return response
