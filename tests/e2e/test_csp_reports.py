"""A browser reports a violation of the Content Security Policy."""

import pytest

pytestmark = [pytest.mark.once, pytest.mark.long]

INLINE_SCRIPT = """
const script = document.createElement("script");
script.textContent = "document.title = 'run'";
document.body.append(script);
"""


def test_a_browser_reports_an_inline_script_that_it_blocked(page, page_errors):
    page_errors.expect("Content Security Policy")
    page.goto("/accounts/login/")
    with page.expect_response("**/csp-report/") as reported:
        page.evaluate(INLINE_SCRIPT)
    assert reported.value.status == 204
    assert page.title() != "run"
