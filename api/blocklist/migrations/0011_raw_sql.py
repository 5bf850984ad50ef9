# ruff: noqa: S608 (all parts of these statements are constants of this file)
from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

# Longer than an access token is accepted: ACCESS_TOKEN_MINUTES (at most 24 hours), JWT_LEEWAY_SECONDS and a margin.
TOKEN_HOURS = 25
# Longer than a process remembers a session: SESSION_RECHECK_SECONDS (at most 5 minutes) and a margin.
SESSION_HOURS = 1
MESSAGE = "A sign-in that has ended cannot be resumed: an end is final."

# `SET search_path FROM CURRENT`: a client with another search_path finds the tables.
POSTGRESQL = f"""
-- An UPDATE sets `ended_at`, and no code announces the end: refuse the tokens, delete the sessions.
CREATE FUNCTION sign_in_ended_by_sql() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO blocklist_entry (token_id, kind, status_index, blocked_at, until)
    VALUES (NEW.id, 'sid', NEW.status_index, clock_timestamp(), clock_timestamp() + interval '{TOKEN_HOURS} hours');
    DELETE FROM accounts_session WHERE sign_in_id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER sign_in_ended_by_sql AFTER UPDATE OF ended_at ON accounts_signin FOR EACH ROW
WHEN (OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL AND NOT NEW.is_end_announced)
EXECUTE FUNCTION sign_in_ended_by_sql();

CREATE FUNCTION sign_in_end_is_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '{MESSAGE}' USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER sign_in_end_is_final BEFORE UPDATE OF ended_at ON accounts_signin FOR EACH ROW
WHEN (OLD.ended_at IS NOT NULL AND NEW.ended_at IS NULL)
EXECUTE FUNCTION sign_in_end_is_final();

-- A row is deleted whose tokens may be unexpired. An end that was announced may have no entry of its own (a wholesale
-- end); the status lists then need the index of the row.
CREATE FUNCTION sign_in_deleted() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO blocklist_entry (token_id, kind, status_index, blocked_at, until)
    SELECT OLD.id, 'sid', OLD.status_index, clock_timestamp(), clock_timestamp() + interval '{TOKEN_HOURS} hours'
    WHERE NOT EXISTS (SELECT FROM blocklist_entry WHERE token_id = OLD.id AND kind = 'sid');
    RETURN NULL;
END $$;
CREATE TRIGGER sign_in_deleted AFTER DELETE ON accounts_signin FOR EACH ROW
WHEN (
    (NOT OLD.is_end_announced OR OLD.status_index IS NOT NULL)
    AND least(OLD.ended_at, OLD.expires_at) > now() - interval '{TOKEN_HOURS} hours'
)
EXECUTE FUNCTION sign_in_deleted();

-- An UPDATE changes the password, deactivates, or makes a service. Code that ends the sign-ins itself also raises the
-- generation: this release in the same UPDATE, the release before it later in the transaction.
CREATE FUNCTION user_changed_by_sql() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE accounts_user SET generation = generation + 1 WHERE id = NEW.id AND generation = OLD.generation;
    IF FOUND THEN
        UPDATE accounts_signin SET ended_at = clock_timestamp(), end_reason = CASE
            WHEN OLD.is_active AND NOT NEW.is_active THEN 'user_deactivated'
            WHEN OLD.password <> NEW.password THEN 'password_changed'
            ELSE 'ended_by_staff'
        END
        WHERE user_id = NEW.id AND ended_at IS NULL;
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER user_changed_by_sql AFTER UPDATE OF password, is_active, is_service ON accounts_user
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
WHEN (
    OLD.generation = NEW.generation
    AND (
        OLD.password <> NEW.password
        OR OLD.is_active AND NOT NEW.is_active
        OR NEW.is_service AND NOT OLD.is_service
    )
)
EXECUTE FUNCTION user_changed_by_sql();

-- A user is deleted before the sign-ins.
CREATE FUNCTION user_deleted() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE accounts_signin SET ended_at = clock_timestamp(), end_reason = 'user_deleted'
    WHERE user_id = OLD.id AND ended_at IS NULL;
    RETURN NULL;
END $$;
CREATE TRIGGER user_deleted AFTER DELETE ON accounts_user FOR EACH ROW EXECUTE FUNCTION user_deleted();

-- Sessions are deleted whose sign-ins go on. One statement for all, since an end of all deletes 100,000 at once: the id
-- of a sign-in begins with the millisecond of its start, so that one comparison skips those that are revoked.
CREATE FUNCTION sessions_deleted() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    all_before bigint;
    first_live uuid;
BEGIN
    IF NOT EXISTS (SELECT FROM deleted) THEN
        RETURN NULL;
    END IF;
    SELECT extract(epoch FROM max(before)) * 1000 INTO all_before
    FROM blocklist_entry WHERE kind = 'all' AND owner_id IS NULL AND before IS NOT NULL;
    first_live := (lpad(to_hex(coalesce(all_before, 0)), 12, '0') || repeat('0', 20))::uuid;
    INSERT INTO blocklist_entry (token_id, kind, blocked_at, until)
    SELECT left(session_key, 32)::uuid, 'key', clock_timestamp(), clock_timestamp() + interval '{SESSION_HOURS} hour'
    FROM deleted JOIN accounts_signin ON accounts_signin.id = sign_in_id
    WHERE sign_in_id >= first_live
        AND ended_at IS NULL
        AND expire_date > now()
        AND session_key ~ '^[0-9a-f]{{32}}'
        AND NOT EXISTS (SELECT FROM blocklist_entry WHERE token_id = sign_in_id AND kind = 'sid')
        AND NOT EXISTS (SELECT FROM blocklist_entry WHERE owner_id = user_id AND before > created_at);
    RETURN NULL;
END $$;
CREATE TRIGGER sessions_deleted AFTER DELETE ON accounts_session
REFERENCING OLD TABLE AS deleted FOR EACH STATEMENT EXECUTE FUNCTION sessions_deleted();

-- A session gets another key, or another sign-in.
CREATE FUNCTION session_changed() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO blocklist_entry (token_id, kind, blocked_at, until)
    VALUES (
        left(OLD.session_key, 32)::uuid, 'key', clock_timestamp(), clock_timestamp() + interval '{SESSION_HOURS} hour'
    );
    RETURN NULL;
END $$;
CREATE TRIGGER session_changed AFTER UPDATE OF session_key, sign_in_id ON accounts_session FOR EACH ROW
WHEN (
    OLD.sign_in_id IS NOT NULL
    AND (OLD.session_key <> NEW.session_key OR OLD.sign_in_id IS DISTINCT FROM NEW.sign_in_id)
    AND OLD.session_key ~ '^[0-9a-f]{{32}}'
)
EXECUTE FUNCTION session_changed();
"""
POSTGRESQL_BACK = """
DROP TRIGGER session_changed ON accounts_session;
DROP TRIGGER sessions_deleted ON accounts_session;
DROP TRIGGER user_deleted ON accounts_user;
DROP TRIGGER user_changed_by_sql ON accounts_user;
DROP TRIGGER sign_in_deleted ON accounts_signin;
DROP TRIGGER sign_in_end_is_final ON accounts_signin;
DROP TRIGGER sign_in_ended_by_sql ON accounts_signin;
DROP FUNCTION session_changed();
DROP FUNCTION sessions_deleted();
DROP FUNCTION user_deleted();
DROP FUNCTION user_changed_by_sql();
DROP FUNCTION sign_in_deleted();
DROP FUNCTION sign_in_end_is_final();
DROP FUNCTION sign_in_ended_by_sql();
"""

