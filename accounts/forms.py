"""Forms of the pages: sign in, sign up, profile, password, e-mail address, names of clients, API keys."""

from typing import Any

from django import forms
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth import forms as auth_forms
from django.core.validators import MaxLengthValidator
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from accounts import api_keys, password_rules, passwords, profiles, registration
from accounts.api_keys import DEFAULT_DAYS
from accounts.factors import requirements
from accounts.models import Method, SignIn, User
from accounts.names import validate_visible
from accounts.sessions import SignedInRequest

# The limit of e-mail addresses, which is higher than that of usernames.
MAX_LOGIN_LENGTH = 254


class NewPasswordField(forms.CharField):
    """A new password. Without a second field to confirm it: the page has a button that shows the password."""

    def __init__(self, **options: Any) -> None:
        widget = forms.PasswordInput(attrs={"autocomplete": "new-password"})
        help_text = _("The password must meet these rules:")
        super().__init__(strip=False, widget=widget, help_text=help_text, **options)
        self.template_name = "forms/new_password.html"

    def rules(self) -> list[password_rules.Rule]:
        return password_rules.rules()


class OnePasswordMixin:
    """For Django's forms with two fields for a new password, in place of which only the first exists."""

    def validate_passwords(self, *args: str) -> None:
        """There is nothing to compare."""

    def validate_password_for_user(self, user: User, *args: str) -> None:
        first = "new_password1" if "new_password1" in self.fields else "password1"  # type: ignore[attr-defined]
        super().validate_password_for_user(user, first)  # type: ignore[misc]


