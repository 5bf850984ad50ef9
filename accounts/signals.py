"""What accounts tells the rest of the project."""

from django.dispatch import Signal

# Sent inside the transaction that ends them, with `sign_ins`: a list of SignIn. Receivers may be told twice.
sign_ins_ended = Signal()

# Sent once they are committed, with `type` and `count`: security events of one type.
events_recorded = Signal()

# Sent inside the transaction, with `before` (a datetime on a whole millisecond) and `user` (a User, or None for
# everybody): all sign-ins that started before then have ended. Their rows follow, and are not told one by one.
sign_ins_revoked_before = Signal()
