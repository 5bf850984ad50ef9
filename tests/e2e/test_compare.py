"""Wristband or passport? The page that settles the question, clicked through."""

from playwright.sync_api import expect


def test_a_guest_becomes_a_throw_away_user_and_watches_both(page, look_at, complaints):
    complaints.expect("status of 401")
    page.goto("/compare/")
    look_at(page, "compare-guest")
    page.get_by_role("button", name="Make me a throw-away user").click()
    expect(page.get_by_text("It is deleted after a day")).to_be_visible()
    look_at(page, "compare-start")
    page.get_by_role("button", name="Get a passport").click()
    expect(page.get_by_text("The client sign-in is running")).to_be_visible()
    page.get_by_role("button", name="Ask with both").click()
    expect(page.get_by_text("The wristband was looked up")).to_be_visible()
    page.locator("details").evaluate_all("all => all.forEach(each => { each.open = true })")
    look_at(page, "compare-who")
