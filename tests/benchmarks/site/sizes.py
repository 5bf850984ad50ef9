"""The size of a row of each table."""

from django.db import connection
from django.db.models import Model

from accounts.models import AttemptCounter, SecurityEvent, Session, SignIn, User
from api.blocklist.models import Entry
from tests.benchmarks import wire
from tests.benchmarks.site import rows
from tests.benchmarks.site.credentials import ann, wristband
from tests.benchmarks.site.many import LOCKS

MODELS = (User, SignIn, Session, SecurityEvent, AttemptCounter, Entry)


def load(count: int) -> list[dict]:
    """Copies rows of each table (a tenth as many users) from rows that the project made; returns their sizes."""
    rows.clients(count)
    wristband()
    session, event = Session.objects.get(), SecurityEvent.objects.latest("pk")
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO accounts_session (session_key, session_data, expire_date, sign_in_id)"
            " SELECT md5(id::text) || md5(id::text), session_data, expire_date, id"
            " FROM accounts_signin, accounts_session WHERE id <> accounts_session.sign_in_id"
        )
        cursor.execute(LOCKS, [ann().pk, count // rows.SIGN_INS_PER_USER, 1, count])
    address = "('10.' || n / 65536 %% 256 || '.' || n / 256 %% 256 || '.' || n %% 256)::inet"
    rows._multiply(
        event,
        count - 1,
        sid=rows._sid("interval '0'"),
        user_id=f"{event.user_id} + n %% {max(count // rows.SIGN_INS_PER_USER, 1)}",
        ip_address=address,
        user_agent=f"'{wire.USER_AGENT}'",
        created_at=f"now() - ({count} - n) * interval '1 millisecond'",
    )
    Entry.objects.block_sign_ins([session.sign_in_id])
    rows._multiply(Entry.objects.latest("pk"), count - 1, token_id=rows._sid("interval '0'"))
    return measure()


def measure() -> list[dict]:
    """Returns for each table its rows, and the bytes of rows and indexes."""
    return [_measure(model) for model in MODELS]


def _measure(model: type[Model]) -> dict:
    rows.settle(model)
    table = model._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_table_size(%s::regclass), pg_indexes_size(%s::regclass)", [table, table])
        of_rows, of_indexes = cursor.fetchone()
    # Not by managers that exclude some rows.
    return {
        "table": str(model._meta.verbose_name_plural),
        "rows": model._base_manager.count(),
        "bytes": of_rows,
        "index_bytes": of_indexes,
    }
