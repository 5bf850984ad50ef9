-- Two database roles, for psql as a superuser in the project's database (PostgreSQL 14 or newer):
--   OWNER_PASSWORD=… DATABASE_PASSWORD=… psql --dbname=wristband --file=project/deploy/roles.sql
--
-- wristband_owner owns the tables: for `manage.py migrate` only.
-- wristband serves, and runs all other commands. It reads and writes rows, and cannot create, change, drop or truncate
-- anything.
--
-- It can be repeated at any time, without passwords to keep those that are set. Objects that wristband has owned until now
-- become wristband_owner's. After the first `migrate`, run it again: it then takes from wristband the rights to change
-- security events and to write the list of migrations.
-- If there is a role wristband_prune (CREATE ROLE wristband_prune LOGIN), only it may delete security events: for
-- `manage.py prune`. Otherwise wristband may.
\set ON_ERROR_STOP on
\getenv owner_password OWNER_PASSWORD
\getenv database_password DATABASE_PASSWORD

BEGIN;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['wristband_owner', 'wristband'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I', name);
        END IF;
        EXECUTE format('ALTER ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS', name);
    END LOOP;
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO wristband', current_database());
END $$;

\if :{?owner_password}
ALTER ROLE wristband_owner PASSWORD :'owner_password';
\endif
\if :{?database_password}
ALTER ROLE wristband PASSWORD :'database_password';
\endif

REASSIGN OWNED BY wristband TO wristband_owner;
DO $$
BEGIN
    EXECUTE format('ALTER DATABASE %I OWNER TO wristband_owner', current_database());
END $$;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
ALTER SCHEMA public OWNER TO wristband_owner;
GRANT USAGE ON SCHEMA public TO wristband;

-- Tables that exist, and those that later migrations create. `manage.py after_restore` sets sequences.
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO wristband;
GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA public TO wristband;
ALTER DEFAULT PRIVILEGES FOR ROLE wristband_owner IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO wristband;
ALTER DEFAULT PRIVILEGES FOR ROLE wristband_owner IN SCHEMA public
    GRANT USAGE, SELECT, UPDATE ON SEQUENCES TO wristband;

DO $$
BEGIN
    -- Before the first `migrate` they do not exist.
    IF to_regclass('public.accounts_securityevent') IS NULL THEN
        RETURN;
    END IF;
    REVOKE INSERT, UPDATE, DELETE ON django_migrations FROM wristband;
    REVOKE UPDATE ON accounts_securityevent FROM wristband;
    -- The deletion of a user removes the user from the events, which stay.
    GRANT UPDATE (user_id, actor_id) ON accounts_securityevent TO wristband;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'wristband_prune') THEN
        GRANT wristband TO wristband_prune;
        REVOKE DELETE ON accounts_securityevent FROM wristband;
        GRANT DELETE ON accounts_securityevent TO wristband_prune;
    END IF;
END $$;

COMMIT;
