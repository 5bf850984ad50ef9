"""Sessions that Chromium binds to its key by itself (DBSC): over terms, restarts, two nodes, and outages."""

import re

import pytest
from playwright.sync_api import expect

from tests.e2e import bound_site
from tests.e2e.bound_site import Profile

pytestmark = [pytest.mark.once, pytest.mark.long]

SIGN_INS, SENSITIVE = "/accounts/sign-ins/", "/accounts/email/"
# A page of another site with a link.
ELSEWHERE = "https://elsewhere.test/"


@pytest.fixture(scope="module")
def bound(tmp_path_factory):
    with bound_site.running(tmp_path_factory.mktemp("bound")) as site:
        yield site


@pytest.fixture
def open_profile(chromium, bound, tmp_path):
    profiles = []

    def open_profile(name="profile"):
        profiles.append(Profile(chromium, bound, tmp_path / name))
        return profiles[-1]

    yield open_profile
    for profile in profiles:
        profile.close()


@pytest.fixture
def anns(open_profile, bound):
    """Ann's browser, whose session is bound."""
    profile = open_profile()
    profile.sign_in(bound.sign_up())
    return profile


def heading(page):
    return page.get_by_role("main").get_by_role("heading", level=1)


def sees(profile, path=SIGN_INS, title="Sign-ins"):
    profile.page.goto(path)
    expect(heading(profile.page)).to_have_text(title)
    return True


def test_the_browser_proves_its_key_in_each_term(anns):
    assert anns.registrations == 1
    assert sees(anns)
    expect(anns.page.get_by_role("main")).to_contain_text("bound to this device")
    for _term in range(2):
        proofs = anns.refreshes
        anns.pass_term()
        assert sees(anns)
        assert anns.refreshes > proofs


@pytest.mark.named
def test_five_requests_at_once_wait_for_one_proof(anns):
    sees(anns)
    proofs = anns.refreshes
    anns.drop_bound_cookie()
    script = "Promise.all([1, 2, 3, 4, 5].map(async () => (await fetch('/api/session/')).status))"
    assert anns.page.evaluate(script) == [200] * 5
    assert anns.refreshes == proofs + 1


@pytest.mark.named
def test_a_binding_outlasts_restarts_of_servers_and_browser(anns, bound, open_profile):
    anns.close()
    bound.restart()
    anns.start()
    anns.events.clear()
    anns.drop_bound_cookie()
    assert sees(anns)
    assert anns.refreshes == 1


@pytest.mark.named
def test_both_nodes_accept_the_proof(anns, bound):
    for _node in bound.nodes:
        anns.drop_bound_cookie()
        bound.turns.cut()
        assert sees(anns)
        bound.turns.cut()
        assert sees(anns)


def test_a_binding_outlasts_an_outage_of_the_database(anns, bound):
    sees(anns)
    anns.drop_bound_cookie()
    bound.postgres.pause()
    try:
        anns.page.goto(SIGN_INS)
        anns.wait(lambda: any(not each["succeeded"] for each in anns.events))
    finally:
        bound.postgres.resume()
    # Several times: both nodes must reach the database again.
    anns.wait(lambda: all(anns.page.goto(SIGN_INS).ok for _attempt in range(4)), seconds=20)
    expect(heading(anns.page)).to_have_text("Sign-ins")


@pytest.mark.named
def test_what_matters_is_proved_on_the_way(anns):
    sees(anns)
    proofs = anns.refreshes
    assert sees(anns, SENSITIVE, "Change your e-mail address")
    assert anns.refreshes == proofs + 1
    main = anns.page.get_by_role("main")
    main.get_by_label(re.compile("New")).fill("other@example.org")
    main.get_by_role("button").first.click()
    expect(main).to_contain_text("other@example.org")


@pytest.mark.named
def test_a_link_of_another_site_finds_the_user_signed_in(anns, bound):
    sees(anns)
    anns.page.route(
        ELSEWHERE, lambda route: route.fulfill(content_type="text/html", body=f"<a href='{bound.url}{SIGN_INS}'>Go</a>")
    )
    anns.page.goto(ELSEWHERE)
    anns.drop_bound_cookie()
    anns.page.get_by_role("link").click()
    expect(heading(anns.page)).to_have_text("Sign-ins")


def test_a_thief_with_all_cookies_gets_nothing_that_matters(anns, bound, open_profile):
    thief = open_profile("thief")
    anns.page.wait_for_timeout(1000 * bound_site.TERM_SECONDS)
    sees(anns)
    thief.context.add_cookies(anns.context.cookies())
    thief.page.goto(SENSITIVE)
    expect(heading(thief.page)).to_have_text("Confirm your password")
    thief.page.goto(SIGN_INS)
    expect(heading(thief.page)).to_have_text("Confirm your password")
    assert sees(anns)
    anns.page.goto("/accounts/activity/")
    expect(anns.page.get_by_role("main")).to_contain_text("could not prove")
