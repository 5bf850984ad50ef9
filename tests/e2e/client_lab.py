"""Browser tabs with the client (api/static/api/client.js) on a page of the site, and the requests that it sends."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from playwright.sync_api import Browser, BrowserContext, Page, Request, Route

from tests.e2e.site import Person, Site
from tests.servers import ROOT

MODULE = ROOT / "api" / "static" / "api" / "client.js"
REFRESH, ME = "/api/token/refresh/", "/api/me/"
HTML = {"content_type": "text/html", "body": "<!doctype html><title>App</title><link rel=icon href=data:,>"}
# In milliseconds: a call that takes longer counts as hung.
MAX_WAIT = 12_000
START = """async ([module, options]) => {
    const { createClient } = await import(module)
    globalThis.client = createClient(options)
    globalThis.changes = []
    client.onChange(change => changes.push(change))
}"""
# The outcome of a call: its status and body, or the code of the error.
RUN = """async ([code, argument, milliseconds]) => {
    const outcome = async () => {
        try {
            const value = await (0, eval)(code)(argument)
            return value instanceof Response ? {status: value.status, body: await value.json()} : {value}
        } catch (error) {
            return {code: error.code ?? String(error), status: error.status, retryAfter: error.retryAfter}
        }
    }
    const hung = new Promise(resolve => setTimeout(() => resolve({code: "hung"}), milliseconds))
    return Promise.race([outcome(), hung])
}"""


class Tab:
    """A tab in which `client` is a client of the site."""

    def __init__(self, page: Page, site: Site, options: dict[str, Any]) -> None:
        self.page = page
        self.site = site
        page.goto(f"{site.url}/lab")
        page.evaluate(START, ["/static/api/client.js", options])

    def run(self, code: str, argument: Any = None, milliseconds: int = MAX_WAIT) -> dict[str, Any]:
        """The outcome of a JavaScript function."""
        return self.page.evaluate(RUN, [f"({code})", argument, milliseconds])

    def begin(self, code: str, argument: Any = None) -> Callable[[], dict[str, Any]]:
        """Starts a JavaScript function. Returns a function that waits for its outcome."""
        at = self.page.evaluate("() => (globalThis.begun ??= []).length")
        run = f"([at, ...rest]) => {{ begun[at] = ({RUN})(rest) }}"
        self.page.evaluate(run, [at, f"({code})", argument, MAX_WAIT])
        return lambda: self.page.evaluate("at => begun[at]", at)

    def sign_in(self, person: Person) -> None:
        outcome = self.run("person => client.signIn(person)", vars(person))
        assert outcome == {"value": None}, outcome

    def me(self) -> dict[str, Any]:
        return self.run("() => client.fetch('/api/me/')")

    def begin_me(self) -> Callable[[], dict[str, Any]]:
        return self.begin("() => client.fetch('/api/me/')")

    def username(self) -> str | None:
        """The name of the user, by whoAmI(); None without a signed-in user."""
        outcome = self.run("async () => (await client.whoAmI())?.username ?? null")
        assert "value" in outcome, outcome
        return outcome["value"]

    def access(self) -> str:
        return self.run("() => client.accessToken()")["value"]

    def revoke_access(self) -> None:
        """Revokes the access token alone, so that the server refuses it as it refuses an expired one."""
        answer = httpx.post(f"{self.site.url}/api/token/revoke/", data={"token": self.access()}, trust_env=False)
        assert answer.status_code == 200, answer.text

    def changes(self) -> list[str]:
        return self.page.evaluate("() => changes")


class Lab:
    """A browser profile. `module` is the source of the client, which tests of faults replace."""

    def __init__(self, browser: Browser, site: Site) -> None:
        self.site = site
        self.module = MODULE.read_text()
        self.sent: list[Request] = []
        self.finished: list[Request] = []
        self.context: BrowserContext = browser.new_context(base_url=site.url)
        self.context.set_default_timeout(20_000)
        self.context.route("**/lab", lambda route: route.fulfill(**HTML))
        self.context.route("**/static/api/client.js", self._serve_module)
        self.context.on("request", lambda request: self.sent.append(request))
        self.context.on("requestfinished", lambda request: self.finished.append(request))

    def tab(self, page: Page | None = None, **options: Any) -> Tab:
        """A tab, by default a new one. Without DPoP, whose nonces would repeat some requests."""
        return Tab(page or self.context.new_page(), self.site, {"mode": "token", "dpop": False} | options)

    def ann(self) -> Person:
        return self.site.sign_up("ann")

    def bob(self) -> Person:
        return self.site.sign_up("bob")

    def signed_in_tab(self, **options: Any) -> Tab:
        tab = self.tab(**options)
        tab.sign_in(self.ann())
        return tab

    def requests(self, path: str) -> list[Request]:
        return [each for each in self.sent if each.url == self.site.url + path]

    def responses(self, path: str) -> int:
        """The number of requests for a path that the site has answered."""
        return sum(each.url == self.site.url + path for each in self.finished)

    def answer(self, path: str, **answer: Any) -> None:
        """Answers the requests for a path instead of the site; as of now, one at a time."""
        self.context.unroute(self.site.url + path)
        self.context.route(self.site.url + path, lambda route: route.fulfill(**answer))

    def let_through(self, path: str) -> None:
        self.context.unroute(self.site.url + path)

    @contextmanager
    def held(self, path: str) -> Iterator[list[Route]]:
        """Holds the requests for a path, until the block ends or the test continues them."""
        routes: list[Route] = []
        self.context.route(self.site.url + path, lambda route: routes.append(route))
        yield routes
        self.context.unroute(self.site.url + path)

    def wait_for(self, happened: Callable[[], object]) -> None:
        """Waits while the browser goes on."""
        deadline = time.monotonic() + 15
        while not happened():
            assert time.monotonic() < deadline, "It did not happen"
            self.pass_time(50)

    def pass_time(self, milliseconds: int) -> None:
        self.context.pages[-1].wait_for_timeout(milliseconds)

    def close(self) -> None:
        self.context.close()

    def _serve_module(self, route: Route) -> None:
        route.fulfill(content_type="text/javascript", body=self.module)


def json_answer(status: int, body: Any, **headers: str) -> dict[str, Any]:
    return {"status": status, "headers": {"Content-Type": "application/json", **headers}, "body": json.dumps(body)}


def html_answer(status: int) -> dict[str, Any]:
    return {"status": status, "content_type": "text/html", "body": "<h1>Sign in to the network</h1>"}
