"""The page /compare/ in a real browser."""

import os
import re

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.site import sign_in

# How a browser renders pages does not depend on the stores; test_harness runs on both.
pytestmark = [pytest.mark.once, pytest.mark.long]

MAX_PAGE_BYTES = 60_000
# Signature, time, not revoked.
GOOD = [re.compile("Valid"), re.compile("not expired"), re.compile("Yes")]
NOT_HONOURED = [re.compile("Valid"), re.compile("not expired"), re.compile("No:")]


@pytest.fixture
def guest(page):
    """A page in which a throw-away user is signed in."""
    page.goto("/compare/")
    page.get_by_role("button", name="Create a temporary account").click()
    expect(page.get_by_text("It is deleted after a day")).to_be_visible()
    return page


@pytest.fixture
def traveller(guest):
    """The page of the guest after the client has its tokens."""
    return with_passport(guest)


def with_passport(page: Page) -> Page:
    press(page, "Get a passport")
    expect(page.get_by_text("The client is signed in")).to_be_visible()
    expect(verdicts(page.locator("#mine"))).to_have_text(GOOD)
    return page


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()
    expect(page.locator("#stage")).to_have_attribute("aria-busy", "false")


def verdicts(place):
    return place.locator(".verdicts dd")


def experiment(page: Page, name: str):
    return page.get_by_role("article").filter(has=page.get_by_role("heading", name=name, exact=True))


def statuses(box):
    return box.locator(".exchange summary strong").all_inner_texts()


# The live part


def test_one_click_signs_a_guest_in(page, look_at):
    page.goto("/compare/")
    expect(page.get_by_text("Sign in to send real requests")).to_be_visible()
    look_at(page, "compare-guest")
    page.get_by_role("button", name="Create a temporary account").click()
    expect(page.get_by_text("It is deleted after a day")).to_be_visible()
    expect(page).to_have_url(re.compile("/compare/$"))
    page.reload()
    expect(page.locator("#throw-away-password")).to_have_count(0)
    expect(page.get_by_role("button", name="Change the password here")).to_be_disabled()


def test_both_modes_call_the_api_and_the_exchange_is_shown(traveller, look_at):
    page = traveller
    press(page, "Send both requests")
    box = experiment(page, "Who am I?")
    # Without Redis, and with it.
    expect(box.get_by_text(re.compile("Wristband: (one statement read|the server compared)"))).to_be_visible()
    assert statuses(box) == ["200", "200"]
    by_cookie, by_token = box.locator(".exchange").all()
    expect(by_cookie.locator("summary")).to_contain_text(re.compile("[01] SQL"))
    expect(by_token.locator("summary")).to_contain_text("0 Redis")
    by_cookie.locator("summary").click()
    by_token.locator("summary").click()
    by_browser = re.compile(r"Cookie: sessionid-\w{8}=… \(added by the browser, not visible to this page\)")
    expect(by_cookie).to_contain_text(by_browser)
    expect(by_cookie).to_contain_text('"mode": "wristband"')
    expect(by_token).to_contain_text(re.compile(r"Authorization: Bearer eyJ\w+…[\w-]{4}\n"))
    expect(by_token).to_contain_text('"mode": "passport"')
    look_at(page, "compare-who")


def test_no_secret_is_shown(traveller, page_errors):
    page_errors.expect("status of 401")
    page = traveller
    password = page.locator("#throw-away-password").inner_text()
    for button in ("Send both requests", "Tamper with the token", "Use the refresh token", "Change the password here"):
        press(page, button)
    shown = page.get_by_role("main").inner_html()
    [session_key] = [each["value"] for each in page.context.cookies() if each["name"].startswith("sessionid")]
    assert session_key not in shown
    assert not re.search(r"eyJ[\w-]+\.[\w-]+\.[\w-]{20}", shown)
    assert shown.count(password) == 1


def test_one_changed_letter_breaks_the_signature(traveller, page_errors):
    page_errors.expect("status of 401")
    press(traveller, "Tamper with the token")
    box = experiment(traveller, "Change one character")
    expect(box.get_by_text("so the signature is not valid")).to_be_visible()
    expect(verdicts(box)).to_have_text([re.compile("Not valid"), re.compile("Not checked"), re.compile("Not checked")])
    assert statuses(box) == ["401"]


def test_a_refresh_gives_a_new_pair(traveller):
    before = traveller.locator("#mine .token-text").inner_text()
    press(traveller, "Use the refresh token")
    box = experiment(traveller, "Renew the tokens")
    expect(box.get_by_text("of the same sign-in")).to_be_visible()
    expect(box.locator(".exchange summary")).to_contain_text("2 SQL")
    expect(traveller.locator("#mine .token-text")).not_to_have_text(before)


