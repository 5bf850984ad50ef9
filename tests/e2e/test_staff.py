"""The admin in a real browser: the overview, a user's account, a leaked token."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.e2e.conftest import NARROW, WIDE, assert_fits

# How a browser renders pages does not depend on the stores; test_harness runs on both.
pytestmark = [pytest.mark.once, pytest.mark.long]

# Without preloading, for which axe writes styles into the page; the policy of the page forbids them.
AXE = {"preload": False}


@pytest.fixture
def photograph(album):
    """Stores screenshots, light and dark, narrow and wide, and asserts that axe finds nothing."""

    def take(page: Page, name: str) -> None:
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            for width in (NARROW, WIDE):
                page.set_viewport_size({"width": width, "height": 800})
                page.screenshot(path=album / f"{name}-{scheme}-{width}.png", full_page=True)
                assert_fits(page, width)
            found = Axe().run(page, options=AXE)
            assert found.violations_count == 0, found.generate_report()

    return take


def sign_in_staff(page, site):
    """Signs a superuser in, and returns the page."""
    sue = site.sign_up("sue")
    site.shell(
        "from accounts.models import User;"
        f"User.objects.filter(username='{sue.username}').update(is_staff=True, is_superuser=True)"
    )
    page.goto("/admin/login/")
    page.locator("#id_username").fill(sue.username)
    page.locator("#id_password").fill(sue.password)
    page.locator("input[type=submit]").click()
    expect(page.locator("#user-tools")).to_be_visible()
    return page


@pytest.fixture
def staff_page(page, site):
    """A page where a superuser is signed in."""
    return sign_in_staff(page, site)


def test_the_overview_links_to_its_lists(staff_page, site, ann, photograph):
    site.start_client(ann)
    staff_page.goto("/admin/")
    expect(staff_page.get_by_role("heading", name="Current state")).to_be_visible()
    expect(staff_page.get_by_role("img", name="Successful and failed sign-ins per hour")).to_be_visible()
    photograph(staff_page, "admin-overview")
    staff_page.get_by_text("Show the figures as a table").click()
    expect(staff_page.get_by_role("columnheader", name="Failed sign-ins")).to_be_visible()
    photograph(staff_page, "admin-overview-table")
    staff_page.get_by_role("term").filter(has_text="Clients signed in").locator("xpath=..").get_by_role("link").click()
    expect(staff_page).to_have_url(re.compile(r"/admin/accounts/signin/\?state=live&kind=client"))
    photograph(staff_page, "admin-sign-ins")


def test_staff_find_a_user_and_sign_them_out_everywhere(staff_page, site, ann, photograph):
    site.start_client(ann)
    staff_page.goto("/admin/accounts/user/")
    staff_page.locator("#searchbar").fill(ann.username)
    staff_page.locator("#searchbar").press("Enter")
    photograph(staff_page, "admin-users")
    staff_page.get_by_role("link", name=ann.username, exact=True).click()
    expect(staff_page.get_by_role("heading", name="Live sign-ins")).to_be_visible()
    photograph(staff_page, "admin-user")
    staff_page.get_by_role("button", name="Sign out everywhere").click()
    expect(staff_page.get_by_text("client has its access and refresh tokens revoked")).to_be_visible()
    photograph(staff_page, "admin-confirm")
    staff_page.get_by_label("Reason").fill("The phone was stolen.")
    staff_page.get_by_role("button", name="Sign out user").click()
    expect(staff_page.get_by_text("1 sign-in ended.")).to_be_visible()


def test_a_leaked_token_is_inspected_blocked_and_lifted(staff_page, site, ann, photograph):
    access = site.start_client(ann)["access"]
    staff_page.goto("/admin/blocklist/entry/")
    staff_page.get_by_role("link", name="Block a leaked token").click()
    staff_page.get_by_label("Token or id").fill(access)
    staff_page.get_by_role("button", name="Check token").click()
    expect(staff_page.get_by_text("Genuine and valid.")).to_be_visible()
    assert access not in staff_page.content()
    photograph(staff_page, "admin-leaked-token")
    staff_page.get_by_label("Reason").fill("It was in a repository.")
    staff_page.get_by_role("button", name="Block only this token").click()
    expect(staff_page.get_by_text("The token is refused from now on.")).to_be_visible()
    photograph(staff_page, "admin-blocklist")
    staff_page.locator("#result_list tbody input[type=checkbox]").first.check()
    staff_page.locator("select[name=action]").select_option(label="Remove block")
    staff_page.get_by_role("button", name="Go").click()
    staff_page.get_by_label("Reason").fill("It was a test token.")
    staff_page.get_by_role("button", name="Remove this block").click()
    expect(staff_page.get_by_text("1 block removed.")).to_be_visible()


def test_attempt_counters_are_viewed_and_reset(staff_page, site, ann, photograph):
    site.shell(
        "from datetime import timedelta; from django.utils import timezone; from accounts import guess_limits;"
        "from accounts.models import AttemptCounter;"
        f"AttemptCounter.objects.start_attempt(guess_limits.sources_of_stranger({ann.username!r}, '203.0.113.9'));"
        f"AttemptCounter.objects.filter(account=guess_limits.username_digest({ann.username!r}))"
        ".update(count=30, until=timezone.now() + timedelta(hours=1))"
    )
    staff_page.goto("/admin/accounts/attemptcounter/?state=locked")
    staff_page.locator("#searchbar").fill(ann.username)
    staff_page.locator("#searchbar").press("Enter")
    photograph(staff_page, "admin-locks")
    staff_page.locator("#result_list tbody input[type=checkbox]").first.check()
    staff_page.locator("select[name=action]").select_option(label="Reset counters")
    staff_page.get_by_role("button", name="Go").click()
    staff_page.get_by_label("Reason").fill("It was the owner.")
    staff_page.get_by_role("button", name="Reset counter").click()
    expect(staff_page.get_by_text("1 lock removed.")).to_be_visible()


def test_the_end_of_all_sign_ins_asks_for_confirmation(staff_page, photograph):
    staff_page.goto("/admin/accounts/signin/")
    staff_page.get_by_role("link", name="End all sign-ins of all users").click()
    expect(staff_page.get_by_text("sign-ins end at once")).to_be_visible()
    photograph(staff_page, "admin-end-everyone")


def test_the_events_are_exported(staff_page):
    staff_page.goto("/admin/accounts/securityevent/?within=day")
    with staff_page.expect_download() as download:
        staff_page.get_by_role("button", name="Export matching events as CSV").click()
    assert download.value.suggested_filename.endswith(".csv")


LISTS = [
    "accounts/user",
    "accounts/signin",
    "accounts/securityevent",
    "accounts/attemptcounter",
    "accounts/factorremoval",
    "blocklist/entry",
    "auth/group",
]
ROWS = """
from datetime import timedelta
from uuid import uuid4
from django.utils import timezone
from accounts import guess_limits, starting
from accounts.models import AttemptCounter, FactorRemoval, SecurityEvent, SignIn, User
from api.blocklist.models import Entry
user = User.objects.create_user("s" * 150, "s" * 60 + "@" + "y" * 60 + ".example.org", None, last_login=timezone.now())
for number in range(3):
    sign_in = starting.start(user, "client", name="w" * 60)
    agent = "Mozilla/5.0 (iPhone) Version/17.5 Mobile/15E148 Safari/604.1" if number else "z" * 400
    SignIn.objects.filter(pk=sign_in.pk).update(user_agent=agent, ip_address="2001:db8:1234:5678:9abc:def0:1234:5678")
    if number:
        sign_in.end("token_reused")
