"""The page /compare/ in a real browser: the stage, the five acts, and what follows."""

import re
import time

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.site import sign_in

# How a browser renders pages does not depend on the stores; test_harness runs on both.
pytestmark = [pytest.mark.once]

# From the home page to a refused token.
MOST_SECONDS = 20
# More presses than there are links and buttons before the first act.
MOST_TABS = 30
# The letter of the token that is changed, counted from 0.
LETTER = 90
REFUSED = "status of 401"


@pytest.fixture
def guest(page):
    """A page where a throw-away user has started, after the first act."""
    return started(page)


def started(page: Page) -> Page:
    page.goto("/compare/")
    page.get_by_role("button", name="Start", exact=True).click()
    expect_caption(page, "Both are accepted.")
    return at_rest(page)


def at_rest(page: Page) -> Page:
    expect(page.locator("#stage")).to_have_attribute("aria-busy", "false", timeout=60_000)
    return page


def expect_caption(page: Page, text: str) -> None:
    expect(page.get_by_role("region", name="The stage").get_by_role("status")).to_contain_text(text, timeout=60_000)


def act(page: Page, name: str):
    return page.get_by_role("article", name=name, exact=True)


def press(page: Page, act_name: str, button: str) -> None:
    act(page, act_name).get_by_role("button", name=button, exact=True).click()
    at_rest(page)


def trace(page: Page, name: str):
    """The method, path and status of each request of an act, as the page shows them."""
    return [
        (each.locator("code").inner_text(), each.locator("strong").inner_text())
        for each in act(page, name).locator(".trace li.is-live").all()
    ]


def exchanges(page: Page, path: str):
    """Records the status of each response from a path, as the browser received it."""
    found = []
    page.on("response", lambda response: response.url.endswith(path) and found.append(response.status))
    return found


def tiles(page: Page):
    return [each.get_attribute("class").split()[0] for each in page.locator(".tiles [data-check]").all()]


# From the home page to a refused token


@pytest.mark.parametrize("by", ["mouse", "keyboard"])
def test_a_token_dies_after_two_clicks_from_the_home_page(new_page, page_errors, by):
    """With motion, and without waiting for the first act."""
    page = new_page(reduced_motion="no-preference")
    page_errors.expect(REFUSED)
    answers = exchanges(page, "/compare/who/")

    def use(button):
        if by == "mouse":
            button.click()
            return
        tab_to(page, button)
        page.keyboard.press("Enter")

    page.goto("/")
    since = time.monotonic()
    use(page.get_by_role("button", name="Try it, one click"))
    sign_out = page.locator("#stage").get_by_role("button", name="Yes, still accepted")
    expect(sign_out).to_be_in_viewport(ratio=1)
    if by == "keyboard":
        expect(page.locator("#stage .question")).to_be_focused()
    use(sign_out)
    expect_caption(page, "REVOKED.")
    assert time.monotonic() - since < MOST_SECONDS
    at_rest(page)
    assert answers == [200, 200, 401], "two accepted requests, and the refused one"
    if by == "keyboard":
        expect(page.locator("#stage").get_by_role("button", name="Sign out a new passport")).to_be_focused()


