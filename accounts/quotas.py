"""Sources of mails, sign-ups and codes of devices: by what they count against a quota."""

from uuid import UUID

from django.contrib.auth.models import AbstractBaseUser

from accounts import names
from accounts.rate_limits import Kind, Source, digest, of_address


def reset_mails(email: str, address: str | None) -> list[Source]:
    """Returns the sources of a password reset mail: the mailbox, and the client's address."""
    return [Source(Kind.RESET, digest(Kind.RESET, names.mailbox(email))), *of_address(Kind.RESETTING, address)]


def confirmation_mails(user: AbstractBaseUser, email: str, is_taken: bool = False) -> list[Source]:
    """
    Returns the sources of a confirmation mail: the mailbox, and the account. `is_taken`: the mail says that another
    account has the address. It does not count against the confirmation mails of that account.
    """
    mailbox = [names.mailbox(email), "taken"] if is_taken else [names.mailbox(email)]
    return [
        Source(Kind.CONFIRM, digest(Kind.CONFIRM, *mailbox)),
        Source(Kind.CONFIRMING, digest(Kind.CONFIRMING, user.pk)),
    ]


def notices(user_id: int, email: str) -> list[Source]:
    """Returns the sources of a notice: the mailbox, and the account."""
    return [
        Source(Kind.NOTICE, digest(Kind.NOTICE, names.mailbox(email))),
        Source(Kind.NOTIFYING, digest(Kind.NOTIFYING, user_id)),
    ]


def urgent_notices(user_id: int, email: str, name: str) -> list[Source]:
    """Returns the sources of an urgent notice: the mailbox and the account, each by the name of the notice."""
    return [Source(Kind.URGENT, digest(Kind.URGENT, name, each)) for each in (user_id, names.mailbox(email))]


def summaries(user_id: int, email: str) -> list[Source]:
    """Returns the sources of a summary of notices: the mailbox, and the account."""
    return [Source(Kind.SUMMARY, digest(Kind.SUMMARY, each)) for each in (user_id, names.mailbox(email))]


def pauses(account: UUID) -> list[Source]:
    """Returns the source of a notice that sign-in is paused: the digest of a username, with or without an account."""
    return [Source(Kind.PAUSE, digest(Kind.PAUSE, account))]


def sign_ups(address: str | None) -> list[Source]:
    """Returns the source of a sign-up: the client's address."""
    return of_address(Kind.SIGN_UP, address)


def address_changes(user: AbstractBaseUser, address: str | None) -> list[Source]:
    """Returns the sources of a change of the e-mail address: the account, and the client's address."""
    return [Source(Kind.CHANGING, digest(Kind.CHANGING, user.pk)), *sign_ups(address)]


def user_codes(user: AbstractBaseUser) -> list[Source]:
    """Returns the source of a code of a device (RFC 8628) that a user enters: the account."""
    return [Source(Kind.USER_CODE, digest(Kind.USER_CODE, user.pk))]
