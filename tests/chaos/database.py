"""The users of a load in the database, and what the checker reads from the database at the end."""

import json
import time
from collections.abc import Mapping

from tests import servers
from tests.chaos.mail_rules import ALARMS
from tests.chaos.people import PASSWORD, Person, SecondFactors
from tests.chaos.recorder import Alarm, Record

# The first ones have a second factor.
PEOPLE, TWO_FACTOR = 8, 3

MAKE_PEOPLE = f"""
import json, time
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from django.utils import timezone
from accounts.factors import changes, totp
from accounts.models import User
people = []
for number in range({PEOPLE}):
    name = f"person{{number}}"
    user = User.objects.create_user(name, f"{{name}}@example.org", {PASSWORD!r})
    User.objects.filter(pk=user.pk).update(email_confirmed_at=timezone.now())
    people.append([name])
    if number < {TWO_FACTOR}:
        app, secret = changes.new_app(user)
        code = TOTP(secret, 6, SHA1(), 30).generate(int(time.time())).decode()
        codes = changes.confirm_app(user, app.pk, code)
        people[-1] += [totp.shown_secret(secret), codes]
print(json.dumps(people))
"""
# A used recovery code and its event are of one act: events of an earlier set have other users or times. The clocks of
# nodes differ by up to 30 seconds.
READ_RECORD = f"""
import json
from collections import Counter
from datetime import timedelta
from accounts.models import RecoveryCode, RecoveryCodeSet, SecurityEvent, Session, SignIn
from api.blocklist.models import Entry
events = Counter()
for type, sid, name in SecurityEvent.objects.values_list("type", "sid", "user__username"):
    events[f"{{type}} {{sid or name}}"] += 1
    if type == "password_changed":
        events[f"{{type}} {{name}}"] += 1 if sid else 0
half_done = [
    f"the sign-in {{pk}} has ended, and its session is stored"
    for pk in SignIn.objects.exclude(ended_at=None).exclude(sessions=None).values_list("pk", flat=True)
]
for codes in RecoveryCodeSet.objects.select_related("user"):
    used = RecoveryCode.objects.filter(code_set=codes).exclude(used_at=None).count()
    since = codes.created_at - timedelta(seconds=31)
    recorded = codes.user.security_events.filter(type="recovery_code_used", created_at__gt=since).count()
    if recorded < used:
        half_done.append(f"{{used}} recovery codes of {{codes.user.username}} are used, with {{recorded}} events")
print(json.dumps({{
    "reasons": {{
        str(pk): f"{{reason}} at {{at:%X}}"
        for pk, reason, at in SignIn.objects.exclude(ended_at=None).values_list("pk", "end_reason", "ended_at")
    }},
    "blocked": [each.hex for each in Entry.objects.values_list("token_id", flat=True)],
    "events": events,
    "unended": [str(pk) for pk in SignIn.objects.filter(ended_at=None).values_list("pk", flat=True)],
    "keys": [key[:32] for key in Session.objects.values_list("pk", flat=True)],
    "half_done": half_done,
    "alarms": [
        [type, name, address, at.timestamp()]
        for type, name, address, at in SecurityEvent.objects.filter(type__in={ALARMS!r})
        .exclude(ip_address=None)
        .values_list("type", "user__username", "ip_address", "created_at")
    ],
}}))
"""


def make_people(env: Mapping[str, str]) -> list[Person]:
    """Creates users with confirmed addresses, some of them with an authenticator app and recovery codes."""
    return people_of(_shell(env, MAKE_PEOPLE))


def people_of(made: str) -> list[Person]:
    """Returns the users that MAKE_PEOPLE has printed."""
    return [Person(name, SecondFactors(name, *factors) if factors else None) for name, *factors in json.loads(made)]


def read_record(env: Mapping[str, str]) -> Record:
    stored = json.loads(_shell(env, READ_RECORD))
    events = {(kind, about): times for key, times in stored["events"].items() for kind, about in [key.split(" ", 1)]}
    sets = {name: frozenset(stored[name]) for name in ("blocked", "unended", "keys")}
    ahead = time.time() - time.monotonic()
    alarms = tuple(Alarm(kind, user, address, at - ahead) for kind, user, address, at in stored["alarms"])
    return Record(
        frozenset(stored["reasons"]),
        events=events,
        reasons=stored["reasons"],
        alarms=alarms,
        half_done=tuple(stored["half_done"]),
        **sets,
    )


def _shell(env: Mapping[str, str], code: str) -> str:
    return servers.manage(env, "shell", "--verbosity=0", "--command", code)
