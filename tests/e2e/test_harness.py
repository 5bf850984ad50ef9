"""The fixtures of the browser tests: errors of pages are recorded, and pages are checked."""

import re

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import PageErrors
from tests.e2e.site import sign_in, sign_out


def test_a_user_signs_in_ends_a_client_and_signs_out(page, site, ann, look_at):
    site.start_client(ann, "curl/8.9.1")
    page.goto("/")
    look_at(page, "home")
    sign_in(page, ann)

    page.goto("/accounts/sign-ins/")
    main = page.get_by_role("main")
    expect(main.get_by_text("this device")).to_have_count(1)
    look_at(page, "sign-ins")
    main.get_by_role("button", name="Sign out: curl").click()
    expect(main.get_by_role("button", name="Sign out: curl")).to_have_count(0)
    expect(main.get_by_role("status")).to_contain_text("curl")

    sign_out(page)
    page.goto("/accounts/sign-ins/")
    expect(page).to_have_url(re.compile("/accounts/login/"))


@pytest.mark.long
def test_mail_that_the_site_sends_is_found(page, site, ann):
    page.goto("/accounts/password_reset/")
    page.get_by_label("E-mail address").fill(ann.email)
    page.get_by_role("main").get_by_role("button").click()
    link = re.search(r"http://\S+/reset/\S+", site.next_mail(ann, "password").get_body(("plain",)).get_content())
    page.goto(link.group())
    expect(page.get_by_role("heading", level=1)).to_have_text("Set a new password")


@pytest.mark.long
@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("console.error('a mishap')", "a mishap"),
        ("console.warn('a warning')", "a warning"),
        ("setTimeout(() => { throw new Error('uncaught') })", "uncaught"),
        ("fetch('/nowhere')", "404"),
        ("fetch('http://elsewhere.example/').catch(() => {})", "elsewhere.example"),
    ],
)
def test_errors_of_a_page_are_recorded(chromium, site, script, message):
    page_errors = PageErrors()
    context = chromium.new_context(base_url=site.url)
    page_errors.listen_to(context)
    page = context.new_page()
    page.goto("/")
    page_errors.check()
    page.evaluate(f"{{ {script} }}")
    page.wait_for_timeout(300)
    context.close()
    with pytest.raises(AssertionError, match=message):
        page_errors.check()


@pytest.mark.long
def test_policy_violations_are_recorded(chromium, site):
    page_errors = PageErrors()
    context = chromium.new_context(base_url=site.url)
    page_errors.listen_to(context)
    page = context.new_page()
    strict = {"content-type": "text/html", "content-security-policy": "default-src 'self'"}
    page.route("**/strict", lambda route: route.fulfill(headers=strict, body="<style>p { color: red }</style>"))
    page.goto("/strict")
    context.close()
    with pytest.raises(AssertionError, match="Content Security Policy"):
        page_errors.check()


@pytest.mark.long
def test_a_missing_expected_error_fails():
    page_errors = PageErrors()
    page_errors.expect("status of 401")
    with pytest.raises(AssertionError, match="401"):
        page_errors.check()


@pytest.mark.long
def test_a_field_without_a_label_is_not_accessible(page, look_at):
    strict = {"content-type": "text/html", "content-security-policy": "default-src 'self'"}
    body = "<!doctype html><html lang=en><title>Field</title><main><h1>Field</h1><input></main>"
    page.route("**/field", lambda route: route.fulfill(headers=strict, body=body))
    page.goto("/field")
    with pytest.raises(AssertionError, match="label"):
        look_at(page, "field")