# In the format of Django's datetimes.
NOW = "strftime('%Y-%m-%d %H:%M:%f', 'now')"
TOKENS_EXPIRE = f"strftime('%Y-%m-%d %H:%M:%f', 'now', '+{TOKEN_HOURS} hours')"
TOKENS_EXPIRED = f"strftime('%Y-%m-%d %H:%M:%f', 'now', '-{TOKEN_HOURS} hours')"
SESSIONS_FORGOTTEN = f"strftime('%Y-%m-%d %H:%M:%f', 'now', '+{SESSION_HOURS} hour')"
IS_HASH = "length(OLD.session_key) = 64 AND OLD.session_key NOT GLOB '*[^0-9a-f]*'"

# As for PostgreSQL. SQLite has no deferred triggers, and none for a statement: the user's trigger fires at once, and
# that of deleted sessions fires for each row.
SQLITE = {
    "sign_in_ended_by_sql": f"""
    AFTER UPDATE OF ended_at ON accounts_signin
    WHEN OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL AND NOT NEW.is_end_announced
    BEGIN
        INSERT INTO blocklist_entry (token_id, kind, status_index, blocked_at, until)
        VALUES (NEW.id, 'sid', NEW.status_index, {NOW}, {TOKENS_EXPIRE});
        DELETE FROM accounts_session WHERE sign_in_id = NEW.id;
    END
    """,
    "sign_in_end_is_final": f"""
    BEFORE UPDATE OF ended_at ON accounts_signin
    WHEN OLD.ended_at IS NOT NULL AND NEW.ended_at IS NULL
    BEGIN
        SELECT RAISE(ABORT, '{MESSAGE}');
    END
    """,
    "sign_in_deleted": f"""
    AFTER DELETE ON accounts_signin
    WHEN (NOT OLD.is_end_announced OR OLD.status_index IS NOT NULL)
        AND min(coalesce(OLD.ended_at, OLD.expires_at), OLD.expires_at) > {TOKENS_EXPIRED}
    BEGIN
        INSERT INTO blocklist_entry (token_id, kind, status_index, blocked_at, until)
        SELECT OLD.id, 'sid', OLD.status_index, {NOW}, {TOKENS_EXPIRE}
        WHERE NOT EXISTS (SELECT 1 FROM blocklist_entry WHERE token_id = OLD.id AND kind = 'sid');
    END
    """,
    "user_changed_by_sql": f"""
    AFTER UPDATE OF password, is_active, is_service ON accounts_user
    WHEN OLD.generation = NEW.generation
        AND (
            OLD.password <> NEW.password
            OR OLD.is_active AND NOT NEW.is_active
            OR NEW.is_service AND NOT OLD.is_service
        )
    BEGIN
        UPDATE accounts_user SET generation = generation + 1 WHERE id = NEW.id;
        UPDATE accounts_signin SET ended_at = {NOW}, end_reason = CASE
            WHEN OLD.is_active AND NOT NEW.is_active THEN 'user_deactivated'
            WHEN OLD.password <> NEW.password THEN 'password_changed'
            ELSE 'ended_by_staff'
        END
        WHERE user_id = NEW.id AND ended_at IS NULL;
    END
    """,
    "user_deleted": f"""
    AFTER DELETE ON accounts_user
    BEGIN
        UPDATE accounts_signin SET ended_at = {NOW}, end_reason = 'user_deleted'
        WHERE user_id = OLD.id AND ended_at IS NULL;
    END
    """,
    "session_deleted": f"""
    AFTER DELETE ON accounts_session
    WHEN OLD.sign_in_id IS NOT NULL AND OLD.expire_date > {NOW} AND {IS_HASH}
    BEGIN
        INSERT INTO blocklist_entry (token_id, kind, blocked_at, until)
        SELECT substr(OLD.session_key, 1, 32), 'key', {NOW}, {SESSIONS_FORGOTTEN}
        FROM accounts_signin
        WHERE id = OLD.sign_in_id AND ended_at IS NULL
            AND NOT EXISTS (SELECT 1 FROM blocklist_entry WHERE token_id = OLD.sign_in_id AND kind = 'sid')
            AND NOT EXISTS (SELECT 1 FROM blocklist_entry WHERE owner_id = user_id AND before > created_at)
            AND NOT EXISTS (SELECT 1 FROM blocklist_entry WHERE owner_id IS NULL AND before > created_at);
    END
    """,
    "session_changed": f"""
    AFTER UPDATE OF session_key, sign_in_id ON accounts_session
    WHEN OLD.sign_in_id IS NOT NULL
        AND (OLD.session_key <> NEW.session_key OR OLD.sign_in_id IS NOT NEW.sign_in_id)
        AND {IS_HASH}
    BEGIN
        INSERT INTO blocklist_entry (token_id, kind, blocked_at, until)
        VALUES (substr(OLD.session_key, 1, 32), 'key', {NOW}, {SESSIONS_FORGOTTEN});
    END
    """,
}


def add_triggers(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    statements = {
        "postgresql": [POSTGRESQL],
        "sqlite": [f"CREATE TRIGGER {name} {sql}" for name, sql in SQLITE.items()],
    }
    for statement in statements[schema_editor.connection.vendor]:
        schema_editor.execute(statement, params=None)


def drop_triggers(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    statements = {"postgresql": [POSTGRESQL_BACK], "sqlite": [f"DROP TRIGGER {name}" for name in SQLITE]}
    for statement in statements[schema_editor.connection.vendor]:
        schema_editor.execute(statement, params=None)


class Migration(migrations.Migration):
    """
    Triggers for changes that pass by our code: they end sign-ins, and write the blocklist. Our own code marks what it
    does (`is_end_announced`, `generation`), so that they do not fire for it.
    """

    dependencies = [
        ("accounts", "0032_announced_ends"),
        ("blocklist", "0010_session_keys"),
    ]

    operations = [
        migrations.RunPython(add_triggers, drop_triggers),
    ]
