"""Signals that accounts sends to other apps."""

from django.dispatch import Signal

# Sent inside the transaction that ends them, with `sign_ins`: a list of SignIn. May be sent twice for one sign-in.
sign_ins_ended = Signal()

# Sent after the commit, with `type` and `count`: the number of recorded security events of one type.
events_recorded = Signal()

# Sent with `code`, after a request was refused with a 4xx status.
request_refused = Signal()

# Sent inside the transaction, with `before` (a datetime, whole milliseconds) and `user` (a User, or None for all): all
# sign-ins that started earlier are revoked. Their rows are marked later, without `sign_ins_ended`.
sign_ins_revoked_before = Signal()

# Sent inside the transaction, with `stored_keys`: the stored forms of session keys that are replaced or deleted, and
# for deleted sessions whose sign-ins are known, with `sids`: the ids of those sign-ins.
session_keys_revoked = Signal()
