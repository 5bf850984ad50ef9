"""Forms of second factors: codes, passkeys, and names."""

import json
from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from accounts.factors import recovery_codes
from accounts.factors.second_step import MAX_STEP_LENGTH
from accounts.models import Method
from accounts.models.factors import NAME_MAX_LENGTH
from accounts.names import validate_visible

# White space between the digits, as some apps show them, is accepted.
MAX_CODE_LENGTH = 20
# An answer with attestation "none" has less than 2,000 characters.
MAX_CREDENTIAL_LENGTH = 16_384


class CredentialField(forms.CharField):
    """A PublicKeyCredential as the text of its toJSON() (WebAuthn Level 3, section 5.1), which a script sets."""

    widget = forms.HiddenInput

    def to_python(self, value: Any) -> Any:
        try:
            credential = json.loads(super().to_python(value) or "")
        except (ValueError, RecursionError) as error:
            raise ValidationError(_("The passkey could not be read."), "passkey_malformed") from error
        if not isinstance(credential, dict):
            raise ValidationError(_("The passkey could not be read."), "passkey_malformed")
        return credential


class ProofForm(forms.Form):
    """A proof of one method. The field has the name `field_name`, which no other method has."""

    method: ClassVar[Method]
    field_name: ClassVar[str]

    def __init__(self, *args: Any, has_focus: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if has_focus:
            self.fields[self.field_name].widget.attrs["autofocus"] = True


class AppCodeForm(ProofForm):
    """A code of an authenticator app."""

    method = Method.TOTP
    field_name = "code"

    code = forms.CharField(
        label=_("Code of your authenticator app"),
        max_length=MAX_CODE_LENGTH,
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "inputmode": "numeric", "spellcheck": "false"}),
    )

    def clean_code(self) -> str:
        return "".join(self.cleaned_data["code"].split())


class RecoveryCodeForm(ProofForm):
    method = Method.RECOVERY_CODE
    field_name = "recovery_code"

    recovery_code = forms.CharField(
        label=_("Recovery code"),
        help_text=_("Each code works once."),
        max_length=recovery_codes.MAX_LENGTH,
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "characters", "spellcheck": "false"}),
    )


class PasskeyForm(ProofForm):
    """The answer of a passkey, which a script fills in."""

    method = Method.PASSKEY
    field_name = "credential"

    # Empty where the step is in the session.
    step = forms.CharField(required=False, max_length=MAX_STEP_LENGTH, widget=forms.HiddenInput)
    credential = CredentialField(max_length=MAX_CREDENTIAL_LENGTH)


class FactorNameForm(forms.Form):
    """The name of a factor in the list of the user's factors."""

    name = forms.CharField(
        label=_("Name"),
        required=False,
        max_length=NAME_MAX_LENGTH,
        validators=[validate_visible],
        # Browsers would suggest the name of the user.
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )


class NewPasskeyForm(FactorNameForm):
    step = forms.CharField(max_length=MAX_STEP_LENGTH, widget=forms.HiddenInput)
    credential = CredentialField(max_length=MAX_CREDENTIAL_LENGTH)


class ConfirmAppForm(AppCodeForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["code"].label = _("Code that the app shows")
