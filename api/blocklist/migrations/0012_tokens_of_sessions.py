# ruff: noqa: S608 (all parts of these statements are constants)
from importlib import import_module
from typing import Any

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

before: Any = import_module("api.blocklist.migrations.0011_raw_sql")

_START = before.POSTGRESQL.index("CREATE FUNCTION sessions_deleted()")
_END = before.POSTGRESQL.index("CREATE TRIGGER sessions_deleted")
FUNCTION_BEFORE = before.POSTGRESQL[_START:_END].replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")

POSTGRESQL = f"""
CREATE OR REPLACE FUNCTION sessions_deleted() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    WITH lost AS (
        SELECT session_key, sign_in_id, status_index
        FROM deleted JOIN accounts_signin ON accounts_signin.id = sign_in_id
        WHERE sign_in_id >= (
                SELECT (
                    lpad(to_hex((coalesce(extract(epoch FROM max(before)), 0) * 1000)::bigint), 12, '0')
                    || repeat('0', 20)
                )::uuid
                FROM blocklist_entry WHERE kind = 'all' AND owner_id IS NULL AND before IS NOT NULL
            )
            AND ended_at IS NULL
            AND expire_date > now()
            AND NOT EXISTS (SELECT FROM blocklist_entry WHERE token_id = sign_in_id AND kind = 'sid')
            AND NOT EXISTS (SELECT FROM blocklist_entry WHERE owner_id = user_id AND before > created_at)
    )
    INSERT INTO blocklist_entry (token_id, kind, status_index, blocked_at, until)
    SELECT left(session_key, 32)::uuid, 'key', NULL, clock_timestamp(),
        clock_timestamp() + interval '{before.SESSION_HOURS} hour'
    FROM lost WHERE session_key ~ '^[0-9a-f]{{32}}'
    UNION ALL
    SELECT DISTINCT sign_in_id, 'sid', status_index, now(), now() + interval '{before.TOKEN_HOURS} hours' FROM lost;
    RETURN NULL;
END $$;

-- A session gets another sign-in, or none.
CREATE FUNCTION session_lost_sign_in() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO blocklist_entry (token_id, kind, status_index, blocked_at, until)
    SELECT id, 'sid', status_index, clock_timestamp(), clock_timestamp() + interval '{before.TOKEN_HOURS} hours'
    FROM accounts_signin WHERE id = OLD.sign_in_id AND ended_at IS NULL;
    RETURN NULL;
END $$;
CREATE TRIGGER session_lost_sign_in AFTER UPDATE OF sign_in_id ON accounts_session FOR EACH ROW
WHEN (OLD.sign_in_id IS NOT NULL AND OLD.sign_in_id IS DISTINCT FROM NEW.sign_in_id)
EXECUTE FUNCTION session_lost_sign_in();
"""
POSTGRESQL_BACK = f"""
DROP TRIGGER session_lost_sign_in ON accounts_session;
DROP FUNCTION session_lost_sign_in();
{FUNCTION_BEFORE}
"""

# The entry of the key is added first: its condition is that the sign-in has none.
SESSION_DELETED = f"""
    {before.SQLITE["session_deleted"].strip().removesuffix("END")}
        INSERT INTO blocklist_entry (token_id, kind, status_index, blocked_at, until)
        SELECT id, 'sid', status_index, {before.NOW}, {before.TOKENS_EXPIRE}
        FROM accounts_signin
        WHERE id = OLD.sign_in_id AND ended_at IS NULL
            AND NOT EXISTS (SELECT 1 FROM blocklist_entry WHERE token_id = OLD.sign_in_id AND kind = 'sid')
            AND NOT EXISTS (SELECT 1 FROM blocklist_entry WHERE owner_id = user_id AND before > created_at)
            AND NOT EXISTS (SELECT 1 FROM blocklist_entry WHERE owner_id IS NULL AND before > created_at);
    END
"""
SESSION_LOST_SIGN_IN = f"""
    AFTER UPDATE OF sign_in_id ON accounts_session
    WHEN OLD.sign_in_id IS NOT NULL AND OLD.sign_in_id IS NOT NEW.sign_in_id
    BEGIN
        INSERT INTO blocklist_entry (token_id, kind, status_index, blocked_at, until)
        SELECT id, 'sid', status_index, {before.NOW}, {before.TOKENS_EXPIRE}
        FROM accounts_signin WHERE id = OLD.sign_in_id AND ended_at IS NULL;
    END
"""
SQLITE = [
    "DROP TRIGGER session_deleted",
    f"CREATE TRIGGER session_deleted {SESSION_DELETED}",
    f"CREATE TRIGGER session_lost_sign_in {SESSION_LOST_SIGN_IN}",
]
SQLITE_BACK = [
    "DROP TRIGGER session_lost_sign_in",
    "DROP TRIGGER session_deleted",
    f"CREATE TRIGGER session_deleted {before.SQLITE['session_deleted']}",
]


def add_triggers(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    for statement in {"postgresql": [POSTGRESQL], "sqlite": SQLITE}[schema_editor.connection.vendor]:
        schema_editor.execute(statement, params=None)


def drop_triggers(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    for statement in {"postgresql": [POSTGRESQL_BACK], "sqlite": SQLITE_BACK}[schema_editor.connection.vendor]:
        schema_editor.execute(statement, params=None)


class Migration(migrations.Migration):
    """
    A session now has access tokens (/api/session/token/). A session that is deleted, or that gets another sign-in,
    takes its tokens along: the triggers also block its sign-in, which no browser can use any more.
    """

    dependencies = [
        ("blocklist", "0011_raw_sql"),
    ]

    operations = [
        migrations.RunPython(add_triggers, drop_triggers),
    ]
