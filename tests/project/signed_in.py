"""Clients of one user that stay signed in while nodes are restarted with other settings, and links in mails."""

import os
import random
import threading
import time
import uuid
from contextlib import suppress

import httpx
import psycopg

from tests import servers
from tests.second_factors import App

PASSWORD = "violet anchor hums at dawn"
RESET_LINK = """
from django.contrib.auth.tokens import default_token_generator
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode
from accounts.models import User
user = User.objects.get(username={!r})
print(urlsafe_base64_encode(force_bytes(user.pk)), default_token_generator.make_token(user))
"""


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


def reset_link(env, name):
    uid, token = servers.manage(env, "shell", "--verbosity=0", "--command", RESET_LINK.format(name)).split()
    return f"/accounts/reset/{uid}/{token}/"


def is_valid(node, link):
    return httpx.get(f"{node.url}{link}", follow_redirects=True, timeout=30).status_code == 200


class AppUser:
    """A user with an authenticator app, who signs in with a code."""

    def __init__(self, nodes, database_url):
        self.database_url, self.program = database_url, Program(nodes)
        made = self.post(nodes[0], "/api/factors/totp/", {}).json()
        self.app = App.of_secret(made["secret"])
        confirmed = self.post(nodes[0], "/api/factors/totp/confirm/", {"id": made["id"], "code": self.app.code()})
        assert confirmed.status_code == 200, confirmed.text

    def post(self, node, path, body):
        bearer = {"Authorization": f"Bearer {self.program.tokens['access']}"}
        return httpx.post(f"{node.url}{path}", json=body, headers=bearer, timeout=30)

    def signs_in(self, node):
        """Signs in with the current code, as if the last one was used in an earlier time step."""
        with psycopg.connect(self.database_url) as connection:
            connection.execute("UPDATE accounts_authenticatorapp SET last_used_step = 0")
        form = {"username": self.program.name, "password": PASSWORD, "code": self.app.code()}
        return httpx.post(f"{node.url}/api/token/", json=form, timeout=30).status_code == 200
