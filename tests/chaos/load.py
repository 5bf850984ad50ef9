"""The base of clients that sign in, call, refresh and end sign-ins, and record the responses."""

import asyncio
import copy
import random
import re
import time
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import replace
from typing import Any, Self

import httpx

from tests.chaos.people import PASSWORD, Code, Person
from tests.chaos.recorder import FOREVER, Call, End, History

# How long a client waits for a response, in seconds.
PATIENCE = 30.0
# Requests with a credential that has ended: a thief tries more than one worker.
THEFTS = 4
# Between two actions of one client, in seconds.
PAUSE = (0.3, 1.2)
REFRESH_SHARE, LEAVE_SHARE, END_SHARE = 0.2, 0.05, 0.04
# Of the sign-ins with a code that an attacker has seen, and sends again.
REPLAY_SHARE = 0.2
# The messages of h11.
CUT_OFF = "without sending complete message body"


def new_address(rng: random.Random, network: str = "10.0") -> str:
    """Returns an address in a /16 network."""
    return f"{network}.{rng.randrange(256)}.{rng.randrange(1, 255)}"


class Client:
    """One client or browser of a user, which signs in repeatedly."""

    mode = ""
    # Set by run().
    http: httpx.AsyncClient

    def __init__(self, person: Person, history: History, rng: random.Random) -> None:
        self.person, self.history, self.rng = person, history, rng
        person.clients.append(self)
        self.headers = {"X-Forwarded-Proto": "https", "X-Forwarded-For": new_address(rng, f"10.{rng.randrange(256)}")}
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
        named = action if action in ("sign out", "block", "theft") else "end"
        call, response = await self.ask(named, method, path, **how)
        self.history.calls.append(call)
        if response is not None:
            self.take_cookies(response)
        # If the own sign-in has ended before, nothing else was ended. A thief's refresh token is refused.
        done = call.status == 401 if action == "theft" else call.accepted
        self.history.ends[number] = End(
            action, call.sent_at, call.answered_at, done, self.person.name, sids, jti, by, keys
        )
        if call.status == 401 or (call.accepted and self.sid in sids):
            self.forget()
        if done:
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

    # The sign-in

    async def sign_in(self) -> None:
        """Tries the passwords that may be right, and then a code if the user has a second factor."""
        factors = self.person.second_factors
        if (factors and not factors.has_code) or not await self.prepare_sign_in():
            return
        for password in list(self.person.passwords):
            call, response = await self.send_password(password)
            if response is not None and (step := self.step_in(response)):
                self.person.passwords = [password]
                self.history.calls.append(replace(call, action="first step"))
                await self._finish(step, password)
                return
            if await self._is_started(call, response):
                self.person.passwords = [password]
                return
            if call.status != self.wrong_password:
                return

    async def _finish(self, step: str, password: str) -> None:
        factors = self.person.second_factors
        code = factors.take() if factors else None
        if not factors or not code:
            return
        call, response = await self.send_code(step, code)
        if await self._is_started(call, response):
            if self.rng.random() < REPLAY_SHARE:
                await self.stranger().replay(password, code)
            if factors.needs_codes:
                await self._renew_codes()

    async def _is_started(self, call: Call, response: httpx.Response | None) -> bool:
        """Records the last request of a sign-in, and returns whether it started one."""
        self.sid = await self.started(response) if response is not None and self.is_granted(call) else ""
        self.history.calls.append(replace(call, sid=self.sid))
        if self.sid:
            self.person.live.add(self.sid)
        return bool(self.sid)

    async def _renew_codes(self) -> None:
        call, response = await self.ask("new codes", "POST", "/api/factors/recovery-codes/", json={})
        self.keep(call)
        if self.person.second_factors and call.status in (0, 200, 503):
            # Without a response it is unknown which codes are valid.
            codes = response.json()["recovery_codes"] if response is not None and call.accepted else []
            self.person.second_factors.recovery_codes = codes

    def stranger(self) -> Self:
        """Returns a client at another address without credentials."""
        stranger = self.copy()
        stranger.headers = self.headers | {"X-Forwarded-For": new_address(self.rng, "198.18")}
        stranger.drop_credentials()
        return stranger

    async def replay(self, password: str, code: Code) -> None:
        """An attacker knows the password and has seen the code."""
        body = {"username": self.person.name, "password": password}
        call, response = await self.ask("first step", "POST", "/api/token/", json=body)
        self.history.calls.append(call)
        if response is not None and call.status == 403 and "step" in response.json():
            body = {"step": response.json()["step"], code.field: code.text}
            call, _ = await self.ask(
                "replayed code", "POST", "/api/token/second-step/", json=body, note={"code": code.name}
            )
            self.history.calls.append(call)

    # Of each kind of client

    # The status for a wrong password.
    wrong_password = 401

    async def prepare_sign_in(self) -> bool:
        return True

    async def send_password(self, password: str) -> tuple[Call, httpx.Response | None]:
        raise NotImplementedError

    def step_in(self, response: httpx.Response) -> str:
        """Returns the step that the second request needs; "" if the response is about no second step."""
        return response.json().get("step", "") if response.status_code == 403 else ""

    async def send_code(self, step: str, code: Code) -> tuple[Call, httpx.Response | None]:
        raise NotImplementedError

    def is_granted(self, call: Call) -> bool:
        return call.accepted

    async def started(self, response: httpx.Response) -> str:
        """Takes the credentials, and returns the sign-in."""
        raise NotImplementedError

    def drop_credentials(self) -> None:
        self.sid = ""

    async def renew(self) -> None:
        await self.call()

    async def call(self) -> None:
        raise NotImplementedError


async def run(url: str, clients: Sequence[Client], until: float, *others: Coroutine[Any, Any, None]) -> None:
    """Runs the clients, and the other tasks beside them."""
    limits = httpx.Limits(max_connections=400, max_keepalive_connections=50)
    async with httpx.AsyncClient(base_url=url, timeout=40, limits=limits, trust_env=False) as http:
        for client in clients:
            client.http = http
        for person in {client.person for client in clients}:
            person.lock = asyncio.Lock()
        await asyncio.gather(*(client.run(until) for client in clients), *others)
