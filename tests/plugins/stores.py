"""
Selection of tests and stores: SQLite, or with --distributed a PostgreSQL and a Valkey started for the run.

A run of the whole suite has two parts, SQLite and then --distributed. Without --long each part has its everyday tests,
with --long all others of that part.
"""

import os
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from project import PRODUCT_SETTINGS
from tests import servers

# The environment and the .env file of a developer do not change the results.
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
    "API_KEY_MAX_DAYS",
    "APP_ORIGINS",
    "BREACHED_PASSWORDS",
    "BROWSER_SESSION_DAYS",
    "CORS_ALLOWED_ORIGINS",
    "CORS_ALLOW_HEADERS",
    "CORS_EXPOSE_HEADERS",
    "CSRF_TRUSTED_ORIGINS",
    "DATABASE_PGBOUNCER",
    "DATABASE_POOL_SIZE",
    "DATABASE_TIMEOUT_SECONDS",
    "DBSC",
    "DBSC_TERM_SECONDS",
    "DEMO",
    "DEVICE_FLOW",
    "DPOP_REQUIRED",
    "EMAIL_CONFIRM_URL",
    "EVENTS_URL",
    "EVENT_KEEP_DAYS",
    "GROUP_LIMITS",
    "HASHES_AT_ONCE",
    "HSTS_PRELOAD",
    "HSTS_SUBDOMAINS",
    "JWT_AUDIENCE",
    "JWT_AUDIENCES",
    "JWT_ISSUER",
    "JWT_KEYS",
    "JWT_LEEWAY_SECONDS",
    "JWT_STATUS_LIST",
    "LEGACY_JWT_KEY",
    "LEGACY_JWT_UNTIL",
    "LEGACY_SESSION_COOKIE",
    "LEGACY_SESSION_KEY",
    "LEGACY_SESSION_UNTIL",
    "MAX_FORM_KILOBYTES",
    "METRICS_ADDRESSES",
    "METRICS_TOKEN",
    "OPENID_PROVIDERS",
    "PASSWORD_MIN_LENGTH",
    "PASSWORD_RESET_URL",
    "PROMETHEUS_MULTIPROC_DIR",
    "RECENT_PROOF_MINUTES",
    "REDIS_CLUSTER",
    "REDIS_SENTINELS",
    "REFRESH_GRACE_SECONDS",
    "REFRESH_PARENT_GRACE_DAYS",
    "REFRESH_TOKEN_DAYS",
    "SECOND_FACTOR",
    "SECRET_KEY_FALLBACKS",
    "SESSION_RECHECK_SECONDS",
    "SIGN_INS_PER_USER",
    "SIGN_IN_KEEP_DAYS",
    "SIGN_IN_MAX_DAYS",
    "SITE_NAME",
    "SITE_URL",
    "STAFF_IDLE_MINUTES",
    "STAFF_MAX_HOURS",
    "TOKEN_RATE",
    "TRACES_URL",
    "TRUSTED_PROXIES",
    "UNCONFIRMED_KEEP_DAYS",
    "WEB_CONCURRENCY",
)

# Tests that share servers, or a browser, run in one process, which starts them once. (pytest-xdist 3.8 has
# --dist=loadgroup for this, which does nothing under pytest 9.2.)
TOGETHER = {
    "cluster": ("tests/api/test_rotation_live.py",),
    "fleet": (
        "tests/accounts/test_hashing.py::test_slots_are_shared",
        "tests/accounts/test_parallel_requests.py",
        "tests/accounts/test_stale_writes.py",
        "tests/api/test_processes.py",
        "tests/api/test_schema_client.py",
    ),
    "issuer": ("tests/interop/",),
    "migrate": ("tests/project/test_migrate_command.py",),
    "app": ("tests/e2e/test_documented_app.py", "tests/e2e/test_origins.py"),
    "client": ("tests/e2e/test_client_",),
    "deployed": ("tests/project/test_deployed.py",),
    "product": ("tests/project/test_product.py",),
    "roles": ("tests/topologies/test_roles.py",),
    "stage": ("tests/e2e/test_compare.py", "tests/e2e/test_budgets.py"),
    "site": ("tests/e2e/",),
    "workers": ("tests/api/blocklist/test_workers.py",),
    "restored": (
        "tests/project/test_restored_nodes.py::test_a_dump",
        "tests/project/test_restored_nodes.py::test_rows",
        "tests/project/test_restored_nodes.py::test_a_fail_over",
    ),
}


