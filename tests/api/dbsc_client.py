"""A browser with DBSC: it does what the draft has a browser do, and what no browser would."""

import json
import re

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import get_default_algorithms

from tests.conftest import Browser

BOUND = "__Host-bound"
SESSION = "__Host-sessionid"
REGISTRATION, REFRESH = "/dbsc/registration/", "/dbsc/refresh/"
HOME, SENSITIVE = "/accounts/sign-ins/", "/accounts/email/"
KEYS = {
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
}


class BoundBrowser(Browser):
    """A browser with a key."""

    def __init__(self, algorithm="ES256", **kwargs):
        super().__init__(**kwargs)
        self.algorithm = algorithm
        self.key = KEYS[algorithm]()
        self.offer = self.identifier = ""

    def sign_in(self, user, password):
        """Signs in, and keeps the challenge of the answer."""
        response = self.post("/accounts/login/", {"username": user.username, "password": password})
        assert response.status_code == 302, response.content.decode()
        return self.keep_offer(response)

    def keep_offer(self, response):
        header = response.headers.get("Secure-Session-Registration", "")
        self.offer = "".join(re.findall('challenge="([^"]+)"', header))
        return response

    @property
    def jwk(self):
        return get_default_algorithms()[self.algorithm].to_jwk(self.key.public_key(), as_dict=True)

    def proof(self, challenge, key=None, headers=None, **claims):
        headers = {"typ": "dbsc+jwt"} | (headers or {})
        return jwt.encode({"jti": challenge} | claims, key or self.key, algorithm=self.algorithm, headers=headers)

    def register(self, challenge=None, proof=None, **options):
        """Sends the registration of the offer, and keeps the identifier of the session."""
        proof = proof or self.proof(challenge or self.offer, headers={"jwk": self.jwk}, **options)
        response = self.post(REGISTRATION, headers={"Secure-Session-Response": f'"{proof}"'})
        if response.status_code == 200:
            self.identifier = response.json()["session_identifier"]
        return response

    def refresh(self, proof=None, identifier=None, **headers):
        identifier = self.identifier if identifier is None else identifier
        if identifier:
            headers["Sec-Secure-Session-Id"] = f'"{identifier}"'
        if proof:
            headers["Secure-Session-Response"] = f'"{proof}"'
        return self.post(REFRESH, headers=headers)

    def challenge(self):
        """Returns a new challenge for the key."""
        response = self.refresh()
        assert response.status_code == 403, response.content
        return challenge_in(response)

    def renew(self):
        """Proves the key, as a browser does before a request without the bound cookie."""
        return self.refresh(self.proof(self.challenge()))

    def forget(self):
        """Drops the bound cookie, as a browser does after its term."""
        self.cookies.pop(BOUND, None)

    def copy(self):
        """Returns a browser without the key that has all cookies of this one."""
        thief = Browser()
        thief.cookies.load({name: each.value for name, each in self.cookies.items()})
        return thief


def challenge_in(response):
    found = re.fullmatch('"([^"]+)";id="([^"]+)"', response.headers["Secure-Session-Challenge"])
    return found.group(1)


def unsigned(header, **claims):
    """A JWT with this header and no signature."""
    parts = (json.dumps(each).encode() for each in (header, claims))
    return ".".join([*(jwt.utils.base64url_encode(each).decode() for each in parts), ""])


def bound_browser(user, password, **options):
    """A browser that is signed in, and whose session is bound to its key."""
    browser = BoundBrowser(**options)
    browser.sign_in(user, password)
    assert browser.register().status_code == 200
    return browser
