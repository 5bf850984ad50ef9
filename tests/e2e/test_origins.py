"""What pages of five origins can read and do at the API, with a cookie, a token, or both, in a real browser."""

import re
from typing import NamedTuple

import pytest

from tests import servers
from tests.e2e import places
from tests.e2e.test_cross_origin import ASK

# How a browser renders pages does not depend on the stores.
pytestmark = [pytest.mark.once, pytest.mark.long]

SIGN_IN = """async person => (await fetch('/api/session/', {
    method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify(person),
})).status"""
# The second one is sent without a preflight request if it has no header of the page, as a form is.
CALLS = {
    "safe": ("/api/me/", {}),
    "unsafe": ("/api/sign-ins/end-others/", {"method": "POST"}),
    "preflighted": (
        "/api/me/",
        {"method": "PATCH", "headers": {"Content-Type": "application/json"}, "body": '{"first_name": "Ada"}'},
    ),
}
OK, BLOCKED = 200, "blocked"


class Cell(NamedTuple):
    # What the page sees of each call, and whose data it changes.
    safe: int | str
    unsafe: int | str
    preflighted: int | str
    acts_as: str | None


MAY_ALL = Cell(OK, OK, OK, "ann"), Cell(OK, OK, OK, "bob"), Cell(OK, OK, OK, "bob")
MAY_NOTHING = (Cell(BLOCKED, BLOCKED, BLOCKED, None),) * 3
# Ann has the cookie, and Bob the token.
MATRIX = {
    places.HOST: MAY_ALL,
    places.APP: MAY_ALL,
    places.SIBLING: MAY_NOTHING,
    # With a token, without cookies.
    places.LISTED_SITE: (
        Cell(BLOCKED, BLOCKED, BLOCKED, None),
        Cell(OK, OK, OK, "bob"),
        Cell(BLOCKED, BLOCKED, BLOCKED, None),
    ),
    places.OTHER_SITE: MAY_NOTHING,
}
CREDENTIALS = ("cookie", "token", "both")


@pytest.fixture
def tab(chromium, shop):
    context = chromium.new_context(base_url=shop.origin, ignore_https_errors=True)
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("credentials", CREDENTIALS)
@pytest.mark.parametrize("host", MATRIX)
def test_a_page_reads_and_does_what_its_origin_may(tab, shop, host, credentials):
    people = {"ann": shop.sign_up("ann"), "bob": shop.sign_up("bob")}
    tab.goto("/health/live")
    assert tab.evaluate(SIGN_IN, {"username": people["ann"].username, "password": people["ann"].password}) == 200
    bearer = shop.start_client(people["bob"])["access"]
    # The other sign-ins of each, which the unsafe call ends.
    others = {name: shop.start_client(person)["access"] for name, person in people.items()}

    tab.goto("/health/live" if host == places.HOST else shop.origin_of(host))
    seen = []
    for path, options in CALLS.values():
        headers = options.get("headers", {}) | (
            {"Authorization": f"Bearer {bearer}"} if credentials != "cookie" else {}
        )
        cookies = "omit" if credentials == "token" else "include"
        answer = tab.evaluate(ASK, [shop.origin + path, options | {"headers": headers, "credentials": cookies}])
        seen.append(answer.get("status", BLOCKED))

    acted = [name for name, access in others.items() if shop.me(access).status_code == 401]
    renamed = [
        name for name, person in people.items() if shop.me(shop.start_client(person)["access"]).json()["first_name"]
    ]
    expected = MATRIX[host][CREDENTIALS.index(credentials)]
    assert acted == renamed
    assert Cell(*seen, next(iter(acted), None)) == expected


def test_a_cookie_that_a_sibling_sends_is_refused_and_logged(tab, shop):
    ann = shop.sign_up("ann")
    tab.goto("/health/live")
    tab.evaluate(SIGN_IN, {"username": ann.username, "password": ann.password})
    tab.goto(shop.origin_of(places.SIBLING))
    before = len(shop.log)
    tab.evaluate(ASK, [f"{shop.origin}/api/sign-ins/end-others/", {"method": "POST", "credentials": "include"}])
    # Logged only for a request with the cookie: by a line, or in the sum of a minute in which other tests had many.
    line = re.compile(
        r"Refused a form \(cross-site request: Sec-Fetch-Site 'same-site'|Refused [1-9]\d* more requests .*csrf"
    )
    servers.wait_until(lambda: line.search(shop.log[before:]), seconds=75)


@pytest.mark.parametrize("host", [places.SIBLING, places.LISTED_SITE, places.OTHER_SITE])
def test_a_page_elsewhere_signs_nobody_in_with_a_cookie(tab, shop, host):
    ann = shop.sign_up("ann")
    tab.goto(shop.origin_of(host))
    body = f'{{"username": "{ann.username}", "password": "{ann.password}"}}'
    for headers in ({"Content-Type": "application/json"}, {"Content-Type": "text/plain"}):
        options = {"method": "POST", "credentials": "include", "headers": headers, "body": body}
        assert tab.evaluate(ASK, [f"{shop.origin}/api/session/", options]) == {"refused": "TypeError"}
    assert [each for each in tab.context.cookies() if "sessionid" in each["name"]] == []
