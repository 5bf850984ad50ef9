"""Swagger UI at /api/docs/, from our own files and under our own policy."""

import pytest
from playwright.sync_api import expect

# What a browser makes of the pages has nothing to do with the stores; test_foundation is on both.
pytestmark = pytest.mark.once


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
