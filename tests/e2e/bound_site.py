"""Two nodes by HTTPS on localhost whose sessions are bound to devices, and browser profiles that have keys (DBSC)."""

import base64
import hashlib
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import cycle
from pathlib import Path
from uuid import uuid4

import httpx
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from playwright.sync_api import Browser, BrowserContext, Page

from tests import servers
from tests.chaos.proxy import Proxy
from tests.e2e.places import certificate
from tests.e2e.site import Person
from tests.plugins import chromium as program

# Chromium's keys in software: real ones are in the hardware, which a test machine lacks.
FEATURES = "DeviceBoundSessions,EnableBoundSessionCredentialsSoftwareKeysForManualTesting"
TERM_SECONDS = 3


class SecureNode(servers.Node):
    """A node by HTTPS, without DEBUG."""

    def __init__(self, folder: Path, env: dict[str, str], pem: Path) -> None:
        super().__init__(folder, env, 1, ["--threads=4", f"--certfile={pem}", f"--keyfile={pem}"])
        self.port = int(self.address.rpartition(":")[2])

    def answers(self) -> bool:
        try:
            url = f"https://{self.address}/health/live"
            return httpx.get(url, verify=False, trust_env=False, timeout=5).status_code == 200  # noqa: S501
        except httpx.TransportError:
            return False


class Turns(Proxy):
    """Relays each connection to another node than the one before."""

    def __init__(self, port: int, nodes: list[SecureNode]) -> None:
        super().__init__(port, 0)
        self._ports = cycle([node.port for node in nodes])

    async def _reach(self):
        self._target = next(self._ports)
        return await super()._reach()


class BoundSite:
    """The nodes, their stores, and the proxy before them."""

    def __init__(self, pem: Path, postgres: servers.Postgres, nodes: list[SecureNode], turns: Turns) -> None:
        self.postgres, self.nodes, self.turns = postgres, nodes, turns
        self.url = f"https://localhost:{turns.port}"
        key = x509.load_pem_x509_certificate(pem.read_bytes()).public_key()
        digest = hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
        # --ignore-certificate-errors would switch DBSC off.
        self.flags = [
            f"--enable-features={FEATURES}",
            f"--ignore-certificate-errors-spki-list={base64.b64encode(digest).decode()}",
            "--no-sandbox",
            "--no-first-run",
        ]

    def sign_up(self) -> Person:
        username = f"ann-{uuid4().hex[:8]}"
        person = Person(username, f"{username}@example.org", "violet anchor hums at dawn")
        url = f"{self.url}/api/register/"
        answer = httpx.post(url, json=vars(person), verify=False, trust_env=False, timeout=30)  # noqa: S501
        assert answer.status_code == 201, answer.text
        return person

    def restart(self) -> None:
        """Restarts each node."""
        for node in self.nodes:
            node.kill()
            node.start()
        self.turns.cut()


@contextmanager
def running(folder: Path) -> Iterator[BoundSite]:
    pem, port = certificate(folder), servers.free_port()
    with ExitStack() as stack:
        postgres = stack.enter_context(servers.postgres())
        env = {
            "DATABASE_URL": postgres.create_database("bound"),
            "REDIS_URL": stack.enter_context(servers.valkey()).url,
            "DATABASE_TIMEOUT_SECONDS": "0.5",
            "ALLOWED_HOSTS": "localhost",
            "SITE_URL": f"https://localhost:{port}",
            "ACCOUNT_RATE": "100000/hour",
            "EMAIL_URL": "dummymail://",
            "DEMO": "false",
            "DBSC": "offered",
            "DBSC_TERM_SECONDS": str(TERM_SECONDS),
        }
        servers.manage(env, "migrate", "--verbosity=0")
        nodes = []
        for number in range(2):
            log = folder / f"node-{number}"
            log.mkdir()
            nodes.append(stack.enter_context(servers.running(SecureNode(log, env, pem))))
        turns = Turns(port, nodes)
        stack.enter_context(turns.running())
        yield BoundSite(pem, postgres, nodes, turns)


class Profile:
    """A browser with a profile of its own, which records what it does about bound sessions."""

    def __init__(self, chromium: Browser, site: BoundSite, folder: Path) -> None:
        self._chromium, self._site, self._folder = chromium, site, folder
        self.events: list[dict] = []
        self.start()

    def start(self) -> None:
        self.context: BrowserContext = self._chromium.browser_type.launch_persistent_context(
            self._folder,
            executable_path=program.require(),
            args=self._site.flags,
            base_url=self._site.url,
            locale="en-GB",
        )
        self.context.set_default_timeout(15_000)
        self.page: Page = self.context.pages[0]
        self._devtools = self.context.new_cdp_session(self.page)
        self._devtools.on("Network.deviceBoundSessionEventOccurred", lambda event: self.events.append(event))
        self._devtools.send("Network.enable")
        self._devtools.send("Network.enableDeviceBoundSessions", {"enable": True})

    def close(self) -> None:
        self.context.close()

    def sign_in(self, person: Person) -> None:
        """Signs in for longer than the browser runs, and waits for the registration."""
        self.page.goto("/accounts/login/")
        main = self.page.get_by_role("main")
        main.get_by_label("Username").fill(person.username)
        main.get_by_label("Password").fill(person.password)
        main.get_by_label("Keep me signed in").check()
        main.get_by_role("button", name="Sign in", exact=True).click()
        self.wait(lambda: self.bound_cookie)

    @property
    def bound_cookie(self) -> str:
        return next((each["value"] for each in self.context.cookies() if each["name"] == "__Host-bound"), "")

    def wait(self, is_true, seconds: float = 8) -> None:
        """Waits while the browser goes on."""
        deadline = time.monotonic() + seconds
        while not is_true():
            assert time.monotonic() < deadline, self.events
            self.page.wait_for_timeout(50)

    def pass_term(self) -> None:
        """Waits until the bound cookie is gone."""
        self.wait(lambda: not self.bound_cookie, TERM_SECONDS + 3)

    def drop_bound_cookie(self) -> None:
        """Has the effect of the term's end, at once."""
        self.context.clear_cookies(name="__Host-bound")

    @property
    def registrations(self) -> int:
        return sum(each["succeeded"] and "creationEventDetails" in each for each in self.events)

    @property
    def refreshes(self) -> int:
        """The number of refreshes that a request waited for. Chromium also refreshes a cookie that expires soon."""
        details = [each["refreshEventDetails"] for each in self.events if "refreshEventDetails" in each]
        return sum(each["refreshResult"] == "Refreshed" and not each["wasFullyProactiveRefresh"] for each in details)
