"""Host names and origins in their canonical form, in which they can be compared."""

import re

# The longest name that DNS has, and a port.
MAX_LENGTH = 253 + len(":65535")
HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9*_.-]*[A-Za-z0-9_-])\.?(?::(?P<port>[0-9]*))?")
# Behind a proxy that ends TLS and sends `$host:$server_port`, the port may be that of plain HTTP.
DEFAULT_PORTS = {"http": ("", "80"), "https": ("", "443", "80")}


def canonical(host: str, scheme: str) -> str:
    """
    A Host header as a browser sends it: lower case, no default port, no dot at the end. As it is, if it is none:
    ALLOWED_HOSTS then refuses it.
    """
    found = HOST.fullmatch(host) if len(host) <= MAX_LENGTH else None
    if not found:
        return host
    name, port = found["name"].lower(), found["port"]
    if port is None or port.lstrip("0") in DEFAULT_PORTS.get(scheme, ()):
        return name
    # Django would take a port of any size.
    return f"{name}:{port}" if int(port) <= 65535 else f"{name}:invalid-port"


def canonical_origin(origin: str) -> str:
    """An origin in the settings as browsers send it in Origin. As it is, if it is none."""
    scheme, separator, host = origin.strip().partition("://")
    scheme = scheme.lower()
    # Port 80 of HTTPS is another origin, if a browser names it.
    if not separator or (scheme == "https" and host.endswith(":80")):
        return origin
    return f"{scheme}://{canonical(host, scheme)}"
