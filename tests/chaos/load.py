"""Clients that sign in, call, refresh and end sign-ins in both modes, and record the responses."""

import asyncio
import base64
import copy
import hashlib
import json
import random
import re
import time
from collections.abc import Coroutine, Iterable
from typing import Any, Self
from uuid import UUID

import httpx

from tests.chaos.recorder import FOREVER, Call, End, History

PASSWORD = "violet anchor hums at dawn"
# How long a client waits for a response, in seconds.
PATIENCE = 30.0
# Requests with a credential that has ended: a thief tries more than one worker.
THEFTS = 4
# Between two actions of one client, in seconds.
PAUSE = (0.3, 1.2)
REFRESH_SHARE, LEAVE_SHARE, END_SHARE = 0.2, 0.05, 0.04
ACCESS_SECONDS = 60
# The messages of h11.
CUT_OFF = "without sending complete message body"


def claims(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


class Person:
    def __init__(self, name: str) -> None:
        self.name = name
        self.passwords = [PASSWORD]
        self.clients: list[Client] = []
        # Wholesale ends and sign-ins of one user are serialized, so that it is known which sign-ins an end affects.
        # Set by run(), since a lock belongs to one event loop.
        self.lock: asyncio.Lock
        self.live: set[str] = set()


class Client:
    """One client or browser of a user, which signs in repeatedly."""

    mode = ""
    # Set by run().
    http: httpx.AsyncClient

    def __init__(self, person: Person, history: History, rng: random.Random) -> None:
        self.person, self.history, self.rng = person, history, rng
        person.clients.append(self)
        self.headers = {
            "X-Forwarded-Proto": "https",
            "X-Forwarded-For": f"10.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(1, 255)}",
        }
        self.sid = ""

    async def run(self, until: float) -> None:
        while time.monotonic() < until:
            await self.act()
            await asyncio.sleep(self.rng.uniform(*PAUSE))

    async def act(self) -> None:
        if not self.sid:
            async with self.person.lock:
                await self.sign_in()
            return
        chance = self.rng.random()
        if chance < END_SHARE:
            await self.end_something()
        elif chance < END_SHARE + REFRESH_SHARE:
            await self.renew()
        else:
            await self.call()

    async def ask(
        self,
        action: str,
        method: str,
        path: str,
        patience: float = PATIENCE,
        note: dict[str, Any] | None = None,
        **how: Any,
    ) -> tuple[Call, httpx.Response | None]:
        headers = self.headers | self.credentials() | how.pop("headers", {})
        fields: dict[str, Any] = {"sid": self.sid, "user": self.person.name, "mode": self.mode}
        fields |= {"expires": self.expires_at, "jti": self.jti, "key": self.key} | (note or {})
        sent_at, response = time.monotonic(), None
        try:
            response = await asyncio.wait_for(self.http.request(method, path, headers=headers, **how), patience)
            fields |= {
                "status": response.status_code,
                "node": response.headers.get("X-Node", ""),
                "retry_after": response.headers.get("Retry-After", ""),
                "about": frozenset(re.findall(r"\bperson\d+\b", response.text)),
            }
            if response.status_code == 401:
                fields["said"] = f"{path} {response.text[:200]}"
        except (httpx.TransportError, TimeoutError) as error:
            fields |= {"status": 0, "left": patience < PATIENCE, "cut_off": CUT_OFF in str(error), "said": repr(error)}
        return Call(action, sent_at, time.monotonic(), **fields), response

    def patience(self, leave_share: float = LEAVE_SHARE) -> float:
        """Returns a timeout in seconds; sometimes a client disconnects before the response."""
        return self.rng.uniform(0.001, 0.05) if self.rng.random() < leave_share else PATIENCE

    def credentials(self) -> dict[str, str]:
        return {}

    def keep(self, call: Call) -> Call:
        self.history.calls.append(call)
        if call.action != "sign in" and (call.status == 401 or (call.status == 302 and self.mode == "session")):
            self.forget()
        return call

    def forget(self) -> None:
        self.person.live.discard(self.sid)
        self.sid = ""

    def copy(self) -> Self:
        """Returns a client with the same credentials, like a thief."""
        return copy.copy(self)

    async def try_out(self, action: str, times: int = THEFTS) -> None:
        """Sends requests with the credentials at the same time, so that several workers answer."""
        calls = await asyncio.gather(*(self.ask(action, "GET", "/api/me/") for _ in range(times)))
        self.history.calls.extend(call for call, _ in calls)

    async def end(self, action: str, method: str, path: str, sids: Iterable[str], jti: str = "", **how: Any) -> Call:
        sids, keys = frozenset(sids), frozenset(filter(None, [how.pop("key", "")]))
        number, by = len(self.history.ends), self.sid
        copies = [each.copy() for each in self.person.clients if each.sid in sids or each.key in keys]
        # From this time on it may be executed.
        self.history.ends.append(End(action, time.monotonic(), FOREVER, False, self.person.name, sids, jti, by, keys))
        # To sign out of an ended sign-in, or to block a refused token, is not an error.
        named = action if action in ("sign out", "block") else "end"
        call, response = await self.ask(named, method, path, **how)
        self.history.calls.append(call)
        if response is not None:
            self.take_cookies(response)
        # If the own sign-in has ended before, nothing else was ended.
        self.history.ends[number] = End(
            action, call.sent_at, call.answered_at, call.accepted, self.person.name, sids, jti, by, keys
        )
        if call.status == 401 or (call.accepted and self.sid in sids):
            self.forget()
        if call.accepted:
            # Old credentials are tried, like a thief does.
            await asyncio.gather(*(each.try_out("stolen") for each in copies))
        return call

    async def end_something(self) -> None:
        way = self.rng.choice(["other", "others", "password", *self.own_ends])
        if way == "other":
            others = sorted(self.person.live - {self.sid})
            if others:
                victim = self.rng.choice(others)
                await self.end("end one", "DELETE", f"/api/sign-ins/{victim}/", {victim})
            return
        async with self.person.lock:
            others_now = self.person.live - {self.sid}
            if way == "others":
                await self.end("end others", "POST", "/api/sign-ins/end-others/", others_now)
            elif way == "password":
                await self.change_password(others_now)
            elif self.sid:
                await getattr(self, way)()

    async def change_password(self, others: set[str]) -> None:
        if len(self.person.passwords) > 1:
            # Unknown until the next sign-in.
            return
        old, new = self.person.passwords[0], f"{PASSWORD} {self.rng.randrange(10**9)}"
        body = {"old_password": old, "new_password": new}
        # Until the response, either password may be the right one.
        self.person.passwords = [old, new]
        call = await self.end("password", "POST", "/api/password/change/", others, json=body, key=self.key)
        if call.status not in (0, 503):
            self.person.passwords = [new if call.accepted else old]

    own_ends: tuple[str, ...] = ()
    # The id of the credential, and when it expires by the clock of the checker.
    jti = key = ""
    expires_at = FOREVER

    def take_cookies(self, response: httpx.Response) -> None:
        """Stores the new session key of a password change."""

    async def sign_in(self) -> None:
        raise NotImplementedError

    async def renew(self) -> None:
        await self.call()

    async def call(self) -> None:
        raise NotImplementedError


class Program(Client):
    mode = "token"
    own_ends = ("sign_out", "block")
    access = refresh = ""
    expires = 0.0

    def credentials(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.access}"} if self.sid else {}

    async def sign_in(self) -> None:
        for password in list(self.person.passwords):
            body = {"username": self.person.name, "password": password}
            call, response = await self.ask("sign in", "POST", "/api/token/", json=body)
            if call.accepted and response:
                self._take(response, call.sent_at)
                call = Call(**{**vars(call), "sid": self.sid})
                self.person.live.add(self.sid)
                self.person.passwords = [password]
            self.history.calls.append(call)
            if call.status != 401:
                return

    def _take(self, response: httpx.Response, sent_at: float) -> None:
        pair = response.json()
        self.access, self.refresh = pair["access"], pair["refresh"]
        self.sid, self.jti = claims(self.access)["sid"], UUID(claims(self.access)["jti"]).hex
        # By the earliest clock of all nodes.
        self.expires = sent_at + ACCESS_SECONDS - 31
        # Tokens have whole seconds.
        self.expires_at = sent_at + ACCESS_SECONDS - 1

    async def renew(self) -> None:
        presented = self.refresh
        note = {"presented": claims(presented)["jti"], "jti": "", "expires": FOREVER}
        patience = self.patience(LEAVE_SHARE * 4)
        call, response = await self.ask(
            "refresh", "POST", "/api/token/refresh/", patience, note, json={"refresh": presented}
        )
        if call.accepted and response:
            returned = claims(response.json()["refresh"])["jti"]
            self._take(response, call.sent_at)
            call = Call(**{**vars(call), "returned": returned})
        self.keep(call)

    async def call(self) -> None:
        if time.monotonic() > self.expires:
            await self.renew()
            return
        if self.rng.random() < 0.5:
            call, _ = await self.ask("call", "GET", "/api/me/", self.patience())
        else:
            # Without a statement: decided by the mirror alone.
            call, _ = await self.ask("call", "POST", "/api/token/verify/", json={"token": self.access})
        self.keep(call)

    async def sign_out(self) -> None:
        await self.end("sign out", "POST", "/api/token/blacklist/", {self.sid}, json={"refresh": self.refresh})

    async def block(self) -> None:
        if time.monotonic() > self.expires:
            # An expired token needs no block.
            return
        jti = self.jti
        blocked = await self.end("block", "POST", "/api/token/revoke/", (), jti, data={"token": self.access})
        if blocked.accepted:
            await self.copy().try_out("stolen")
        self.expires = 0.0


class Browser(Client):
    mode = "session"
    own_ends = ("sign_out", *3 * ("confirm_password",))
    cookie = csrf = ""

    def credentials(self) -> dict[str, str]:
        cookie = f"__Host-csrftoken={self.csrf}; __Host-sessionid={self.cookie}"
        origin = str(self.http.base_url).replace("http:", "https:").rstrip("/")
        return {"Cookie": cookie, "X-CSRFToken": self.csrf, "Origin": origin}

    async def sign_in(self) -> None:
        self.cookie = self.csrf = self.key = ""
        page, response = await self.ask("page", "GET", "/accounts/login/")
        self.history.calls.append(page)
        if response is None or page.status != 200:
            return
        self.take_cookies(response)
        for password in list(self.person.passwords):
            form = {"username": self.person.name, "password": password}
            call, response = await self.ask("sign in", "POST", "/accounts/login/", data=form)
            if response is not None and call.status == 302:
                self.take_cookies(response)
                self.person.passwords = [password]
                await self._learn_sid()
                call = Call(**{**vars(call), "sid": self.sid})
            self.history.calls.append(call)
            if call.status != 200:
                return

    async def _learn_sid(self) -> None:
        for _ in range(10):
            call, response = await self.ask("list", "GET", "/api/sign-ins/")
            if call.accepted and response:
                self.sid = next((each["id"] for each in response.json()["results"] if each["current"]), "")
                if self.sid:
                    self.person.live.add(self.sid)
                return
            await asyncio.sleep(1)

    def take_cookies(self, response: httpx.Response) -> None:
        for line in response.headers.get_list("Set-Cookie"):
            if found := re.match(r"__Host-(sessionid|csrftoken)=([^;]*)", line):
                if found[1] == "sessionid":
                    self.cookie, self.key = found[2], key_id(found[2])
                else:
                    self.csrf = found[2]

    async def call(self) -> None:
        path = self.rng.choice(["/api/me/", "/api/me/", "/accounts/profile/"])
        self.keep((await self.ask("call", "GET", path, self.patience()))[0])

    async def sign_out(self) -> None:
        # A key that raw SQL has replaced or deleted names no sign-in: the browser is signed out, and no row ends.
        is_known = not any(self.key in end.keys for end in self.history.ends if end.is_raw_sql)
        await self.end("sign out", "POST", "/accounts/logout/", {self.sid} if is_known else ())
        if not is_known:
            self.forget()

    async def confirm_password(self) -> None:
        """Replaces the session key. Requests before, so that several workers remember the old one."""
        if len(self.person.passwords) == 1:
            await self.copy().try_out("call")
            body = {"password": self.person.passwords[0]}
            await self.end("confirm", "POST", "/api/password/confirm/", (), json=body, key=self.key)


def key_id(cookie: str) -> str:
    """Returns the first digits of the stored form of a session key."""
    return hashlib.sha256(cookie.encode()).hexdigest()[:32]


def make_clients(names: list[str], history: History, seed: int) -> list[Client]:
    return [
        kind(person, history, random.Random(f"{seed}/{person.name}/{which}"))
        for person in map(Person, names)
        for which, kind in enumerate((Program, Program, Browser, Browser))
    ]


async def run(url: str, clients: list[Client], until: float, *others: Coroutine[Any, Any, None]) -> None:
    """Runs the clients, and the other tasks beside them."""
    limits = httpx.Limits(max_connections=400, max_keepalive_connections=50)
    async with httpx.AsyncClient(base_url=url, timeout=40, limits=limits, trust_env=False) as http:
        for client in clients:
            client.http = http
        for person in {client.person for client in clients}:
            person.lock = asyncio.Lock()
        await asyncio.gather(*(client.run(until) for client in clients), *others)
