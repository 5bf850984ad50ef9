"""A large site, and the response times of its admin."""

import time
from collections.abc import Iterator

from django.conf import settings
from django.db import connection
from django.db.models import Model
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext

from accounts import starting
from accounts.admin.lists import MAX_COUNTED, ROWS_PER_PAGE
from accounts.models import AttemptCounter, SecurityEvent, Session, SignIn, User
from api.blocklist.models import Entry
from tests.benchmarks.output import Progress
from tests.benchmarks.site.credentials import ann
from tests.benchmarks.site.rows import CHUNK, settle

ADMIN = "/admin/"
WARM_UP = 2
# Half are live. A reused token is rare: one in a thousand of the ended.
SIGN_INS = """
INSERT INTO accounts_signin (
    id, user_id, kind, user_agent, ip_address, auth_hash, created_at, last_seen_at, idle_timeout, expires_at,
    ended_at, end_reason, ended_by_id, refresh_id, previous_refresh_id, refreshed_at, proved_at, name,
    audience, bound_to
)
SELECT gen_random_uuid(), %s + n %% %s, CASE WHEN n %% 5 < 3 THEN 'browser' ELSE 'client' END, agent, address,
    template.auth_hash, started, started + interval '1 hour', interval '14 days', started + interval '14 days',
    CASE WHEN n %% 2 = 0 THEN started + interval '2 hours' END,
    CASE WHEN n %% 2 = 1 THEN '' WHEN n %% 1000 = 0 THEN 'token_reused' WHEN n %% 10 = 0 THEN 'ended_by_staff'
        WHEN n %% 4 = 0 THEN 'ended_by_user' ELSE 'signed_out' END,
    NULL, gen_random_uuid(), gen_random_uuid(), started, started, '', '', ''
FROM accounts_signin template, generate_series(%s::int, %s::int) n,
    LATERAL (
        SELECT now() - random() * CASE WHEN n %% 2 = 1 THEN interval '13 days' ELSE interval '90 days' END AS started,
            ('10.' || n / 65536 %% 256 || '.' || n / 256 %% 256 || '.' || n %% 256)::inet AS address,
            ('{Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0,curl/8.9.1,okhttp/4.12.0}'
                ::text[])[1 + n %% 3] AS agent
    ) made
WHERE template.id = %s
"""
# Over 90 days, in the order of their ids.
EVENTS = """
INSERT INTO accounts_securityevent (type, user_id, actor_id, sid, ip_address, user_agent, details, created_at)
SELECT CASE WHEN n %% 5000 = 0 THEN 'token_reused' WHEN n %% 50 = 0 THEN 'password_changed'
        WHEN n %% 4 = 0 THEN 'sign_in_failed' WHEN n %% 4 = 1 THEN 'signed_out' ELSE 'signed_in' END,
    user_id, user_id, gen_random_uuid(),
    ('10.' || n / 65536 %% 256 || '.' || n / 256 %% 256 || '.' || n %% 256)::inet,
    'curl/8.9.1', '{"kind": "client"}', now() - interval '90 days' * (1 - n / %s::float)
FROM generate_series(%s::int, %s::int) n, LATERAL (SELECT %s + n %% %s AS user_id) made
"""
ENTRIES = """
INSERT INTO blocklist_entry (token_id, kind, why, blocked_at, until)
SELECT id, 'sid', '', now(), now() + interval '1 day' FROM accounts_signin WHERE ended_at IS NOT NULL
ORDER BY id LIMIT %s
"""
# Counters of a thousand names and addresses each hour; a few are locked now, a tenth of these of existing users.
LOCKS = """
INSERT INTO accounts_lock (id, kind, account, user_id, ip_address, count, since, until)
SELECT gen_random_uuid(), kind, CASE WHEN kind <> 'address' THEN gen_random_uuid() END,
    CASE WHEN kind = 'pair' AND n %% 1000 = 0 THEN %s + n %% %s END,
    CASE WHEN kind <> 'account'
        THEN ('10.' || n / 65536 %% 256 || '.' || n / 256 %% 256 || '.' || n %% 256)::inet END,
    1 + n %% 30, now() - random() * interval '12 hours',
    now() + CASE WHEN n %% 100 = 0 THEN interval '12 hours' ELSE interval '-12 hours' END * random()
FROM generate_series(%s::int, %s::int) n,
    LATERAL (SELECT ('{pair,pair,account,address}'::text[])[1 + n %% 4] AS kind) made
"""
USERS = """
INSERT INTO accounts_user (
    username, email, password, is_superuser, is_staff, is_active, first_name, last_name, date_joined, last_login,
    generation, email_confirmed_at, new_email, is_service, scopes, bound_tokens_only
)
SELECT 'user-' || n, 'user-' || n || '@example.org', password, false, n %% 10000 = 0, n %% 100 > 0,
    'First', 'Last-' || n, now(), now(), 0, now(), '', false, '', false
FROM accounts_user template, generate_series(%s::int, %s::int) n WHERE template.id = %s
"""


