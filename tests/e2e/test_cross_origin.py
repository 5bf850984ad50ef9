"""Pages of other origins in a real browser. Ports of one host are one site, so SameSite sends them cookies."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests import databases, servers
from tests.e2e.site import Site, sign_in

# How a browser renders pages does not depend on the stores; test_harness runs on both.
pytestmark = [pytest.mark.once, pytest.mark.long]

ASK = """async ([url, options]) => {
    try {
        const answer = await fetch(url, options)
        return {status: answer.status, challenge: answer.headers.get("WWW-Authenticate"), body: await answer.text()}
    } catch (error) {
        return {refused: error.name}
    }
}"""
REFUSED = {"refused": "TypeError"}


class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>Elsewhere</title><link rel=icon href=data:,>")

    def log_message(self, *words):
        pass


@contextmanager
def another_origin():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def allowed_origin():
    with another_origin() as origin:
        yield origin


@pytest.fixture(scope="module")
def other_origin():
    with another_origin() as origin:
        yield origin


@pytest.fixture(scope="module")
def open_site(allowed_origin, tmp_path_factory):
    """A site whose API allows one other origin."""
    folder = tmp_path_factory.mktemp("open")
    env = {"DATABASE_URL": databases.migrated(folder, "open"), "DEBUG": "true", "CORS_ALLOWED_ORIGINS": allowed_origin}
    with servers.node(env, workers=2, args=["--threads=4"]) as node:
        yield Site(node.url, env, folder)


@pytest.fixture
def tab(chromium, open_site):
    context = chromium.new_context(base_url=open_site.url, locale="en-GB")
    yield context.new_page()
    context.close()


def bearer(open_site):
    person = open_site.sign_up()
    return person, {"headers": {"Authorization": f"Bearer {open_site.start_client(person)['access']}"}}


def test_a_page_of_an_allowed_origin_signs_in_and_calls_the_api(tab, open_site, allowed_origin):
    person = open_site.sign_up()
    tab.goto(allowed_origin)
    script = """async ([site, username, password]) => {
        const json = {"Content-Type": "application/json"}
        const body = JSON.stringify({username, password})
        const tokens = await (await fetch(site + "/api/token/", {method: "POST", headers: json, body})).json()
        const headers = {Authorization: "Bearer " + tokens.access, ...json}
        const name = JSON.stringify({first_name: "Ann"})
        return (await fetch(site + "/api/me/", {method: "PATCH", headers, body: name})).json()
    }"""
    me = tab.evaluate(script, [open_site.url, person.username, person.password])
    assert (me["username"], me["first_name"]) == (person.username, "Ann")


def test_a_page_of_an_allowed_origin_reads_a_refusal(tab, open_site, allowed_origin):
    tab.goto(allowed_origin)
    seen = tab.evaluate(ASK, [f"{open_site.url}/api/me/", {}])
    assert (seen["status"], seen["challenge"]) == (401, 'Bearer realm="api"')


def test_a_page_of_another_origin_reads_nothing_with_a_token(tab, open_site, other_origin):
    _person, with_token = bearer(open_site)
    tab.goto(other_origin)
    assert tab.evaluate(ASK, [f"{open_site.url}/api/me/", with_token]) == REFUSED
    assert tab.evaluate(ASK, [f"{open_site.url}/api/me/", {}]) == REFUSED


def test_no_other_page_gets_data_with_the_session_cookie(tab, open_site, allowed_origin, other_origin):
    sign_in(tab, open_site.sign_up())
    url = f"{open_site.url}/api/me/"
    assert tab.evaluate(ASK, [url, {}])["status"] == 200
    for origin in (allowed_origin, other_origin):
        tab.goto(origin)
        assert tab.evaluate(ASK, [url, {"credentials": "include"}]) == REFUSED
        # Where the browser may show the response, it sends the cookie; the server ignores the cookie.
        with tab.expect_navigation() as followed:
            tab.evaluate("url => { location.href = url }", url)
        assert "sessionid" in followed.value.request.all_headers()["cookie"]
        assert followed.value.status == 401


def test_no_other_page_submits_our_forms_even_with_csrf_token(tab, open_site, other_origin):
    sign_in(tab, open_site.sign_up())
    tab.goto("/accounts/profile/")
    # As if the token had leaked.
    token = tab.locator("main [name=csrfmiddlewaretoken]").first.get_attribute("value")
    tab.goto(other_origin)
    with tab.expect_navigation() as sent:
        tab.evaluate(
            """([action, token]) => {
                const form = Object.assign(document.createElement("form"), {method: "post", action})
                for (const [name, value] of [["csrfmiddlewaretoken", token], ["first_name", "Mallory"]])
                    form.append(Object.assign(document.createElement("input"), {name, value}))
                document.body.append(form)
                form.submit()
            }""",
            [f"{open_site.url}/accounts/profile/", token],
        )
    headers = sent.value.request.all_headers()
    assert "sessionid" in headers["cookie"]
    assert headers["sec-fetch-site"] in {"same-site", "cross-site"}
    assert sent.value.status == 403
    tab.goto(f"{open_site.url}/accounts/profile/")
    assert tab.locator("[name=first_name]").input_value() == ""
