"""A small database of places in the format MaxMind DB, for GEOIP_PATH."""

from pathlib import Path

from mmdb_writer import MMDBWriter
from netaddr import IPSet

LONDON, JAPAN, UNNAMED, PRIVATE = "81.2.69.142", "2001:218::1", "89.160.20.112", "192.168.1.7"
RECORDS = {
    f"{LONDON}/32": {
        "city": {"names": {"en": "London", "de": "London"}},
        "country": {"names": {"en": "United Kingdom", "de": "Vereinigtes Königreich"}},
    },
    "2001:218::/32": {"country": {"names": {"en": "Japan"}}},
    f"{UNNAMED}/32": {"country": {"iso_code": "SE"}},
    "192.168.0.0/16": {"country": {"names": {"en": "Nowhere"}}},
}


def write(path: Path, type: str = "GeoLite2-City") -> Path:
    """Writes the database, and returns its path."""
    writer = MMDBWriter(6, type, languages=["en", "de"], ipv4_compatible=True)
    for network, record in RECORDS.items():
        writer.insert_network(IPSet([network]), record)
    writer.to_db_file(str(path))
    return path
