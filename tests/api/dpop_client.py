"""A client of the API with a DPoP key."""

import base64
import hashlib
import time
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from jwt.algorithms import get_default_algorithms

from tests.conftest import ApiClient

ME = "https://testserver/api/me/"
TOKEN = "https://testserver/api/token/"
REFRESH = "https://testserver/api/token/refresh/"
KEYS = {"ES256": lambda: ec.generate_private_key(ec.SECP256R1()), "EdDSA": ed25519.Ed25519PrivateKey.generate}


class Holder:
    """A client with a key, which uses the nonces that the server sends."""

    def __init__(self, algorithm="ES256"):
        self.algorithm = algorithm
        self.key = KEYS[algorithm]()
        self.nonce = None
        self.access = self.refresh = ""

    @property
    def jwk(self):
        return get_default_algorithms()[self.algorithm].to_jwk(self.key.public_key(), as_dict=True)

    def proof(self, method, uri, access="", header=None, **claims):
        claims = {"jti": uuid4().hex, "htm": method, "htu": uri, "iat": int(time.time())} | claims
        if self.nonce:
            claims.setdefault("nonce", self.nonce)
        if access:
            claims.setdefault("ath", b64(hashlib.sha256(access.encode()).digest()))
        claims = {name: value for name, value in claims.items() if value is not None}
        headers = {"typ": "dpop+jwt", "jwk": self.jwk} | (header or {})
        return jwt.encode(claims, self.key, algorithm=self.algorithm, headers=headers)

    def send(self, method, path, data=None, proof=None, scheme="DPoP", access=None):
        access = self.access if access is None else access
        headers = {"Authorization": f"{scheme} {access}"} if access else {}
        if proof is not False:
            headers["DPoP"] = proof or self.proof(method, f"https://testserver{path}", access)
        return ApiClient().request(method, path, data, headers=headers)

    def call(self, method, path, data=None, **kwargs):
        """Sends a request, and once more if a nonce is required."""
        response = self.send(method, path, data, **kwargs)
        if "DPoP-Nonce" in response.headers:
            self.nonce = response.headers["DPoP-Nonce"]
            response = self.send(method, path, data, **kwargs)
        return response

    def sign_in(self, username, password):
        return self._keep(self.call("POST", "/api/token/", {"username": username, "password": password}, access=""))

    def renew(self):
        return self._keep(self.call("POST", "/api/token/refresh/", {"refresh": self.refresh}, access=""))

    def _keep(self, response):
        if response.status_code == 200:
            self.access, self.refresh = response.json()["access"], response.json()["refresh"]
        return response

    def me(self, **kwargs):
        return self.call("GET", "/api/me/", **kwargs)


def b64(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def refused(response, error="invalid_dpop_proof"):
    assert response.status_code == 401, response.content
    assert response.headers["WWW-Authenticate"] == f'DPoP error="{error}", algs="ES256 EdDSA"'
    assert response.json()["code"] == error
    return True
