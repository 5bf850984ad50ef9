"""The JavaScript of api/README.md that signs in by passkey, run unchanged on a page of the site."""

import re

import pytest

from tests import servers
from tests.e2e.site import sign_in
from tests.e2e.test_passkeys import NO_AUTOFILL, VirtualAuthenticator, add_passkey, sign_out

pytestmark = [pytest.mark.once, pytest.mark.long]

SECTION = (servers.ROOT / "api" / "README.md").read_text().partition("### Second step\n")[2].partition("\n### ")[0]
[CODE] = re.findall(r"^```js\n(.*?)^```", SECTION, re.DOTALL | re.MULTILINE)


def test_the_passkey_of_the_document_gets_tokens(new_page, site, ann):
    page = new_page(base_url=site.url.replace("127.0.0.1", "localhost"))
    VirtualAuthenticator(page)
    page.add_init_script(NO_AUTOFILL)
    sign_in(page, ann)
    add_passkey(page)
    page.goto("/")
    sign_out(page)
    tokens = page.evaluate(f"async () => {{ {CODE}; return await signInByPasskey() }}")
    assert {"access", "refresh"} <= tokens.keys()
