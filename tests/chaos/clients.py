"""The clients of a load: programs with tokens, browsers on the pages, and browser apps."""

import asyncio
import base64
import hashlib
import json
import random
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import httpx

from tests.chaos.load import LEAVE_SHARE, THEFTS, Client, new_address
from tests.chaos.people import Code, Person
from tests.chaos.recorder import FOREVER, Call, History

ACCESS_SECONDS = 60
# A token is used up to this age in seconds, by the earliest clock of all nodes.
USED_SECONDS = ACCESS_SECONDS - 31
# Refresh tokens before the current one: an older one is not in the grace period.
REUSED = 3


def claims(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def token_id(access: str) -> str:
    return UUID(claims(access)["jti"]).hex


class Program(Client):
    mode = "token"
    own_ends = ("sign_out", "block", *3 * ("be_robbed",))
    access = refresh = ""
    expires = 0.0
    # The refresh tokens of the sign-in, the current one last.
    family: tuple[str, ...] = ()

    def credentials(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.access}"} if self.sid else {}

    async def send_password(self, password: str) -> tuple[Call, httpx.Response | None]:
        body = {"username": self.person.name, "password": password}
        return await self.ask("sign in", "POST", "/api/token/", json=body)

    async def send_code(self, step: str, code: Code) -> tuple[Call, httpx.Response | None]:
        body, note = {"step": step, code.field: code.text}, {"code": code.name}
        return await self.ask("sign in", "POST", "/api/token/second-step/", note=note, json=body)

    async def started(self, response: httpx.Response) -> str:
        self.family = ()
        self._take(response, time.monotonic())
        return self.sid

    def _take(self, response: httpx.Response, sent_at: float) -> None:
        pair = response.json()
        self.access, self.refresh = pair["access"], pair["refresh"]
        self.sid, self.jti = claims(self.access)["sid"], token_id(self.access)
        # A repeated refresh returns the same successor.
        if self.refresh not in self.family:
            self.family = (*self.family, self.refresh)
        self.expires = sent_at + USED_SECONDS
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
            call = replace(call, returned=returned)
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

    async def be_robbed(self) -> None:
        """A thief presents a refresh token that was rotated twice: the sign-in ends, and the user gets a mail."""
        if len(self.family) < REUSED:
            return
        stolen = self.family[-REUSED]
        await self.end(
            "theft",
            "POST",
            "/api/token/refresh/",
            {self.sid},
            note={"presented": claims(stolen)["jti"], "jti": "", "expires": FOREVER},
            headers={"X-Forwarded-For": new_address(self.rng, "198.19")},
            json={"refresh": stolen},
        )

    def drop_credentials(self) -> None:
        super().drop_credentials()
        self.jti, self.expires_at = "", FOREVER


class Browser(Client):
    mode = "session"
    own_ends = ("sign_out", *3 * ("confirm",))
    cookie = csrf = ""
    wrong_password = 200

    def credentials(self) -> dict[str, str]:
        cookie = f"__Host-csrftoken={self.csrf}; __Host-sessionid={self.cookie}"
        origin = str(self.http.base_url).replace("http:", "https:").rstrip("/")
        return {"Cookie": cookie, "X-CSRFToken": self.csrf, "Origin": origin}

    def drop_credentials(self) -> None:
        super().drop_credentials()
        self.cookie = self.csrf = self.key = ""

    async def prepare_sign_in(self) -> bool:
        self.drop_credentials()
        page, response = await self.ask("page", "GET", "/accounts/login/")
        self.history.calls.append(page)
        if response is None or page.status != 200:
            return False
        self.take_cookies(response)
        return True

    async def send_password(self, password: str) -> tuple[Call, httpx.Response | None]:
        form = {"username": self.person.name, "password": password}
        return await self.ask("sign in", "POST", "/accounts/login/", data=form)

    def step_in(self, response: httpx.Response) -> str:
        location = response.headers.get("Location", "")
        if not location.startswith("/accounts/second-step/"):
            return ""
        # The session has the step.
        self.take_cookies(response)
        return location

    async def send_code(self, step: str, code: Code) -> tuple[Call, httpx.Response | None]:
        return await self.ask("sign in", "POST", step, note={"code": code.name}, data={code.field: code.text})

    def is_granted(self, call: Call) -> bool:
        return call.status == 302

    async def started(self, response: httpx.Response) -> str:
        if response.headers["Location"].startswith("/accounts/login/"):
            # The step is not valid any more.
            return ""
        self.take_cookies(response)
        for _ in range(10):
            call, listed = await self.ask("list", "GET", "/api/sign-ins/")
            if call.accepted and listed:
                return next((each["id"] for each in listed.json()["results"] if each["current"]), "")
            await asyncio.sleep(1)
        return ""

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

    # The request that signs out.
    exit = ("POST", "/accounts/logout/")

    async def sign_out(self) -> None:
        # A key that raw SQL has replaced or deleted names no sign-in: the browser is signed out, and no row ends.
        is_known = not any(self.key in end.keys for end in self.history.ends if end.is_raw_sql)
        await self.end("sign out", *self.exit, {self.sid} if is_known else ())
        if not is_known:
            self.forget()

    async def confirm(self) -> None:
        """Replaces the session key. Requests before, so that several workers remember the old one."""
        factors = self.person.second_factors
        code = factors.take() if factors else None
        if len(self.person.passwords) > 1 or (factors and not code):
            return
        await self.copy().try_out("call")
        if code:
            body, path, note = {code.field: code.text}, "/api/reauthenticate/", {"code": code.name}
        else:
            path, note = self.rng.choice(["/api/password/confirm/", "/api/reauthenticate/"]), {}
            body = {"password": self.person.passwords[0]}
        await self.end("confirm", "POST", path, (), json=body, key=self.key, note=note)


class App(Browser):
    """A browser app on the project's own site: it uses the session, and access tokens of the session."""

    wrong_password = 401
    exit = ("DELETE", "/api/session/")
    access = ""
    access_expires = 0.0

    def credentials(self) -> dict[str, str]:
        cookie = {"Cookie": f"__Host-sessionid={self.cookie}"} if self.cookie else {}
        return {"Sec-Fetch-Site": "same-origin", **cookie}

    def drop_credentials(self) -> None:
        super().drop_credentials()
        self.access, self.access_expires = "", 0.0

    async def prepare_sign_in(self) -> bool:
        self.drop_credentials()
        return True

    async def send_password(self, password: str) -> tuple[Call, httpx.Response | None]:
        body = {"username": self.person.name, "password": password}
        return await self.ask("sign in", "POST", "/api/session/", json=body)

    def step_in(self, response: httpx.Response) -> str:
        return Client.step_in(self, response)

    async def send_code(self, step: str, code: Code) -> tuple[Call, httpx.Response | None]:
        body, note = {"step": step, code.field: code.text}, {"code": code.name}
        return await self.ask("sign in", "POST", "/api/session/second-step/", note=note, json=body)

    def is_granted(self, call: Call) -> bool:
        return call.accepted

    async def started(self, response: httpx.Response) -> str:
        self.take_cookies(response)
        return str(response.json()["sign_in"]["id"])

    async def call(self) -> None:
        if self.rng.random() < 0.5:
            path = self.rng.choice(["/api/session/", "/api/me/"])
            self.keep((await self.ask("call", "GET", path, self.patience()))[0])
        elif time.monotonic() < self.access_expires:
            self.keep(await self._call_by_token("call"))
        else:
            await self._get_token()

    async def _get_token(self) -> None:
        call, response = await self.ask("token", "POST", "/api/session/token/", json={})
        if call.accepted and response:
            self.access, self.access_expires = response.json()["access"], call.sent_at + USED_SECONDS
        self.keep(call)

    async def _call_by_token(self, action: str) -> Call:
        """As on another host: without the cookie."""
        expires = self.access_expires - USED_SECONDS + ACCESS_SECONDS - 1
        note = {"mode": "token", "key": "", "jti": token_id(self.access), "expires": expires}
        headers = {"Authorization": f"Bearer {self.access}", "Cookie": ""}
        return (await self.ask(action, "GET", "/api/me/", note=note, headers=headers))[0]

    async def try_out(self, action: str, times: int = THEFTS) -> None:
        await super().try_out(action, times)
        if time.monotonic() < self.access_expires:
            calls = await asyncio.gather(*(self._call_by_token(action) for _ in range(times)))
            self.history.calls.extend(calls)


def key_id(cookie: str) -> str:
    """Returns the first digits of the stored form of a session key."""
    return hashlib.sha256(cookie.encode()).hexdigest()[:32]


def make_clients(people: Sequence[Person], history: History, seed: int) -> list[Client]:
    return [
        kind(person, history, random.Random(f"{seed}/{person.name}/{which}"))
        for person in people
        for which, kind in enumerate((Program, Program, Browser, App))
    ]
