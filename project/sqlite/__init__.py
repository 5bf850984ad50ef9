"""Django's SQLite, whose files only their owner may read: they hold password hashes and addresses."""