def test_ten_requests_race_for_one_successor(traveller):
    press(traveller, "Send ten requests")
    box = experiment(traveller, "Ten requests at once")
    expect(box.locator(".said")).to_have_text("Answers: 10. Successful: 10. Different refresh tokens in them: 1.")
    assert statuses(box) == ["200"] * 10
    press(traveller, "Send both requests")
    assert statuses(experiment(traveller, "Who am I?")) == ["200", "200"]


def test_a_retry_succeeds_and_a_reuse_ends_the_sign_in(traveller, page_errors, look_at):
    page_errors.expect("status of 401")
    box = experiment(traveller, "Reuse a refresh token")
    press(traveller, "Send the last one again")
    expect(box.get_by_text("The server returned the same new tokens again")).to_be_visible()
    assert statuses(box) == ["200", "200"]
    press(traveller, "Send an older one")
    expect(box.get_by_text("Theft detected: the sign-in ended at once")).to_be_visible()
    assert statuses(box) == ["200", "200", "401", "401"]
    expect(verdicts(box)).to_have_text(NOT_HONOURED)
    expect(traveller.get_by_text("The sign-in of the client has ended")).to_be_visible()
    look_at(traveller, "compare-theft")


def test_after_the_sign_out_the_unexpired_token_is_refused(traveller, page_errors):
    page_errors.expect("status of 401")
    blocked = traveller.locator("#kept .count strong")
    before = int(blocked.inner_text())
    press(traveller, "Sign out the client")
    box = experiment(traveller, "Sign out, then try again")
    assert statuses(box) == ["200", "401"]
    expect(verdicts(box)).to_have_text(NOT_HONOURED)
    expect(verdicts(traveller.locator("#mine"))).to_have_text(NOT_HONOURED)
    expect(blocked).not_to_have_text(str(before))
    # The next experiment signs a new client in.
    press(traveller, "Send both requests")
    assert statuses(experiment(traveller, "Who am I?")) == ["200", "200"]
    expect(traveller.get_by_text("The client is signed in")).to_be_visible()


def test_a_new_password_ends_the_passport_and_not_the_wristband(traveller, page_errors):
    page_errors.expect("status of 401")
    press(traveller, "Change the password here")
    box = experiment(traveller, "Change the password")
    expect(box.get_by_text("The wristband stays valid")).to_be_visible()
    assert statuses(box) == ["204", "200", "401"]
    press(traveller, "Change the password here")
    assert statuses(box) == ["204", "200", "401"]


def test_fifty_requests_with_each_give_medians(traveller, look_at):
    press(traveller, "Use the refresh token")
    traveller.get_by_role("button", name="Send 50 requests with each").click()
    expect(traveller.get_by_text("These are the medians of 50 requests with each.")).to_be_visible(timeout=60_000)
    expect(traveller.locator("#stage")).to_have_attribute("aria-busy", "false")
    assert traveller.locator("[data-count]").all_inner_texts() == ["50", "50"]
    # With Redis, both are checked in memory.
    median = "1" if not os.environ["REDIS_URL"] else "0"
    statements = traveller.locator("[data-cost=statements]")
    expect(statements.locator(".wristband b")).to_have_text(median)
    expect(statements.locator(".passport b")).to_have_text(median)
    expect(traveller.locator("[data-cost=trips] .passport b")).to_have_text("0")
    expect(traveller.locator("[data-cost=bytes] .passport .fill")).to_have_attribute("width", "100")
    width = float(traveller.locator("[data-cost=bytes] .wristband .fill").get_attribute("width"))
    assert 0 < width < 100
    look_at(traveller, "compare-run")
    traveller.get_by_role("button", name="Reset the counts").click()
    expect(statements.locator(".wristband b")).to_have_text("0")


@pytest.mark.parametrize("how", ["button", "Escape"])
def test_fifty_requests_can_be_stopped(traveller, how):
    traveller.route("**/compare/who/", lambda route: (traveller.wait_for_timeout(50), route.continue_()))
    run = traveller.get_by_role("button", name="Send 50 requests with each")
    stop = traveller.get_by_role("button", name="Stop the requests", exact=True)
    expect(stop).to_be_disabled()
    run.press("Enter")
    expect(traveller.get_by_role("progressbar", name="Progress of 50 rounds")).to_be_visible()
    if how == "button":
        traveller.keyboard.press("Tab")
        expect(stop).to_be_focused()
        traveller.keyboard.press("Enter")
    else:
        traveller.keyboard.press("Escape")
    expect(traveller.get_by_text("Stopped. Requests sent with each:")).to_be_visible()
    expect(traveller.locator("#stage")).to_have_attribute("aria-busy", "false")
    expect(stop if how == "button" else run).to_be_focused()
    by_cookie, by_token = map(int, traveller.locator("[data-count]").all_inner_texts())
    assert by_cookie == by_token < 50
    # Another press on the same spot neither stops nor starts anything.
    if how == "button":
        traveller.keyboard.press("Enter")
        expect(traveller.locator("#stage")).to_have_attribute("aria-busy", "false")


