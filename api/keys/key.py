"""Ed25519 points that are no public key: with some of them, anybody can make a signature that verifies."""

FIELD_PRIME = 2**255 - 19
# The y coordinates of the eight points whose order is 1, 2, 4 or 8. RFC 8032, section 8.9; Chalkias et al., "Taming the
# many EdDSAs" (2020), table 6.
_OF_ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
SMALL_ORDER = frozenset({0, 1, FIELD_PRIME - 1, _OF_ORDER_8, FIELD_PRIME - _OF_ORDER_8})


def is_sound_ed25519(public: bytes) -> bool:
    """Whether these 32 bytes are the one encoding of their point (RFC 8032, section 5.1.3), and not of small order."""
    y = int.from_bytes(public, "little") & (2**255 - 1)
    return len(public) == 32 and y < FIELD_PRIME and y not in SMALL_ORDER
