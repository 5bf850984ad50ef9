"""Recovery codes: ten codes of 80 bits, each valid once (NIST SP 800-63B-4, section 4.2.1.1)."""

import base64
import re
import secrets

from django.db import transaction
from django.utils import timezone

from accounts import hashing
from accounts.models import RecoveryCode, RecoveryCodeSet, SecurityEvent, User

NUMBER_OF_CODES = 10
RANDOM_BYTES = 10
# A digit, 16 characters, and room for hyphens and white space.
MAX_LENGTH = 40
# A digit that selects the hash, so that a try costs one hash, and 16 characters of base32.
CODE = re.compile(r"([0-9])([A-Z2-7]{16})")


def new_codes() -> tuple[list[str], list[str]]:
    """Returns new codes and their hashes. Call it before a row is locked: it takes as long as ten passwords."""
    codes = [base64.b32encode(secrets.token_bytes(RANDOM_BYTES)).decode() for _number in range(NUMBER_OF_CODES)]
    return [_shown(number, code) for number, code in enumerate(codes)], [hashing.hashed(code) for code in codes]


def replace(user: User, hashes: list[str]) -> RecoveryCodeSet:
    """Replaces the codes of the user, whose row the caller has locked. Used and old codes are deleted."""
    RecoveryCodeSet.objects.of(user).delete()
    code_set: RecoveryCodeSet = RecoveryCodeSet.objects.create(user=user)
    RecoveryCode.objects.bulk_create(
        [RecoveryCode(code_set=code_set, number=number, hash=each) for number, each in enumerate(hashes)]
    )
    return code_set


def use(user: User, text: str) -> bool:
    """
    Returns whether the text is an unused code of the user, and marks it as used, so that it is valid once, on every
    node, with an event and a mail. One hash, for any text. Six statements for a right code, one for a wrong one. Raises
    HashingOverloaded.
    """
    match = CODE.fullmatch(re.sub(r"[\s-]", "", text).upper())
    number, code = match.groups() if match else ("0", "")
    row = RecoveryCode.objects.filter(
        code_set__user=user.pk, code_set__disabled_at=None, number=number, used_at=None
    ).first()
    if row is None or not match:
        hashing.simulate_check(code)
        return False
    if not hashing.is_right(code, row.hash, lambda _code: None):
        return False
    return _mark_used(user, row)


def left(user: User) -> int:
    """Returns how many codes are unused. One statement."""
    return RecoveryCode.objects.filter(code_set__user=user.pk, used_at=None).count()


def _mark_used(user: User, row: RecoveryCode) -> bool:
    now = timezone.now()
    with transaction.atomic():
        is_first = bool(RecoveryCode.objects.filter(pk=row.pk, used_at=None).update(used_at=now))
        if is_first:
            RecoveryCodeSet.objects.filter(pk=row.code_set_id).update(last_used_at=now, failures=0)
            SecurityEvent.objects.record(SecurityEvent.Type.RECOVERY_CODE_USED, user)
            user.notify("recovery_code_used", left=left(user))
    return is_first


def _shown(number: int, code: str) -> str:
    return "-".join([str(number), *(code[start : start + 4] for start in range(0, len(code), 4))])
