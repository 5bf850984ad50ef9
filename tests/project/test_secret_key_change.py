"""A change of SECRET_KEY, node by node in the order of project/README.md, ends no sign-in."""

import hashlib
import os
import random
import threading
import time
import uuid
from contextlib import suppress

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from jwt.utils import base64url_encode

from tests import servers

PASSWORD = "violet anchor hums at dawn"
WRONG = "not the right passphrase at all"
OLD, NEW = (
    "old-2Lk4TzWc8NfHs3YbJd6PgAu5EeKt1RoXi7Qm2xVr9-of-tests",
    "new-9Rk2mVx7Lq4TzWc8NfHs3YbJd6PgAu5EeKt1Ro-of-tests",
)
ROUNDS = [(OLD, NEW), (NEW, OLD), (NEW, "")]
RESET_LINK = """
from django.contrib.auth.tokens import default_token_generator
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode
from accounts.models import User
user = User.objects.get(username={!r})
print(urlsafe_base64_encode(force_bytes(user.pk)), default_token_generator.make_token(user))
"""

pytestmark = [pytest.mark.once, pytest.mark.long, pytest.mark.timeout(400)]


def environment(key, fallback):
    return {"SECRET_KEY": key, "SECRET_KEY_FALLBACKS": fallback}


@pytest.fixture
def stores():
    name = f"secret_{uuid.uuid4().hex}"
    env = {"DATABASE_URL": servers.create_database(os.environ["DATABASE_URL"], name), "DEBUG": "true"}
    # All requests of this test come from one address.
    env |= {"TOKEN_RATE": "", "ACCOUNT_RATE": "", "HASHES_AT_ONCE": "4"}
    servers.manage(env | environment(OLD, ""), "migrate", "--verbosity=0")
    return env


@pytest.fixture
def nodes(stores):
    env = stores | environment(OLD, "")
    with servers.node(env, 1) as one, servers.node(env, 1) as other:
        yield [one, other]


def restart(node, env):
    node.stop_gracefully()
    node.options["env"] = os.environ | env
    node.start()


class Program:
    """A client that calls and refreshes at all nodes, and retries at another node without a response."""

    def __init__(self, nodes):
        self.nodes, self.statuses, self.over = nodes, [], threading.Event()
        self.name = f"u{uuid.uuid4().hex[:12]}"
        form = {"username": self.name, "email": f"{self.name}@example.org", "password": PASSWORD}
        assert httpx.post(f"{nodes[0].url}/api/register/", json=form).status_code == 201
        self.sign_in(nodes[0])

    def sign_in(self, node):
        form = {"username": self.name, "password": PASSWORD}
        answer = httpx.post(f"{node.url}/api/token/", json=form, timeout=30)
        assert answer.status_code == 200, answer.text
        self.tokens = answer.json()

    def me(self, node):
        bearer = {"Authorization": f"Bearer {self.tokens['access']}"}
        return httpx.get(f"{node.url}/api/me/", headers=bearer, timeout=30).status_code

    def refresh(self, node):
        answer = httpx.post(f"{node.url}/api/token/refresh/", json={"refresh": self.tokens["refresh"]}, timeout=30)
        if answer.status_code == 200:
            self.tokens = answer.json()
        return answer.status_code

    def run(self):
        while not self.over.is_set():
            with suppress(httpx.TransportError):
                self.statuses.append(self.me(random.choice(self.nodes)))
                self.statuses.append(self.refresh(random.choice(self.nodes)))
            time.sleep(0.05)


class Browser:
    """A browser of the program's user that signed in at one node and uses all nodes."""

    def __init__(self, program, node):
        self.http = httpx.Client(timeout=30)
        self.program = program
        assert self.sign_in(node) == 302

    def sign_in(self, node):
        self.http.get(f"{node.url}/accounts/login/")
        return self.send(node, "/accounts/login/", {"username": self.program.name, "password": PASSWORD})

    def send(self, node, path, form):
        token = {"csrfmiddlewaretoken": servers.csrf_token(self.http.cookies)}
        return self.http.post(f"{node.url}{path}", data=form | token).status_code

    def is_signed_in(self, node):
        return self.http.get(f"{node.url}/accounts/profile/").status_code == 200

    def is_known(self, node):
        """Whether it can sign in while strangers with the same address are locked out."""
        return self.sign_in(node) == 302

    def saves(self, shown_by, node):
        """Sends a form of one node to another. Returns whether it was saved."""
        self.http.get(f"{shown_by.url}/accounts/profile/")
        return self.send(node, "/accounts/profile/", {"first_name": "Ann", "last_name": ""}) == 302


