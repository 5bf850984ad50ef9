"""The client for browser apps in session mode, in a real browser: no tokens, except for services."""

import json
from dataclasses import replace

import pytest

from tests.e2e.client_lab import ME, Lab, json_answer
from tests.e2e.site import sign_in
from tests.e2e.test_client import PATCH
from tests.e2e.test_passkeys import NO_AUTOFILL, VirtualAuthenticator, add_passkey

# How a browser runs the client does not depend on the stores.
pytestmark = [pytest.mark.once, pytest.mark.long]

SESSION, MINT = "/api/session/", "/api/session/token/"
SERVICE = "http://reports.service.test/today"
REPORT = f"() => client.fetch('{SERVICE}', {{audience: 'api'}})"
SIGN_OUT = "() => client.signOut()"
DONE = {"value": None}


class SessionLab(Lab):
    def tab(self, **options):
        return super().tab(**{"mode": "session", "dpop": False} | options)

    def hold_get(self, path):
        """Holds GET requests for a path. Returns the list of them."""
        held = []
        self.context.route(
            self.site.url + path,
            lambda route: held.append(route) if route.request.method == "GET" else route.continue_(),
        )
        return held

    def serve_report(self, *statuses):
        """A service that answers with these statuses, and then 200. Returns the requests that it gets."""
        seen, left = [], list(statuses)
        headers = {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "authorization, dpop"}

        def answer(route):
            is_call = route.request.method != "OPTIONS"
            if is_call:
                seen.append(route.request)
            status = left.pop(0) if left and is_call else 200
            route.fulfill(**json_answer(status, {"code": "expired"}, **headers))

        self.context.route(SERVICE, answer)
        return seen


@pytest.fixture
def lab(chromium, site):
    lab = SessionLab(chromium, site)
    yield lab
    lab.close()


def test_the_page_holds_no_token_and_reads_no_cookie(lab):
    tab = lab.tab()
    ann = lab.ann()
    assert tab.username() is None
    tab.sign_in(ann)
    assert tab.username() == ann.username
    assert tab.run(PATCH, "() => JSON.stringify({first_name: 'Ada'})")["body"]["first_name"] == "Ada"
    assert "sessionid" not in tab.page.evaluate("document.cookie")
    assert tab.page.evaluate("async () => (await indexedDB.databases()).length + localStorage.length") == 0
    assert lab.tab().username() == ann.username


def test_sign_in_and_sign_out_reach_other_tabs(lab):
    tab, other = lab.tab(), lab.tab()
    tab.sign_in(lab.ann())
    lab.wait_for(lambda: other.changes() == ["signed_in"])
    assert other.run(SIGN_OUT) == DONE
    lab.wait_for(lambda: tab.changes() == ["signed_in", "signed_out"])
    assert tab.me() == {"code": "signed_out", "status": 401, "retryAfter": 0}


def test_an_ended_sign_in_is_noticed_in_all_tabs(lab):
    tab, other = lab.tab(), lab.tab()
    ann = lab.ann()
    tab.sign_in(ann)
    assert other.username() == ann.username
    lab.site.shell(
        f"from accounts.models import SignIn; SignIn.objects.filter(user__username={ann.username!r}).end('x')"
    )
    assert tab.me().get("code") == "signed_out"
    lab.wait_for(lambda: other.changes() == ["signed_in", "signed_out"])


def test_a_key_that_another_tab_replaced_is_not_signed_out(lab):
    """A call with the old session key is refused, while the browser has the new one."""
    tab = lab.tab()
    tab.sign_in(lab.ann())
    refused = []

    def refuse_once(route):
        is_first = not refused
        refused.append(route.request.post_data)
        if is_first:
            route.fulfill(**json_answer(401, {"detail": "", "code": "not_authenticated"}))
        else:
            route.continue_()

    lab.context.route(lab.site.url + ME, refuse_once)
    answer = tab.run(PATCH, "() => JSON.stringify({first_name: 'Ada'})")
    assert answer.get("status") == 200
    assert answer["body"]["first_name"] == "Ada"
    assert len(refused) == 2
    assert tab.changes() == ["signed_in"]


def test_errors_and_offline_are_not_signed_out(lab):
    tab = lab.tab()
    tab.sign_in(lab.ann())
    lab.answer(SESSION, **json_answer(503, {"detail": "", "code": "unavailable"}))
    assert tab.run("() => client.whoAmI()").get("code") == "unavailable"
    lab.let_through(SESSION)
    lab.context.set_offline(True)
    assert tab.run("() => client.whoAmI()").get("code") == "offline"
    assert tab.run(SIGN_OUT).get("code") == "offline"
    lab.context.set_offline(False)
    assert tab.me().get("status") == 200
    assert tab.changes() == ["signed_in"]


