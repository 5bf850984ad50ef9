"""What staff see and do: lists that hold at a million rows, and actions that ask before they act."""

from accounts.admin import attempts, events, sign_ins, users

__all__ = ["attempts", "events", "sign_ins", "users"]
