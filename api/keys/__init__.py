"""The keys that sign and verify tokens, and their rotation."""

from api.keys.folder import KeyFolder
from api.keys.key import Key, derived_keys
from api.keys.ring import Keyring, keyring

__all__ = ["Key", "KeyFolder", "Keyring", "derived_keys", "keyring"]
