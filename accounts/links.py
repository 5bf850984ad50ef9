"""Tokens of links in mails: valid once and for an hour, as long as the password and the address do not change."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.tokens import PasswordResetTokenGenerator, default_token_generator
from django.core import signing
from django.urls import reverse
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from accounts.http import request_context

# By view: the setting whose URL replaces that of the view.
URL_SETTINGS = {"email_confirm": "EMAIL_CONFIRM_URL", "password_reset_confirm": "PASSWORD_RESET_URL"}
REMOVAL_SALT = "accounts.factor_removal"
# Longer than the delay of a removal: one that is due may not be carried out yet, and the link only stops it.
REMOVAL_MAX_AGE = timedelta(days=7)

password_reset = default_token_generator


class AddressTokenGenerator(PasswordResetTokenGenerator):
    """Makes tokens that stay valid when the address is confirmed, to recognise a link that was used."""

    # The name of an earlier release, so that links in mails stay valid.
    key_salt = "accounts.links.OfAddress"

    def _make_hash_value(self, user: Any, timestamp: int) -> str:
        return "\n".join(map(str, [user.pk, user.password, user.address_to_confirm or user.email, timestamp]))


class EmailConfirmation(PasswordResetTokenGenerator):
    """Makes tokens of two parts: one that is valid once, and one to recognise a link that was used."""

    key_salt = "accounts.links.EmailConfirmation"
    address_tokens = AddressTokenGenerator()

    def make_token(self, user: Any) -> str:
        return f"{super().make_token(user)}.{self.address_tokens.make_token(user)}"

    def check_token(self, user: Any, token: str) -> bool:
        return super().check_token(user, token.partition(".")[0])

    def has_confirmed(self, user: Any, token: str) -> bool:
        """Returns whether the address to which this token was mailed is confirmed."""
        return not user.address_to_confirm and self.address_tokens.check_token(user, token.partition(".")[2])

    def _make_hash_value(self, user: Any, timestamp: int) -> str:
        """Contains all fields that a confirmation changes, so that a used link is invalid."""
        made_for = [user.pk, user.password, user.email, user.new_email, user.email_confirmed_at, timestamp]
        return "\n".join(map(str, made_for))


email_confirmation = EmailConfirmation()


def require_site(view: str) -> None:
    """Raises ImproperlyConfigured if url() of this view could not be made for a mail of this request or command."""
    if not getattr(settings, URL_SETTINGS.get(view, ""), ""):
        request_context.absolute_url("")


def url(view: str, user: Any, tokens: PasswordResetTokenGenerator, site: str) -> str:
    """
    Returns the absolute URL of a view with the user's id and a new token, or that of the setting in URL_SETTINGS if it
    has a value: a page of a browser app. `site` is request_context.site() of the request.
    """
    uid, token = urlsafe_base64_encode(force_bytes(user.pk)), tokens.make_token(user)
    if app_url := getattr(settings, URL_SETTINGS.get(view, ""), ""):
        # Both consist of characters that need no encoding in any part of a URL.
        return str(app_url).replace("{uid}", uid).replace("{token}", token)
    return f"{site}{reverse(view, args=[uid, token])}"


def removal_url(removal_id: str, site: str) -> str:
    """Returns the absolute URL of the page that stops a removal of second factors."""
    return f"{site}{reverse('stop_factor_removal', args=[signing.dumps(removal_id, salt=REMOVAL_SALT)])}"


def removal_id(token: str) -> str:
    """Returns the id in a token of removal_url(). Raises BadSignature."""
    return str(signing.loads(token, salt=REMOVAL_SALT, max_age=REMOVAL_MAX_AGE))
