"""Typed readers of environment variables. They collect the problems, so that the start reports all of them at once."""

import math
import os
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parseaddr
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

from accounts import hash_list
from project.setting_values import (
    GROUP_LIMITS_EXPECTED,
    MIN_SECRET_BYTES,
    SITE_HOST,
    group_limits,
    has_port_in_range,
    is_events_url,
    is_geoip_database,
    is_legacy_key,
    is_link,
    may_be_same_site,
    network,
    networks_expected,
    split_url,
)

ValueT = TypeVar("ValueT")

TRUE = ("true", "on", "ok", "y", "yes", "t", "1")
FALSE = ("false", "off", "n", "no", "f", "0")
MAX_SHOWN_CHARACTERS = 80
ASSIGNMENT = re.compile(r"(?:export )?([A-Za-z_0-9]+)=.*")
WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")
NUMBER = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]{1,18})?")
RATE = re.compile(r"[1-9][0-9]{0,8}/(s|sec|second|m|min|minute|h|hour|d|day)s?")
HOST = r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62}\.?)*|\[[0-9A-Fa-f:.]+\])"
HOST_PATTERN = re.compile(rf"\*|\.?{HOST}")
ORIGIN = re.compile(rf"[a-z][a-z0-9+.-]*://(?:\*\.)?{HOST}(?::[0-9]{{1,5}})?")
EMAIL_ADDRESS = re.compile(r"[^\s@<>,;]+@[^\s@<>,;]+")
# For URLs and headers: no white space, quotes or control characters.
WORD = re.compile(r"[!#-~]+")
# RFC 9110, section 5.1, without the characters that are in no name in use: "*" has a meaning in CORS.
HEADER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
# RFC 9116, section 2.5.3.
CONTACT = re.compile(rf"(?:mailto:{EMAIL_ADDRESS.pattern}|https://{WORD.pattern}|tel:\+[0-9-]+)")
# The longest name that the header of a page at 320 px, a subject line and an authenticator app show.
MAX_NAME_LENGTH = 60
MAIL_SCHEMES = ("smtp", "smtp+tls", "smtp+ssl", "smtps", "consolemail", "filemail", "memorymail", "dummymail")
RATE_EXPECTED = "a number, a slash, and second, minute, hour or day, such as 600/minute"
URL_EXPECTED = "a URL such as {example}; characters such as / # ? @ in a user name or password are percent-encoded"

# What unset variables count as, in place of the defaults of project.settings.
_defaults: dict[str, str] = {}


def set_defaults(**values: str) -> None:
    """Sets the defaults of variables, as they are written in the environment. Call it before project.settings loads."""
    _defaults.update(values)


