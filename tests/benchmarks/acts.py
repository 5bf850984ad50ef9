"""Records the exchanges of the five acts of /compare/ with a real server to api/compare/recorded.json."""

import json
import re
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from tests import servers
from tests.benchmarks.output import say

FILE = servers.ROOT / "api" / "compare" / "recorded.json"
TABS = 10
USER_AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
TOKEN = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+")
# The default demo: SQLite, no Redis.
ENV = {"DEBUG": "true", "DEMO": "true", "REDIS_URL": "", "ACCOUNT_RATE": "", "TOKEN_RATE": ""}


@dataclass(frozen=True)
class Visitor:
    """A browser with the session of a throw-away user."""

    url: str
    cookies: dict[str, str]
    csrf: str

    def ask(self, mode: str, method: str, path: str, body: Any = None, bearer: str = "") -> dict[str, Any]:
        """Sends a request as the page does, and returns the exchange; `data` is the JSON of the answer."""
        headers = {"User-Agent": USER_AGENT, "X-Compare": "1", "Sec-Fetch-Site": "same-origin"}
        if bearer:
            headers["Authorization"] = f"Bearer {bearer}"
        if mode == "wristband":
            headers["X-CSRFToken"] = self.csrf
        cookies = self.cookies if mode == "wristband" else {}
        with httpx.Client(base_url=self.url, cookies=cookies, trust_env=False, timeout=30) as http:
            answer = http.request(method, path, json=body, headers=headers | {"Origin": self.url})
        data = answer.json() if answer.content else None
        return {
            "mode": mode,
            "method": method,
            "path": path,
            "status": answer.status_code,
            "statements": _statements(answer),
            "request": _request(mode, method, path, body, bearer),
            "answer": _answer(answer, data),
            "data": data,
        }

    def at_once(self, *calls: Callable[[], dict[str, Any]]) -> list[dict[str, Any]]:
        with ThreadPoolExecutor(len(calls)) as tabs:
            return [each.result() for each in [tabs.submit(call) for call in calls]]


def add_arguments(parser: ArgumentParser) -> None:
    pass


def run(options: Namespace) -> dict[str, Any]:
    recorded = record()
    FILE.write_text(json.dumps(recorded, indent=1) + "\n")
    say(f"{sum(map(len, recorded['acts'].values()))} exchanges written to {FILE.relative_to(servers.ROOT)}")
    return recorded


def record() -> dict[str, Any]:
    with TemporaryDirectory() as folder:
        env = ENV | {"DATABASE_URL": f"sqlite:///{Path(folder) / 'acts.sqlite3'}"}
        servers.manage(env, "migrate", "--verbosity=0")
        with servers.node(env, workers=2, args=["--threads=4"]) as node:
            return _play(_visitor(node.url))


def _visitor(url: str) -> Visitor:
    with httpx.Client(base_url=url, headers={"User-Agent": USER_AGENT}, trust_env=False, timeout=30) as http:
        form = {"csrfmiddlewaretoken": _csrf(http.get("/compare/"))}
        page = http.post("/compare/throw-away/", data=form, headers={"Origin": url})
        page.raise_for_status()
        return Visitor(url, dict(http.cookies), _csrf(page))