def test_a_late_answer_does_not_undo_a_sign_out(lab):
    tab = lab.tab()
    tab.sign_in(lab.ann())
    held = lab.hold_get(SESSION)
    call = tab.begin("() => client.whoAmI()")
    lab.wait_for(lambda: held)
    answer = held[0].fetch()
    assert tab.run(SIGN_OUT) == DONE
    lab.let_through(SESSION)
    held[0].fulfill(response=answer)
    assert call() == DONE
    assert tab.changes() == ["signed_in", "signed_out"]


def test_a_late_token_does_not_undo_a_sign_out(lab):
    tab = lab.tab()
    tab.sign_in(lab.ann())
    with lab.held(MINT) as held:
        call = tab.begin("() => client.accessToken()")
        lab.wait_for(lambda: held)
        answer = held[0].fetch()
        assert tab.run(SIGN_OUT) == DONE
        held[0].fulfill(response=answer)
        assert call().get("code") == "signed_out"
    assert tab.run("() => client.accessToken()").get("code") == "signed_out"
    assert tab.changes() == ["signed_in", "signed_out"]


def test_a_service_gets_one_token_for_several_calls(lab):
    tab = lab.tab()
    tab.sign_in(lab.ann())
    seen = lab.serve_report()
    five = f"() => Promise.all([1, 2, 3, 4, 5].map(async () => (await ({REPORT})()).status))"
    assert tab.run(five) == {"value": [200] * 5}
    assert len(lab.requests(MINT)) == 1
    assert len({each.headers["authorization"] for each in seen}) == 1
    assert not any("cookie" in each.all_headers() for each in seen)


def test_a_token_that_a_service_refuses_is_renewed_once(lab):
    tab = lab.tab()
    tab.sign_in(lab.ann())
    seen = lab.serve_report(401)
    assert tab.run(REPORT).get("status") == 200
    assert len({each.headers["authorization"] for each in seen}) == 2
    lab.serve_report(*[401] * 9)
    assert [tab.run(REPORT)["status"] for _each in range(3)] == [401] * 3
    assert len(lab.requests(MINT)) == 3
    assert tab.me().get("status") == 200


def test_a_token_for_a_service_is_bound_to_a_key_if_asked_for(lab):
    tab = lab.tab(dpop=True)
    tab.sign_in(lab.ann())
    seen = lab.serve_report()
    assert tab.run(REPORT).get("status") == 200
    assert seen[0].headers["authorization"].startswith("DPoP ")
    assert seen[0].headers["dpop"].count(".") == 2
    access = tab.access()
    assert "cnf" in json.loads(tab.page.evaluate("access => atob(access.split('.')[1])", access))


def test_a_token_goes_to_no_other_origin_without_an_audience(lab):
    tab = lab.tab()
    tab.sign_in(lab.ann())
    seen = lab.serve_report()
    assert tab.run(f"() => client.fetch('{SERVICE}')").get("code") == "audience_needed"
    assert seen == lab.requests(MINT) == []


def test_a_user_who_signed_in_on_a_page_is_not_mistaken(lab):
    tab, bob = lab.tab(), lab.bob()
    tab.sign_in(lab.ann())
    page = lab.context.new_page()
    lab.context.clear_cookies()
    sign_in(page, bob)
    seen = lab.serve_report()
    assert tab.run(REPORT).get("code") == "user_changed"
    assert seen == []
    assert tab.changes() == ["signed_in", "signed_in"]
    assert tab.username() == bob.username


@pytest.fixture
def local_lab(chromium, site):
    """On localhost: an IP address can have no passkeys."""
    lab = SessionLab(chromium, replace(site, url=site.url.replace("127.0.0.1", "localhost")))
    yield lab
    lab.close()


@pytest.mark.parametrize("mode", ["session", "token"])
def test_a_passkey_signs_in_alone_and_as_second_step(local_lab, mode):
    ann = local_lab.ann()
    page = local_lab.context.new_page()
    VirtualAuthenticator(page)
    page.add_init_script(NO_AUTOFILL)
    sign_in(page, ann)
    add_passkey(page)
    local_lab.context.clear_cookies()
    tab = local_lab.tab(mode=mode, dpop=mode == "token", page=page)
    assert tab.run("() => client.signInWithPasskey({remember: true})") == DONE
    assert tab.username() == ann.username
    assert tab.run(SIGN_OUT) == DONE
    assert tab.run("async person => (await client.signIn(person)).methods.includes('passkey')", vars(ann))["value"]
    finish = "async person => (await client.signIn(person)).finish({passkey: true})"
    assert tab.run(finish, vars(ann)) == DONE
    assert tab.username() == ann.username
    assert len(local_lab.requests(ME)) == (2 if mode == "token" else 0)
