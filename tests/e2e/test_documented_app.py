"""The browser app of api/README.md, run unchanged but for its constants: on the site, on a sub-domain, elsewhere."""

import re
from dataclasses import replace

import pytest
from playwright.sync_api import expect

from tests import servers
from tests.e2e import places
from tests.e2e.client_lab import MODULE
from tests.second_factors import App

pytestmark = [pytest.mark.once, pytest.mark.long]

SECTION = (servers.ROOT / "api" / "README.md").read_text().partition("## A browser app, complete\n")[2]
[HTML], [SCRIPT] = (
    re.findall(rf"^```{language}\n(.*?)^```", SECTION.partition("\n## ")[0], re.DOTALL | re.MULTILINE)
    for language in ("html", "js")
)
MODES = {places.HOST: "session", places.APP: "session", places.LISTED_SITE: "token"}


@pytest.fixture(params=MODES)
def host(request):
    return request.param


@pytest.fixture
def open_tab(chromium, shop, host):
    """Returns a function that opens the app in a tab of one browser profile."""
    context = chromium.new_context(ignore_https_errors=True)
    context.set_default_timeout(15_000)
    texts = {
        "https://www.example.org": shop.origin,
        "'session' //": f"'{MODES[host]}' //",
        "https://reports.example.org/today": f"{shop.origin_of(places.SERVICE)}/today",
    }
    script = SCRIPT
    for old, new in texts.items():
        assert old in script
        script = script.replace(old, new)
    files = {"index.html": HTML, "app.js": script, "client.js": MODULE.read_text()}
    if host == places.HOST:
        serve_on_the_site(context, shop, files)
        url = f"{shop.origin}/static/app/index.html"
    else:
        shop.servers[host].files = {name: text.encode() for name, text in files.items()}
        url = f"{shop.origin_of(host)}/"

    def open_page():
        page = context.new_page()
        page.goto(url)
        return page

    yield open_page
    context.close()


def serve_on_the_site(context, shop, files):
    """Serves files as static files of the site, whose policy allows them to call the site alone."""
    policy = shop.http.get("/accounts/login/").headers["Content-Security-Policy"]
    service = shop.origin_of(places.SERVICE)
    headers = {"Content-Security-Policy": f"{policy}; connect-src 'self' {service}"}

    def answer(route):
        name = route.request.url.rpartition("/")[2]
        kind = places.TYPES[name.rpartition(".")[2]]
        route.fulfill(body=files[name], content_type=kind, headers=headers | {"Content-Type": kind})

    context.route("**/static/app/*", answer)
    # The browser does not know that such a page is of this machine, as the service is.
    context.grant_permissions(["local-network-access"])


def sign_in(page, person):
    page.get_by_label("Username").fill(person.username)
    page.get_by_label("Password").fill(person.password)
    page.get_by_role("button", name="Sign in", exact=True).click()


def expect_user(page, person):
    expect(page.get_by_text("Signed in as")).to_contain_text(person.username)


def test_the_app_has_less_than_150_lines():
    assert len(HTML.splitlines()) + len(SCRIPT.splitlines()) < 150


def test_a_user_signs_in_calls_the_api_and_signs_out(open_tab, shop, host):
    ann = shop.sign_up("ann")
    page = open_tab()
    sign_in(page, ann)
    expect_user(page, ann)
    page.get_by_role("button", name="List my sign-ins").click()
    expect(page.get_by_role("listitem")).to_have_count(1)
    page.reload()
    expect_user(page, ann)
    page.get_by_role("button", name="Sign out", exact=True).click()
    expect(page.get_by_label("Username")).to_be_visible()
    page.reload()
    expect(page.get_by_label("Username")).to_be_visible()
    sign_in(page, replace(ann, password="wrong"))
    expect(page.get_by_role("status")).to_have_text("Username or password is wrong.")


