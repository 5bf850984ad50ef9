"""Bulk creation of rows."""

import math
from datetime import timedelta
from itertools import islice

from django.db import connection
from django.db.models import AutoField, Model
from django.utils import timezone
from psycopg import sql

from accounts import starting
from accounts.models import SecurityEvent, Session, SignIn, User
from api.blocklist.models import Entry
from tests.benchmarks import wire
from tests.benchmarks.output import Progress
from tests.benchmarks.site.credentials import ann, pairs

CHUNK = 50_000
SIGN_INS_PER_USER = 10


def block(count: int) -> None:
    """Blocks a number of unused ids."""
    if count:
        sid = SignIn().sid
        Entry.objects.block_sign_ins([sid])
        _multiply(Entry.objects.get(token_id=sid), count - 1, token_id="gen_random_uuid()")
        settle(Entry)


def sign_in(count: int, tokens: int) -> list[dict[str, str]]:
    """Creates sign-ins, ten for each user; returns the tokens of some, evenly spread."""
    users = math.ceil(count / SIGN_INS_PER_USER)
    user = ann()
    template = starting.start(user, SignIn.Kind.CLIENT)
    # Their sign-ins have the same fingerprint, since they have the same password.
    _multiply(user, users - 1, username="'user-' || n", email="'user-' || n || '@example.org'")
    first = User.objects.order_by("pk")[0].pk
    user_id = f"{first} + n %% {users}"
    _multiply(template, count - 1, id="gen_random_uuid()", refresh_id="gen_random_uuid()", user_id=user_id)
    settle(User)
    settle(SignIn)
    every = max(1, count // tokens)
    sids = islice(SignIn.objects.order_by("pk").values_list("pk", flat=True).iterator(), 0, every * tokens, every)
    return pairs([str(sid) for sid in sids])


def _multiply(template: Model, count: int, **fresh: str) -> None:
    """Inserts copies of a row, except columns with an SQL expression over n = 1 .. count."""
    meta = template._meta
    columns = [
        field.column for field in meta.concrete_fields if field.column in fresh or not isinstance(field, AutoField)
    ]
    statement = sql.SQL(
        "INSERT INTO {table} ({columns}) SELECT {values} FROM {table} template, generate_series(%s::int, %s::int) n"
        " WHERE template.{key} = %s"
    ).format(
        table=sql.Identifier(meta.db_table),
        key=sql.Identifier(meta.pk.column),
        columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
        values=sql.SQL(", ").join(
            sql.SQL(fresh[column]) if column in fresh else sql.Identifier("template", column) for column in columns
        ),
    )
    with connection.cursor() as cursor, Progress(count) as progress:
        for start in range(1, count + 1, CHUNK):
            progress.at(f"{meta.verbose_name_plural}")
            end = min(start + CHUNK - 1, count)
            cursor.execute(statement, [start, end, template.pk])
            progress.step(end - start + 1)


def settle(model: type[Model]) -> None:
    """Runs the maintenance that PostgreSQL would otherwise start during the measurement."""
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("VACUUM (ANALYZE) {}").format(sql.Identifier(model._meta.db_table)))


def _sign_in_of(kind: str, ago: timedelta) -> SignIn:
    then = timezone.now() - ago
    sign_in = starting.start(ann(), kind)
    SignIn.objects.filter(pk=sign_in.pk).update(created_at=then)
    return sign_in


# Like sids.new(): from a time, different for each row.
def _sid(ago: str) -> str:
    milliseconds = f"(extract(epoch FROM now() - {ago}) * 1000)::bigint"
    return f"(lpad(to_hex({milliseconds}), 12, '0') || '7' || substr(md5(random()::text), 1, 19))::uuid"


def live(count: int) -> list[dict[str, str]]:
    """Creates live sign-ins, ten for each user, half of them browsers with a session. Returns some tokens."""
    users = math.ceil(count / SIGN_INS_PER_USER)
    user = ann()
    _multiply(user, users - 1, username="'user-' || n", email="'user-' || n || '@example.org'")
    first = User.objects.order_by("pk")[0].pk
    for kind in (SignIn.Kind.CLIENT, SignIn.Kind.BROWSER):
        ago = "n * interval '1 second'"
        _multiply(
            _sign_in_of(kind, timedelta(minutes=1)),
            count // 2 - 1,
            id=_sid(ago),
            created_at=f"now() - {ago}",
            refresh_id="gen_random_uuid()",
            user_id=f"{first} + n %% {users}",
        )
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO accounts_session (session_key, session_data, expire_date, sign_in_id)"
            " SELECT md5(id::text) || md5(id::text), '', now() + interval '1 day', id FROM accounts_signin"
            " WHERE kind = 'browser'"
        )
    for model in (User, SignIn, Session):
        settle(model)
    some = SignIn.objects.filter(kind=SignIn.Kind.CLIENT).order_by("pk").values_list("pk", flat=True)
    every = max(1, count // 2 // 100)
    return pairs([str(sid) for sid in some[::every][:100]])


def clients(count: int) -> None:
    """Creates live sign-ins of clients, ten for each user, the newest last, like the project does."""
    users, user = math.ceil(count / SIGN_INS_PER_USER), ann()
    _multiply(user, users - 1, username="'user-' || n", email="'user-' || n || '@example.org'")
    first, ago = User.objects.order_by("pk")[0].pk, f"({count} - n) * interval '1 millisecond'"
    _multiply(
        starting.start(user, SignIn.Kind.CLIENT),
        count - 1,
        id=_sid(ago),
        user_id=f"{first} + n %% {users}",
        created_at=f"now() - {ago}",
        user_agent=f"'{wire.USER_AGENT}'",
        ip_address="('10.' || n / 65536 %% 256 || '.' || n / 256 %% 256 || '.' || n %% 256)::inet",
        refresh_id="gen_random_uuid()",
        # It has been refreshed before.
        previous_refresh_id="gen_random_uuid()",
    )
    for model in (User, SignIn):
        settle(model)


def prunable(count: int) -> None:
    """Creates prunable rows, and as many that stay."""
    user, share = ann(), count // 4
    for ended, rows in (("now() - interval '100 days'", share), ("NULL", share)):
        _multiply(
            starting.start(user, SignIn.Kind.CLIENT),
            rows,
            id="gen_random_uuid()",
            refresh_id="gen_random_uuid()",
            ended_at=ended,
        )
    event = SecurityEvent.objects.latest("pk")
    _multiply(event, 2 * share, created_at="now() - interval '1000 days'")
    _multiply(event, 2 * share)
    Entry.objects.block_sign_ins([SignIn().sid])
    entry = Entry.objects.latest("pk")
    _multiply(entry, share, token_id="gen_random_uuid()", until="now() - interval '1 day'")
    _multiply(entry, share, token_id="gen_random_uuid()")
    for model in (SignIn, SecurityEvent, Entry):
        settle(model)


def people(count: int) -> None:
    """Creates users of each kind: with another password, inactive, without a usable password."""
    known = User.objects.create_user("known-0", "known-0@example.org", "another passphrase than is tried")
    inactive = User.objects.create_user("inactive-0", "inactive-0@example.org", wire.PASSWORD, is_active=False)
    unusable = User.objects.create_user("unusable-0", "unusable-0@example.org", None)
    for user, kind in ((known, "known"), (inactive, "inactive"), (unusable, "unusable")):
        _multiply(user, count - 1, username=f"'{kind}-' || n", email=f"'{kind}-' || n || '@example.org'")
    settle(User)
