"""The keys that sign and verify tokens, and their rotation."""

from api.keys.ring import Key, KeyFolder, Keyring, derived_keys, keyring

__all__ = ["Key", "KeyFolder", "Keyring", "derived_keys", "keyring"]