def test_the_cost_of_a_password_hash_is_not_counted(traveller, page_errors):
    page_errors.expect("status of 401")
    press(traveller, "Change the password here")
    change = experiment(traveller, "Change the password").locator(".exchange").first
    times = re.search(r"([\d.]+) ms \(\+ ([\d.]+) ms for the password hash\)", change.inner_text())
    # Argon2 takes tens of milliseconds, twice.
    assert float(times[2]) > 20
    median = traveller.locator("[data-cost=milliseconds] .wristband b").inner_text()
    assert float(median) < float(times[2])


def test_the_legend_keeps_its_colours_with_forced_colours(traveller, album):
    traveller.emulate_media(forced_colors="active", color_scheme="dark")
    legend = [
        traveller.locator(f".key.{mode}").evaluate("each => getComputedStyle(each).backgroundColor")
        for mode in ("wristband", "passport")
    ]
    bars = [
        traveller.locator(f"[data-cost=bytes] .{mode} .fill").evaluate("each => getComputedStyle(each).fill")
        for mode in ("wristband", "passport")
    ]
    assert legend == bars, "the legend has the colours of the bars"
    assert len(set(legend)) == 2
    parts = traveller.locator("#mine .token-text span").all()
    assert len({each.evaluate("each => getComputedStyle(each).color") for each in parts}) == 3
    traveller.screenshot(path=album / "compare-forced.png", full_page=True)


BUTTONS = [
    "Get a passport",
    "Send both requests",
    "Tamper with the token",
    "Use the refresh token",
    "Send ten requests",
    "Send the last one again",
    "Send an older one",
    "Sign out the client",
    "Change the password here",
    "Reset the counts",
    "Inspect the token",
    "Show the recommendation",
]


@pytest.mark.parametrize("name", BUTTONS)
def test_the_focus_stays_on_the_button_that_was_pressed(guest, page_errors, name):
    """Two presses of Enter have the same effect as two clicks on that button."""
    guest.on("response", lambda response: response.status == 401 and page_errors.expect("status of 401"))
    guest.get_by_label("Token", exact=True).fill("a.b.c")
    answer(guest)
    button = guest.get_by_role("button", name=name, exact=True)
    button.focus()
    for _ in range(2):
        guest.keyboard.press("Enter")
        guest.wait_for_load_state("networkidle")
        expect(guest.locator("#stage")).to_have_attribute("aria-busy", "false")
        expect(button).to_be_focused()
    if name == "Get a passport":
        expect(guest.get_by_text("The client is signed in")).to_be_visible()


def test_the_client_is_listed_until_the_page_is_left(anns_page, look_at):
    page = anns_page
    page.goto("/compare/")
    look_at(page, "compare-signed-in")
    expect(page.get_by_role("button", name="Change the password here")).to_be_disabled()
    with_passport(page)
    other_tab = page.context.new_page()
    other_tab.goto("/accounts/sign-ins/")
    expect(other_tab.get_by_role("main")).to_contain_text("Compare page")
    page.goto("/")
    # A page does not wait for the request that it sends on leaving, so the list may be read before it arrives.
    button = other_tab.get_by_role("button", name="Sign out: Compare page")
    for _ in range(50):
        other_tab.reload()
        if not button.count():
            break
        other_tab.wait_for_timeout(100)
    expect(button).to_have_count(0)


def test_a_client_ended_from_the_list_is_refused(anns_page, page_errors):
    page_errors.expect("status of 401")
    page = anns_page
    page.goto("/compare/")
    with_passport(page)
    clients = [each for each in page.request.get("/api/sign-ins/").json()["results"] if each["kind"] == "client"]
    page.evaluate(
        """id => fetch(`/api/sign-ins/${id}/`, {
            method: "DELETE",
            headers: { "X-CSRFToken": document.querySelector("[name=csrfmiddlewaretoken]").value },
        })""",
        clients[0]["id"],
    )
    press(page, "Send both requests")
    box = experiment(page, "Who am I?")
    assert statuses(box) == ["200", "401"]
    expect(box.get_by_text("of the passport was ended elsewhere")).to_be_visible()
    expect(page.get_by_text("The sign-in of the client has ended")).to_be_visible()


