"""The security documents match the code: their values are those of the code, and each named test exists."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth import password_validation as django_password_validation

from accounts import addresses, models, password_validation, rate_limits
from accounts.factors import removals, second_step
from accounts.http import request_context
from accounts.models.factors import MAX_FAILURES
from accounts.models.lifetimes import LAST_SEEN_PRECISION
from accounts.rate_limits import LIMITS, Kind
from api import dpop
from api.blocklist import mirror
from tests.plugins.mutation import owner_of
from tests.security.mutation_check import CONTROLS

ROOT = Path(__file__).resolve().parent.parent.parent
ASVS = (ROOT / "project" / "ASVS.md").read_text()
SECURITY = (ROOT / "SECURITY.md").read_text()
TEXT = SECURITY + (ROOT / "accounts" / "README.md").read_text()
VERDICTS = {"met", "not met", "not applicable"}
ROW = re.compile(r"^\| (\d+\.\d+\.\d+) \| ([123]) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
TEST = re.compile(r"`([\w/]+)::(\w+)`")
# OWASP ASVS 5.0.0: the level of each requirement of a section, in order.
LEVELS = {
    "3.1": "3",
    "3.2": "113",
    "3.3": "12223",
    "3.4": "11222233",
    "3.5": "11122333",
    "3.6": "3",
    "3.7": "22333",
    "4.1": "12233",
    "4.2": "23333",
    "4.3": "22",
    "4.4": "1222",
    "6.1": "122",
    "6.2": "111111112222",
    "6.3": "11223333",
    "6.4": "112233",
    "6.5": "22222333",
    "6.6": "2223",
    "6.7": "33",
    "6.8": "2222",
    "7.1": "222",
    "7.2": "1111",
    "7.3": "22",
    "7.4": "11222",
    "7.5": "223",
    "7.6": "22",
    "8.1": "1233",
    "8.2": "1123",
    "8.3": "133",
    "8.4": "23",
    "9.1": "111",
    "9.2": "1222",
    "13.1": "2333",
    "13.2": "222223",
    "13.3": "2233",
    "13.4": "1222233",
    "14.1": "22",
    "14.2": "12223333",
    "14.3": "122",
    "16.1": "2",
    "16.2": "22222",
    "16.3": "2222",
    "16.4": "222",
    "16.5": "2223",
}
# Their additional demands at level 3 have a row of their own.
MORE_AT_LEVEL_3 = {"3.4.3", "6.3.3", "13.3.1", "16.3.2"}


def rows() -> list[tuple[str, str, str, str, str]]:
    return ROW.findall(ASVS)


def flat(text: str) -> str:
    return " ".join(text.split())


# The table


def test_every_requirement_has_its_row_in_order():
    wanted = {(f"{section}.{i}", level) for section, levels in LEVELS.items() for i, level in enumerate(levels, 1)}
    wanted |= {(number, "3") for number in MORE_AT_LEVEL_3}
    found = [(number, level) for number, level, *_ in rows()]
    assert Counter(found) == Counter(wanted)
    # Every row has the same form, so that none is skipped here.
    assert len(re.findall(r"^\| ?\d+\.\d+", ASVS, re.MULTILINE)) == len(found)
    assert found == sorted(found, key=lambda each: ([int(part) for part in each[0].split(".")], each[1]))


def test_every_row_has_a_verdict_and_a_reason():
    for number, _level, what, verdict, ground in rows():
        assert verdict in VERDICTS, number
        assert what.strip(), number
        assert TEST.search(ground) if verdict == "met" else re.search(r"\w.*[.;]", ground), number


@cache
def names_in(name: str) -> set[str]:
    """Returns the names of the tests in a file, which is parsed and not run."""
    folder, _, module = name.rpartition("/")
    path = ROOT / "tests" / folder / f"test_{module}.py"
    if not path.is_file():
        return set()
    tree = ast.parse(path.read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_named_test_exists():
    named = TEST.findall(ASVS + TEXT)
    assert len(named) > 200
    assert not [f"{module}::{name}" for module, name in named if f"test_{name}" not in names_in(module)]


def test_the_totals_match_the_rows():
    of_chapter = Counter((f"V{number.partition('.')[0]}", verdict) for number, _, _, verdict, _ in rows())
    totals = re.findall(r"^\| (V\d+|all)[^|]* \| (\d+) \| (\d+) \| (\d+) \|$", ASVS, re.MULTILINE)
    assert [chapter for chapter, *_ in totals] == [*dict.fromkeys(chapter for chapter, _ in of_chapter), "all"]
    for chapter, *counts in totals:
        wanted = [
            sum(of_chapter[each] for each in of_chapter if chapter in (each[0], "all") and each[1] == verdict)
            for verdict in ("met", "not met", "not applicable")
        ]
        assert list(map(int, counts)) == wanted, chapter
    total = Counter(verdict for *_, verdict, _ in rows())
    not_met = Counter(level for _, level, _, verdict, _ in rows() if verdict == "not met")
    assert (
        f"Of {len(rows())} rows, {total['met']} are met, {total['not met']} are not, and {total['not applicable']} are "
        f"not applicable. Not met are "
        f"{not_met['1']} at level 1, {not_met['2']} at level 2 and {not_met['3']} at level 3."
    ) in flat(ASVS)


def test_every_control_of_the_mutation_check_is_in_the_table():
    grounds = {
        (number, test) for number, _, _, verdict, ground in rows() if verdict == "met" for test in TEST.findall(ground)
    }
    for control in CONTROLS:
        assert (control.requirement, tuple(control.test.split("::"))) in grounds
    assert f"{len(CONTROLS)} controls were removed one by one" in flat(ASVS)


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.requirement)
def test_a_mutation_changes_something_that_exists(control):
    owner, name = owner_of(control.target)
    original = getattr(owner, name)
    assert control.change(original) != original


def test_the_linked_sections_exist():
    links = set(re.findall(r"\]\(((?:\.\./)?[\w/]+\.md)#([\w-]+)\)", ASVS))
    assert links == {
        ("../SECURITY.md", "ways-to-sign-in"),
        ("../SECURITY.md", "timeouts"),
        ("../SECURITY.md", "permissions"),
        ("../SECURITY.md", "stored-data"),
        ("../SECURITY.md", "secrets-and-keys"),
        ("../SECURITY.md", "outgoing-connections"),
        ("../SECURITY.md", "logs"),
        ("../SECURITY.md", "browser-features"),
        ("../accounts/README.md", "limits"),
        ("../accounts/README.md", "passwords"),
        ("../accounts/README.md", "events"),
        ("MONITORING.md", "send-security-events"),
        ("README.md", "keys"),
        ("README.md", "connections"),
    }
    for file, anchor in links:
        text = (ROOT / "project" / file).read_text()
        sections = re.findall(r"^##+ (.+)\n\n(?:\S|### )", text, re.MULTILINE)
        assert anchor in {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in sections}


# Promises


def words(span: timedelta) -> str:
    """Returns a duration in the largest unit of which it is a whole number."""
    for unit, length in {"day": 86400, "hour": 3600, "minute": 60, "second": 1}.items():
        number, rest = divmod(span.total_seconds(), length)
        if number and not rest:
            return f"{number:.0f} {unit}{'' if number == 1 else 's'}"
    raise ValueError(span)


def promises() -> Iterator[str]:
    most, unkept, kept = (
        words(each) for each in (settings.SIGN_IN_MAX, settings.BROWSER_IDLE_TIMEOUT, settings.REMEMBER_ME_IDLE_TIMEOUT)
    )
    yield f"| a browser session | {unkept}, or when the browser is closed | {most} |"
    yield f'| a browser session with "keep me signed in" | {kept} | {most} |'
    yield f"| a client's sign-in, by its refresh token | {words(settings.REFRESH_TOKEN)} | {most} |"
    yield f"| an access token | | {words(settings.ACCESS_TOKEN)} |"
    yield f"| the proof given for an important step | | {words(settings.REAUTHENTICATION_TIMEOUT)} |"
    yield f"need a proof given in the last {words(settings.REAUTHENTICATION_TIMEOUT)}:"
    yield f"| the second step of a sign-in | | {words(second_step.MAX_AGE)} |"
    yield f"| the delay of a removal of lost factors | | {removals.DELAY.total_seconds() / 3600:.0f} hours |"
    yield f"{MAX_FAILURES} in a row disable the factor"
    yield f"`SECOND_FACTOR` sets who can and must have one: `off`, `{settings.SECOND_FACTOR}` (the default)"
    yield f"| a link in a mail, valid once | | {words(timedelta(seconds=settings.PASSWORD_RESET_TIMEOUT))} |"
    for kind, whose in {
        Kind.PAIR: "at one account, from one address",
        Kind.ACCOUNT: "at one account, from all addresses",
        Kind.ADDRESS: "at any account, from one address",
        Kind.DEVICE: "at one account, from a known browser",
        Kind.INSIDE: "at one account, by a client or browser that is signed in to it",
        Kind.CODE: "codes of one method of an account's second factor",
    }.items():
        limit = LIMITS[kind]
        waits = f"{limit.free_attempts} | {words(limit.longest_wait)} | {limit.max_attempts} | {words(limit.window)}"
        yield f"| {whose} | {waits} |"
    yield (
        f"{LIMITS[Kind.RESET].max_attempts} reset mails an hour are sent to an address. From one IP address, "
        f"{LIMITS[Kind.RESETTING].max_attempts} resets and "
        f"{LIMITS[Kind.SIGN_UP].max_attempts} new accounts an hour are accepted."
    )
    of_address, of_account = LIMITS[Kind.CONFIRM].max_attempts, LIMITS[Kind.CONFIRMING].max_attempts
    yield f"{of_address} confirmation mails an hour are sent to an address, and {of_account} for an account."
    of_address, of_account = LIMITS[Kind.NOTICE].max_attempts, LIMITS[Kind.NOTIFYING].max_attempts
    yield f"{of_address} notices an hour are sent to an address, and {of_account} about an account."
    yield f"one mail summarises the hour, and {LIMITS[Kind.URGENT].max_attempts} more of each urgent kind is sent"
    yield f"An IPv6 address stands for its /{addresses.IPV6_NETWORK_BITS} network."
    yield f"with {rate_limits.CLIENTS_IN_CROWD} times the limits of one address"
    rates = settings.REST_FRAMEWORK["DEFAULT_THROTTLE_RATES"]
    yield f"`TOKEN_RATE` ({rates['tokens']}) limits"
    yield f"`ACCOUNT_RATE` ({rates['accounts']}) limits"
    most = password_validation.MAX_LENGTH
    yield f"has at least {settings.PASSWORD_MIN_LENGTH} characters and at most {most}, of any kind"
    yield f"(`User-Agent`, cut to {request_context.USER_AGENT_MAX_LENGTH} characters)"
    yield f"when last seen (to {words(LAST_SEEN_PRECISION)})"
    yield f"{words(settings.SIGN_IN_KEEP)} after the sign-in ended (`SIGN_IN_KEEP_DAYS`)"
    yield f"{settings.EVENT_KEEP.days} days (`EVENT_KEEP_DAYS`)"
    yield f"go after {words(settings.UNCONFIRMED_KEEP)} (`UNCONFIRMED_KEEP_DAYS`)"
    yield f"gives the same successor for {words(settings.REFRESH_GRACE)}, so"
    yield f"A proof is accepted once, and for {dpop.MAX_AGE_SECONDS} seconds."
    yield f"go on for at most {mirror.STALE_FOR_SECONDS:.0f} seconds"
    yield "within three working days, and a fix within ninety days"
    seconds = settings.REDIS_TIMEOUT_SECONDS
    yield f"{seconds} seconds to connect and as much to answer"
    yield f"(`EMAIL_URL`: {settings.MAIL_TIMEOUT_SECONDS} seconds, by `manage.py db_worker`"
    yield "any number of sign-ins at once"
    yield "`/health/live`, `/health/ready`, `/api/schema/` and `/api/docs/` are public on purpose."
    [common] = [
        each
        for each in django_password_validation.get_default_password_validators()
        if isinstance(each, django_password_validation.CommonPasswordValidator)
    ]
    long_enough = [each for each in common.passwords if len(each) >= settings.PASSWORD_MIN_LENGTH]
    yield f"{len(long_enough)} are that long."


@pytest.mark.parametrize("promise", list(promises()))
def test_every_documented_value_matches_the_code(promise):
    assert promise in flat(TEXT)


def test_every_event_is_documented():
    section = TEXT.partition("\n## Events\n")[2].partition("\n## ")[0]
    assert set(models.SecurityEvent.Type.values) <= set(re.findall(r"`(\w+)`", section))


# Statements about the code


def sources() -> Iterator[tuple[str, ast.Module]]:
    for package in ("accounts", "api", "project"):
        for path in sorted((ROOT / package).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text())


SIGN_IN_CALLS = ("login", "auth_login", "starting.start", "sessions.sign_in")


def test_every_way_to_sign_in_is_documented():
    """SECURITY.md names the URL of each view that starts a sign-in, directly or by Django."""
    starts = {
        path
        for path, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in SIGN_IN_CALLS
    }
    documented = {
        "accounts/views/second_step.py": [
            "/accounts/login/",
            "/accounts/signup/",
            "/accounts/second-step/",
            "/admin/login/",
        ],
        "api/serializers.py": ["/api/token/", "/api/token/second-step/", "/api/token/passkey/"],
        "api/browser_session.py": ["/api/session/", "/api/session/second-step/", "/api/session/passkey/"],
        "api/connect_client.py": ["/accounts/clients/new/"],
        "accounts/moving_in/continuing.py": ["/api/token/refresh/"],
        "accounts/moving_in/middleware.py": ["the first page"],
        "accounts/api_keys.py": ["/accounts/api-keys/new/", "/api/api-keys/"],
        "api/device_flow.py": ["/api/device/token/"],
        "api/compare/views.py": ["/compare/client/", "/compare/throw-away/"],
    }
    # Called by every login().
    assert starts == documented.keys() | {"accounts/sessions.py"}
    section = SECURITY.partition("### Ways to sign in")[2].partition("###")[0]
    assert not [address for addresses in documented.values() for address in addresses if address not in section]


def test_the_project_connects_to_no_other_host():
    """No module sends requests to other hosts, except by the drivers of database, Redis and mail, and for events."""
    speakers = {
        "aiohttp",
        "ftplib",
        "http.client",
        "httpx",
        "requests",
        "smtplib",
        "socket",
        "urllib.request",
        "urllib3",
    }
    found = {
        (path, name)
        for path, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in {getattr(node, "module", None), *(alias.name for alias in node.names)}
        if name in speakers
    }
    # One checks whether its port is free, one closes client connections, one reads why a mail was refused.
    assert found == {
        ("project/management/commands/start.py", "socket"),
        ("project/closing.py", "socket"),
        ("accounts/delivery.py", "smtplib"),
        # OPENID_PROVIDERS: the errors of allauth's requests.
        ("accounts/openid/exchange.py", "requests"),
        # EVENTS_URL.
        ("project/forwarding/receivers.py", "http.client"),
        ("project/forwarding/receivers.py", "socket"),
    }
