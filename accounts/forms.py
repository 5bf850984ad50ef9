from typing import Any

from django import forms
from django.contrib.auth import authenticate
from django.contrib.auth import forms as auth_forms
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from accounts.models import SignIn, User
from accounts.sessions import SignedInRequest

# What reads as one line: no control characters, nor those that turn the direction of text.
ONE_LINE = RegexValidator(
    r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", _("Use plain characters only."), inverse_match=True
)


class ErrorsAtNewPassword:
    """Of two fields for a new password, what is wrong with it is said at the first: the second only repeats it."""

    def validate_password_for_user(self, user: User, *args: str) -> None:
        first = "new_password1" if "new_password1" in self.fields else "password1"  # type: ignore[attr-defined]
        super().validate_password_for_user(user, first)  # type: ignore[misc]


class SignInForm(auth_forms.AuthenticationForm):
    keep = forms.BooleanField(label=_("Keep me signed in on this device"), required=False)


class SignUpForm(ErrorsAtNewPassword, auth_forms.BaseUserCreationForm):
    class Meta:
        model = User
        fields = ["username", "email"]
        field_classes = {"username": auth_forms.UsernameField}
        widgets = {"email": forms.EmailInput(attrs={"autocomplete": "email"})}

    def save(self, commit: bool = True) -> User:
        data = self.cleaned_data
        return User.objects.sign_up(data["username"], data["email"], data["password1"])


class ProfileForm(forms.ModelForm):
    class Meta:
        model = User
        fields = ["first_name", "last_name"]
        widgets = {
            "first_name": forms.TextInput(attrs={"autocomplete": "given-name"}),
            "last_name": forms.TextInput(attrs={"autocomplete": "family-name"}),
        }


def proved_user(request: HttpRequest, password: str) -> User:
    """
    Whoever is signed in, having given the password once more. Raises ValidationError for a wrong one, which counts and
    is recorded like any failed sign-in.
    """
    user = authenticate(request, username=request.user.get_username(), password=password)
    if not isinstance(user, User) or user.pk != request.user.pk:
        raise ValidationError(_("This is not your password."), code="password_incorrect")
    return user


class ProofForm(forms.Form):
    """Asks whoever is signed in for the password once more."""

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
        proved_user(self.request, password)
        return password


class PasswordChangeForm(ErrorsAtNewPassword, auth_forms.PasswordChangeForm):
    def __init__(self, user: User, *args: Any, request: SignedInRequest, **kwargs: Any) -> None:
        super().__init__(user, *args, **kwargs)
        self.request = request

    def clean_old_password(self) -> str:
        old_password: str = self.cleaned_data["old_password"]
        # As it was when the password was verified, so that of two changes at once only one is made.
        self.user = proved_user(self.request, old_password)
        return old_password

    def save(self, commit: bool = True) -> User:
        self.user.change_password(self.cleaned_data["new_password1"], keep=self.request.session.sign_in)
        return self.user


class PasswordResetForm(forms.Form):
    email = forms.EmailField(
        label=_("E-mail address"), max_length=254, widget=forms.EmailInput(attrs={"autocomplete": "email"})
    )

    def save(self, **kwargs: Any) -> None:
        User.objects.ask_password_reset(self.cleaned_data["email"])


class SetPasswordForm(ErrorsAtNewPassword, auth_forms.SetPasswordForm):
    def save(self, commit: bool = True) -> User:
        self.user.reset_password(self.cleaned_data["new_password1"])
        return self.user


class EmailChangeForm(forms.Form):
    new_email = User._meta.get_field("email").formfield(label=_("New e-mail address"))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["new_email"].widget.attrs |= {"autocomplete": "email", "autofocus": True}


class NameForm(forms.ModelForm):
    """What a client is called by its user."""

    class Meta:
        model = SignIn
        fields = ["name"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["name"].validators.append(ONE_LINE)
        self.fields["name"].help_text = ""
        # Not the name of a person, which browsers would offer.
        self.fields["name"].widget.attrs |= {"autocomplete": "off"}


class ConnectClientForm(NameForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        name = self.fields["name"]
        name.required = True
        name.widget.attrs |= {"autofocus": True}
        name.help_text = _(
            "What you will know it by in your list: “backup script”, “phone app”. 60 characters at most."
        )
