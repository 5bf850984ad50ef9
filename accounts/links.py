"""
Tokens of links in mails. Those that change an account are valid once and for an hour, as long as the password and the
address do not change.
"""

from datetime import timedelta
from typing import Any, Protocol

from django.contrib.auth.tokens import PasswordResetTokenGenerator, default_token_generator
from django.core import signing
from django.urls import reverse
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from accounts.http import request_context

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


class FactorRemovalTokens:
    """
    Makes tokens that can stop a removal of second factors. A link stays valid after its use, and for a later removal:
    it can only stop one.
    """

    # Longer than the delay of a removal, since `prune` may carry it out later.
    MAX_AGE = timedelta(days=7)
    signer = signing.TimestampSigner(salt="accounts.links.FactorRemoval")

    def make_token(self, user: Any) -> str:
        return self.signer.sign(str(user.pk)).partition(":")[2]

    def check_token(self, user: Any, token: str) -> bool:
        try:
            self.signer.unsign(f"{user.pk}:{token}", max_age=self.MAX_AGE)
        except signing.BadSignature:
            return False
        return True


factor_removal = FactorRemovalTokens()


class TokenMaker(Protocol):
    def make_token(self, user: Any) -> str: ...


def url(view: str, user: Any, tokens: TokenMaker) -> str:
    """Returns the absolute URL of a view with the user's id and a new token."""
    uid = urlsafe_base64_encode(force_bytes(user.pk))
    return request_context.absolute_url(reverse(view, args=[uid, tokens.make_token(user)]))
