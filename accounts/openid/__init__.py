"""Sign-in by others: Google, GitHub and any OpenID provider, by allauth. Installed if OPENID_PROVIDERS is set."""
