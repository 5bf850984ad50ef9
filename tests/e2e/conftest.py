import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright

from tests import databases
from tests.e2e import places
from tests.e2e.site import Person, Site, running, sign_in
from tests.plugins import chromium as program

NARROWEST, NARROW, WIDE = 320, 360, 1280
# Pages load everything from the project: other hosts cannot be resolved. Those of tests/e2e/places.py are this machine.
FLAGS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-domain-reliability",
    "--disable-sync",
    "--no-first-run",
    "--host-resolver-rules=MAP *.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]


# Not for the whole session: Playwright runs an event loop in this thread, where Django refuses database queries.
@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    path = program.require()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    program.require()
    folder = tmp_path_factory.mktemp("site")
    with running(folder, databases.migrated(folder, "site")) as site:
        yield site


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[places.Shop]:
    """The site by HTTPS, with servers for apps on other hosts."""
    program.require()
    with places.running(tmp_path_factory.mktemp("shop")) as shop:
        yield shop


class PageErrors:
    """Records the errors of pages: errors and warnings on the console (which include violations of the
    Content-Security-Policy), uncaught exceptions, and failed requests."""

    def __init__(self) -> None:
        self.recorded: list[str] = []
        self._expected: list[str] = []

    def expect(self, pattern: str) -> None:
        """Expects an error at least once, since the test causes it on purpose."""
        self._expected.append(pattern)

    def listen_to(self, context: BrowserContext) -> None:
        context.on("console", self._record_console)
        context.on("weberror", lambda error: self.recorded.append(f"uncaught: {error.error}"))
        context.on("requestfailed", self._record_failed_request)

    def check(self) -> None:
        unexpected = [each for each in self.recorded if not any(re.search(known, each) for known in self._expected)]
        missed = [known for known in self._expected if not any(re.search(known, each) for each in self.recorded)]
        assert not unexpected, "\n".join(["The page had errors:", *unexpected])
        assert not missed, f"Expected errors of the page did not occur: {missed}"

    def _record_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.recorded.append(f"{message.type}: {message.text} ({message.location.get('url')})")

    def _record_failed_request(self, request: Request) -> None:
        # Not requests that the browser aborted because of a navigation.
        if request.failure != "net::ERR_ABORTED":
            self.recorded.append(f"failed: {request.method} {request.url} {request.failure}")


@pytest.fixture
def page_errors() -> PageErrors:
    return PageErrors()


@pytest.fixture
def new_page(chromium: Browser, site: Site, page_errors: PageErrors) -> Iterator[Callable[..., Page]]:
    """Opens a page in a browser profile of its own; options are those of Playwright's new_context()."""
    contexts = []

    def open_page(**options: object) -> Page:
        defaults = {
            "base_url": site.url,
            "viewport": {"width": WIDE, "height": 800},
            "locale": "en-GB",
            "reduced_motion": "reduce",
            # A common user agent.
            "user_agent": f"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/{chromium.version} Safari/537.36",
        }
        context = chromium.new_context(**defaults | options)
        context.set_default_timeout(15_000)
        contexts.append(context)
        page_errors.listen_to(context)
        return context.new_page()

    yield open_page
    for context in contexts:
        context.close()
    page_errors.check()


@pytest.fixture
def page(new_page: Callable[..., Page]) -> Page:
    return new_page()


@pytest.fixture
def ann(site: Site) -> Person:
    return site.sign_up("ann")


@pytest.fixture
def anns_page(page: Page, ann: Person) -> Page:
    """A page where Ann is signed in."""
    sign_in(page, ann)
    return page


@pytest.fixture(scope="session")
def album(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the screenshots."""
    folder = request.config.getoption("screenshots") or tmp_path_factory.getbasetemp() / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def look_at(album: Path) -> Callable[[Page, str], None]:
    """Checks a page, light and dark, narrow and wide: stores screenshots under a name, and asserts that
    nothing is cut off and that axe finds nothing."""

    def check_page(page: Page, name: str) -> None:
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            for width in (NARROW, WIDE):
                page.set_viewport_size({"width": width, "height": 800})
                page.screenshot(path=album / f"{name}-{scheme}-{width}.png", full_page=True)
                assert_fits(page, width)
            assert_accessible(page)
        page.set_viewport_size({"width": NARROWEST, "height": 800})
        assert_fits(page, NARROWEST)
        page.set_viewport_size({"width": WIDE, "height": 800})

    return check_page


def assert_fits(page: Page, width: int) -> None:
    scrolls_to = page.evaluate("document.scrollingElement.scrollWidth")
    assert scrolls_to <= width, f"{page.url} is {scrolls_to} pixels wide in a window of {width}"


def assert_accessible(page: Page) -> None:
    """Injects axe by the debugger and not by a script element, so that the policy of the page is unchanged."""
    results = Axe().run(page)
    assert results.violations_count == 0, results.generate_report()
