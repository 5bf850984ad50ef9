"""Quotas of mails and sign-ups: which of them count together."""

from django.contrib.auth.models import AbstractBaseUser

from accounts import names
from accounts.rate_limits import Kind, Source, digest, of_address


def reset_mails(email: str, address: str | None) -> list[Source]:
    return [Source(Kind.RESET, digest(Kind.RESET, names.mailbox(email))), *of_address(Kind.RESETTING, address)]


def confirmation_mails(user: AbstractBaseUser, email: str) -> list[Source]:
    return [
        Source(Kind.CONFIRM, digest(Kind.CONFIRM, names.mailbox(email))),
        Source(Kind.CONFIRMING, digest(Kind.CONFIRMING, user.pk)),
    ]


def notices(user: AbstractBaseUser, email: str) -> list[Source]:
    return [
        Source(Kind.NOTICE, digest(Kind.NOTICE, names.mailbox(email))),
        Source(Kind.NOTIFYING, digest(Kind.NOTIFYING, user.pk)),
    ]


def urgent_notices(user: AbstractBaseUser, email: str, name: str) -> list[Source]:
    """Of one kind."""
    return [Source(Kind.URGENT, digest(Kind.URGENT, name, each)) for each in (user.pk, names.mailbox(email))]


def summaries(user: AbstractBaseUser, email: str) -> list[Source]:
    return [Source(Kind.SUMMARY, digest(Kind.SUMMARY, each)) for each in (user.pk, names.mailbox(email))]


def sign_ups(address: str | None) -> list[Source]:
    return of_address(Kind.SIGN_UP, address)


def address_changes(user: AbstractBaseUser, address: str | None) -> list[Source]:
    return [Source(Kind.CHANGING, digest(Kind.CHANGING, user.pk)), *of_address(Kind.SIGN_UP, address)]
