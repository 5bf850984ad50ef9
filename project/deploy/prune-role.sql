-- The role of `manage.py prune`, for psql as a superuser, before roles.sql: only this role then deletes old events.
--   PRUNE_PASSWORD=… psql --dbname=wristband --file=project/deploy/prune-role.sql
\set ON_ERROR_STOP on
\getenv prune_password PRUNE_PASSWORD
CREATE ROLE wristband_prune LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'prune_password';
