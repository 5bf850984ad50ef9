"""Many rows at once."""

import math
from itertools import islice

from django.conf import settings
from django.db import connection
from django.db.models import AutoField, Model
from psycopg import sql

from accounts.models import SignIn, User
from api.blocklist.models import Entry
from tests.benchmarks.output import Progress
from tests.benchmarks.site.credentials import ann, pairs

CHUNK = 50_000
SIGN_INS_PER_USER = 10


def block(count: int) -> None:
    """Blocks that many ids, none of which anybody shows."""
    if count:
        sid = SignIn().sid
        Entry.objects.block_sign_ins([sid])
        _multiply(Entry.objects.get(token_id=sid), count - 1, token_id="gen_random_uuid()")
        settle(Entry)


def sign_in(count: int, tokens: int) -> list[dict[str, str]]:
    """That many sign-ins, ten to a user; returns the tokens of some, spread evenly."""
    users = math.ceil(count / SIGN_INS_PER_USER)
    user = ann()
    template = SignIn.objects.start(user, SignIn.Kind.CLIENT, settings.REFRESH_TOKEN)
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
    """Inserts copies of a row, but for the columns for which an SQL expression over n = 1 .. count is given."""
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
    """What PostgreSQL would otherwise do on its own while we measure."""
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("VACUUM (ANALYZE) {}").format(sql.Identifier(model._meta.db_table)))
