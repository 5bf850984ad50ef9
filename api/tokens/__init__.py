"""Access and refresh tokens, and the backend that signs and reads them."""

from api.tokens.tokens import AccessToken, AnyToken, IssuedToken, RefreshToken

__all__ = ["AccessToken", "AnyToken", "IssuedToken", "RefreshToken"]
