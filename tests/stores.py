"""Which stores a test run is on: the embedded default, or with --distributed PostgreSQL and Valkey of its own."""

import os
from contextlib import ExitStack

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests import servers

# A developer's own environment, or .env file, has no say in the outcome.
ENVIRONMENT = {
    "ENV_FILE": "",
    "SECRET_KEY": "tests-only-7Qm2xVr9Lk4TzWc8NfHs3YbJd6PgAu5EeKt1RoXi",
    "DEBUG": "",
    "ALLOWED_HOSTS": "testserver,localhost,127.0.0.1",
    "DATABASE_URL": "",
    "REDIS_URL": "",
    "EMAIL_URL": "consolemail://",
    "NO_PROXY": "localhost,127.0.0.1",
}
DEFAULTS = (
    "ACCESS_TOKEN_MINUTES",
    "ACCOUNT_RATE",
    "BROWSER_SESSION_DAYS",
    "CORS_ALLOWED_ORIGINS",
    "CSRF_TRUSTED_ORIGINS",
    "DATABASE_PGBOUNCER",
    "DATABASE_POOL_SIZE",
    "DATABASE_TIMEOUT_SECONDS",
    "DEMO",
    "DPOP_REQUIRED",
    "EVENT_KEEP_DAYS",
    "HASHES_AT_ONCE",
    "JWT_AUDIENCE",
    "JWT_AUDIENCES",
    "JWT_ISSUER",
    "JWT_KEYS",
    "JWT_LEEWAY_SECONDS",
    "JWT_STATUS_LIST",
    "MAX_FORM_KILOBYTES",
    "METRICS_ADDRESSES",
    "METRICS_TOKEN",
    "PASSWORD_MIN_LENGTH",
    "PROMETHEUS_MULTIPROC_DIR",
    "RECENT_PROOF_MINUTES",
    "REDIS_CLUSTER",
    "REDIS_SENTINELS",
    "REFRESH_GRACE_SECONDS",
    "REFRESH_TOKEN_DAYS",
    "SECRET_KEY_FALLBACKS",
    "SIGN_IN_KEEP_DAYS",
    "SIGN_IN_MAX_DAYS",
    "SITE_URL",
    "TOKEN_RATE",
    "TRUSTED_PROXIES",
    "UNCONFIRMED_KEEP_DAYS",
    "WEB_CONCURRENCY",
)

# Tests that share servers, or a browser, run in one process, which starts them once. (pytest-xdist 3.8 has
# --dist=loadgroup for this, which does nothing under pytest 9.2.)
TOGETHER = {
    "cluster": ("tests/api/test_rotation_live.py",),
    "fleet": (
        "tests/accounts/test_hashing.py::test_turns",
        "tests/accounts/test_lock_processes.py",
        "tests/accounts/test_stale_writes.py",
        "tests/api/test_processes.py",
        "tests/api/test_schema_client.py",
    ),
    "issuer": ("tests/strangers/",),
    "site": ("tests/e2e/",),
    "workers": ("tests/api/blocklist/test_workers.py",),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--distributed", action="store_true", help="run on PostgreSQL and Valkey, started for this run")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    # Before pytest-django, which reads the settings in the same hook.
    given = os.environ.get("DATABASE_URL", "")
    os.environ.update(ENVIRONMENT)
    for name in DEFAULTS:
        os.environ.pop(name, None)
    # The pages of the demo are tested like the others.
    os.environ["DEMO"] = "true"
    if not early_config.known_args_namespace.distributed:
        return
    stores = ExitStack()
    early_config.add_cleanup(stores.close)
    is_worker = "PYTEST_XDIST_WORKER" in os.environ
    os.environ["DATABASE_URL"] = given if is_worker else stores.enter_context(servers.postgres()).url
    # One for each worker, since neither a broadcast nor FLUSHALL knows database numbers.
    os.environ["REDIS_URL"] = stores.enter_context(servers.valkey()).url


class Together(LoadScopeScheduling):
    """pytest-xdist's scheduler, for which all that shares servers is one piece of work, and each other test is one."""

    def _split_scope(self, nodeid: str) -> str:
        return next((name for name, places in TOGETHER.items() if nodeid.startswith(places)), nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Together:
    return Together(config, log)


# After pytest-randomly, which is loaded later.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.option.distributed:
        left_to_the_other_run = [item for item in items if item.get_closest_marker("once")]
        config.hook.pytest_deselected(items=left_to_the_other_run)
        items[:] = [item for item in items if not item.get_closest_marker("once")]
    # A long one that came last would keep one process busy, and all others waiting.
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_report_header() -> str:
    return f"stores: {os.environ['DATABASE_URL'] or 'SQLite'}, {os.environ['REDIS_URL'] or 'no Redis'}"
