-- Three database roles for PostgreSQL 14 or newer:
--   wristband_owner   owns the tables. Only `manage.py migrate` uses it.
--   wristband         reads and writes rows. Nodes, workers and all other commands use it.
--   wristband_prune   as wristband, and deletes security events. Only `manage.py prune` uses it.
-- wristband cannot create, change, drop or truncate anything, change a security event, delete one, or write the list of
-- migrations.
--
-- Run it as a superuser in the project's database, before the first `migrate` and after each one:
--   psql --dbname=wristband --file=project/deploy/roles.sql
-- Then give each role a password once, in psql: \password wristband_owner
-- It can be repeated at any time. Objects that wristband has owned until now become wristband_owner's.

BEGIN;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['wristband_owner', 'wristband', 'wristband_prune'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I', name);
        END IF;
        EXECUTE format('ALTER ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS', name);
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), name);
    END LOOP;
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
END $$;

REASSIGN OWNED BY wristband TO wristband_owner;
GRANT wristband TO wristband_prune;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO wristband_owner;
GRANT USAGE ON SCHEMA public TO wristband;

-- Tables that exist, and those that later migrations create.
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO wristband;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO wristband;
ALTER DEFAULT PRIVILEGES FOR ROLE wristband_owner IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO wristband;
ALTER DEFAULT PRIVILEGES FOR ROLE wristband_owner IN SCHEMA public GRANT USAGE ON SEQUENCES TO wristband;

DO $$
BEGIN
    -- Before the first `migrate` they do not exist.
    IF to_regclass('public.accounts_securityevent') IS NOT NULL THEN
        REVOKE UPDATE, DELETE ON accounts_securityevent FROM wristband;
        -- The deletion of a user removes the user from the events, which stay.
        GRANT UPDATE (user_id, actor_id) ON accounts_securityevent TO wristband;
        GRANT DELETE ON accounts_securityevent TO wristband_prune;
        REVOKE INSERT, UPDATE, DELETE ON django_migrations FROM wristband;
    END IF;
END $$;

COMMIT;
