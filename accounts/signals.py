"""What accounts tells the rest of the project."""

from django.dispatch import Signal

# Sent inside the transaction that ends them, with `sign_ins`: a list of SignIn. Receivers may be told twice.
sign_ins_ended = Signal()
