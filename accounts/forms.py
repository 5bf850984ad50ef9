from typing import Any

from django import forms
from django.contrib.auth import forms as auth_forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from accounts.models import SignIn, User


class SignInForm(auth_forms.AuthenticationForm):
    keep = forms.BooleanField(label=_("Keep me signed in on this device"), required=False)


class SignUpForm(auth_forms.BaseUserCreationForm):
    class Meta:
        model = User
        fields = ["username", "email"]
        field_classes = {"username": auth_forms.UsernameField}

    def save(self, commit: bool = True) -> User:
        data = self.cleaned_data
        return User.objects.sign_up(data["username"], data["email"], data["password1"])


class ProfileForm(forms.ModelForm):
    class Meta:
        model = User
        fields = ["first_name", "last_name"]


class PasswordChangeForm(auth_forms.PasswordChangeForm):
    def __init__(self, user: User, *args: Any, sign_in: SignIn | None = None, **kwargs: Any) -> None:
        super().__init__(user, *args, **kwargs)
        self.sign_in = sign_in

    def clean_old_password(self) -> str:
        old_password: str = self.cleaned_data["old_password"]
        if not self.user.guess_password(old_password):
            raise ValidationError(self.error_messages["password_incorrect"], code="password_incorrect")
        return old_password

    def save(self, commit: bool = True) -> User:
        self.user.change_password(self.cleaned_data["new_password1"], keep=self.sign_in)
        return self.user


class PasswordResetForm(forms.Form):
    email = forms.EmailField(
        label=_("E-mail address"), max_length=254, widget=forms.EmailInput(attrs={"autocomplete": "email"})
    )

    def save(self, **kwargs: Any) -> None:
        User.objects.ask_password_reset(self.cleaned_data["email"])


class SetPasswordForm(auth_forms.SetPasswordForm):
    def save(self, commit: bool = True) -> User:
        self.user.reset_password(self.cleaned_data["new_password1"])
        return self.user