rights = "is_staff, is_superuser, groups, user_permissions, bound_tokens_only"
SecurityEvent.objects.record("rights_changed", user, sign_in, changed=rights, why="w" * 200)
Entry.objects.block_leaked_token(uuid4(), "w" * 200, sign_in)
due_at = timezone.now() + timedelta(hours=24)
FactorRemoval(user=user, requested_by=user, why="w" * 200, due_at=due_at).save(force_insert=True)
address = "2001:db8:1234:5678:9abc:def0:1234:5678"
AttemptCounter.objects.start_attempt(guess_limits.sources_of_stranger(user.username, address))
"""


@pytest.mark.parametrize("locale", ["en-GB", "de-DE"])
def test_lists_show_all_their_columns_at_1280_pixels(new_page, site, photograph, locale):
    staff_page = sign_in_staff(new_page(locale=locale), site)
    site.shell(ROWS.replace('"s" * 150', f'"{locale}" + "s" * 145').replace('"s" * 60', f'"{locale}" + "s" * 55'))
    for each in LISTS:
        staff_page.goto(f"/admin/{each}/")
        if locale == "en-GB":
            photograph(staff_page, f"admin-list-{each.replace('/', '-')}")
        hidden = staff_page.locator("#changelist .results").evaluate("each => each.scrollWidth - each.clientWidth")
        assert hidden <= 0, f"{hidden} pixels of the list of {each} are out of sight"
        expect(staff_page.locator("#result_list tbody tr").first).to_be_visible()


def test_a_list_is_filtered_above_its_rows(staff_page, site, ann):
    site.start_client(ann)
    staff_page.goto(f"/admin/accounts/signin/?q={ann.username}")
    filters, rows = staff_page.get_by_role("search").bounding_box(), staff_page.locator("#result_list").bounding_box()
    assert filters["y"] + filters["height"] <= rows["y"]
    staff_page.get_by_label("Kind").select_option(label="Browser")
    staff_page.get_by_role("button", name="Apply").click()
    expect(staff_page).to_have_url(re.compile(r"/admin/accounts/signin/\?q=[\w-]+&kind=browser$"))
    expect(staff_page.get_by_text("0 sign-ins")).to_be_visible()
    staff_page.get_by_role("link", name="Clear").click()
    expect(staff_page).to_have_url(re.compile(r"/admin/accounts/signin/$"))


def test_the_sign_ins_of_a_user_are_visible_without_scrolling(staff_page, site, ann):
    site.start_client(ann)
    staff_page.set_viewport_size({"width": WIDE, "height": 800})
    staff_page.goto(f"/admin/accounts/user/?q={ann.username}")
    staff_page.get_by_role("link", name=ann.username, exact=True).click()
    row = staff_page.locator(".panel tbody tr").first
    box = row.bounding_box()
    assert box["y"] + box["height"] < 800
    expect(staff_page.get_by_role("button", name="Deactivate account")).to_be_visible()
    expect(staff_page.get_by_role("button", name="Reactivate account")).to_have_count(0)
    expect(staff_page.get_by_role("button", name="Unlock account")).to_have_count(0)
