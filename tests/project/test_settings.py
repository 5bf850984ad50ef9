"""Validation of settings at the start: errors name the setting and the expected value, and contain no secret."""

import os
import runpy
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from django.core.exceptions import ImproperlyConfigured

from tests import geoip_database, servers
from tests.plugins import stores

pytestmark = pytest.mark.once

SECRET = "hunter2hunter2"
PASSWORD = f"user:{SECRET}"
NUMBERS = (
    "ACCESS_TOKEN_MINUTES",
    "API_KEY_MAX_DAYS",
    "BROWSER_SESSION_DAYS",
    "DATABASE_POOL_SIZE",
    "DATABASE_TIMEOUT_SECONDS",
    "DBSC_TERM_SECONDS",
    "EVENT_KEEP_DAYS",
    "HASHES_AT_ONCE",
    "JWT_LEEWAY_SECONDS",
    "PASSWORD_MIN_LENGTH",
    "RECENT_PROOF_MINUTES",
    "REFRESH_GRACE_SECONDS",
    "REFRESH_PARENT_GRACE_DAYS",
    "SESSION_RECHECK_SECONDS",
    "REFRESH_TOKEN_DAYS",
    "SIGN_INS_PER_USER",
    "SIGN_IN_KEEP_DAYS",
    "SIGN_IN_MAX_DAYS",
    "STAFF_IDLE_MINUTES",
    "STAFF_MAX_HOURS",
    "UNCONFIRMED_KEEP_DAYS",
    "WEB_CONCURRENCY",
)
NO_NUMBERS = ("-1", "many", "1_0", "٣", "1e3", "99999999999999999999", "5 days", "nan", "0x10")
BOOLEANS = (
    "DATABASE_PGBOUNCER",
    "DEBUG",
    "DEMO",
    "DEVICE_FLOW",
    "HSTS_PRELOAD",
    "HSTS_SUBDOMAINS",
    "JWT_STATUS_LIST",
    "REDIS_CLUSTER",
)
LISTS = ("CORS_ALLOWED_ORIGINS", "CSRF_TRUSTED_ORIGINS")
RATES = ("TOKEN_RATE", "ACCOUNT_RATE")
URLS = ("DATABASE_URL", "EMAIL_URL", "REDIS_SENTINELS", "REDIS_URL")
LINK_URLS = ("EMAIL_CONFIRM_URL", "PASSWORD_RESET_URL")
APP = "https://app.example.org"
WRONG_LINKS = (
    "/#/confirm/{uid}/{token}",
    "app.example.org/#/confirm/{uid}/{token}",
    "http://app.example.org/#/confirm/{uid}/{token}",
    "javascript://app.example.org/{uid}/{token}",
    "https:///{uid}/{token}",
    "https://{uid}.example.org/{token}",
    "https://app.example.org:0/{uid}/{token}",
    "https://app.example.org:port/{uid}/{token}",
    f"https://{PASSWORD}@app.example.org/{{uid}}/{{token}}",
    APP,
    f"{APP}/{{uid}}",
    f"{APP}/{{token}}",
    f"{APP}/{{uid}}/{{uid}}/{{token}}",
    f"{APP}/{{uid}}/{{token}}#{{token}}",
    f"{APP}/{{uid}}/{{token}}/{{next}}",
    f"{APP}/{{{{uid}}}}/{{token}}",
    f"{APP}/{{uid.pk}}/{{token}}",
    f"{APP}/{{to{{uid}}ken}}/{{token}}",
    f"{APP}/{{}}/{{uid}}/{{token}}",
    f"{APP}/{{uid}}/{{token}}}}",
    f"{APP}/{{uid}}/ {{token}}",
    f'{APP}/{{uid}}/"{{token}}',
    f"{APP}/{{uid}}/<{{token}}>",
    f"{APP}\\@evil.example/{{uid}}/{{token}}",
    f"{APP}/{{uid}}/{{token}}\nBcc: b@example.org",
    f"{APP}/\N{SNOWMAN}/{{uid}}/{{token}}",
)