def _play(visitor: Visitor) -> dict[str, Any]:
    def client() -> dict[str, str]:
        tokens: dict[str, str] = visitor.ask("wristband", "POST", "/compare/client/")["data"]
        return tokens

    by_cookie = partial(visitor.ask, "wristband", "GET", "/compare/who/")
    by_token = partial(visitor.ask, "passport", "GET", "/compare/who/")
    tokens = client()
    refresh = partial(visitor.ask, "passport", "POST", "/api/token/refresh/")
    acts = {"who": [by_cookie(), by_token(bearer=tokens["access"])]}
    acts["tamper"] = [by_token(bearer=_changed(tokens["access"]))]
    acts["tabs"] = visitor.at_once(*[partial(refresh, {"refresh": tokens["refresh"]})] * TABS)
    ended = visitor.ask("passport", "POST", "/api/token/blacklist/", acts["tabs"][0]["data"])
    acts["out"] = [ended, by_token(bearer=tokens["access"])]
    stolen = client()["refresh"]
    first = refresh({"refresh": stolen})
    second = refresh({"refresh": first["data"]["refresh"]})
    acts["theft"] = [first, second, refresh({"refresh": stolen}), by_token(bearer=second["data"]["access"])]
    return {
        "recorded_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "acts": {name: _grouped(exchanges) for name, exchanges in acts.items()},
        "lanes": _lanes(visitor, client(), by_token, refresh),
        "alarm": _alarm(visitor),
    }


def _lanes(visitor: Visitor, tokens: dict[str, str], by_token: Any, refresh: Any) -> dict[str, Any]:
    """How many requests and refreshes the same tabs send in each lane of a browser app."""
    a = visitor.at_once(*[partial(visitor.ask, "wristband", "GET", "/api/session/")] * TABS)
    minted = visitor.at_once(*[partial(visitor.ask, "wristband", "POST", "/api/session/token/", {})] * TABS)
    b = minted + visitor.at_once(*[partial(by_token, bearer=each["data"]["access"]) for each in minted])
    renewed = visitor.at_once(*[partial(refresh, {"refresh": tokens["refresh"]})] * TABS)
    c = renewed + visitor.at_once(*[partial(by_token, bearer=each["data"]["access"]) for each in renewed])
    assert {each["status"] for each in a + b + c} == {200}
    return {
        name: {"requests": len(lane), "refreshes": sum("/refresh/" in each["path"] for each in lane)}
        for name, lane in (("a", a), ("b", b), ("c", c))
    }


def _alarm(visitor: Visitor) -> dict[str, Any]:
    event = next(
        each
        for each in visitor.ask("wristband", "GET", "/api/events/")["data"]["results"]
        if each["type"] == "token_reused"
    )
    me = visitor.ask("wristband", "GET", "/api/me/")["data"]
    return {
        "name": me["username"],
        "client": "Compare page",
        "device": event["device"],
        "ip_address": event["ip_address"],
        "at": event["created_at"],
    }


def _grouped(exchanges: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Equal calls become one exchange, with their number."""
    grouped = []
    for _call, same in groupby(exchanges, lambda each: (each["mode"], each["method"], each["path"], each["status"])):
        first, *others = same
        grouped.append({name: value for name, value in first.items() if name != "data"} | {"times": 1 + len(others)})
    return grouped


def _changed(token: str) -> str:
    header, claims, signature = token.split(".")
    middle = len(claims) // 2
    return f"{header}.{claims[:middle]}{'y' if claims[middle] == 'x' else 'x'}{claims[middle + 1 :]}.{signature}"


def _csrf(page: httpx.Response) -> str:
    found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
    assert found, page.text
    return found[1]


def _statements(answer: httpx.Response) -> int:
    found = re.search(r'sql;dur=[\d.]+;desc="(\d+)"', answer.headers.get("Server-Timing", ""))
    return int(found[1]) if found else 0


def _request(mode: str, method: str, path: str, body: Any, bearer: str) -> str:
    lines = [f"{method} {path}"]
    if mode == "wristband":
        lines.append("Cookie: sessionid=…")
    if bearer:
        lines.append(f"Authorization: Bearer {bearer}")
    return _without_secrets("\n".join([*lines, "", json.dumps(body)] if body else lines))


def _answer(answer: httpx.Response, data: Any) -> str:
    line = f"{answer.status_code} {answer.reason_phrase}"
    return _without_secrets(f"{line}\n\n{json.dumps(data)}" if data else line)


def _without_secrets(text: str) -> str:
    return TOKEN.sub(lambda token: f"{token[0][:8]}…{token[0][-4:]}", text)