def test_all_of_it_works_from_the_keyboard(guest):
    page = guest
    start = page.get_by_role("button", name="Get a passport")
    page.locator("body").press("Tab")
    for _ in range(40):
        if start.evaluate("button => button === document.activeElement"):
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_text("The client is signed in")).to_be_visible()
    expect(start).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_text("The client is signed in")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="End sign-in", exact=True)).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    if page.locator(".start .exchange summary").evaluate("each => each === document.activeElement"):
        page.keyboard.press("Enter")
        expect(page.locator(".start .exchange")).to_have_attribute("open", "")
        page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Send both requests")).to_be_focused()
    page.keyboard.press("Space")
    expect(experiment(page, "Who am I?").locator(".exchange")).to_have_count(2)
    expect(page.get_by_role("button", name="Send both requests")).to_be_focused()


# The rest of the page


def test_a_pasted_token_is_decoded_and_is_in_no_url(page, site, ann, look_at):
    token = site.start_client(ann)["refresh"]
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto("/compare/")
    page.get_by_label("Token", exact=True).fill(token)
    press_form(page, "Inspect the token")
    found = page.locator("#inspected")
    expect(page.get_by_role("button", name="Inspect the token")).to_be_focused()
    expect(page.locator("#announced")).to_have_text(re.compile("^Content of the token: Valid"))
    expect(verdicts(found)).to_have_text(GOOD)
    expect(found.get_by_role("timer")).to_have_text(re.compile(r"^13 days, 23:\d\d:\d\d$"))
    found.get_by_text("All claims").click()
    expect(found.locator(".claims")).to_contain_text("rt+jwt")
    look_at(page, "compare-inspected")
    assert not [url for url in [*asked, page.url] if token[:40] in url]


def test_the_countdown_counts_down(page, site, ann):
    page.goto("/compare/")
    page.get_by_label("Token", exact=True).fill(site.start_client(ann)["access"])
    press_form(page, "Inspect the token")
    timer = page.locator("#inspected").get_by_role("timer")
    expect(timer).to_have_text(re.compile(r"^[45]:\d\d$"))
    before = timer.inner_text()
    expect(timer).not_to_have_text(before)


def test_too_long_input_is_refused_with_a_message(page, page_errors):
    page_errors.expect("status of 413")
    page.goto("/compare/")
    page.get_by_label("Token", exact=True).fill("e" * 9000)
    press_form(page, "Inspect the token")
    expect(page.locator("#inspected")).to_have_text(re.compile("longer than 8 kB"))


def test_the_questions_give_advice_and_do_not_end_the_client(traveller, look_at):
    page = traveller
    answer(page)
    expect(page.get_by_role("heading", name="The wristband: a session")).to_be_visible()
    expect(page.locator(".advice li")).to_have_count(4)
    page.get_by_label("Browsers and programs").check()
    press_form(page, "Show the recommendation")
    expect(
        page.get_by_role("heading", name="Both: a wristband for browsers, passports for API clients")
    ).to_be_visible()
    look_at(page, "compare-advice")
    press(page, "Send both requests")
    assert statuses(experiment(page, "Who am I?")) == ["200", "200"]


def test_all_but_the_live_part_works_without_javascript(new_page, site, ann):
    page = new_page(java_script_enabled=False)
    token = site.start_client(ann)["access"]
    page.goto("/compare/")
    page.get_by_role("button", name="Create a temporary account").click()
    expect(page.get_by_text("It is deleted after a day")).to_be_visible()
    expect(page.get_by_text("and needs JavaScript")).to_be_visible()
    expect(page.get_by_role("button", name="Get a passport")).to_have_count(0)
    page.get_by_label("Token", exact=True).fill(token)
    press_form(page, "Inspect the token")
    expect(verdicts(page.locator("#inspected"))).to_have_text(GOOD)
    answer(page)
    expect(page.get_by_role("heading", name="The wristband: a session")).to_be_visible()


def test_answers_are_kept_without_javascript(new_page):
    page = new_page(java_script_enabled=False)
    page.goto("/compare/?client=program&origin=cross&services=many&end=minutes")
    expect(page.get_by_role("heading", name="The passport: tokens")).to_be_visible()
    expect(page.get_by_label("Several")).to_be_checked()


def test_the_page_is_small(page, ann):
    sign_in(page, ann)
    page.goto("/compare/", wait_until="networkidle")
    sizes = page.evaluate("performance.getEntries().map(each => each.decodedBodySize ?? 0)")
    assert 10_000 < sum(sizes) < MAX_PAGE_BYTES, sizes


def answer(page: Page) -> None:
    page.get_by_label("Browsers, with pages rendered by the server").check()
    page.get_by_label("No", exact=True).check()
    page.get_by_label("One", exact=True).check()
    page.get_by_label("At once", exact=True).check()
    press_form(page, "Show the recommendation")


def press_form(page: Page, name: str) -> None:
    page.get_by_role("button", name=name).click()
