"""A change of SECRET_KEY, node by node in the order of project/README.md, ends no sign-in."""

import hashlib
import threading
import time
import uuid

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from jwt.utils import base64url_encode

from tests import databases, servers
from tests.project.signed_in import PASSWORD, AppUser, Browser, Program, is_valid, reset_link, restart

WRONG = "not the right passphrase at all"
OLD, NEW = (
    "old-2Lk4TzWc8NfHs3YbJd6PgAu5EeKt1RoXi7Qm2xVr9-of-tests",
    "new-9Rk2mVx7Lq4TzWc8NfHs3YbJd6PgAu5EeKt1Ro-of-tests",
)
ROUNDS = [(OLD, NEW), (NEW, OLD), (NEW, "")]

pytestmark = [pytest.mark.once, pytest.mark.long, pytest.mark.timeout(400)]


def environment(key, fallback):
    return {"SECRET_KEY": key, "SECRET_KEY_FALLBACKS": fallback}


@pytest.fixture
def stores(tmp_path):
    env = {"DATABASE_URL": databases.migrated(tmp_path, "secret"), "DEBUG": "true"}
    # All requests of this test come from one address.
    env |= {"TOKEN_RATE": "", "ACCOUNT_RATE": "", "HASHES_AT_ONCE": "4"}
    return env


@pytest.fixture
def nodes(stores):
    env = stores | environment(OLD, "")
    with servers.node(env, 1) as one, servers.node(env, 1) as other:
        yield [one, other]


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


def check_links(nodes, links):
    assert [link for link in links for node in nodes if not is_valid(node, link)] == []


def test_a_change_node_by_node_refuses_no_request(stores, nodes):
    program, other, reader = Program(nodes), Program(nodes), Program(nodes)
    app_user = AppUser(nodes, stores["DATABASE_URL"])
    browsers = [Browser(program, node) for node in nodes]
    locked = Browser(other, nodes[0])
    links = [reset_link(stores | environment(OLD, ""), reader.name)]
    busy = Program(nodes)
    calls = threading.Thread(target=busy.run)
    calls.start()
    try:
        for key, fallback in ROUNDS[:2]:
            for node in nodes:
                restart(node, stores | environment(key, fallback))
                browsers.append(Browser(program, node))
                check_all_nodes(nodes, program, browsers, locked)
                links.append(reset_link(stores | environment(key, fallback), reader.name))
                check_links(nodes, links)
                assert [app_user.signs_in(each) for each in nodes] == [True, True]
    finally:
        busy.over.set()
        calls.join()
    assert len(busy.statuses) > 20
    assert set(busy.statuses) == {200}
    # The sign-ins of before have expired when the old key is removed, 30 days later.
    since, program_since = Browser(program, nodes[0]), Program(nodes)
    for node in nodes:
        restart(node, stores | environment(*ROUNDS[2]))
        assert all(since.is_signed_in(each) for each in nodes)
        assert program_since.me(node) == program_since.refresh(node) == 200
        # The secret of the app was encrypted with the new key when it was used.
        assert app_user.signs_in(node)
        check_links(nodes, links[-1:])


def test_without_a_fallback_the_old_key_is_refused(stores, nodes):
    """As after a leak of the key. It shows that the checks of the test above can fail."""
    program, app_user = Program(nodes), AppUser(nodes, stores["DATABASE_URL"])
    browser, link = Browser(program, nodes[0]), reset_link(stores | environment(OLD, ""), program.name)
    restart(nodes[1], stores | environment(NEW, ""))
    assert [program.me(nodes[1]), program.refresh(nodes[1])] == [401, 401]
    assert not browser.is_signed_in(nodes[1])
    assert not is_valid(nodes[1], link)
    assert not app_user.signs_in(nodes[1])


def test_a_key_unknown_to_other_nodes_is_refused(stores, nodes):
    """Therefore the new key is a fallback first."""
    restart(nodes[1], stores | environment(NEW, OLD))
    program = Program(nodes)
    program.sign_in(nodes[1])
    assert [program.me(node) for node in nodes] == [401, 200]
