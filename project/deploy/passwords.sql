-- The passwords of the roles in roles.sql, for psql as a superuser: from OWNER_PASSWORD, DATABASE_PASSWORD, PRUNE_PASSWORD.
\set ON_ERROR_STOP on
\getenv owner_password OWNER_PASSWORD
\getenv database_password DATABASE_PASSWORD
\getenv prune_password PRUNE_PASSWORD
ALTER ROLE wristband_owner PASSWORD :'owner_password';
ALTER ROLE wristband PASSWORD :'database_password';
ALTER ROLE wristband_prune PASSWORD :'prune_password';
