"""
API keys: the look-up of their sign-in, without a statement if the process has checked the key before.

A remembered key is accepted under the rules of a remembered session (api.blocklist.sessions). In all other cases its
sign-in is read from the database.
"""

import hashlib
import os
import time
import uuid
from typing import Any

from django.db import connection
from django.db.models import Exists, OuterRef, QuerySet
from django.utils.crypto import constant_time_compare

from accounts import api_keys, sids
from accounts.compiled_queries import CompiledQuery
from accounts.models import SignIn
from api.blocklist.mirror import mirror
from api.blocklist.models import Entry
from api.blocklist.sessions import SIGN_IN_FIELDS, RememberedSessions, may_be_remembered, remember

KEY_FIELDS = (*SIGN_IN_FIELDS, "scopes")

remembered_keys = RememberedSessions()
# A child process must not share the lock of its parent.
os.register_at_fork(after_in_child=remembered_keys.__init__)  # type: ignore[misc]


def _rows(sid: uuid.UUID) -> QuerySet[Any, Any]:
    blocking = Entry.objects.blocking(sid, OuterRef("user_id"))
    return SignIn.objects.filter(~Exists(blocking), pk=sid).order_by()


_row_of_key = CompiledQuery(lambda: _rows(uuid.UUID(int=2)).values_list("key_hash", "scopes", *SignIn.columns()))


def find_sign_in(raw: bytes) -> SignIn | None:
    """
    Returns the live sign-in of an API key, with its user; None if the key is malformed, unknown or expired, or has
    ended. No statement if the key is remembered, and otherwise one for a well-formed key.
    """
    digest = hashlib.sha256(raw).hexdigest()
    if remembered := remembered_keys.valid(digest):
        return remembered.build()
    key = api_keys.read(raw)
    if key is None:
        return None
    read_at, store_number = time.monotonic(), mirror.store_number
    sign_in = _read(key)
    if sign_in and may_be_remembered(sign_in):
        expires_at = min(sign_in.expires_at, sign_in.max_expires_at)
        remember(remembered_keys, digest, sign_in.sid, sign_in, KEY_FIELDS, expires_at, read_at, store_number)
    return sign_in


def _read(key: api_keys.ReadKey) -> SignIn | None:
    row = _row_of_key.first(*_parameters(key.sid))
    if row is None:
        return None
    key_hash, scopes, *columns = row
    sign_in = SignIn.from_columns(columns)
    is_right = sign_in.kind == SignIn.Kind.API_KEY and constant_time_compare(key_hash, key.secret_hash)
    if not is_right or not sign_in.is_live():
        return None
    sign_in.scopes = scopes
    sign_in.mark_stored(["scopes"])
    return sign_in


def _parameters(sid: uuid.UUID) -> list[Any]:
    """The SQL parameters of _rows(): as blocking_parameters(), but the owner is a column."""
    pk = SignIn._meta.pk.get_db_prep_value(sid, connection)
    started = connection.ops.adapt_datetimefield_value(sids.started_at(sid))
    # The first parameter is the constant that EXISTS selects.
    return [1, pk, started, Entry.Kind.USER.value, started, Entry.Kind.EVERYBODY.value, pk]