def test_another_tab_follows_sign_in_and_sign_out(open_tab, shop):
    ann = shop.sign_up("ann")
    page, other = open_tab(), open_tab()
    sign_in(page, ann)
    expect_user(other, ann)
    other.get_by_role("button", name="Sign out everywhere").click()
    expect(page.get_by_label("Username")).to_be_visible()


def test_a_user_signs_in_with_a_second_step(open_tab, shop):
    ann = shop.sign_up("ann")
    app, codes = add_app(shop, ann)
    page = open_tab()
    sign_in(page, ann)
    page.get_by_label("Code", exact=True).fill(app.wrong_code())
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("status")).to_have_text("The code is wrong.")
    page.get_by_label("Code", exact=True).fill(app.code(1))
    page.get_by_role("button", name="Continue").click()
    expect_user(page, ann)
    page.get_by_role("button", name="Sign out", exact=True).click()
    sign_in(page, ann)
    page.get_by_label("Code", exact=True).fill(codes[0])
    page.get_by_label("This is a recovery code").check()
    page.get_by_role("button", name="Continue").click()
    expect_user(page, ann)


def test_a_service_gets_a_token_of_the_session(open_tab, shop, host):
    ann = shop.sign_up("ann")
    page = open_tab()
    sign_in(page, ann)
    expect_user(page, ann)
    report = page.get_by_role("button", name="Get today's report")
    if MODES[host] == "token":
        expect(report).to_be_hidden()
        return
    report.click()
    expect(page.get_by_role("status")).to_have_text("Sales")
    call = shop.servers[places.SERVICE].calls[-1]
    assert call["Authorization"].startswith("Bearer ey")
    assert "Cookie" not in call


def test_a_failed_first_call_can_be_tried_again(open_tab, shop):
    ann = shop.sign_up("ann")
    page = open_tab()
    sign_in(page, ann)
    expect_user(page, ann)
    page.context.route("**/api/**", lambda route: route.abort())
    page.reload()
    expect(page.get_by_role("status")).to_have_text("There is no connection. Try again.")
    page.context.unroute("**/api/**")
    page.get_by_role("button", name="Try again").click()
    expect_user(page, ann)
    expect(page.get_by_role("button", name="Try again")).to_be_hidden()


def test_an_error_of_the_service_is_shown(open_tab, shop, host):
    if MODES[host] == "token":
        pytest.skip("the app has no button for the service")
    ann = shop.sign_up("ann")
    page = open_tab()
    sign_in(page, ann)
    error = {"status": 503, "headers": {"Access-Control-Allow-Origin": "*"}, "json": {"code": "down"}}
    page.context.route("**/today", lambda route: route.fulfill(**error))
    page.get_by_role("button", name="Get today's report").click()
    expect(page.get_by_role("status")).to_have_text("There is no report now (503).")


def test_controls_without_effect_are_hidden(open_tab, host):
    page = open_tab()
    expect(page.get_by_label("Username")).to_be_visible()
    expect(page.get_by_label("Keep me signed in")).to_be_visible(visible=MODES[host] == "session")
    expect(page.get_by_role("button", name="Sign in with a passkey")).to_be_visible(visible=host == places.HOST)


def test_a_cancelled_passkey_is_shown_in_words(open_tab, host):
    if host != places.HOST:
        pytest.skip("a passkey works on the host of the site only")
    page = open_tab()
    page.evaluate(
        "() => { navigator.credentials.get = async () => { throw new DOMException('…', 'NotAllowedError') } }"
    )
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_role("status")).to_have_text("No passkey was used. Try again, or use your password.")


def add_app(shop, person):
    """Adds an authenticator app over the API, as tests.second_factors.add_app()."""
    headers = {"Authorization": f"Bearer {shop.start_client(person)['access']}"}
    made = shop.http.post("/api/factors/totp/", json={}, headers=headers).json()
    app = App.of_secret(made["secret"])
    confirmation = {"id": made["id"], "code": app.code()}
    confirmed = shop.http.post("/api/factors/totp/confirm/", json=confirmation, headers=headers)
    assert confirmed.status_code == 200, confirmed.text
    return app, confirmed.json()["recovery_codes"]
