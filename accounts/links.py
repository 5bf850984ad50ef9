"""Links in mails: each is good once and for an hour, and dies with the password or the address it was made for."""

from typing import TYPE_CHECKING

from django.contrib.auth.tokens import PasswordResetTokenGenerator, default_token_generator
from django.urls import reverse
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from accounts import origin

if TYPE_CHECKING:
    from accounts.models import User

password_reset = default_token_generator


class EmailConfirmation(PasswordResetTokenGenerator):
    key_salt = "accounts.links.EmailConfirmation"

    def _make_hash_value(self, user: "User", timestamp: int) -> str:
        """What a confirmation changes is in it, so a link that was used is good no more."""
        made_for = [user.pk, user.password, user.email, user.new_email, user.email_confirmed_at, timestamp]
        return "\n".join(map(str, made_for))


email_confirmation = EmailConfirmation()


def url(view: str, user: "User", tokens: PasswordResetTokenGenerator) -> str:
    uid = urlsafe_base64_encode(force_bytes(user.pk))
    return origin.absolute_url(reverse(view, args=[uid, tokens.make_token(user)]))