# Tests that depend on the stores: everyday tests of both parts. (Tests marked "once" run in the second part only.)
ON_BOTH_STORES = (
    "tests/accounts/test_after_restore.py",
    "tests/accounts/test_changed_columns.py",
    "tests/accounts/test_end_sign_ins_command.py",
    "tests/accounts/test_ending_in_batches.py",
    "tests/accounts/test_events_below_the_orm.py",
    "tests/accounts/test_hand_written_sql.py",
    "tests/accounts/test_hashing.py",
    "tests/accounts/test_parallel_requests.py",
    "tests/accounts/test_races.py",
    "tests/accounts/test_revocation",
    "tests/accounts/test_session_keys.py",
    "tests/accounts/test_wholesale_end.py",
    "tests/api/blocklist/test_entry_kinds.py",
    "tests/api/blocklist/test_mirror.py",
    "tests/api/blocklist/test_pubsub.py",
    "tests/api/blocklist/test_raw_sql.py",
    "tests/api/blocklist/test_restore.py",
    "tests/api/blocklist/test_wholesale.py",
    "tests/api/test_database_failures.py",
    "tests/api/test_health.py",
    "tests/api/test_processes.py",
    "tests/api/test_private_apis.py",
    "tests/api/test_refresh.py",
    "tests/api/test_token_cache.py",
    "tests/api/test_replay.py",
    "tests/project/test_prune.py",
)

# Why a test is left out, and how to run it.
LONG = "take long: python -m pytest -n auto --long"
NEEDS_SERVERS = "need PostgreSQL and Valkey: --distributed, and the second part of a run of all"
SQLITE_ONLY = "run on SQLite only, unless with --long"
SEEN_ON_SQLITE = "ran on SQLite, and every ninth of their kind here: name their file"
TESTS_APART = 9
MANY_VALUES, VALUES_OF_EVERYDAY = 3, 3
OTHER_VALUES = "have other values, half of which ran: name their file"
EVERYDAY = "are everyday tests: without --long"
NO_STORE = "use no store, and ran in the first part"
NAMED = "put faults into the code, measure time, or take very long: name their file, with --long"

left_out: Counter[str] = Counter()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--distributed", action="store_true", help="run on PostgreSQL and Valkey, started for this run")
    parser.addoption("--long", action="store_true", help="run the tests that an everyday run leaves out")


def is_of_all(config: pytest.Config) -> bool:
    """Whether the whole suite was requested."""
    return [Path(each).resolve() for each in config.args] == [config.rootpath / "tests"]


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main(config: pytest.Config) -> Any:
    status = yield
    option = config.option
    is_partial = option.distributed or option.collectonly or option.keyword or option.markexpr or not is_of_all(config)
    if hasattr(config, "workerinput") or is_partial or status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        return status
    second = subprocess.call([sys.executable, "-m", "pytest", *config.invocation_params.args, "--distributed"])
    return status or second