class LoginFieldMixin:
    """For sign-in forms: the field `username` takes a username or an e-mail address."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["username"]  # type: ignore[attr-defined]
        field.label = _("Username or e-mail address")
        field.max_length = MAX_LOGIN_LENGTH
        field.widget.attrs |= {"maxlength": MAX_LOGIN_LENGTH, "autocomplete": "username", "spellcheck": "false"}
        field.validators = [MaxLengthValidator(MAX_LOGIN_LENGTH), *field.validators]


class SignInForm(LoginFieldMixin, auth_forms.AuthenticationForm):
    error_messages = auth_forms.AuthenticationForm.error_messages | {
        "invalid_login": _("The username, e-mail address or password is wrong. Passwords are case-sensitive."),
    }

    keep = forms.BooleanField(label=_("Keep me signed in on this device"), required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if requirements.is_on():
            # The browser suggests passkeys in this field (HTML Standard, autofill detail tokens).
            self.fields["username"].widget.attrs["autocomplete"] = "username webauthn"


class StaffSignInForm(LoginFieldMixin, AdminAuthenticationForm):
    error_messages = AdminAuthenticationForm.error_messages | {
        "invalid_login": _(
            "The username, e-mail address or password is wrong, or the account is not a staff account. Passwords are "
            "case-sensitive."
        ),
    }


def _user_field(name: str, **options: Any) -> forms.Field:
    """The form field of a field of User, with the validators of the model field."""
    field: Any = User._meta.get_field(name)
    form_field: forms.Field = field.formfield(**options)
    form_field.validators += [each for each in field.validators if each not in form_field.validators]
    return form_field


class SignUpForm(OnePasswordMixin, auth_forms.SetPasswordMixin, forms.Form):
    """Not a ModelForm, which would check that the name is unique before sign_up() has counted the attempt."""

    username = _user_field("username", form_class=auth_forms.UsernameField)
    username.validators.append(registration.validate_new_username)
    email = _user_field("email", required=True)
    # Named as in Django's forms.
    password1 = NewPasswordField(label=_("Password"))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].widget.attrs["autofocus"] = True
        self.fields["email"].widget.attrs["autocomplete"] = "email"
        self.fields |= {name: profiles.form_field(name) for name in profiles.sign_up_names()}
        self.order_fields(["username", "email", *profiles.sign_up_names(), "password1"])

    def clean(self) -> dict[str, Any]:
        data = self.cleaned_data
        own = {name: text for name, text in data.items() if profiles.is_of_user(name)}
        self.validate_password_for_user(User(**own))
        return data

    def save(self) -> User:
        """Creates the account. Raises ValidationError as registration.sign_up() does."""
        data = self.cleaned_data
        profile = {name: data[name] for name in profiles.sign_up_names()}
        return registration.sign_up(data["username"], data["email"], data["password1"], profile)


class ProfileForm(forms.ModelForm):
    """The fields of a profile, of the user and of PROFILE_MODEL."""

    class Meta:
        model = User
        fields = ["first_name", "last_name"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = profiles.names()
        self.fields = {name: profiles.form_field(name) for name in names}
        self.initial.update(profiles.values_of(self.instance, names))

    @property
    def has_more_than_names(self) -> bool:
        return bool(profiles.of_product(self.fields))

    def save(self, commit: bool = True) -> User:
        """Saves the fields that changed: at most one statement for the user, and three for the row of PROFILE_MODEL."""
        changed = profiles.of_product(self.changed_data)
        profiles.save(self.instance, {name: self.cleaned_data[name] for name in changed})
        user: User = super().save(commit)
        return user


class ReauthenticationForm(forms.Form):
    """The password of the signed-in user. A wrong one counts as an attempt."""

    # As accounts.factors.forms.ProofForm.
    method = Method.PASSWORD
    field_name = "password"

    password = forms.CharField(
        label=_("Your password"),
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password", "autofocus": True}),
    )

    def __init__(self, request: SignedInRequest, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request = request

    def clean_password(self) -> str:
        password: str = self.cleaned_data["password"]
        passwords.reauthenticate(self.request, password)
        return password


class PasswordChangeForm(OnePasswordMixin, auth_forms.PasswordChangeForm):
    new_password1 = NewPasswordField(label=_("New password"))
    new_password2 = None  # type: ignore[assignment]

    def __init__(self, user: User, *args: Any, request: SignedInRequest, **kwargs: Any) -> None:
        super().__init__(user, *args, **kwargs)
        self.request = request

    def clean_old_password(self) -> str:
        old_password: str = self.cleaned_data["old_password"]
        # The user as read when the password was verified, so that only one of two concurrent changes succeeds.
        self.user = passwords.reauthenticate(self.request, old_password)
        return old_password

    def save(self, commit: bool = True) -> User:
        passwords.change(self.user, self.cleaned_data["new_password1"], keep=self.request.session.sign_in)
        return self.user


class PasswordResetForm(forms.Form):
    email = forms.EmailField(
        label=_("E-mail address"), max_length=254, widget=forms.EmailInput(attrs={"autocomplete": "email"})
    )

    def save(self, **kwargs: Any) -> None:
        passwords.request_reset(self.cleaned_data["email"])


class SetPasswordForm(OnePasswordMixin, auth_forms.SetPasswordForm):
    new_password1 = NewPasswordField(label=_("New password"))
    new_password2 = None  # type: ignore[assignment]

    def save(self, commit: bool = True) -> User:
        passwords.reset(self.user, self.cleaned_data["new_password1"])
        return self.user


class EmailChangeForm(forms.Form):
    new_email = User._meta.get_field("email").formfield(label=_("New e-mail address"), required=True)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["new_email"].widget.attrs |= {"autocomplete": "email", "autofocus": True}


class ClientNameForm(forms.ModelForm):
    """The name of a browser or client in the list of sign-ins."""

    class Meta:
        model = SignIn
        fields = ["name"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["name"].validators.append(validate_visible)
        self.fields["name"].help_text = ""
        # Browsers would suggest the name of the user.
        self.fields["name"].widget.attrs |= {"autocomplete": "off"}


class ConnectClientForm(ClientNameForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        name = self.fields["name"]
        name.required = True
        name.widget.attrs |= {"autofocus": True}
        name.help_text = _(
            "Shown in your list of sign-ins, for example “backup script” or “phone app”. At most 60 characters."
        )


class ApiKeyForm(ConnectClientForm):
    """A new API key."""

    SCOPES = [("read", _("Read: it changes nothing")), ("read write", _("Read and write"))]

    scopes = forms.ChoiceField(label=_("What it can do"), choices=SCOPES)
    days = forms.TypedChoiceField(label=_("Expires"), coerce=int)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["name"].help_text = _("Shown in your list of sign-ins, for example “nightly report”.")
        choices = [(days, ngettext("in %d day", "in %d days", days) % days) for days in api_keys.lifetimes()]
        self.fields["days"].choices = choices  # type: ignore[attr-defined]
        self.fields["days"].initial = max((days for days, _text in choices if days <= DEFAULT_DAYS), default=None)


class UserCodeForm(forms.Form):
    """The code that a device shows (RFC 8628)."""

    user_code = forms.CharField(
        label=_("Code"),
        max_length=20,
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "autocapitalize": "characters", "spellcheck": "false", "autofocus": True}
        ),
    )


class AllowDeviceForm(ConnectClientForm):
    """The name of a device that the user allows."""
