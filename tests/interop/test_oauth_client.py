"""Authlib's OAuth client introspects and revokes our tokens by the RFCs."""

from collections.abc import Iterator

import httpx
import pytest
from authlib.integrations.httpx_client import OAuth2Client

from tests import servers
from tests.interop.conftest import Issuer

pytestmark = [pytest.mark.once, pytest.mark.long]


@pytest.fixture
def authlib(issuer: Issuer) -> Iterator[OAuth2Client]:
    """Authlib's client as a service that may introspect."""
    password = servers.manage(issuer.env, "make_service", "gate", "--scope", "introspect").strip()
    answer = httpx.post(
        f"{issuer.url}/api/token/", json={"username": "gate", "password": password}, timeout=30, trust_env=False
    )
    token = {"access_token": answer.json()["access"], "token_type": "Bearer"}
    with OAuth2Client(token=token, trust_env=False) as client:
        # Clients authenticate with an access token, and not with a client secret.
        client.client_auth_methods = {}
        yield client


def test_authlib_introspects_and_revokes_a_token(authlib: OAuth2Client, issuer: Issuer) -> None:
    tokens, bearer = issuer.sign_in(), {"Authorization": f"Bearer {authlib.token['access_token']}"}

    def introspect() -> dict[str, object]:
        url = f"{issuer.url}/api/token/introspect/"
        return authlib.introspect_token(url, tokens.access, "access_token", auth=NO_AUTH, headers=bearer).json()

    claims = introspect()
    assert (claims["active"], claims["token_type"]) == (True, "Bearer")
    url = f"{issuer.url}/api/token/revoke/"
    assert authlib.revoke_token(url, tokens.refresh, "refresh_token", auth=NO_AUTH).status_code == 200
    assert introspect() == {"active": False}


class _NoAuth(httpx.Auth):
    pass


NO_AUTH = _NoAuth()