WRONG_RECEIVERS = [
    "logs.example.org:601",
    "syslog+udp://logs.example.org",
    "syslog+tcp://",
    "syslog+tcp://logs.example.org:port",
    "file://events.jsonl",
    "file:///",
    "file:///var/log/",
    "syslog+tls://logs.example.org?ssl_ca_certs=/nowhere/ca.pem",
    "otlp+http://logs.example.org?token=secret",
]
WRONG = [
    *((name, value) for name in NUMBERS for value in NO_NUMBERS),
    ("ACCESS_TOKEN_MINUTES", "0"),
    ("DATABASE_TIMEOUT_SECONDS", "0"),
    ("DATABASE_TIMEOUT_SECONDS", "inf"),
    ("HASHES_AT_ONCE", "0"),
    ("PASSWORD_MIN_LENGTH", "500"),
    ("LEGACY_JWT_KEY", SECRET),
    ("LEGACY_JWT_KEY", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"),
    ("LEGACY_JWT_UNTIL", "tomorrow"),
    ("LEGACY_SESSION_KEY", f"{SECRET} {SECRET}"),
    ("LEGACY_SESSION_UNTIL", "2027-13-01"),
    ("LEGACY_SESSION_COOKIE", "session id"),
    ("MAX_FORM_KILOBYTES", "1"),
    ("OPENID_PROVIDERS", "acme"),
    ("OPENID_PROVIDERS", '[{"id": "acme"}]'),
    ("SITE_URL", "www.example.org"),
    ("SOURCE_URL", "git.example.org/wristband"),
    ("SOURCE_URL", "javascript:alert(1)"),
    ("SECURITY_CONTACT", "security@example.org"),
    ("SECURITY_CONTACT", "javascript:alert(1)"),
    ("SECURITY_CONTACT", "http://example.org/report"),
    ("WEB_CONCURRENCY", "0"),
    *((name, value) for name in BOOLEANS for value in ("yes please", "2", "wahr")),
    *(
        (name, value)
        for name in ("TOKEN_RATE", "ACCOUNT_RATE")
        for value in ("10/5m", "0/minute", "10", "10/fortnight")
    ),
    *(
        (name, value)
        for name in ("TRUSTED_PROXIES", "METRICS_ADDRESSES")
        for value in ("nginx", "10.0.0.5/8", "10.0.0.5, 10.0.0.x", "10.0.0.0/33", "fd00::1/8", "10.0.0.5:80", "*")
    ),
    *((name, value) for name in LISTS for value in ("www.example.org", "https://www.example.org/", "https://", "*")),
    *(
        (name, value)
        for name in ("CORS_ALLOW_HEADERS", "CORS_EXPOSE_HEADERS")
        for value in ("*", "X-Requested With", "x-a, x:b", "X-A\r\nX-B", "\N{SNOWMAN}")
    ),
    ("CORS_ALLOWED_ORIGINS", "https://*.example.org"),
    ("CORS_ALLOWED_ORIGINS", "https://www.example.org:99999"),
    *(
        ("APP_ORIGINS", value)
        for value in ("app.example.org", "https://*.example.org", "*", "https://app.example.org/")
    ),
    *(("ALLOWED_HOSTS", value) for value in ("https://www.example.org", "www.example.org:8000", "a/b", "two words")),
    ("SITE_NAME", "x" * 61),
    *((name, value) for name in LINK_URLS for value in WRONG_LINKS),
    *((name, "garbage") for name in URLS),
    *((name, f"mysql://{PASSWORD}@db/wristband") for name in URLS),
    *((name, "http://[::1") for name in URLS),
    ("BREACHED_PASSWORDS", "/nowhere/at/all/pwnedpasswords.txt"),
    ("BREACHED_PASSWORDS", __file__),
    ("BREACHED_PASSWORDS", str(Path(__file__).parent)),
    ("DATABASE_URL", f"postgres://{PASSWORD}/2@db.example.org/wristband"),
    ("DATABASE_URL", f"postgres://{PASSWORD}@db.example.org:port/wristband"),
    ("DATABASE_URL", f"postgres://{PASSWORD}@db.example.org"),
    ("DATABASE_URL", f"postgres://{PASSWORD}@db.example.org/wristband?sslmood=require"),
    ("DATABASE_URL", "sqlite:////nowhere/at/all/db.sqlite3"),
    ("DEFAULT_FROM_EMAIL", "Wristband & Passport"),
    ("DEFAULT_FROM_EMAIL", "a@example.org\nBcc: b@example.org"),
    ("DPOP_REQUIRED", "everybody"),
    ("SECOND_FACTOR", "everybody"),
    ("DBSC", "all"),
    ("SESSION_RECHECK_SECONDS", "301"),
    ("STAFF_IDLE_MINUTES", "9"),
    ("STAFF_IDLE_MINUTES", "1441"),
    ("STAFF_MAX_HOURS", "0"),
    ("REFRESH_PARENT_GRACE_DAYS", "91"),
    *(
        ("GROUP_LIMITS", value)
        for value in ("support", "support=30", "=30/8", "support=9/8", "support=30/0", "a=1441/8")
    ),
    ("EMAIL_URL", f"smtp://{PASSWORD}/2@mail.example.org"),
    ("EMAIL_URL", "smtp+tls://"),
    ("ENV_FILE", "/nowhere/at/all/.env"),
    *(("EVENTS_URL", value) for value in WRONG_RECEIVERS),
    ("TRACES_URL", "collector:4318"),
    ("TRACES_URL", "grpc://collector:4317"),
    ("TRACES_URL", "http://"),
    ("GEOIP_PATH", "/nowhere/at/all/GeoLite2-City.mmdb"),
    ("GEOIP_PATH", __file__),
    ("GEOIP_PATH", str(Path(__file__).parent)),
    ("JWT_AUDIENCE", "my api"),
    ("JWT_AUDIENCES", "reports, my api"),
    ("JWT_ISSUER", "my \N{SNOWMAN}"),
    ("METRICS_TOKEN", SECRET),
    ("METRICS_TOKEN", f"{SECRET} {SECRET} {SECRET}"),
    ("PROMETHEUS_MULTIPROC_DIR", "/nowhere/at/all"),
    ("REDIS_URL", f"redis://{PASSWORD}@cache.example.org:port/0"),
    ("REDIS_URL", f"redis://{PASSWORD}@cache.example.org/first"),
    ("REDIS_URL", f"redis://{PASSWORD}@cache.example.org/0?sockets=1"),
    ("REDIS_URL", f"redis://{PASSWORD}@a.example.org/0,redis://b.example.org/0"),
    ("REDIS_URL", f"rediss://{PASSWORD}@cache.example.org/0?ssl_ca_certs=/nowhere/ca.pem"),
    ("SECRET_KEY", SECRET),
    ("SECRET_KEY_FALLBACKS", SECRET),
]
TOGETHER: list[tuple[str, dict[str, str]]] = [
    ("REFRESH_GRACE_SECONDS", {"REFRESH_GRACE_SECONDS": "90", "ACCESS_TOKEN_MINUTES": "1"}),
    ("JWT_LEEWAY_SECONDS", {"JWT_LEEWAY_SECONDS": "60", "ACCESS_TOKEN_MINUTES": "1"}),
    ("HSTS_SUBDOMAINS", {"HSTS_PRELOAD": "true", "HSTS_SUBDOMAINS": "false"}),
    ("JWT_STATUS_LIST", {"JWT_STATUS_LIST": "true"}),
    ("JWT_STATUS_LIST", {"JWT_STATUS_LIST": "true", "JWT_KEYS": "keys", "JWT_ISSUER": "wristband"}),
    ("REDIS_SENTINELS", {"REDIS_SENTINELS": "redis://s1.example.org:26379"}),
    ("LEGACY_JWT_UNTIL", {"LEGACY_JWT_KEY": 3 * SECRET}),
    ("LEGACY_SESSION_KEY", {"LEGACY_SESSION_UNTIL": "2027-01-31"}),
    (
        "REDIS_CLUSTER",
        {
            "REDIS_URL": "redis://mymaster/0",
            "REDIS_SENTINELS": "redis://s1.example.org:26379",
            "REDIS_CLUSTER": "true",
        },
    ),
]
RIGHT: list[tuple[str, str, str, Any]] = [
    (
        "GROUP_LIMITS",
        "First level=30/8, auditors=15/4",
        "GROUP_LIMITS",
        {
            "First level": (timedelta(minutes=30), timedelta(hours=8)),
            "auditors": (timedelta(minutes=15), timedelta(hours=4)),
        },
    ),
    ("STAFF_IDLE_MINUTES", "", "STAFF_IDLE", timedelta(0)),
    ("TRUSTED_PROXIES", "10.0.0.5, 10.0.0.6", "TRUSTED_PROXIES", ["10.0.0.5", "10.0.0.6"]),
    ("TRUSTED_PROXIES", "::ffff:10.0.0.5,::ffff:10.1.0.0/112", "TRUSTED_PROXIES", ["10.0.0.5", "10.1.0.0/16"]),
    ("METRICS_ADDRESSES", " fd00::/8 , 192.0.2.0/24,", "METRICS_ADDRESSES", ["fd00::/8", "192.0.2.0/24"]),
    ("ALLOWED_HOSTS", "a.example.org, .example.net", "ALLOWED_HOSTS", ["a.example.org", ".example.net"]),
    ("ALLOWED_HOSTS", "[::1],*,10.0.0.5", "ALLOWED_HOSTS", ["[::1]", "*", "10.0.0.5"]),
    ("CSRF_TRUSTED_ORIGINS", "https://*.example.org", "CSRF_TRUSTED_ORIGINS", ["https://*.example.org"]),
    (
        "CORS_ALLOWED_ORIGINS",
        "https://a.example.org, capacitor://localhost",
        "CORS_ALLOWED_ORIGINS",
        ["https://a.example.org", "capacitor://localhost"],
    ),
    (
        "CORS_ALLOW_HEADERS",
        "X-Requested-With, Idempotency-Key",
        "CORS_ALLOW_HEADERS",
        ["accept", "authorization", "content-type", "dpop", "X-Requested-With", "Idempotency-Key"],
    ),
    (
        "CORS_EXPOSE_HEADERS",
        "X-Request-ID",
        "CORS_EXPOSE_HEADERS",
        ["DPoP-Nonce", "Retry-After", "WWW-Authenticate", "X-Request-ID"],
    ),
    ("HSTS_SUBDOMAINS", "", "SECURE_HSTS_INCLUDE_SUBDOMAINS", True),
    ("HSTS_SUBDOMAINS", "no", "SECURE_HSTS_INCLUDE_SUBDOMAINS", False),
    ("HSTS_PRELOAD", "", "SECURE_HSTS_PRELOAD", False),
    ("HSTS_PRELOAD", "yes", "SECURE_HSTS_PRELOAD", True),
    ("JWT_AUDIENCES", "reports, billing", "JWT_AUDIENCES", ["api", "reports", "billing"]),
    ("DEFAULT_FROM_EMAIL", "noreply@localhost", "DEFAULT_FROM_EMAIL", "noreply@localhost"),
    *(
        (name, value, name, value)
        for name in LINK_URLS
        for value in (
            f"{APP}/#/confirm/{{uid}}/{{token}}",
            f"{APP}:8443/confirm?uid={{uid}}&token={{token}}&at=me@here",
            f"{APP}/{{token}}/{{uid}}",
            "https://[2001:db8::1]/{uid}{token}",
        )
    ),
    *(
        ("EVENTS_URL", value, "EVENTS_URL", value)
        for value in (
            "syslog+tcp://[::1]",
            "syslog+tls://logs.example.org:6514?ssl_ca_certs=/dev/null",
            "otlp+https://user:p%40ss@logs.example.org/api/v1/logs",
            "file:///var/log/events.jsonl",
        )
    ),
    ("PASSWORD_MIN_LENGTH", " 20 ", "PASSWORD_MIN_LENGTH", 20),
    ("LEGACY_SESSION_COOKIE", "", "LEGACY_SESSION_COOKIE", "sessionid"),
    ("DEBUG", "Yes", "DEBUG", True),
    ("DEBUG", "off", "DEBUG", False),
    ("HASHES_AT_ONCE", "", "HASHES_AT_ONCE", 3),
    ("JWT_ISSUER", "", "JWT_ISSUER", "wristband"),
]


def settings_with(monkeypatch: pytest.MonkeyPatch, values: dict[str, str]) -> dict[str, Any]:
    """Returns the settings of a new process. Raises ImproperlyConfigured."""
    for name in (*stores.ENVIRONMENT, *stores.DEFAULTS):
        monkeypatch.delenv(name, raising=False)
    for name, value in (stores.ENVIRONMENT | values).items():
        monkeypatch.setenv(name, value)
    return runpy.run_path(str(servers.ROOT / "project" / "settings.py"))


def test_a_file_of_breached_passwords_is_read_at_the_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "breached.txt"
    path.write_text(f"{'0' * 40}:2\r\n{'F' * 40}:1\r\n")
    assert settings_with(monkeypatch, {"BREACHED_PASSWORDS": f" {path} "})["BREACHED_PASSWORDS"] == str(path)


def test_a_database_of_places_is_opened_at_the_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = geoip_database.write(tmp_path / "places.mmdb")
    assert settings_with(monkeypatch, {"GEOIP_PATH": f" {path} "})["GEOIP_PATH"] == str(path)


def test_a_database_without_places_stops_the_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = geoip_database.write(tmp_path / "networks.mmdb", type="GeoLite2-ASN")
    with pytest.raises(ImproperlyConfigured, match=r"GEOIP_PATH is .* Expected: .* with cities or countries"):
        settings_with(monkeypatch, {"GEOIP_PATH": str(path)})


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_an_invalid_value_stops_the_start_with_its_name(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    with pytest.raises(ImproperlyConfigured) as refused:
        settings_with(monkeypatch, {name: value})
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__
    [line] = str(refused.value).splitlines()
    assert name in line
    assert "Expected: " in line or " must " in line
    assert SECRET not in line
    if name in (*NUMBERS, *BOOLEANS, "TRUSTED_PROXIES", "TOKEN_RATE"):
        assert ascii(value)[1:-1] in line or value.rpartition(", ")[2] in line


@pytest.mark.parametrize(("name", "values"), TOGETHER)
def test_mutually_exclusive_settings_stop_the_start(
    monkeypatch: pytest.MonkeyPatch, name: str, values: dict[str, str]
) -> None:
    with pytest.raises(ImproperlyConfigured, match=name):
        settings_with(monkeypatch, values)


@pytest.mark.parametrize(("name", "value", "setting", "expected"), RIGHT)
def test_a_valid_value_is_used(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, setting: str, expected: object
) -> None:
    assert settings_with(monkeypatch, {name: value})[setting] == expected


def test_a_date_is_its_beginning_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"LEGACY_JWT_KEY": 3 * SECRET, "LEGACY_JWT_UNTIL": "2027-01-31"}
    assert settings_with(monkeypatch, values)["LEGACY_JWT_UNTIL"].isoformat() == "2027-01-31T00:00:00+00:00"


def test_a_public_key_may_have_its_lines_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    formats = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    pem = key.public_key().public_bytes(*formats).decode().strip()
    values = {"LEGACY_JWT_KEY": pem.replace("\n", "\\n"), "LEGACY_JWT_UNTIL": "2027-01-31T12:00+01:00"}
    assert settings_with(monkeypatch, values)["LEGACY_JWT_KEY"] == pem


def test_old_sessions_are_read_only_with_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"LEGACY_SESSION_KEY": SECRET, "LEGACY_SESSION_UNTIL": "2027-01-31"}
    layer = "accounts.moving_in.middleware.OldSessionMiddleware"
    assert layer in settings_with(monkeypatch, values)["MIDDLEWARE"]
    assert layer not in settings_with(monkeypatch, {})["MIDDLEWARE"]


