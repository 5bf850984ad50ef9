"""
The end of many sign-ins: all of a user, all up to a moment, all. Up to MAX_ENDED_PER_TRANSACTION end in one
transaction. Of more, the first transaction revokes all of them, and then their rows are marked in batches.
"""

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import NamedTuple
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from accounts import sids
from accounts.models import SecurityEvent, Session, SignIn, SignInQuerySet, User
from accounts.pruning import REQUEST_SECONDS, run_batches
from accounts.signals import sign_ins_revoked_before

# One statement deletes them in about a second.
SESSIONS_PER_DELETE = 100_000


class Ended(NamedTuple):
    """The number of sign-ins that ended, and the number that is left for the next request."""

    ended: int
    left: int = 0


def end_all(user: User, reason: str, keep: SignIn | None = None) -> int:
    """Ends all sign-ins of a user, or all but `keep`, and refuses those that are starting. Returns how many ended."""
    if keep:
        return end_others(user, reason, keep).ended
    sign_ins = SignIn.objects.filter(user_id=user.pk)
    return _end_many(user, reason) if sign_ins.is_wholesale() else _end_at_once(user, sign_ins, reason)


def end_others(user: User, reason: str, keep: SignIn) -> Ended:
    """
    Ends all sign-ins of a user but `keep`, and refuses those that are starting. If there are many, those older than
    `keep` end at once, and the newer ones until REQUEST_SECONDS have passed.
    """
    others = SignIn.objects.filter(user_id=user.pk).exclude(pk=keep.pk)
    if not others.is_wholesale():
        return Ended(_end_at_once(user, others, reason))
    now, started = sids.just_after(timezone.now()), sids.started_at(keep.pk)
    # Revocation up to a moment compares the time in the id. For an id without a time, no sign-in is older.
    older, newer = others.filter(created_at__lt=started), others.filter(created_at__gte=started)
    with transaction.atomic():
        User.objects.filter(pk=user.pk).start_generation()
        revoked = older.unended().count()
        _revoke_before(started, user)
        # Started by a node whose clock is ahead. No sign-in starts while the user's row is locked.
        future = newer.filter(created_at__gte=now).end(reason)
    newer = newer.filter(created_at__lt=now)
    ended, is_complete = run_batches(newer.end_in_batches(reason), REQUEST_SECONDS)
    if is_complete:
        run_batches(older.end_silently_in_batches(reason), REQUEST_SECONDS)
    return Ended(revoked + future + ended, 0 if is_complete else newer.unended().count())


def _end_at_once(user: User, sign_ins: SignInQuerySet, reason: str) -> int:
    with transaction.atomic():
        User.objects.filter(pk=user.pk).start_generation()
        return sign_ins.end(reason)


def _end_many(user: User, reason: str) -> int:
    """Revokes all sign-ins at once, and marks rows until REQUEST_SECONDS have passed. `prune` marks the others."""
    ended = SignIn.objects.filter(user_id=user.pk).unended().count()
    marked, is_complete = run_batches(end_all_in_batches(user, reason), REQUEST_SECONDS)
    return marked if is_complete else max(ended, marked)


def end_disputed(event: SecurityEvent, keep: UUID | None) -> SignIn | None:
    """
    Ends the sign-in of an event that the account's owner disputes, unless its sid is `keep`: that of the request.
    Returns the sign-in if it ended now.
    """
    if event.sid is None or event.sid == keep:
        return None
    sign_in: SignIn | None = SignIn.objects.filter(user=event.user_id, pk=event.sid).first()
    return sign_in if sign_in and sign_in.end(SignIn.Reason.ENDED_BY_USER) else None


def end_all_in_batches(user: User, reason: str) -> Iterator[int]:
    """
    Ends all sign-ins of a user with many. The first step revokes all of them and refuses those that are starting; the
    following steps mark the rows in batches. Yields how many each step ended.
    """
    with transaction.atomic():
        User.objects.filter(pk=user.pk).start_generation()
        # The time is read while the row is locked: a sign-in that starts later sees the new generation.
        before = sids.just_after(timezone.now())
        _revoke_before(before, user)
        # Started by a node whose clock is ahead. No sign-in starts while the user's row is locked.
        future = SignIn.objects.filter(user_id=user.pk, created_at__gte=before).end(reason)
    yield future
    yield from SignIn.objects.filter(user_id=user.pk, created_at__lt=before).end_silently_in_batches(reason)


def end_before(moment: datetime, reason: str) -> Iterator[int]:
    """
    Ends all sign-ins that started up to a moment in the past. The first step revokes all of them; the following steps
    mark the rows in batches. Yields how many each step ended.
    """
    before = sids.just_after(moment)
    with transaction.atomic():
        _revoke_before(before)
    yield 0
    yield from SignIn.objects.filter(created_at__lt=before).end_silently_in_batches(reason)


def end_everything(reason: str) -> Iterator[int]:
    """
    Ends all sign-ins. The first step revokes all of them; the next ones refuse the sign-ins that are starting, by
    batches of users; the last ones mark the rows in batches. Yields how many sign-ins each step ended.
    """
    with transaction.atomic():
        _revoke_before(sids.just_after(timezone.now()))
    yield 0
    for _users in User.objects.start_generation_in_batches():
        yield 0
    yield from end_up_to_now(reason)


def end_up_to_now(reason: str) -> Iterator[int]:
    """
    Ends all sign-ins but those that are starting. The first step ends those that a node whose clock is ahead has
    started; the second revokes all others. Yields how many each step ended.
    """
    now = timezone.now()
    future = list(SignIn.objects.filter(created_at__gt=now).values_list("pk", flat=True))
    yield SignIn.objects.filter(pk__in=future).end(reason)
    yield from end_before(now, reason)


def end_up_to(moment: datetime | None, reason: str, seconds: float) -> tuple[int, bool]:
    """
    Ends all sign-ins that started up to a moment in the past, or up to now. All of them are refused after the first
    step; their rows are marked for about `seconds`. Returns how many rows were marked, and whether all were: `prune`
    marks the rest.
    """
    if moment:
        return run_batches(end_before(moment, reason), seconds)
    ended, is_all = run_batches(end_everything(reason), seconds)
    if not is_all:
        # Sign-ins whose password was verified before the first step may have started since.
        ended += sum(islice(end_up_to_now(reason), 2))
    return ended, is_all


def _revoke_before(before: datetime, user: User | None = None) -> None:
    """Revokes the sign-ins that started before a moment, and deletes their sessions."""
    sign_ins_revoked_before.send(sender=SignIn, before=before, user=user)
    started = SignIn.objects.filter(created_at__lt=before)
    sign_ins = started.filter(user_id=user.pk) if user else started
    sessions = Session.objects.filter(sign_in__in=sign_ins)
    # Deleted in parts, since a statement of a request times out after DATABASE_TIMEOUT_SECONDS.
    while (
        sessions.filter(pk__in=sessions.values("pk")[:SESSIONS_PER_DELETE])._raw_delete(sessions.db)
        == SESSIONS_PER_DELETE
    ):
        pass
