"""IP addresses of clients and proxies: one parser for headers, sockets, settings, commands and searches."""

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# RFC 4291, section 2.5.4: an IPv6 client has a /64 network, and may use each of its addresses.
IPV6_NETWORK_BITS = 64
# RFC 4291, section 2.5.5.2: the addresses of IPv4 clients on a socket that is bound to [::].
MAPPED = IPv6Network("::ffff:0:0/96")
# RFC 6052, section 2.1: the addresses of IPv4 clients behind a NAT64 or SIIT translator with the well-known prefix.
TRANSLATED = IPv6Network("64:ff9b::/96")
# Enough for quotes, brackets, an IPv6 address with a zone, and a port.
MAX_LENGTH = 80
WITH_PORT = re.compile(r"(?:(?P<v4>[0-9.]+)|\[(?P<v6>[^\[\]]+)\])(?::(?P<port>[0-9]{1,5}))?")


def parse(text: str) -> Address | None:
    """
    Returns the address in the text, without quotes, brackets, port and zone, and as IPv4 if it represents an IPv4
    address. None if the text is no address.
    """
    return _parse(text) if len(text) <= MAX_LENGTH else None


@lru_cache(maxsize=1024)
def _parse(text: str) -> Address | None:
    text = text.strip(" \t")
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1]
    if found := WITH_PORT.fullmatch(text):
        if int(found["port"] or 0) > 65535:
            return None
        text = found["v4"] or found["v6"]
    try:
        return _as_ipv4(ip_address(text.partition("%")[0]))
    except ValueError:
        return None


def _as_ipv4(address: Address) -> Address:
    if not isinstance(address, IPv6Address):
        return address
    embedded = IPv4Address(int(address) & 0xFFFFFFFF)
    if address in MAPPED:
        return embedded
    # RFC 6052, section 3.1: this prefix must not represent a private address, which may be one of our proxies.
    return embedded if address in TRANSLATED and embedded.is_global else address


def canonical(text: str) -> str | None:
    """Returns the address as rows, limits and logs store it; None if the text is no address."""
    return _canonical(text) if len(text) <= MAX_LENGTH else None


@lru_cache(maxsize=1024)
def _canonical(text: str) -> str | None:
    address = _parse(text)
    return None if address is None else str(address)


def spellings(address: str) -> list[str]:
    """Returns the canonical address and the forms in which earlier releases stored it."""
    parsed = parse(address)
    if not isinstance(parsed, IPv4Address):
        return [address]
    return [str(parsed), *(str(each.network_address + int(parsed)) for each in (MAPPED, TRANSLATED))]


def network(address: str) -> str:
    """Returns the address that identifies a client: an IPv4 address, or the first address of an IPv6 /64 network."""
    parsed = parse(address)
    if isinstance(parsed, IPv6Address):
        return str(ip_network((parsed, IPV6_NETWORK_BITS), strict=False).network_address)
    return address if parsed is None else str(parsed)


def is_within(address: str, networks: Iterable[str]) -> bool:
    """Returns whether the address is one of `networks`, or in one of them."""
    return len(address) <= MAX_LENGTH and _is_within(address, tuple(networks))


@lru_cache(maxsize=1024)
def _is_within(address: str, networks: tuple[str, ...]) -> bool:
    parsed = _parse(address)
    return parsed is not None and any(parsed in network for network in _networks(networks))


@lru_cache
def _networks(names: tuple[str, ...]) -> list[Network]:
    return [_as_ipv4_network(ip_network(str(name).strip())) for name in names]


def _as_ipv4_network(network: Network) -> Network:
    if isinstance(network, IPv6Network) and network.subnet_of(MAPPED):
        return IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - MAPPED.prefixlen))
    return network


def last_untrusted(hops: str, peer: str, trusted: Iterable[str]) -> str | None:
    """
    Returns the client's address from X-Forwarded-For, sent by the trusted proxy `peer`: the last hop that is not a
    trusted proxy, since the client may forge earlier hops. None if that hop is no address ("unknown", empty, a name).
    """
    client: str | None = peer
    for hop in reversed(hops.split(",")):
        client = canonical(hop)
        if client is None or not is_within(client, trusted):
            break
    return client