def load(users: int, sign_ins: int, events: int, entries: int, locks: int) -> dict[str, float]:
    """Fills the database; returns the duration in seconds by kind of row."""
    user = ann()
    template = starting.start(user, SignIn.Kind.CLIENT)
    took = {}
    steps = [
        (User, USERS, users, [], [user.pk]),
        (SignIn, SIGN_INS, sign_ins, [user.pk, users], [template.pk]),
        (SecurityEvent, EVENTS, events, [events], [user.pk, users]),
        (AttemptCounter, LOCKS, locks, [user.pk, users], []),
    ]
    with connection.cursor() as cursor, Progress(users + sign_ins + events + locks + entries) as progress:
        for model, statement, count, before, after in steps:
            started = time.perf_counter()
            for first, last in _chunks(count):
                progress.at(str(model._meta.verbose_name_plural))
                cursor.execute(statement, [*before, first, last, *after])
                progress.step(last - first + 1)
            took[model._meta.label] = time.perf_counter() - started
        started = time.perf_counter()
        progress.at(str(Entry._meta.verbose_name_plural))
        cursor.execute(ENTRIES, [entries])
        took[Entry._meta.label] = time.perf_counter() - started
    for model in (User, SignIn, SecurityEvent, AttemptCounter, Entry, Session):
        settle(model)
    return took


def _chunks(count: int) -> Iterator[tuple[int, int]]:
    for first in range(1, count + 1, CHUNK):
        yield first, min(first + CHUNK - 1, count)