class BoundClient:
    """A client with its own DPoP key and a wrong clock, so that it needs a nonce."""

    def __init__(self, program):
        self.program, self.key, self.nonce = program, ec.generate_private_key(ec.SECP256R1()), None

    def proof(self, method, url, access=""):
        claims = {"jti": uuid.uuid4().hex, "htm": method, "htu": url, "iat": int(time.time()) - 3600}
        if self.nonce:
            claims["nonce"] = self.nonce
        if access:
            claims["ath"] = base64url_encode(hashlib.sha256(access.encode()).digest()).decode()
        jwk = ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return jwt.encode(claims, self.key, algorithm="ES256", headers={"typ": "dpop+jwt", "jwk": jwk})

    def ask_nonce(self, node):
        self.nonce = None
        answer = self.sign_in_at(node)
        assert answer.json()["error"] == "use_dpop_nonce", answer.text
        self.nonce = answer.headers["DPoP-Nonce"]

    def sign_in_at(self, node):
        url = f"{node.url}/api/token/"
        form = {"username": self.program.name, "password": PASSWORD}
        return httpx.post(url, json=form, headers={"DPoP": self.proof("POST", url)}, timeout=30)

    def calls(self, made_at, node):
        """Calls one node with a nonce and tokens of another."""
        self.ask_nonce(made_at)
        answer = self.sign_in_at(node)
        assert answer.status_code == 200, answer.text
        access = answer.json()["access"]
        url = f"{made_at.url}/api/me/"
        headers = {"Authorization": f"DPoP {access}", "DPoP": self.proof("GET", url, access)}
        return httpx.get(url, headers=headers, timeout=30).status_code == 200


def reset_link(env, name):
    uid, token = servers.manage(env, "shell", "--verbosity=0", "--command", RESET_LINK.format(name)).split()
    return f"/accounts/reset/{uid}/{token}/"


def is_valid(node, link):
    return httpx.get(f"{node.url}{link}", follow_redirects=True, timeout=30).status_code == 200


def lock_out_strangers(node, name):
    for _guess in range(6):
        httpx.post(f"{node.url}/api/token/", json={"username": name, "password": WRONG}, timeout=30)


def check_all_nodes(nodes, program, browsers, locked):
    """Checks that every node accepts what one node issued."""
    for node in nodes:
        assert program.me(node) == program.refresh(node) == 200
        assert all(browser.is_signed_in(node) for browser in browsers)
        assert all(BoundClient(program).calls(made_at, node) for made_at in nodes)
        lock_out_strangers(node, locked.program.name)
        assert locked.is_known(node)
    assert browsers[-1].saves(*nodes)
    assert browsers[-1].saves(*reversed(nodes))


def test_a_change_node_by_node_refuses_no_request(stores, nodes):
    program, other = Program(nodes), Program(nodes)
    browsers = [Browser(program, node) for node in nodes]
    locked = Browser(other, nodes[0])
    busy = Program(nodes)
    calls = threading.Thread(target=busy.run)
    calls.start()
    try:
        for key, fallback in ROUNDS[:2]:
            for node in nodes:
                restart(node, stores | environment(key, fallback))
                browsers.append(Browser(program, node))
                check_all_nodes(nodes, program, browsers, locked)
                link = reset_link(stores | environment(key, fallback), program.name)
                assert [is_valid(each, link) for each in nodes] == [True, True]
    finally:
        busy.over.set()
        calls.join()
    assert len(busy.statuses) > 20
    assert set(busy.statuses) == {200}
    since = Browser(program, nodes[0])
    for node in nodes:
        restart(node, stores | environment(*ROUNDS[2]))
        # Refresh tokens are signed with the new key now, and sign-ins of the second round stay valid.
        assert all(since.is_signed_in(each) for each in nodes)


def test_a_key_unknown_to_other_nodes_is_refused(stores, nodes):
    """Therefore the new key is a fallback first."""
    restart(nodes[1], stores | environment(NEW, OLD))
    program = Program(nodes)
    program.sign_in(nodes[1])
    assert [program.me(node) for node in nodes] == [401, 200]
