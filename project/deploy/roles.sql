-- Two roles and their rights, for psql as a superuser in a new database named wristband:
--   OWNER_PASSWORD=… DATABASE_PASSWORD=… psql --dbname wristband --file roles.sql
-- wristband_owner migrates. wristband serves: it reads and writes rows, and cannot change tables or triggers.
\set ON_ERROR_STOP on
\getenv owner_password OWNER_PASSWORD
\getenv database_password DATABASE_PASSWORD
CREATE ROLE wristband_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE wristband LOGIN PASSWORD :'database_password';
ALTER DATABASE wristband OWNER TO wristband_owner;
REVOKE ALL ON DATABASE wristband FROM PUBLIC;
GRANT CONNECT ON DATABASE wristband TO wristband;
ALTER SCHEMA public OWNER TO wristband_owner;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO wristband;
ALTER DEFAULT PRIVILEGES FOR ROLE wristband_owner IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO wristband;
ALTER DEFAULT PRIVILEGES FOR ROLE wristband_owner IN SCHEMA public GRANT USAGE, SELECT, UPDATE ON SEQUENCES TO wristband;
