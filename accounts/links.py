"""Links in mails: each is good once and for an hour, and dies with the password or the address it was made for."""

from typing import Any

from django.contrib.auth.tokens import PasswordResetTokenGenerator, default_token_generator
from django.urls import reverse
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from accounts.http import request_context

password_reset = default_token_generator


class OfAddress(PasswordResetTokenGenerator):
    """Still fits once the address is confirmed: shows that a used link is a genuine one."""

    key_salt = "accounts.links.OfAddress"

    def _make_hash_value(self, user: Any, timestamp: int) -> str:
        return "\n".join(map(str, [user.pk, user.password, user.address_to_confirm or user.email, timestamp]))


class EmailConfirmation(PasswordResetTokenGenerator):
    """Its tokens have two parts: one that is good once, and one by which a used link is recognised."""

    key_salt = "accounts.links.EmailConfirmation"
    of_address = OfAddress()

    def make_token(self, user: Any) -> str:
        return f"{super().make_token(user)}.{self.of_address.make_token(user)}"

    def check_token(self, user: Any, token: str) -> bool:
        return super().check_token(user, token.partition(".")[0])

    def has_confirmed(self, user: Any, token: str) -> bool:
        return not user.address_to_confirm and self.of_address.check_token(user, token.partition(".")[2])

    def _make_hash_value(self, user: Any, timestamp: int) -> str:
        """What a confirmation changes is in it, so a link that was used is good no more."""
        made_for = [user.pk, user.password, user.email, user.new_email, user.email_confirmed_at, timestamp]
        return "\n".join(map(str, made_for))


email_confirmation = EmailConfirmation()


def url(view: str, user: Any, tokens: PasswordResetTokenGenerator) -> str:
    uid = urlsafe_base64_encode(force_bytes(user.pk))
    return request_context.absolute_url(reverse(view, args=[uid, tokens.make_token(user)]))
