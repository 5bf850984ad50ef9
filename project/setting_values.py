"""Which values of settings can work: URLs, hosts, networks and files."""

import ipaddress
import os
import re
from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qs, urlsplit

SITE_HOST = re.compile(r"[a-z0-9_]([a-z0-9._-]*[a-z0-9])?|[0-9a-f:.]*:[0-9a-f:.]*")
# The types of databases of MaxMind, DB-IP and IP2Location whose records have a city or a country.
GEOIP_TYPE = re.compile(r"city|country|enterprise|location", re.IGNORECASE)
# The characters of a URL (RFC 3986), and braces for placeholders.
LINK = re.compile(r"[A-Za-z0-9:/?#\[\]@!$&'()*+,;=._~%{}-]+")
LINK_PLACEHOLDERS = ("{uid}", "{token}")
EVENT_SCHEMES = ("syslog+tcp", "syslog+tls", "otlp+http", "otlp+https", "file")
# RFC 7518, section 3.2: a key of HS256 has at least the size of its hash.
MIN_SECRET_BYTES = 32
# A group, the minutes that a sign-in may be unused, and the hours that it may last.
GROUP_LIMIT = re.compile(r"([^=/]+)=([0-9]{2,4})/([0-9]{1,4})")
GROUP_LIMITS_EXPECTED = (
    "a group, =, the minutes without use (10 to 1440), / and the hours in all (1 to 8760), such as support=30/8"
)
WITHOUT_HOST = ("unix", "file", "consolemail", "filemail", "memorymail", "dummymail")


def split_url(value: str, schemes: Sequence[str]) -> SplitResult | None:
    """None if it is no valid URL of one of these schemes."""
    try:
        parts = urlsplit(value)
        # Raises ValueError if the port is no number.
        parts.port  # noqa: B018
    except ValueError:
        return None
    if parts.scheme not in schemes or "://" not in value or not value.isprintable() or " " in value:
        return None
    return parts if parts.hostname or parts.scheme in WITHOUT_HOST else None


def is_link(value: str, schemes: Sequence[str]) -> bool:
    parts = split_url(value, schemes)
    if parts is None or not LINK.fullmatch(value) or not value.startswith(f"{parts.scheme}://"):
        return False
    if "@" in parts.netloc or parts.port == 0 or not SITE_HOST.fullmatch(parts.hostname or ""):
        return False
    rest = value
    for placeholder in LINK_PLACEHOLDERS:
        if rest.count(placeholder) != 1:
            return False
        # A space, so that the rest does not contain a placeholder that the value does not have.
        rest = rest.replace(placeholder, " ")
    return not {"{", "}"} & set(rest)


def is_events_url(value: str) -> bool:
    parts = split_url(value, EVENT_SCHEMES)
    if parts is None or parts.port == 0 or parts.fragment:
        return False
    if parts.scheme == "file":
        return not (parts.netloc or parts.query) and len(parts.path) > 1 and not parts.path.endswith("/")
    options = parse_qs(parts.query, keep_blank_values=True)
    [authorities] = options.pop("ssl_ca_certs", [""])[:1]
    return not options and (not authorities or os.access(authorities, os.R_OK))


def is_geoip_database(path: str) -> bool:
    # Needed with this setting only.
    import maxminddb

    try:
        with maxminddb.open_database(path) as database:
            return bool(GEOIP_TYPE.search(database.metadata().database_type))
    except (OSError, ValueError, maxminddb.InvalidDatabaseError):
        return False


def is_legacy_key(value: str) -> bool:
    """Whether it is a public key in PEM format of a type that signs tokens, or else a secret that is long enough."""
    if not value.startswith("-----BEGIN"):
        return len(value.encode()) >= MIN_SECRET_BYTES
    # Needed with this setting only.
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(value.encode())
    except (ValueError, UnsupportedAlgorithm):
        return False
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.curve.name in ("secp256r1", "secp384r1", "secp521r1")
    return isinstance(key, rsa.RSAPublicKey | ed25519.Ed25519PublicKey)


class GroupLimits(NamedTuple):
    """The limits of the sign-ins of a group's members."""

    group: str
    idle: timedelta
    max_age: timedelta


def group_limits(value: str) -> GroupLimits | None:
    """None if it is not valid."""
    match = GROUP_LIMIT.fullmatch(value)
    if match is None:
        return None
    minutes, hours = int(match[2]), int(match[3])
    is_in_range = 10 <= minutes <= 1440 and 1 <= hours <= 8760
    return GroupLimits(match[1].strip(), timedelta(minutes=minutes), timedelta(hours=hours)) if is_in_range else None


def has_port_in_range(origin: str) -> bool:
    try:
        return urlsplit(origin.replace("*", "any")).port != 0
    except ValueError:
        return False


def may_be_same_site(host: str, allowed: str) -> bool:
    """
    Whether both hosts can have the same registrable domain: they are equal, or names with the same last two labels.
    Only the list of public suffixes shows more: example.co.uk and other.co.uk are not the same site, and pass.
    """
    allowed = allowed.lower().strip("[]").removeprefix(".")
    if allowed in ("*", host):
        return True
    labels, others = host.split("."), allowed.split(".")
    is_name = ":" not in host and not labels[-1].isdigit()
    return is_name and len(labels) > 1 and labels[-2:] == others[-2:]


def network(value: str) -> str:
    """The network, without IPv6 if it is mapped IPv4. Raises ValueError."""
    found = ipaddress.ip_network(value)
    if isinstance(found, ipaddress.IPv6Network) and found.prefixlen >= 96:
        mapped = found.network_address.ipv4_mapped
        if mapped:
            return str(ipaddress.ip_network(f"{mapped}/{found.prefixlen - 96}")).removesuffix("/32")
    return value


def networks_expected(value: str) -> str:
    expected = "IP addresses or networks, such as 10.0.0.5 or 10.0.0.0/8, separated by commas"
    try:
        meant = ipaddress.ip_network(value, strict=False)
    except ValueError:
        return expected
    return f"{expected}; did you mean {meant}, or {value.partition('/')[0]}?"