def test_an_empty_value_means_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    # Empty rates mean no limit, and an empty ENV_FILE means no file.
    names = [*(name for name in stores.DEFAULTS if not name.endswith("_RATE")), "DEFAULT_FROM_EMAIL"]
    unset = settings_with(monkeypatch, {})
    empty = settings_with(monkeypatch, dict.fromkeys(names, ""))
    read = {name for name in unset if name.isupper() and isinstance(unset[name], str | int | float | list)}
    assert {name: empty[name] for name in read} == {name: unset[name] for name in read}


def test_every_setting_of_the_example_is_validated() -> None:
    named = {line[2:].partition("=")[0] for line in example() if line[2:].partition("=")[0].isupper()}
    validated = {name for name, _value in WRONG} | {"JWT_KEYS"}
    assert named - validated == set()


def example() -> list[str]:
    lines = (servers.ROOT / ".env.example").read_text().splitlines()
    return [line for line in lines if line.startswith("# ") and "=" in line and " " not in line[2:].partition("=")[0]]


def test_the_example_with_every_line_uncommented_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lines = [line[2:].partition("=") for line in example()]
    # A file may have quotes around a value.
    values = {name: value.strip("'") for name, _equals, value in lines if name.isupper()}
    # Mutually exclusive settings, and settings with paths of the operator.
    for name in ("REDIS_CLUSTER", "REDIS_SENTINELS", "SECRET_KEY"):
        values.pop(name)
    settings_with(monkeypatch, values)