# Before pytest-xdist, which answers with the number of cores.
@pytest.hookimpl(tryfirst=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than the cores, since many tests wait for servers."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    # Before pytest-django, which reads the settings in the same hook.
    given = os.environ.get("DATABASE_URL", "")
    os.environ.update(ENVIRONMENT)
    for name in DEFAULTS:
        os.environ.pop(name, None)
    if is_of_product(early_config):
        # The tests of a product run with its settings. Those of the project run with ours, beside any product.
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", PRODUCT_SETTINGS)
    else:
        # The pages of the demo are tested, too.
        os.environ["DEMO"] = "true"
    if not early_config.known_args_namespace.distributed:
        return
    stores = ExitStack()
    early_config.add_cleanup(stores.close)
    is_worker = "PYTEST_XDIST_WORKER" in os.environ
    os.environ["DATABASE_URL"] = given if is_worker else stores.enter_context(servers.postgres()).url
    # One for each worker, since broadcasts and FLUSHALL apply to all database numbers.
    os.environ["REDIS_URL"] = stores.enter_context(servers.valkey()).url


def is_of_product(config: pytest.Config) -> bool:
    """Whether the run is of files in the folder of a product."""
    named = [Path(str(each).partition("::")[0]).resolve() for each in config.known_args_namespace.file_or_dir]
    return bool(named) and all(path.is_relative_to(config.rootpath / "product") for path in named)


class Together(LoadScopeScheduling):
    """A scheduler of pytest-xdist: tests that share servers are one unit, and every other test is one."""

    def _split_scope(self, nodeid: str) -> str:
        return next((name for name, places in TOGETHER.items() if nodeid.startswith(places)), nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Together:
    return Together(config, log)


def reason_against(item: pytest.Item) -> str:
    """Returns why this run leaves the test out; empty if it runs."""
    option, is_long, is_once = item.config.option, *(bool(item.get_closest_marker(each)) for each in ("long", "once"))
    if is_once and not option.distributed:
        return NEEDS_SERVERS
    if item.get_closest_marker("named") and is_of_all(item.config):
        return NAMED
    is_everyday = not is_long and (not option.distributed or is_once or item.nodeid.startswith(ON_BOTH_STORES))
    if option.long and option.distributed and is_of_all(item.config) and not (is_long or is_once or uses_store(item)):
        return NO_STORE
    if option.long:
        return EVERYDAY if is_everyday else ""
    if is_long:
        return LONG
    return "" if is_everyday or not is_of_all(item.config) else SQLITE_ONLY


def uses_store(item: pytest.Item) -> bool:
    """Whether the test uses the database, itself or by a fixture."""
    fixtures = set(getattr(item, "fixturenames", ()))
    return item.get_closest_marker("django_db") is not None or not fixtures.isdisjoint(
        {"db", "transactional_db", "fleet"}
    )


# After pytest-randomly, which is loaded later.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    reasons = {item: reason_against(item) for item in items}
    if is_of_all(config):
        leave_values_to_long(config, items, reasons)
        leave_out_seen(config, reasons)
    left_out.update(filter(None, reasons.values()))
    config.hook.pytest_deselected(items=[item for item, reason in reasons.items() if reason])
    items[:] = [item for item in items if not reasons[item]]
    # Long tests first: one at the end would delay the whole run. Tests that empty the database come last, as
    # pytest-django sorts them.
    items.sort(key=lambda item: (empties_the_database(item), item.get_closest_marker("long") is None))


def leave_values_to_long(config: pytest.Config, items: list[pytest.Item], reasons: dict[pytest.Item, str]) -> None:
    """
    Of everyday tests with more than MANY_VALUES, every third value runs without --long, and a random half of the others
    with it.
    """
    place = {item: number for number, item in enumerate(items)}
    functions: dict[str, list[pytest.Item]] = {}
    for item in sorted(items, key=lambda item: item.nodeid):
        functions.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for values in functions.values():
        if len(values) <= MANY_VALUES:
            continue
        others = [item for number, item in enumerate(values) if number % VALUES_OF_EVERYDAY]
        for item in others:
            if config.option.long and reasons[item] == EVERYDAY:
                reasons[item] = "" if place[item] % 2 else OTHER_VALUES
            elif not config.option.long and not reasons[item]:
                reasons[item] = LONG


def leave_out_seen(config: pytest.Config, reasons: dict[pytest.Item, str]) -> None:
    """With --distributed --long, every ninth of the everyday tests runs, in random order: SQLite has seen them all."""
    if not (config.option.long and config.option.distributed):
        return
    seen = [item for item, reason in reasons.items() if not reason and is_left_to_sqlite(item)]
    for number, item in enumerate(seen):
        if number % TESTS_APART:
            reasons[item] = SEEN_ON_SQLITE


def is_left_to_sqlite(item: pytest.Item) -> bool:
    is_marked = any(map(item.get_closest_marker, ("long", "once")))
    return not is_marked and not item.nodeid.startswith(ON_BOTH_STORES)


def empties_the_database(item: pytest.Item) -> bool:
    marker = item.get_closest_marker("django_db")
    fixtures = {"transactional_db", "live_server"} & set(getattr(item, "fixturenames", ()))
    return bool(fixtures or (marker and marker.kwargs.get("transaction")))


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = dict(left_out)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    # Every worker has collected the same tests.
    left_out.update(Counter(getattr(node, "workeroutput", {}).get("left_out", {})) - left_out)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if left_out:
        terminalreporter.section("left out")
        for reason, count in left_out.items():
            terminalreporter.line(f"{count} tests {reason}")


def pytest_report_header() -> str:
    return f"stores: {os.environ['DATABASE_URL'] or 'SQLite'}, {os.environ['REDIS_URL'] or 'no Redis'}"
