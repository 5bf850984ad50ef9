"""
Django's PostgreSQL backend with a deadline for statements of requests. TCP detects a lost server, and PostgreSQL ends
its own slow statements; only this process's clock detects a server that stops responding with its connections open.
"""


class StatementDeadline:
    """How long this process waits for one statement, in seconds. None: without limit, as in commands."""

    seconds: float | None = None


statement_deadline = StatementDeadline()
