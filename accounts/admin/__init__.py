"""The admin: lists that stay fast with a million rows, and actions that ask for confirmation."""

from accounts.admin import attempts, events, factors, mails, sign_ins, users

__all__ = ["attempts", "events", "factors", "mails", "sign_ins", "users"]
