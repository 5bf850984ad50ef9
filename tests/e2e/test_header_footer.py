"""The header with the account menu, and the choice of the theme, in a real browser."""

import re

import pytest
from playwright.sync_api import expect

from tests.e2e.site import account_menu, sign_in

# How a browser renders pages does not depend on the stores; test_harness runs on both.
pytestmark = pytest.mark.once

LONG_NAME = (
    "from accounts.models import User; User.objects.filter(username={name!r}).update(username={name!r}.ljust(150, 'm'))"
)
# The taller of the brand and the account menu, in pixels.
ONE_ROW = 56
LIGHT, DARK = "rgb(250, 248, 244)", "rgb(20, 23, 27)"


def header_height(page):
    return page.get_by_role("banner").bounding_box()["height"]


def expect_background(page, colour):
    expect(page.locator("body")).to_have_css("background-color", colour)


@pytest.mark.long
@pytest.mark.parametrize("locale", ["en-GB", "de-DE"])
@pytest.mark.parametrize("width", [320, 360])
def test_the_header_of_a_visitor_is_one_row_on_a_phone(new_page, locale, width):
    page = new_page(locale=locale, viewport={"width": width, "height": 700})
    page.goto("/accounts/login/")
    assert header_height(page) <= ONE_ROW


@pytest.mark.long
def test_the_header_is_one_row_on_a_phone_with_a_long_name(page, site, ann):
    sign_in(page, ann)
    site.shell(LONG_NAME.format(name=ann.username))
    page.set_viewport_size({"width": 360, "height": 700})
    page.goto("/accounts/profile/")
    assert header_height(page) <= ONE_ROW
    account_menu(page).click()
    sign_out = page.get_by_role("banner").get_by_role("button", name="Sign out")
    box = sign_out.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 360
    assert box["y"] + box["height"] <= 700


def test_the_account_menu_works_by_keyboard(anns_page, look_at):
    page, menu = anns_page, account_menu(anns_page)
    menu.focus()
    page.keyboard.press("Enter")
    overview = page.get_by_role("banner").get_by_role("link", name="Overview")
    expect(overview).to_be_visible()
    look_at(page, "account-menu")
    page.keyboard.press("Tab")
    expect(overview).to_be_focused()
    page.keyboard.press("Escape")
    expect(overview).to_be_hidden()
    expect(menu).to_be_focused()


@pytest.mark.long
def test_the_account_menu_closes_by_a_click_elsewhere(anns_page):
    account_menu(anns_page).click()
    overview = anns_page.get_by_role("banner").get_by_role("link", name="Overview")
    expect(overview).to_be_visible()
    anns_page.get_by_role("main").click(position={"x": 2, "y": 2})
    expect(overview).to_be_hidden()


@pytest.mark.long
def test_the_account_menu_works_without_scripts(new_page, ann):
    page = new_page(java_script_enabled=False)
    sign_in(page, ann)
    account_menu(page).click()
    page.get_by_role("banner").get_by_role("link", name="Security").click()
    expect(page).to_have_url(re.compile("/accounts/security/"))


@pytest.mark.long
@pytest.mark.parametrize("scripts", [True, False])
def test_the_chosen_theme_wins_over_that_of_the_system(new_page, scripts):
    page = new_page(java_script_enabled=scripts, color_scheme="light")
    page.goto("/accounts/login/")
    expect_background(page, LIGHT)
    footer = page.get_by_role("contentinfo")
    footer.get_by_role("button", name="Dark").click()
    expect(page).to_have_url(re.compile("/accounts/login/"))
    expect_background(page, DARK)
    page.goto("/")
    expect_background(page, DARK)
    expect(footer.get_by_role("button", name="Dark")).to_have_attribute("aria-current", "true")
    footer.get_by_role("button", name="System").click()
    expect_background(page, LIGHT)