def pages() -> dict[str, str]:
    """Returns every list, search, filter and detail page by a readable name."""
    user = User.objects.filter(username__startswith="user-").order_by("pk")[1]
    sign_in = SignIn.objects.filter(user=user)[0]
    event = SecurityEvent.objects.filter(user=user)[0]
    entry = Entry.objects.all()[0]
    lock = AttemptCounter.objects.exclude(ip_address=None)[0]
    users, sign_ins = f"{ADMIN}accounts/user/", f"{ADMIN}accounts/signin/"
    events, entries = f"{ADMIN}accounts/securityevent/", f"{ADMIN}blocklist/entry/"
    locks = f"{ADMIN}accounts/attemptcounter/"
    return {
        "overview": ADMIN,
        "users": users,
        "users, last page": f"{users}?p={_last_page(User)}",
        "users, by name": f"{users}?q={user.username}",
        "users, by the beginning of a name": f"{users}?q=user-1",
        "users, by a name nobody has": f"{users}?q=nobody",
        "users, by mail": f"{users}?q={user.email}",
        "users, by address": f"{users}?q={sign_in.ip_address}",
        "users, by sid": f"{users}?q={sign_in.pk}",
        "users, deactivated": f"{users}?state=deactivated",
        "users, staff": f"{users}?role=staff",
        "users, superusers": f"{users}?role=superuser",
        "a user": f"{users}{user.pk}/change/",
        "a user, before deleting": f"{users}{user.pk}/delete/",
        "sign-ins": sign_ins,
        "sign-ins, last page": f"{sign_ins}?p={_last_page(SignIn)}",
        "sign-ins, by name": f"{sign_ins}?q={user.username}",
        "sign-ins, by mail": f"{sign_ins}?q={user.email}",
        "sign-ins, by address": f"{sign_ins}?q={sign_in.ip_address}",
        "sign-ins, by an address never seen": f"{sign_ins}?q=192.0.2.1",
        "sign-ins, by sid": f"{sign_ins}?q={sign_in.pk}",
        "sign-ins, of a user": f"{sign_ins}?user={user.pk}",
        "sign-ins, live": f"{sign_ins}?state=live",
        "sign-ins, ended": f"{sign_ins}?state=ended",
        "sign-ins, clients": f"{sign_ins}?kind=client",
        "sign-ins, ended for a rare reason": f"{sign_ins}?end_reason=token_reused",
        "sign-ins, ended for a common reason": f"{sign_ins}?end_reason=signed_out",
        "sign-ins, ended for a reason there never was": f"{sign_ins}?end_reason=password_changed",
        "sign-ins, last hour": f"{sign_ins}?within=hour",
        "sign-ins, last month": f"{sign_ins}?within=month",
        "before everyone's sign-ins end": f"{sign_ins}end-everyone/",
        "sign-ins, all filters": f"{sign_ins}?state=ended&kind=client&end_reason=token_reused&within=week",
        "sign-ins, live clients of the last day": f"{sign_ins}?state=live&kind=client&within=day",
        "a sign-in": f"{sign_ins}{sign_in.pk}/change/",
        "events": events,
        "events, last page": f"{events}?p={_last_page(SecurityEvent)}",
        "events, by name": f"{events}?q={user.username}",
        "events, by address": f"{events}?q={event.ip_address}",
        "events, by sid": f"{events}?q={event.sid}",
        "events, of a user": f"{events}?user={user.pk}",
        "events, by somebody": f"{events}?actor={user.pk}",
        "events, of a rare type": f"{events}?type=token_reused",
        "events, of a common type": f"{events}?type=signed_in",
        "events, of a type there never was": f"{events}?type=signed_up",
        "events, last hour": f"{events}?within=hour",
        "events, last month": f"{events}?within=month",
        "events, of a rare type, last month": f"{events}?type=token_reused&within=month",
        "an event": f"{events}{event.pk}/change/",
        "blocklist": entries,
        "blocklist, last page": f"{entries}?p={_last_page(Entry)}",
        "blocklist, by sid": f"{entries}?q={entry.token_id}",
        "blocklist, by name": f"{entries}?q={user.username}",
        "blocklist, in force": f"{entries}?state=in_force",
        "blocklist, lifted": f"{entries}?state=lifted",
        "blocklist, single tokens": f"{entries}?kind=jti",
        "an entry": f"{entries}{entry.pk}/change/",
        "block a leaked token": f"{entries}leaked/",
        "locks": locks,
        "locks, last page": f"{locks}?p={_last_page(AttemptCounter)}",
        "locks, locked now": f"{locks}?state=locked",
        "locks, of an account from anywhere": f"{locks}?kind=account",
        "locks, of a kind there never was": f"{locks}?kind=reset",
        "locks, locked now, of an address": f"{locks}?state=locked&kind=address",
        "locks, by name": f"{locks}?q={user.username}",
        "locks, by address": f"{locks}?q={lock.ip_address}",
        "locks, by an address never seen": f"{locks}?q=192.0.2.1",
        "a lock": f"{locks}{lock.pk}/change/",
    }


def _last_page(model: type[Model]) -> int:
    """Returns the number of the last page of a list."""
    return max(1, min(model._default_manager.count(), MAX_COUNTED) // ROWS_PER_PAGE)


def wait_for_pages(times: int) -> list[dict]:
    """Loads each page as a superuser, without a server; returns its milliseconds and statements."""
    staff = User.objects.filter(is_superuser=True).first() or User.objects.create_superuser(
        "sue", "sue@example.org", "violet anchor hums at dawn"
    )
    static = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    with override_settings(STORAGES=settings.STORAGES | {"staticfiles": static}):
        browser = Client()
        browser.force_login(staff)
        asked = pages()
        results = []
        with Progress(len(asked)) as progress:
            for name, url in asked.items():
                progress.at(name)
                results.append(_wait(browser, name, url, times))
                progress.step()
    return results


def _wait(browser: Client, name: str, url: str, times: int) -> dict:
    took = []
    for _each in range(WARM_UP + times):
        started = time.perf_counter()
        answer = browser.get(url, secure=True)
        took.append((time.perf_counter() - started) * 1000)
        assert answer.status_code == 200, f"{url}: {answer.status_code}"
    with CaptureQueriesContext(connection) as statements:
        browser.get(url, secure=True)
    return {"page": name, "url": url, "milliseconds": took[WARM_UP:], "statements": len(statements)}
