"""The cache of verified tokens in a process has a maximum size."""

import time
import uuid

import jwt
import pytest

from api.keys import keyring
from api.tokens import AccessToken
from api.tokens.backend import MAX_TOKEN_BYTES
from tests.conftest import bearer, claims_of

pytestmark = pytest.mark.django_db

BOUND = 20


@pytest.fixture
def known(monkeypatch):
    """The cache of verified tokens, empty, with room for twenty."""
    backend = AccessToken._token_backend
    with monkeypatch.context() as patch:
        patch.setattr("api.tokens.backend.MAX_CACHED_TOKENS", BOUND)
        backend._clear_cache()
    yield lambda: backend._cached_claims.cache_info()
    backend._clear_cache()


def genuine(token, **claims):
    """Returns a token with other claims and a valid signature."""
    key, claims = keyring.signing_key, claims_of(token) | claims
    return jwt.encode(claims, key.signing, key.algorithm, {"kid": key.kid, "typ": "at+jwt"})


def others(token, number):
    return [genuine(token, jti=uuid.uuid4().hex) for _ in range(number)]


def ask(client, *tokens):
    """Returns the status of /api/me/ for each token."""
    return [client.get("/api/me/", headers=bearer(each)).status_code for each in tokens]


def test_the_cache_of_valid_tokens_is_bounded(known, client_of, ann):
    client = client_of(ann)
    tokens = others(client.access, 5 * BOUND)
    for number, token in enumerate(tokens, 1):
        assert ask(client, token) == [200]
        assert known().currsize == min(number, BOUND)
    # The last ones are cached; the first ones are verified again, and still valid.
    before = known()
    assert set(ask(client, *tokens[-BOUND:])) == {200}
    assert (known().hits, known().misses) == (before.hits + BOUND, before.misses)
    assert set(ask(client, *tokens[:BOUND])) == {200}
    assert (known().misses, known().currsize) == (before.misses + BOUND, BOUND)


def test_refused_tokens_take_no_room_in_the_cache(known, client_of, ann):
    client = client_of(ann)
    assert ask(client, client.access) == [200]
    header, payload, signature = client.access.split(".")
    forged = [f"{header}.{payload}.{signature[:-8]}{number:08}" for number in range(2 * BOUND)]
    expired = [genuine(client.access, exp=int(time.time()) - 3600 - number) for number in range(2 * BOUND)]
    too_long = [genuine(client.access, padding="x" * MAX_TOKEN_BYTES + str(number)) for number in range(2 * BOUND)]
    before = known()
    assert set(ask(client, *forged, *expired, *too_long)) == {401}
    assert known().currsize == 1
    # Long tokens are not looked up.
    assert known().misses == before.misses + len(forged + expired)
    assert ask(client, client.access) == [200]
    assert known().hits == before.hits + 1
