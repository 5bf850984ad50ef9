"""A real node for the browser tests, its users, and the mail that it sends."""

import email
import email.policy
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from uuid import uuid4

import httpx
from playwright.sync_api import Locator, Page, expect

from tests import servers

MAIL_SECONDS = 10


@dataclass(frozen=True)
class Person:
    username: str
    email: str
    password: str


@dataclass(frozen=True)
class Site:
    url: str
    env: dict[str, str]
    mails: Path

    def shell(self, code: str) -> str:
        """Runs code in another process on the same stores and returns its output."""
        return servers.manage(self.env, "shell", "--verbosity=0", "--command", code)

    def new_person(self, name: str) -> Person:
        username = f"{name}-{uuid4().hex[:8]}"
        return Person(username, f"{username}@example.org", "violet anchor hums at dawn")

    def sign_up(self, name: str = "ann") -> Person:
        """Creates a user with a unique name."""
        person = self.new_person(name)
        answer = httpx.post(f"{self.url}/api/register/", json=vars(person), timeout=30, trust_env=False)
        assert answer.status_code == 201, answer.text
        return person

    def start_client(self, person: Person, user_agent: str = "curl/8.9.1") -> dict[str, str]:
        """Signs a client in and returns its `access` and `refresh` token."""
        answer = httpx.post(
            f"{self.url}/api/token/",
            json={"username": person.username, "password": person.password},
            headers={"User-Agent": user_agent},
            timeout=30,
            trust_env=False,
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    def next_mail(self, person: Person, subject: str) -> EmailMessage:
        """Waits for the newest mail to a user with a text in its subject: mail is sent in the background."""
        deadline = time.monotonic() + MAIL_SECONDS
        while time.monotonic() < deadline:
            found = [mail for mail in self._mails_to(person) if subject in mail["Subject"]]
            if found:
                return found[-1]
            time.sleep(0.05)
        raise AssertionError(f"No mail to {person.email} about {subject!r}")

    def _mails_to(self, person: Person) -> Iterator[EmailMessage]:
        for path in sorted(self.mails.iterdir(), key=lambda path: path.stat().st_mtime_ns):
            # Django's file backend ends each message with a line of 79 dashes.
            for message in path.read_bytes().split(b"-" * 79 + b"\n"):
                mail = email.message_from_bytes(message, policy=email.policy.default)
                if isinstance(mail, EmailMessage) and mail["To"] == person.email:
                    yield mail


@contextmanager
def running(folder: Path, database_url: str, **settings: str) -> Iterator[Site]:
    """Starts a node of two processes with four threads each, like `manage.py start`, with other settings."""
    mails = folder / "mails"
    mails.mkdir()
    # DEBUG allows plain HTTP on loopback, and cookies that are not Secure.
    # The path of a URL begins after its slash.
    env = {
        "DATABASE_URL": database_url,
        "DEBUG": "true",
        "DEMO": "true",
        "ACCOUNT_RATE": "100000/hour",
        "EMAIL_URL": f"filemail:///{mails}",
        **settings,
    }
    with servers.node(env, workers=2, args=["--threads=4"]) as node, servers.mail_worker(env):
        yield Site(node.url, env, mails)


def sign_in(page: Page, person: Person) -> None:
    """Signs in by the form."""
    page.goto("/accounts/login/")
    main = page.get_by_role("main")
    main.get_by_label("Username").fill(person.username)
    main.get_by_label("Password").fill(person.password)
    main.get_by_role("button", name="Sign in", exact=True).click()
    expect(account_menu(page)).to_be_visible()


def account_menu(page: Page) -> Locator:
    """Returns the button of the menu in the header, which only signed-in users have."""
    return page.get_by_role("banner").locator("summary")


def sign_out(page: Page) -> None:
    """Signs out by the menu in the header."""
    account_menu(page).click()
    page.get_by_role("banner").get_by_role("button", name="Sign out").click()