# APP_ORIGINS: browsers send no cookie to an origin of another site

SITE = {"SITE_URL": "https://www.example.org", "ALLOWED_HOSTS": "www.example.org, .example.net, 192.0.2.7"}


@pytest.mark.parametrize(
    "value",
    [
        "https://app.example.org",
        "https://example.org, https://www.example.org:8443",
        "https://a.b.example.org",
        "https://app.example.net",
        "https://192.0.2.7:8443",
    ],
)
def test_an_app_on_the_same_site_is_accepted(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    expected = [each.strip() for each in value.split(",")]
    assert settings_with(monkeypatch, SITE | {"APP_ORIGINS": value})["APP_ORIGINS"] == expected


@pytest.mark.parametrize(
    "value",
    [
        "https://app.example.com",
        "https://www.example.org.evil.example",
        "https://evilexample.org",
        "http://app.example.org",
        "https://192.0.2.8",
        "https://7.192.0.2.7",
        "https://localhost",
        "capacitor://localhost",
    ],
)
def test_an_app_that_cannot_be_on_the_same_site_stops_the_start(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="APP_ORIGINS"):
        settings_with(monkeypatch, SITE | {"APP_ORIGINS": value})


def test_an_app_is_written_as_browsers_send_it(monkeypatch: pytest.MonkeyPatch) -> None:
    values = SITE | {"APP_ORIGINS": "https://App.Example.org:443"}
    assert settings_with(monkeypatch, values)["APP_ORIGINS"] == ["https://app.example.org"]


def test_any_allowed_host_leaves_the_judgement_to_browsers(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"ALLOWED_HOSTS": "*", "APP_ORIGINS": "https://app.example.com"}
    assert settings_with(monkeypatch, values)["APP_ORIGINS"] == ["https://app.example.com"]


def test_in_debug_an_app_may_be_on_another_port_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    value = "http://localhost:5173,http://127.0.0.1:5173,http://[::1]:5173"
    values = {"DEBUG": "true", "ALLOWED_HOSTS": "", "APP_ORIGINS": value}
    assert settings_with(monkeypatch, values)["APP_ORIGINS"] == value.split(",")


# Commands and servers

COMMANDS = [["check", "--deploy"], ["migrate"], ["start"], ["end_sign_ins", "--all"]]
ALL_WRONG = dict(WRONG)


def run(*command: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=servers.ROOT,
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_lists_every_error_on_its_own_line(command: list[str]) -> None:
    made = run("manage.py", *command, **ALL_WRONG)
    assert made.returncode == 1
    lines = made.stderr.splitlines()
    assert {name for name in ALL_WRONG if not any(name in line for line in lines)} == set()
    assert "Traceback" not in made.stderr
    assert SECRET not in made.stdout + made.stderr


def test_the_server_does_not_start_and_logs_the_same_lines() -> None:
    # gunicorn itself reads WEB_CONCURRENCY.
    wrong = ALL_WRONG | {"WEB_CONCURRENCY": "1"}
    made = run("-m", "gunicorn", "project.wsgi", "--no-control-socket", "--bind=127.0.0.1:0", **wrong)
    assert made.returncode != 0
    assert {name for name in ALL_WRONG if name not in made.stderr} == {"WEB_CONCURRENCY"}
    assert SECRET not in made.stderr


@pytest.mark.parametrize(
    ("name", "meant"),
    [("TRUSTED_PROXY", "TRUSTED_PROXIES"), ("DATABASE_URI", "DATABASE_URL"), ("Redis_Url", "REDIS_URL")],
)
def test_a_misspelt_setting_is_a_warning(name: str, meant: str) -> None:
    made = run("manage.py", "check", **{name: "x"})
    assert made.returncode == 0
    assert f"{name} is no setting of this project. Did you mean {meant}?" in made.stderr


def test_a_misspelt_setting_in_the_file_is_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("ALLOWED_HOST=www.example.org\nPOSTGRES_PASSWORD=x\nSENTRY_DSN=x\n")
    output = run("manage.py", "check", ENV_FILE=str(file)).stderr
    assert "Did you mean ALLOWED_HOSTS?" in output
    assert "SENTRY_DSN" not in output
    assert "POSTGRES" not in output


# The defaults of a product


def settings_with_defaults(defaults: str, printed: str, **env: str) -> str:
    code = f"from project.environment import set_defaults; set_defaults({defaults}); from project import settings"
    made = run("-c", f"{code}; print({printed})", **env)
    return (made.stdout or made.stderr.splitlines()[-1]).strip()


def test_a_product_replaces_defaults() -> None:
    defaults = "SITE_NAME='Acme', TOKEN_RATE='5/minute', DEMO='false'"
    printed = "settings.SITE_NAME, settings.REST_FRAMEWORK['DEFAULT_THROTTLE_RATES']['tokens'], settings.DEMO"
    assert settings_with_defaults(defaults, printed, DEMO="") == "Acme 5/minute False"


def test_the_environment_has_precedence_over_a_product() -> None:
    assert settings_with_defaults("SITE_NAME='Acme'", "settings.SITE_NAME", SITE_NAME="Zenith") == "Zenith"


def test_a_default_of_an_unknown_setting_stops_the_start() -> None:
    assert "SITE_NAMES has a default by set_defaults()" in settings_with_defaults("SITE_NAMES='x'", "1")


def test_the_name_of_the_site_is_that_of_the_sender_and_of_the_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    read = settings_with(monkeypatch, {"SITE_NAME": "Acme notes"})
    assert read["DEFAULT_FROM_EMAIL"] == "Acme notes <noreply@localhost>"
    assert read["SPECTACULAR_SETTINGS"]["TITLE"] == "Acme notes"


# ENV_FILE


def test_an_invalid_line_is_reported_by_number_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text(f"# a comment\n\nDEMO=false\nMETRICS_TOKEN = {SECRET}\n")
    with pytest.raises(ImproperlyConfigured, match="line 4") as refused:
        settings_with(monkeypatch, {"ENV_FILE": str(file)})
    assert SECRET not in str(refused.value)


def test_a_file_with_bom_and_crlf_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_bytes("\ufeffPASSWORD_MIN_LENGTH=21\r\nDEMO=true\r\n".encode())
    for name in ("PASSWORD_MIN_LENGTH", "DEMO"):
        # Set first, so that monkeypatch removes the values of the file afterwards.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    read = settings_with(monkeypatch, {"ENV_FILE": str(file)})
    assert (read["PASSWORD_MIN_LENGTH"], read["DEMO"]) == (21, True)
