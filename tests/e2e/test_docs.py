"""Swagger UI at /api/docs/, served from the project's files and under its policy."""

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import assert_accessible

# How a browser renders pages does not depend on the stores; test_harness runs on both.
pytestmark = [pytest.mark.once, pytest.mark.long]


def test_the_docs_call_the_api_with_a_token_under_the_strict_policy(page, site, ann):
    hosts = set()
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]) if "//" in request.url else None)
    answer = page.goto("/api/docs/")
    assert "script-src" not in answer.headers["content-security-policy"], "no more than default-src 'self'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    expect(page.get_by_role("heading", name="Wristband & Passport")).to_be_visible()

    page.get_by_role("button", name="Authorize").first.click()
    dialog = page.locator(".auth-container", has_text="accessToken")
    dialog.locator("input").fill(site.start_client(ann)["access"])
    dialog.get_by_role("button", name="Apply credentials").click()
    page.locator(".modal-ux").get_by_role("button", name="Close").last.click()

    me = page.locator("#operations-me-me")
    me.locator(".opblock-summary-control").click()
    me.get_by_role("button", name="Try it out").click()
    me.get_by_role("button", name="Execute").click()
    expect(me.locator(".live-responses-table")).to_contain_text(ann.email)
    assert hosts == {site.url.split("/")[2]}


@pytest.fixture
def docs(page):
    page.goto("/api/docs/")
    expect(page.locator(".opblock").last).to_be_visible()
    return page


def test_axe_finds_nothing_in_the_docs(docs, album):
    docs.screenshot(path=album / "docs.png", full_page=True)
    assert_accessible(docs)


# The most complex operation of each kind of method. All at once take axe some minutes.
@pytest.mark.timeout(200)
def test_axe_finds_nothing_in_expanded_operations(docs, album):
    for operation in ("token-sign_in", "sign-ins-sign_ins", "me-change_me", "factors-remove_factor"):
        docs.locator(f"#operations-{operation} .opblock-summary-control").click()
    docs.wait_for_timeout(500)
    docs.screenshot(path=album / "docs-open.png", full_page=True)
    assert_accessible(docs)


@pytest.mark.parametrize("operation", ["token-sign_in", "sign-ins-end_sign_in", "token-revoke", "me-change_me"])
def test_axe_finds_nothing_after_a_call(docs, operation, page_errors):
    docs.on("response", lambda answer: answer.status == 401 and page_errors.expect("status of 401"))
    block = docs.locator(f"#operations-{operation}")
    block.locator(".opblock-summary-control").click()
    block.get_by_role("button", name="Try it out").click()
    if operation == "sign-ins-end_sign_in":
        block.locator("input").fill("0197a1b2-0000-7000-8000-000000000001")
    assert_accessible(docs)
    block.get_by_role("button", name="Execute").click()
    expect(block.locator(".live-responses-table")).to_be_visible()
    assert_accessible(docs)


def test_the_dialog_offers_only_schemes_that_work_on_this_page(docs):
    docs.get_by_role("button", name="Authorize").first.click()
    dialog = docs.get_by_role("dialog", name="Available authorizations")
    expect(dialog).to_contain_text("accessToken")
    expect(dialog).to_contain_text("session")
    expect(dialog).not_to_contain_text("unsupported")
    expect(dialog).not_to_contain_text("dpop")
    assert_accessible(docs)
    dialog.get_by_role("button", name="Close").last.click()


def test_the_example_of_a_registration_succeeds(docs, site):
    register = docs.locator("#operations-register-register")
    register.locator(".opblock-summary-control").click()
    register.get_by_role("button", name="Try it out").click()
    body = register.locator("textarea")
    name = site.new_person("carol").username
    body.fill(body.input_value().replace("carol", name))
    register.get_by_role("button", name="Execute").click()
    expect(register.locator(".live-responses-table")).to_contain_text("201")
