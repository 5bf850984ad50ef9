"""Host names and origins in canonical form, for comparison."""

import re
from functools import lru_cache

from django.conf import settings
from django.http.request import split_domain_port, validate_host

# The longest name in DNS (RFC 1035), and a port.
MAX_LENGTH = 253 + len(":65535")
HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9*_.-]*[A-Za-z0-9_-])\.?(?::(?P<port>[0-9]*))?")
# A proxy that terminates TLS and sends `$host:$server_port` may send the port of plain HTTP.
DEFAULT_PORTS = {"http": ("", "80"), "https": ("", "443", "80")}


def canonical(host: str, scheme: str) -> str:
    """
    A Host header as browsers send it: lower case, without a default port and a final dot. An invalid header is returned
    unchanged: ALLOWED_HOSTS refuses it.
    """
    return _canonical(host, scheme) if len(host) <= MAX_LENGTH else host


@lru_cache(maxsize=1024)
def _canonical(host: str, scheme: str) -> str:
    match = HOST.fullmatch(host)
    if not match:
        return host
    name, port = match["name"].lower(), match["port"]
    if port is None or port.lstrip("0") in DEFAULT_PORTS.get(scheme, ()):
        return name
    # Django accepts a port of any size.
    return f"{name}:{port}" if int(port) <= 65535 else f"{name}:invalid-port"


def is_allowed(host: str) -> bool:
    """Whether the Host header is in ALLOWED_HOSTS, as HttpRequest.get_host() checks it for each request anew."""
    return len(host) <= MAX_LENGTH and _is_allowed(host, tuple(settings.ALLOWED_HOSTS))


@lru_cache(maxsize=1024)
def _is_allowed(host: str, allowed_hosts: tuple[str, ...]) -> bool:
    domain, _port = split_domain_port(host)
    return bool(domain) and validate_host(domain, allowed_hosts)


def canonical_origin(origin: str) -> str:
    """An origin in the settings as browsers send it in Origin. An invalid origin is returned unchanged."""
    scheme, separator, host = origin.strip().partition("://")
    scheme = scheme.lower()
    # In Origin, unlike in Host, port 80 of HTTPS is another origin.
    if not separator or (scheme == "https" and host.endswith(":80")):
        return origin
    return f"{scheme}://{canonical(host, scheme)}"
