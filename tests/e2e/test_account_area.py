"""The frame of the account area in a real browser: side navigation, rows of sign-ins, keyboard."""

import re

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import assert_accessible, assert_fits

# How a browser renders pages does not depend on the stores; test_harness runs on both.
pytestmark = pytest.mark.once

SECTIONS = ["Overview", "Sign-ins", "Activity", "Security", "Developer", "Profile"]
MAX_ROW_PIXELS = 60
MAX_ROW_PIXELS_ON_PHONES = 110
MANY = """
from accounts import starting
from accounts.models import SignIn, User
user = User.objects.get(username={name!r})
for number in range(30):
    sign_in = starting.start(User.objects.get(pk=user.pk), "client")
    SignIn.objects.filter(pk=sign_in.pk).update(user_agent="curl/8.9.1", ip_address="203.0.113.7")
"""


def navigation(page):
    return page.get_by_role("navigation", name="Account", exact=True)


def test_the_navigation_leads_to_each_page_and_marks_it(anns_page):
    for section in SECTIONS:
        navigation(anns_page).get_by_role("link", name=section).click()
        expect(navigation(anns_page).get_by_role("link", name=section)).to_have_attribute("aria-current", "page")
        expect(navigation(anns_page).locator("[aria-current]")).to_have_count(1)


@pytest.mark.long
@pytest.mark.parametrize("path", ["/accounts/clients/new/", "/accounts/developer/"])
def test_a_page_below_a_section_marks_the_section(anns_page, path):
    anns_page.goto(path)
    expect(navigation(anns_page).locator("[aria-current]")).to_have_text("Developer")


@pytest.mark.long
@pytest.mark.parametrize("path", ["/", "/accounts/sign-ins/", "/accounts/sign-ins/ended/", "/accounts/developer/"])
def test_the_pages_fit_and_axe_finds_nothing(anns_page, site, ann, look_at, path):
    site.start_client(ann)
    anns_page.goto(path)
    look_at(anns_page, f"area-{path.strip('/').replace('/', '-') or 'overview'}")


@pytest.mark.long
@pytest.mark.parametrize("width", [320, 360])
def test_on_phones_the_sections_are_tabs_that_are_all_visible(anns_page, width):
    anns_page.set_viewport_size({"width": width, "height": 800})
    for section in SECTIONS:
        box = navigation(anns_page).get_by_role("link", name=section).bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert box["height"] < 50, f"{section} is broken into lines"


@pytest.mark.long
@pytest.mark.parametrize(("width", "limit"), [(1280, MAX_ROW_PIXELS), (360, MAX_ROW_PIXELS_ON_PHONES)])
def test_a_row_is_low_until_its_details_are_opened(anns_page, site, ann, width, limit):
    site.shell(MANY.format(name=ann.username))
    anns_page.set_viewport_size({"width": width, "height": 800})
    anns_page.goto("/accounts/sign-ins/")
    rows = anns_page.locator("li.sign-in")
    expect(rows).to_have_count(25)
    assert max(row.bounding_box()["height"] for row in rows.all()) <= limit
    rows.nth(1).locator("summary").click()
    expect(rows.nth(1).get_by_text("curl/8.9.1")).to_be_visible()
    assert_fits(anns_page, width)
    assert_accessible(anns_page)


@pytest.mark.long
def test_the_buttons_of_rows_have_names_of_their_own(anns_page, site, ann):
    site.start_client(ann)
    site.start_client(ann, "python-httpx/0.28.1")
    anns_page.goto("/accounts/sign-ins/")
    names = [each.get_attribute("aria-label") for each in anns_page.locator("li.sign-in form button").all()]
    assert len(set(names)) == len(names) == 3
    assert all(name.startswith("Sign out") for name in names)


@pytest.mark.long
def test_a_row_is_opened_and_signed_out_by_keyboard(anns_page, site, ann):
    site.start_client(ann)
    anns_page.goto("/accounts/sign-ins/")
    row = anns_page.locator("li.sign-in").nth(1)
    row.locator("summary").focus()
    anns_page.keyboard.press("Enter")
    expect(row.get_by_role("link", name="Rename curl")).to_be_visible()
    anns_page.keyboard.press("Tab")
    expect(row.get_by_role("link", name="Rename curl")).to_be_focused()
    anns_page.keyboard.press("Tab")
    anns_page.keyboard.press("Enter")
    expect(anns_page.get_by_role("main").get_by_role("status")).to_contain_text("Signed out: curl.")


@pytest.mark.long
def test_the_pages_work_without_javascript(new_page, site, ann):
    page = new_page(java_script_enabled=False)
    page.goto("/accounts/login/")
    main = page.get_by_role("main")
    main.get_by_label("Username").fill(ann.username)
    main.get_by_label("Password").fill(ann.password)
    main.get_by_role("button", name="Sign in", exact=True).click()
    site.start_client(ann)
    page.goto("/accounts/sign-ins/")
    page.locator("summary").filter(has_text="curl").click()
    expect(main.get_by_text(re.compile("^curl/8"))).to_be_visible()
    main.get_by_role("button", name="Sign out: curl").click()
    expect(main.get_by_role("status")).to_contain_text("Signed out: curl.")