def tab_to(page: Page, button) -> None:
    for _ in range(MOST_TABS):
        if button.evaluate("each => each === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError("The focus did not reach the button")


# The acts: each dot is a request


def test_the_first_act_runs_by_itself(guest):
    assert trace(guest, "Who are you?") == [("GET /compare/who/", "200")] * 2
    expect(guest).to_have_url(re.compile("/compare/$"))
    requests = int(guest.locator("[data-count=requests]").inner_text())
    # The client, and one request with each.
    assert requests == 3


@pytest.mark.long
def test_a_clicked_letter_breaks_the_signature_and_can_be_put_back(guest, page_errors):
    page_errors.expect(REFUSED)
    answers = exchanges(guest, "/compare/who/")
    letter = guest.locator(f"#letters [data-at='{LETTER}']")
    before = letter.inner_text()
    letter.click()
    expect_caption(guest, "Refused: character 91 is now")
    at_rest(guest)
    assert tiles(guest) == ["bad", "unasked", "unasked"]
    assert letter.inner_text() != before
    letter.click()
    expect_caption(guest, "The character is back")
    at_rest(guest)
    assert tiles(guest) == ["good", "good", "good"]
    assert answers == [401, 200]


@pytest.mark.long
def test_the_sign_out_is_real(guest, page_errors, site):
    page_errors.expect(REFUSED)
    answers = exchanges(guest, "/compare/who/")
    press(guest, "Sign out", "No, refused")
    expect_caption(guest, "REVOKED. You are right")
    assert answers == [401]
    assert trace(guest, "Sign out") == [("POST /api/token/blacklist/", "200"), ("GET /compare/who/", "401")]
    assert site.shell(EVENTS.format(name=name_of(guest))).split()[-1] == "signed_out"
    expect(guest.locator("#kept strong")).not_to_have_text("0")


EVENTS = (
    "from accounts.models import SecurityEvent;"
    "print(*SecurityEvent.objects.filter(user__username={name!r}).order_by('pk').values_list('type', flat=True))"
)


def name_of(page: Page) -> str:
    return page.request.get("/api/me/").json()["username"]


@pytest.mark.long
def test_the_tabs_of_the_slider_share_one_successor(guest):
    answers = exchanges(guest, "/api/token/refresh/")
    guest.get_by_role("slider", name="Tabs").fill("7")
    press(guest, "Tabs race", "Refresh in all tabs")
    expect_caption(guest, "Tabs that refreshed at once: 7. Accepted: 7. Different successors: 1.")
    assert answers == [200] * 7


@pytest.mark.long
def test_a_browser_app_is_shown_three_ways(guest, look_at):
    minted = exchanges(guest, "/api/session/token/")
    asked = exchanges(guest, "/api/session/")
    renewed = exchanges(guest, "/api/token/refresh/")
    guest.get_by_role("button", name="Open the tabs, three ways").click()
    expect_caption(guest, "Refresh tokens: 10 tabs refreshed, and share 1 successor.")
    at_rest(guest)
    assert (asked, minted, renewed) == ([200] * 10, [200] * 10, [200] * 10)
    lanes = guest.locator("[data-lane]")
    assert lanes.locator("[data-slot=requests]").all_inner_texts() == ["10", "20", "20"]
    assert lanes.locator("[data-slot=refreshes]").all_inner_texts() == ["0", "0", "10"]
    look_at(guest, "compare-lanes")


@pytest.mark.long
@pytest.mark.parametrize(
    ("order", "said"),
    [("before", "You use the refresh token that the thief has used"), ("after", "The thief uses an old refresh token")],
)
def test_the_theft_ends_the_family_and_shows_the_mail(guest, page_errors, site, look_at, order, said):
    page_errors.expect(REFUSED)
    press(guest, "The thief", f"The thief, {order} you")
    expect_caption(guest, said)
    statuses = [status for _line, status in trace(guest, "The thief")]
    assert statuses == ["200", "401", "401"]
    mail = guest.get_by_role("figure").filter(has_text="The e-mail to the account owner")
    expect(mail).to_contain_text("Device: Chrome on Linux")
    assert "token_reused" in site.shell(EVENTS.format(name=name_of(guest))).split()
    look_at(guest, f"compare-theft-{order}")


@pytest.mark.long
def test_the_thief_of_a_cookie_is_told_apart_by_a_key(guest, look_at):
    press(guest, "The thief", "Copy the cookies of this browser")
    expect_caption(guest, "This session is not bound")
    assert trace(guest, "The thief") == [("GET /compare/copied/", "200")]
    look_at(guest, "compare-copied")


@pytest.mark.long
def test_the_next_act_gets_a_new_passport(guest, page_errors):
    page_errors.expect(REFUSED)
    press(guest, "Sign out", "Yes, still accepted")
    expect(guest.get_by_text("Once more, with a new passport?").first).to_be_visible()
    press(guest, "Who are you?", "Send both requests")
    assert trace(guest, "Who are you?") == [("GET /compare/who/", "200")] * 2


@pytest.mark.long
@pytest.mark.parametrize(
    ("button", "caption"),
    [
        ("Get a passport, and change a letter", "Refused: character"),
        ("Refresh in all tabs", "Tabs that refreshed at once: 10"),
        ("Sign a passport out", "Both are accepted."),
    ],
)
def test_each_button_of_a_visitor_starts_with_its_act(page, page_errors, button, caption):
    page.on("response", lambda response: response.status == 401 and page_errors.expect(REFUSED))
    page.goto("/compare/")
    page.get_by_role("button", name=button).click()
    expect_caption(page, caption)
    at_rest(page)


# An ordinary account


@pytest.mark.long
def test_playing_with_an_ordinary_account_raises_no_alarm(anns_page, ann, site, page_errors):
    page_errors.expect(REFUSED)
    page = anns_page
    events = site.shell(EVENTS.format(name=ann.username)).split()
    page.goto("/compare/")
    page.get_by_role("button", name="Start", exact=True).click()
    expect_caption(page, "Both are accepted.")
    at_rest(page)
    press(page, "Sign out", "Yes, still accepted")
    press(page, "The thief", "The thief, after you")
    expect(page.get_by_text("you get no e-mail")).to_be_visible()
    assert site.shell(EVENTS.format(name=ann.username)).split() == events
    assert page.request.get("/api/me/").json()["username"] == ann.username
    kinds = [each["kind"] for each in page.request.get("/api/sign-ins/").json()["results"]]
    assert kinds == ["browser"]


@pytest.mark.long
def test_the_client_ends_when_the_page_is_left(guest):
    def clients():
        return [each for each in guest.request.get("/api/sign-ins/").json()["results"] if each["kind"] == "client"]

    assert len(clients()) == 1
    guest.goto("/")
    # A page does not wait for the request that it sends on leaving.
    for _ in range(50):
        if not clients():
            return
        guest.wait_for_timeout(100)
    raise AssertionError("The client is still signed in")


@pytest.mark.long
def test_a_client_ended_elsewhere_is_refused(guest, page_errors):
    page_errors.expect(REFUSED)
    (client,) = (each for each in guest.request.get("/api/sign-ins/").json()["results"] if each["kind"] == "client")
    guest.evaluate(
        """id => fetch(`/api/sign-ins/${id}/`, {
            method: "DELETE",
            headers: { "X-CSRFToken": document.querySelector("[name=csrfmiddlewaretoken]").value },
        })""",
        client["id"],
    )
    press(guest, "Who are you?", "Send both requests")
    expect_caption(guest, "its sign-in was ended elsewhere")
    assert [status for _line, status in trace(guest, "Who are you?")] == ["200", "401"]


# As two other tabs do it: the passport first, where it ends too.
SIGN_OUT = """async which => {
    const headers = { "X-CSRFToken": document.querySelector("[name=csrfmiddlewaretoken]").value };
    const { results } = await (await fetch("/api/sign-ins/")).json();
    for (const { id, kind } of results.toSorted(({ kind }) => (kind === "client" ? -1 : 1))) {
        if (kind === "browser" || which === "both") await fetch(`/api/sign-ins/${id}/`, { method: "DELETE", headers });
    }
}"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("act_name", "button"),
    [
        ("Who are you?", "Send both requests"),
        ("Tabs race", "Refresh in all tabs"),
        ("Tabs race", "Open the tabs, three ways"),
    ],
)
def test_a_browser_signed_out_elsewhere_starts_anew(guest, page_errors, act_name, button):
    page_errors.expect(REFUSED)
    guest.evaluate(SIGN_OUT, "both")
    press(guest, act_name, button)
    expect(guest.locator("#caption")).to_contain_text("Both are refused: this browser was signed out elsewhere")
    assert "is-out" in guest.locator("#picture").get_attribute("class").split()
    assert guest.locator("#sky .stamp").count() == 1
    guest.get_by_role("button", name="Start", exact=True).click()
    expect(guest.locator("#caption")).to_contain_text("Both are accepted.")
    at_rest(guest)


@pytest.mark.long
def test_a_wristband_refused_alone_is_named(anns_page, page_errors):
    """The passport is that of a temporary account."""
    page_errors.expect(REFUSED)
    page = started(anns_page)
    page.evaluate(SIGN_OUT, "browser")
    press(page, "Who are you?", "Send both requests")
    expect_caption(page, "The wristband is refused: this browser was signed out elsewhere.")
    assert [status for _line, status in trace(page, "Who are you?")] == ["401", "200"]


@pytest.mark.long
def test_a_passport_that_expires_is_renewed_for_the_next_act(guest):
    guest.clock.install()
    answers = exchanges(guest, "/compare/who/")
    guest.clock.fast_forward(290_000)
    press(guest, "Who are you?", "Send both requests")
    assert answers == [200, 200]


@pytest.mark.long
def test_an_expired_passport_is_named_and_a_missing_one_too(guest):
    question = guest.locator("#act-out .question")
    guest.clock.install()
    guest.clock.fast_forward(310_000)
    expect(question).to_have_text(re.compile("The passport has expired. The next act renews it."), use_inner_text=True)
    guest.reload()
    expect(question).to_have_text("Press Start for a passport.", use_inner_text=True)


@pytest.mark.long
def test_the_tiles_are_empty_until_the_act_and_the_change_is_shown(guest, page_errors):
    page_errors.expect(REFUSED)
    assert guest.locator(".tiles dd").all_inner_texts() == ["–", "–", "–"]
    press(guest, "Change a letter", "Change it")
    expect(guest.locator("#letter-shown")).to_have_text(re.compile("^120: “.” → “[xy]”"))
    press(guest, "Change a letter", "Change it back")
    expect(guest.locator("#letter-shown")).not_to_contain_text("→")


@pytest.mark.long
def test_the_statements_of_a_line_are_those_of_all_its_requests(guest):
    press(guest, "Tabs race", "Refresh in all tabs")
    expect(act(guest, "Tabs race").locator(".trace li.is-live").first).to_contain_text("SQL in total")


# What is shown


@pytest.mark.long
def test_no_secret_is_shown(guest, page_errors):
    page_errors.expect(REFUSED)
    guest.locator(f"#letters [data-at='{LETTER}']").click()
    at_rest(guest)
    press(guest, "Sign out", "Yes, still accepted")
    shown = guest.get_by_role("main").inner_html()
    [session_key] = [each["value"] for each in guest.context.cookies() if each["name"].startswith("sessionid")]
    assert session_key not in shown
    # The recorded token has expired long ago, and is of another server.
    recorded = guest.locator("#decoded").get_attribute("data-expired")
    assert not re.search(r"eyJ[\w-]+\.[\w-]+\.[\w-]{20}", shown.replace(recorded, ""))


@pytest.mark.long
def test_the_drawer_shows_the_exchange_with_its_headers_folded(guest):
    drawer = guest.locator(".drawer").filter(has_text="Show HTTP")
    drawer.get_by_text("Show HTTP").click()
    newest = drawer.locator(".http > .exchange").first
    newest.locator("summary").first.click()
    expect(newest.locator("[data-slot=request]")).to_contain_text(re.compile(r"Authorization: Bearer eyJ\w+…[\w-]{4}"))
    expect(newest.locator("[data-slot=answer]")).to_contain_text('"mode": "passport"')
    expect(newest.get_by_text("X-Request-ID", exact=False)).to_be_hidden()
    newest.get_by_text("All response headers").click()
    expect(newest.locator("[data-slot=received]")).to_contain_text(re.compile("x-request-id", re.IGNORECASE))


@pytest.mark.long
def test_the_stage_stays_in_view(guest):
    for width in (360, 1280):
        guest.set_viewport_size({"width": width, "height": 800})
        act(guest, "The thief").scroll_into_view_if_needed()
        expect(guest.locator("#picture")).to_be_in_viewport(ratio=0.9)
        expect(guest.locator("#caption")).to_be_in_viewport(ratio=0.9)


@pytest.mark.long
def test_the_page_fits_and_axe_finds_nothing(page, look_at, page_errors):
    page_errors.expect(REFUSED)
    page.goto("/compare/")
    look_at(page, "compare-guest")
    started(page)
    press(page, "Sign out", "Yes, still accepted")
    page.evaluate("document.querySelectorAll('main details').forEach(each => { each.open = true; })")
    look_at(page, "compare-out")


@pytest.mark.long
def test_dots_travel_unless_motion_is_reduced(new_page):
    def dots(**options):
        page = started(new_page(**options))
        page.route("**/compare/who/", lambda route: (page.wait_for_timeout(300), route.continue_()))
        act(page, "Who are you?").get_by_role("button").first.click()
        page.wait_for_timeout(150)
        found = page.locator("#sky .dot").count()
        at_rest(page)
        return found

    assert dots(reduced_motion="no-preference") == 1
    assert dots(reduced_motion="reduce") == 0


@pytest.mark.long
def test_the_picture_keeps_its_colours_with_forced_colours(guest, album):
    guest.emulate_media(forced_colors="active", color_scheme="dark")
    parts = guest.locator("#letters .t-header, #letters .t-claims, #letters .t-signature").all()
    assert len({each.evaluate("each => getComputedStyle(each).color") for each in parts[:1] + parts[-1:]}) == 2
    pills = guest.locator(".pill rect").first.evaluate("each => getComputedStyle(each).fill")
    assert pills != "none"
    guest.screenshot(path=album / "compare-forced.png", full_page=True)


# The keyboard

BUTTONS = [
    "Start again",
    "Send both requests",
    "Change it",
    "Refresh in all tabs",
    "Open the tabs, three ways",
    "The thief, before you",
    "Check on the server",
]


@pytest.mark.long
@pytest.mark.parametrize("name", BUTTONS)
def test_the_focus_stays_on_the_button_that_was_pressed(guest, page_errors, name):
    """Two presses of Enter have the same effect as two clicks on that button."""
    guest.on("response", lambda response: response.status == 401 and page_errors.expect(REFUSED))
    guest.get_by_label("Token", exact=True).fill("a.b.c")
    button = guest.get_by_role("button", name=re.compile(f"^{name}( back)?$")).first
    button.focus()
    for _ in range(2):
        guest.keyboard.press("Enter")
        guest.wait_for_load_state("networkidle")
        at_rest(guest)
        expect(button).to_be_focused()


@pytest.mark.long
def test_a_letter_is_changed_by_keyboard(guest, page_errors):
    page_errors.expect(REFUSED)
    slider = guest.get_by_role("slider", name="Character")
    slider.focus()
    before = slider.input_value()
    guest.keyboard.press("ArrowRight")
    assert slider.input_value() != before
    guest.keyboard.press("Tab")
    guest.keyboard.press("Enter")
    expect_caption(guest, f"Refused: character {int(before) + 1} is now")
    at_rest(guest)


# Costs


@pytest.mark.long
def test_fifty_requests_with_each_give_medians(guest, look_at):
    guest.get_by_role("button", name="Send 50 requests with each").click()
    expect_caption(guest, "Medians of 50 requests with each")
    at_rest(guest)
    statements = guest.locator("[data-live-bar=statements] b").all_inner_texts()
    # With Redis, both are checked in memory.
    assert statements in (["1", "1"], ["0", "0"])
    assert "–" not in guest.locator("[data-live-bar=milliseconds] b").all_inner_texts()
    assert float(guest.locator("[data-live-bar=bytes].passport .fill").get_attribute("width")) == 100
    assert 0 < float(guest.locator("[data-live-bar=bytes].wristband .fill").get_attribute("width")) < 100
    look_at(guest, "compare-run")


@pytest.mark.long
def test_the_time_of_one_request_is_not_shown_as_a_median(guest):
    expect(guest.locator("[data-live-bar=bytes] b").first).not_to_have_text("–")
    expect(guest.locator("[data-live-bar=milliseconds] b")).to_have_text(["–", "–"])


@pytest.mark.long
@pytest.mark.parametrize("how", ["button", "Escape"])
def test_fifty_requests_can_be_cancelled(guest, how):
    guest.route("**/compare/who/", lambda route: (guest.wait_for_timeout(50), route.continue_()))
    run = guest.get_by_role("button", name="Send 50 requests with each")
    run.press("Enter")
    expect(guest.get_by_role("progressbar", name="Progress of 50 rounds")).to_be_visible()
    if how == "button":
        guest.keyboard.press("Tab")
        expect(guest.get_by_role("button", name="Cancel", exact=True)).to_be_focused()
        guest.keyboard.press("Enter")
    else:
        guest.keyboard.press("Escape")
    expect_caption(guest, "Cancelled. Requests sent with each:")
    at_rest(guest)
    expect(run).to_be_focused()


# The rest of the page


@pytest.mark.long
def test_the_recommendation_follows_each_choice(page):
    page.goto("/compare/")
    page.get_by_label("Browsers and programs").check()
    advice = page.get_by_role("group", name="Recommendation")
    expect(advice.get_by_role("heading")).to_contain_text("Both: a wristband for browsers")
    page.get_by_label("Programs: mobile apps").check()
    expect(advice.get_by_role("heading")).to_contain_text("The passport: tokens")
    expect(advice).to_contain_text("Authorization")
    expect(page).to_have_url(re.compile(r"\?client=program"))
    page.reload()
    expect(advice.get_by_role("heading")).to_contain_text("The passport: tokens")


@pytest.mark.long
def test_the_link_to_an_answer_is_copied(new_page):
    page = new_page(permissions=["clipboard-read", "clipboard-write"])
    page.goto("/compare/?client=mixed")
    page.get_by_role("button", name="Copy the link to this answer").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()").endswith("/compare/?client=mixed")


@pytest.mark.long
def test_the_link_to_the_third_act_is_copied(new_page, page_errors):
    page = started(new_page(permissions=["clipboard-read", "clipboard-write"]))
    page_errors.expect(REFUSED)
    press(page, "Sign out", "No, refused")
    act(page, "Sign out").get_by_role("button", name="Copy the link").click()
    expect(act(page, "Sign out").get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()").endswith("/compare/#act-out")


@pytest.mark.long
def test_a_token_is_decoded_while_it_is_typed_and_not_sent(page, site, ann):
    token = site.start_client(ann)["refresh"]
    page.goto("/compare/", wait_until="networkidle")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.get_by_label("Token", exact=True).fill(token)
    expect(page.locator("#decoded .claims")).to_contain_text("rt+jwt")
    assert not asked
    page.locator("#decoded .token-text .t-claims").hover()
    expect(page.locator("#decoded")).to_have_attribute("data-on", "claims")
    page.get_by_label("Token", exact=True).fill(f"{token}.x")
    expect(page.get_by_text("This is not in the format of a token")).to_be_visible()


@pytest.mark.long
def test_the_server_is_asked_by_a_button(page, site, ann, look_at):
    token = site.start_client(ann)["refresh"]
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto("/compare/")
    page.get_by_label("Token", exact=True).fill(token)
    page.get_by_role("button", name="Check on the server").click()
    found = page.locator("#inspected")
    expect(found.locator(".verdicts dd")).to_have_text([re.compile(each) for each in ("Valid", "not expired", "Yes")])
    expect(page.locator("#announced")).to_have_text(re.compile("^The response of the server: Valid"))
    timer = found.get_by_role("timer")
    expect(timer).to_have_text(re.compile(r"^13 days, 23:\d\d:\d\d$"))
    before = timer.inner_text()
    expect(timer).not_to_have_text(before)
    look_at(page, "compare-inspected")
    assert not [url for url in [*asked, page.url] if token[:40] in url]


@pytest.mark.long
@pytest.mark.parametrize(
    ("example", "verdict"),
    [
        ("good", "Valid: one of our keys"),
        ("expired", "Valid: one of our keys"),
        ("tampered", "Not valid"),
        ("alg: none", "Refused: alg is none"),
    ],
)
def test_the_examples_are_judged_by_the_server(guest, example, verdict):
    guest.get_by_role("button", name=example, exact=True).click()
    guest.get_by_role("button", name="Check on the server").click()
    first = guest.locator("#inspected .verdicts dd").first
    expect(first).to_contain_text(verdict)
    expect(guest.locator("#decoded .claims")).to_contain_text("username")


@pytest.mark.long
@pytest.mark.parametrize("change", ["example", "typing"])
def test_another_token_has_no_verdict_yet(guest, change):
    guest.get_by_role("button", name="good", exact=True).click()
    guest.get_by_role("button", name="Check on the server").click()
    expect(guest.locator("#inspected")).to_contain_text("Yes: neither the token")
    if change == "example":
        guest.get_by_role("button", name="tampered", exact=True).click()
    else:
        guest.get_by_label("Token", exact=True).press_sequentially("x")
    expect(guest.locator("#inspected")).to_have_text("Not checked yet.")


@pytest.mark.long
def test_too_long_input_is_refused_with_a_message(page, page_errors):
    page_errors.expect("status of 413")
    page.goto("/compare/")
    page.get_by_label("Token", exact=True).fill("e" * 9000)
    page.get_by_role("button", name="Check on the server").click()
    expect(page.locator("#inspected")).to_have_text(re.compile("longer than 8 kB"))


def test_the_page_works_without_javascript(new_page, site, ann):
    page = new_page(java_script_enabled=False)
    token = site.start_client(ann)["access"]
    page.goto("/compare/")
    stills = page.get_by_role("figure").filter(has=page.get_by_role("img"))
    expect(stills).to_have_count(5)
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_text("need JavaScript. Below are recorded exchanges")).to_be_visible()
    expect(page.get_by_role("button", name="Send both requests")).to_have_count(0)
    expect(act(page, "Sign out").locator(".trace li")).to_have_count(2)
    expect(page.get_by_text("We signed out one of your apps")).to_be_visible()
    page.get_by_label("Token", exact=True).fill(token)
    page.get_by_role("button", name="Check on the server").click()
    expect(page.locator("#inspected .verdicts dd").first).to_contain_text("Valid")
    page.get_by_label("Browsers, with pages rendered by the server").check()
    page.get_by_role("button", name="Show the recommendation").click()
    expect(page.get_by_role("heading", name="The wristband: a session")).to_be_visible()


@pytest.mark.long
def test_answers_are_kept_without_javascript(new_page):
    page = new_page(java_script_enabled=False)
    page.goto("/compare/?client=program&origin=cross&services=many&end=minutes")
    expect(page.get_by_role("heading", name="The passport: tokens")).to_be_visible()
    expect(page.get_by_label("Several")).to_be_checked()


@pytest.mark.long
def test_a_signed_in_user_starts_with_one_click(page, ann):
    sign_in(page, ann)
    page.goto("/compare/")
    page.get_by_role("button", name="Start", exact=True).click()
    expect_caption(page, "Both are accepted.")
    at_rest(page)
