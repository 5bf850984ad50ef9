"""
Django's PostgreSQL, for which a process that answers requests does not wait for ever. TCP tells of a server that is
gone, and PostgreSQL ends its own slow statements; of one that is stopped in mid-air only the clock tells.
"""


class Patience:
    """How long this process waits for one statement, in seconds. None: as long as it takes, which is for commands."""

    limit: float | None = None


patience = Patience()
