"""Migrated databases for the servers that tests start."""

import os
from pathlib import Path
from uuid import uuid4

import psycopg
from psycopg import sql

from tests import servers

TEMPLATE = "migrated"
# Of the advisory lock: one process of a run makes the template.
LOCK = 812_004


def migrated(folder: Path, name: str) -> str:
    """Returns the URL of a new database in the store of this run: PostgreSQL, or a file of SQLite in the folder."""
    server_url, name = os.environ["DATABASE_URL"], f"{name}_{uuid4().hex}"
    if server_url:
        return _copied(server_url, name)
    url = f"sqlite:///{folder / name}.sqlite3"
    servers.manage({"DATABASE_URL": url, "DEBUG": "true"}, "migrate", "--verbosity=0")
    return url


def _copied(server_url: str, name: str) -> str:
    """A copy of a database that is migrated once for each server, with a key of its own (api.blocklist)."""
    url = f"{server_url.rpartition('/')[0]}/{name}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        has_template = "SELECT FROM pg_database WHERE datname = %s AND datistemplate"
        if connection.execute(has_template, [TEMPLATE]).fetchone() is None:
            template_url = servers.create_database(server_url, TEMPLATE)
            servers.manage({"DATABASE_URL": template_url, "DEBUG": "true"}, "migrate", "--verbosity=0")
            connection.execute(f"ALTER DATABASE {TEMPLATE} IS_TEMPLATE true")
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*map(sql.Identifier, (name, TEMPLATE))))
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE blocklist_store SET key = gen_random_uuid()")
    return url
