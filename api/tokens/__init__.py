"""Access and refresh tokens, and the backend that signs and verifies them."""

from api.tokens.access import AccessToken, SignInEnded
from api.tokens.any_token import AnyToken, IssuedToken
from api.tokens.refresh import RefreshToken

__all__ = ["AccessToken", "AnyToken", "IssuedToken", "RefreshToken", "SignInEnded"]