class Environment:
    """
    An empty variable counts as unset; so does an invalid one, with a problem. Spaces around items are ignored. An unset
    variable has the value that set_defaults() gave it, or else the default of the caller.
    """

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.names_in_file: list[str] = []
        self.problems: list[str] = []

    def read_file(self, default: Path) -> None:
        """Reads the file ENV_FILE (empty: none), or `default` if it exists. Environment variables take precedence."""
        self.names.add("ENV_FILE")
        named = os.environ.get("ENV_FILE")
        path = Path(named) if named else default
        if named == "" or (named is None and not default.exists()):
            return
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, ValueError) as error:
            cause = error.strerror if isinstance(error, OSError) else "it is not in UTF-8"
            self.problems.append(
                f"ENV_FILE is {str(path)!a}, which cannot be read: {cause}. Expected: a file, or nothing."
            )
            return
        for number, line in enumerate(text.splitlines(), start=1):
            self._check_line(path, number, line)
        environ.Env.read_env(StringIO("\n".join(line for line in text.splitlines() if ASSIGNMENT.fullmatch(line))))

    def _check_line(self, path: Path, number: int, line: str) -> None:
        if match := ASSIGNMENT.fullmatch(line):
            self.names_in_file.append(match[1])
        elif line.strip() and not line.lstrip().startswith("#"):
            self.problems.append(f"{path}, line {number}: expected NAME=value, with no spaces before the =.")

    def refuse(self, name: str, expected: str, value: str | None = None) -> None:
        """`value` is shown: pass None for a secret."""
        if value is None:
            self.problems.append(f"{name} is not valid (it may be secret and is not shown). Expected: {expected}.")
            return
        shown = value if len(value) <= MAX_SHOWN_CHARACTERS else f"{value[:MAX_SHOWN_CHARACTERS]}..."
        self.problems.append(f"{name} is {shown!a}. Expected: {expected}.")

    def require(self, is_valid: object, problem: str) -> None:
        """For a rule about several settings, or about a secret. `problem` names them and what is expected."""
        if not is_valid:
            self.problems.append(problem)

    def stop_if_refused(self) -> None:
        """Raises ImproperlyConfigured with one line for each problem. All variables must have been read."""
        for name in sorted(_defaults.keys() - self.names):
            self.problems.append(f"{name} has a default by set_defaults(), and is no setting of this project.")
        if self.problems:
            # Without the original error, which may contain the value.
            raise ImproperlyConfigured("\n".join(dict.fromkeys(self.problems))) from None

    def raw(self, name: str) -> str:
        self.names.add(name)
        value = os.environ.get(name, "")
        return value if value.strip() else _defaults.get(name, "")

    def text(self, name: str, default: str = "") -> str:
        return self.raw(name).strip() or default

    def title(self, name: str, default: str) -> str:
        """A name for people: printable, in one line."""
        value = self.text(name, default)
        if value.isprintable() and len(value) <= MAX_NAME_LENGTH:
            return value
        self.refuse(name, f"printable text of at most {MAX_NAME_LENGTH} characters", value)
        return default

    def word(self, name: str, default: str = "", min_length: int = 0, is_secret: bool = False) -> str:
        value = self.text(name, default)
        if not value or (WORD.fullmatch(value) and len(value) >= min_length):
            return value
        length = f" of {min_length} characters or more" if min_length else ""
        expected = f"printable ASCII{length} without spaces or quotes"
        self.refuse(name, expected, None if is_secret else value)
        return default

    def items(self, name: str) -> list[str]:
        """The items of a list, separated by commas."""
        return [item.strip() for item in self.raw(name).split(",") if item.strip()]

    def words(self, name: str) -> list[str]:
        return self._list(name, WORD.fullmatch, "printable ASCII without spaces or quotes, separated by commas")

    def header_names(self, name: str) -> list[str]:
        return self._list(name, HEADER_NAME.fullmatch, "names of headers such as X-Requested-With, separated by commas")

    def boolean(self, name: str, default: bool = False) -> bool:
        value = self.text(name)
        if value.lower() in TRUE or value.lower() in FALSE:
            return value.lower() in TRUE
        if value:
            self.refuse(name, "true or false", value)
        return default

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        value = self.text(name)
        if not value:
            return default
        if WHOLE_NUMBER.fullmatch(value) and low <= int(value) <= high:
            return int(value)
        self.refuse(name, f"a whole number from {low} to {high}", value)
        return default

    def number(self, name: str, default: float, low: float, high: float) -> float:
        value = self.text(name)
        if not value:
            return default
        if NUMBER.fullmatch(value) and math.isfinite(float(value)) and low <= float(value) <= high:
            return float(value)
        self.refuse(name, f"a number from {low:g} to {high:g}", value)
        return default

    def until(self, name: str, key_name: str, key: str) -> datetime | None:
        """
        The time until which the key of another setting is used: a date is its beginning, in UTC without an offset. None
        without both settings, which need each other.
        """
        value = self.text(name)
        try:
            found = datetime.fromisoformat(value) if value else None
        except ValueError:
            self.refuse(name, "a date or a time, such as 2027-01-31 or 2027-01-31T12:00+01:00", value)
            return None
        self.require(bool(key) == bool(found), f"{key_name} and {name} need each other: set both, or none.")
        return found if found is None or found.tzinfo else found.replace(tzinfo=UTC)

    def legacy_key(self, name: str) -> str:
        """A secret for HS256, or a public key in PEM format, in which \\n may stand for a line feed."""
        value = self.text(name)
        if value.startswith("-----BEGIN"):
            value = value.replace("\\n", "\n")
        if value and not is_legacy_key(value):
            expected = (
                f"a secret of {MIN_SECRET_BYTES} bytes or more, or a public key in PEM format (RSA, EC or Ed25519)"
            )
            self.refuse(name, expected)
            return ""
        return value

    def choice(self, name: str, choices: Sequence[str]) -> str:
        """Empty if it is unset."""
        value = self.text(name)
        if not value or value in choices:
            return value
        self.refuse(name, f"nothing, or {' or '.join(choices)}", value)
        return ""

    def rate(self, name: str, default: str) -> str | None:
        """A rate of DRF's throttles. Unset: the default. Empty: None, which means no limit."""
        self.names.add(name)
        value = os.environ.get(name, _defaults.get(name, default)).strip()
        if not value or RATE.fullmatch(value):
            return value or None
        self.refuse(name, f"nothing, for no limit, or {RATE_EXPECTED}", value)
        return default

    def hosts(self, name: str, default: Sequence[str]) -> list[str]:
        expected = "host names or addresses without scheme, port and path, such as www.example.org, separated by commas"
        return self._list(name, HOST_PATTERN.fullmatch, expected) or list(default)

    def origins(self, name: str, wildcards: bool = False) -> list[str]:
        """Origins as browsers send them."""

        def is_valid(value: str) -> bool:
            return bool(ORIGIN.fullmatch(value)) and has_port_in_range(value) and (wildcards or "*" not in value)

        expected = "a scheme and a host without path, such as https://www.example.org, separated by commas"
        return self._list(name, is_valid, expected)

    def app_origins(self, name: str, hosts: Sequence[str], *, debug: bool) -> list[str]:
        """
        Origins that can be same-site with one of these hosts (Django's ALLOWED_HOSTS; "" is ignored): to others,
        browsers send no cookie. They use https unless DEBUG is on.
        """
        known = [host for host in hosts if host]
        schemes = ("https", "http") if debug else ("https",)
        found = []
        for origin in self.origins(name):
            scheme, _separator, _host = origin.partition("://")
            host = urlsplit(origin).hostname or ""
            if scheme in schemes and (not known or any(may_be_same_site(host, each) for each in known)):
                found.append(origin)
                continue
            expected = f"origins such as {schemes[0]}://app.example.org, on the same site as SITE_URL or ALLOWED_HOSTS"
            self.refuse(name, expected, origin)
        return found

    def group_limits(self, name: str) -> dict[str, tuple[timedelta, timedelta]]:
        """The idle time and the maximum age of sign-ins by group, written as group=minutes/hours."""
        found = {}
        for value in self.items(name):
            if limits := group_limits(value):
                found[limits.group] = limits.idle, limits.max_age
            else:
                self.refuse(name, GROUP_LIMITS_EXPECTED, value)
        return found

    def networks(self, name: str) -> list[str]:
        """IP addresses and networks. IPv4-mapped IPv6 networks are converted to IPv4."""
        found = []
        for value in self.items(name):
            try:
                found.append(network(value))
            except ValueError:
                self.refuse(name, networks_expected(value), value)
        return found

    def email_address(self, name: str, default: str) -> str:
        value = self.text(name, default)
        if value.isprintable() and EMAIL_ADDRESS.fullmatch(parseaddr(value)[1]):
            return value
        self.refuse(name, "an e-mail address, such as Example <noreply@example.org>", value)
        return default

    def make_folder(self, path: Path, problem: str) -> bool:
        """Creates the folder, for its owner only, if it does not exist."""
        try:
            path.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            self.problems.append(f"{problem}: {path} ({error.strerror}).")
            return False
        return True

    def folder(self, name: str) -> str:
        value = self.text(name)
        if value and not (os.path.isdir(value) and os.access(value, os.W_OK | os.X_OK)):
            self.refuse(name, "a folder that exists and that this process may write to", value)
        return value

    def geoip_database(self, name: str) -> str:
        """The path of a MaxMind DB file with cities or countries. Empty if it is unset."""
        value = self.text(name)
        if value and not is_geoip_database(value):
            expected = "a file in the format MaxMind DB with cities or countries, such as /srv/GeoLite2-City.mmdb"
            self.refuse(name, expected, value)
            return ""
        return value

    def hash_list(self, name: str) -> str:
        """The path of a file of sorted SHA-1 hashes. Empty if it is unset."""
        value = self.text(name)
        if value and not hash_list.is_valid(value):
            self.refuse(name, "a file of SHA-1 hashes in hexadecimal, sorted, one in each line", value)
            return ""
        return value

    def site_url(self, name: str, schemes: Sequence[str]) -> str:
        """A scheme, a host and a port. A final slash and a default port are removed."""
        value = self.text(name)
        parts = split_url(value, schemes) if value else None
        has_no_path = parts and parts.path in ("", "/") and not any(mark in value for mark in "?#@\\")
        if parts and has_no_path and SITE_HOST.fullmatch(parts.hostname or "") and parts.port != 0:
            default = {"http": 80, "https": 443}[parts.scheme]
            host = f"[{parts.hostname}]" if ":" in str(parts.hostname) else parts.hostname
            return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port not in (None, default) else "")
        if value:
            expected = f"{schemes[0]}:// and a host name, with its port if it has one, such as https://www.example.org"
            # The part before "@" may contain a password.
            self.refuse(name, expected, value.rpartition("@")[2])
        return ""

    def link_url(self, name: str, schemes: Sequence[str], example: str) -> str:
        """A URL with the placeholders {uid} and {token}, each once and after the host."""
        value = self.text(name)
        if not value or is_link(value, schemes):
            return value
        expected = f"{schemes[0]}:// and a host name, with {{uid}} and {{token}} once each after it, such as {example}"
        # The part before "@" may contain a password.
        self.refuse(name, expected, value.rpartition("@")[2])
        return ""

    def url(self, name: str, schemes: Sequence[str], example: str) -> str:
        """A problem does not show the value, which may contain a password."""
        value = self.text(name)
        if not value or split_url(value, schemes):
            return value
        self.refuse(name, URL_EXPECTED.format(example=example))
        return ""

    def events_url(self, name: str) -> str:
        """The URL of a receiver of events. A problem does not show the value, which may contain a password."""
        value = self.text(name)
        if not value or is_events_url(value):
            return value
        expected = "syslog+tcp, syslog+tls, otlp+http or otlp+https, :// and a host, or file:// and an absolute path"
        self.refuse(name, f"{expected}, such as syslog+tls://logs.example.org:6514?ssl_ca_certs=/etc/ssl/ca.pem")
        return ""

    def traces_url(self, name: str) -> str:
        """A URL of OTLP over HTTP, if OpenTelemetry is installed."""
        value = self.url(name, ["https", "http"], example="http://localhost:4318/v1/traces")
        is_installed = not value or find_spec("opentelemetry")
        self.require(is_installed, f"{name} needs OpenTelemetry: pip install -r project/tracing/requirements.txt")
        return value if is_installed else ""

    def contact(self, name: str) -> str:
        """A URL that people can reach: mailto:, https: or tel:."""
        value = self.text(name)
        if value and not CONTACT.fullmatch(value):
            self.refuse(name, "a mailto:, https: or tel: URL, such as mailto:security@example.org", value)
            return ""
        return value

    def urls(self, name: str, schemes: Sequence[str], example: str) -> list[str]:
        values = self.items(name)
        if all(split_url(value, schemes) for value in values):
            return values
        self.refuse(name, f"{URL_EXPECTED.format(example=example)}; separated by commas")
        return []

    def _list(self, name: str, is_valid: Callable[[str], object], expected: str) -> list[str]:
        values = self.items(name)
        for value in values:
            if not is_valid(value):
                self.refuse(name, expected, value)
        return [value for value in values if is_valid(value)]
