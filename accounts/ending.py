"""
The end of many sign-ins: of a user, of everyone up to a moment, of everyone. A few end in one transaction. Of many, the
first transaction revokes all of them at once, and the rows are marked in batches.
"""

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import NamedTuple

from django.db import transaction
from django.utils import timezone

from accounts import sids
from accounts.models import Session, SignIn, SignInQuerySet, User
from accounts.pruning import REQUEST_SECONDS, in_time
from accounts.signals import sign_ins_revoked_before

# Deleted in one statement: about a second.
SESSIONS_PER_DELETE = 100_000


class Ended(NamedTuple):
    """How many sign-ins ended, and how many are left for the next request."""

    ended: int
    left: int = 0


def end_all(user: User, reason: str, keep: SignIn | None = None) -> int:
    """
    Ends all sign-ins of a user, or all but `keep`, and refuses those that are just starting. Returns how many ended.
    """
    if keep:
        return end_others(user, reason, keep).ended
    sign_ins = SignIn.objects.filter(user_id=user.pk)
    return _end_many(user, reason) if sign_ins.is_many() else _end_at_once(user, sign_ins, reason)


def end_others(user: User, reason: str, keep: SignIn) -> Ended:
    """
    Ends all sign-ins of a user but `keep`, and refuses those that are just starting. Of a user with many sign-ins:
    those older than `keep` at once, and of the newer ones as many as REQUEST_SECONDS allow.
    """
    others = SignIn.objects.filter(user_id=user.pk).exclude(pk=keep.pk)
    if not others.is_many():
        return Ended(_end_at_once(user, others, reason))
    now, started = sids.just_after(timezone.now()), sids.started_at(keep.pk)
    # Revocation up to a moment compares the time in the id. An id without a time has nothing older.
    older, newer = others.filter(created_at__lt=started), others.filter(created_at__gte=started)
    with transaction.atomic():
        User.objects.filter(pk=user.pk).start_generation()
        shut_out = older.unended().count()
        _revoke_before(started, user)
        # Started by a node whose clock is ahead. None starts while the user's row is locked.
        ahead = newer.filter(created_at__gte=now).end(reason)
    begun = newer.filter(created_at__lt=now)
    ended, is_all = in_time(begun.end_in_batches(reason), REQUEST_SECONDS)
    if is_all:
        in_time(older.end_silently_in_batches(reason), REQUEST_SECONDS)
    return Ended(shut_out + ahead + ended, 0 if is_all else begun.unended().count())


def _end_at_once(user: User, sign_ins: SignInQuerySet, reason: str) -> int:
    with transaction.atomic():
        User.objects.filter(pk=user.pk).start_generation()
        return sign_ins.end(reason)


def _end_many(user: User, reason: str) -> int:
    """All of them are refused after the first step; `prune` marks the rows for which the time was too short."""
    ended = SignIn.objects.filter(user_id=user.pk).unended().count()
    marked, is_all = in_time(end_all_in_batches(user, reason), REQUEST_SECONDS)
    return marked if is_all else max(ended, marked)


def end_all_in_batches(user: User, reason: str) -> Iterator[int]:
    """
    As end_all(), for a user with many sign-ins. From the first step on no token or session of the user works, and none
    that is just starting will; then the rows are marked in batches. Yields how many each batch ended.
    """
    with transaction.atomic():
        User.objects.filter(pk=user.pk).start_generation()
        # Read while the row is locked: a sign-in that starts afterwards sees the new generation.
        before = sids.just_after(timezone.now())
        _revoke_before(before, user)
        # Started by a node whose clock is ahead. None starts while the user's row is locked.
        ahead = SignIn.objects.filter(user_id=user.pk, created_at__gte=before).end(reason)
    yield ahead
    yield from SignIn.objects.filter(user_id=user.pk, created_at__lt=before).end_silently_in_batches(reason)


def end_before(moment: datetime, reason: str) -> Iterator[int]:
    """
    Ends all sign-ins that started up to a moment in the past. From the first step on no token or session of theirs
    works; then the rows are marked in batches. Yields how many each batch ended.
    """
    before = sids.just_after(moment)
    with transaction.atomic():
        _revoke_before(before)
    yield 0
    yield from SignIn.objects.filter(created_at__lt=before).end_silently_in_batches(reason)


def end_everything(reason: str) -> Iterator[int]:
    """
    Ends all sign-ins. From the first step on no token or session works; the second refuses the sign-ins that are just
    starting; then the rows are marked in batches. Yields how many each batch ended.
    """
    with transaction.atomic():
        _revoke_before(sids.just_after(timezone.now()))
    yield 0
    for _users in User.objects.start_generation_in_batches():
        yield 0
    yield from end_up_to_now(reason)


def end_up_to_now(reason: str) -> Iterator[int]:
    """
    Ends all sign-ins but those that are just starting. The first step ends those that a node with a clock ahead of
    ours has started, the second revokes all others. Yields how many each step ended.
    """
    now = timezone.now()
    ahead = list(SignIn.objects.filter(created_at__gt=now).values_list("pk", flat=True))
    yield SignIn.objects.filter(pk__in=ahead).end(reason)
    yield from end_before(now, reason)


def end_up_to(moment: datetime | None, reason: str, seconds: float) -> tuple[int, bool]:
    """
    Ends all sign-ins that started up to a moment in the past, or up to now. All of them are refused after the first
    step; their rows are marked for about `seconds`. Returns how many rows were marked, and whether all were: `prune`
    marks the rest.
    """
    if moment:
        return in_time(end_before(moment, reason), seconds)
    ended, is_all = in_time(end_everything(reason), seconds)
    if not is_all:
        # Sign-ins whose password was verified before the first step may have started since.
        ended += sum(islice(end_up_to_now(reason), 2))
    return ended, is_all


def _revoke_before(before: datetime, user: User | None = None) -> None:
    """Revokes the sign-ins that started before a moment, in few statements, however many there are."""
    sign_ins_revoked_before.send(sender=SignIn, before=before, user=user)
    started = SignIn.objects.filter(created_at__lt=before)
    sign_ins = started.filter(user_id=user.pk) if user else started
    sessions = Session.objects.filter(sign_in__in=sign_ins)
    # A statement of a request times out after DATABASE_TIMEOUT_SECONDS; all of these are in one transaction.
    while (
        sessions.filter(pk__in=sessions.values("pk")[:SESSIONS_PER_DELETE])._raw_delete(sessions.db)
        == SESSIONS_PER_DELETE
    ):
        pass
