"""The client for browser apps in a real browser: what clients of other projects do wrong. test_client_faults.py checks
that each test fails with its fault."""

import pytest

from tests.e2e.client_lab import ME, REFRESH, Lab, html_answer, json_answer

# How a browser runs the client does not depend on the stores.
pytestmark = pytest.mark.once


@pytest.fixture
def lab(chromium, site):
    lab = Lab(chromium, site)
    yield lab
    lab.close()


def continue_all(routes):
    while routes:
        routes.pop().continue_()


# 1 and 2: one refresh


def test_two_tabs_refresh_once_and_both_go_on(lab):
    first = lab.signed_in_tab()
    second = lab.tab()
    assert second.me().get("status") == 200
    first.revoke_access()
    with lab.held(REFRESH) as refreshes:
        calls = [first.begin_me(), second.begin_me()]
        lab.wait_for(lambda: refreshes)
        lab.pass_time(400)
        continue_all(refreshes)
    assert [call().get("status") for call in calls] == [200, 200]
    assert len(lab.requests(REFRESH)) == 1


@pytest.mark.long
def test_several_401_cause_one_refresh_and_each_call_is_repeated(lab):
    tab = lab.signed_in_tab()
    tab.revoke_access()
    five = "() => Promise.all([1, 2, 3, 4, 5].map(async () => (await client.fetch('/api/me/')).status))"
    with lab.held(REFRESH) as refreshes:
        call = tab.begin(five)
        lab.wait_for(lambda: refreshes and lab.responses(ME) == 5)
        lab.pass_time(200)
        continue_all(refreshes)
    assert call() == {"value": [200] * 5}
    assert len(lab.requests(REFRESH)) == 1
    assert len(lab.requests(ME)) == 10


# 3: no loop


@pytest.mark.long
def test_a_401_that_a_refresh_does_not_cure_causes_no_loop(lab):
    tab = lab.signed_in_tab()
    lab.answer(ME, **json_answer(401, {"detail": "", "code": "token_not_valid"}))
    assert [tab.me().get("status") for _each in range(3)] == [401] * 3
    assert len(lab.requests(REFRESH)) == 1
    assert len(lab.requests(ME)) == 4


# 4: no lock outlives its tab


@pytest.mark.long
def test_a_tab_that_is_closed_in_a_refresh_leaves_no_lock(lab):
    closed, other = lab.signed_in_tab(), lab.tab()
    closed.revoke_access()
    with lab.held(REFRESH) as refreshes:
        closed.begin_me()
        lab.wait_for(lambda: refreshes)
        call = other.begin_me()
        closed.page.close()
        lab.wait_for(lambda: len(refreshes) == 2)
        refreshes[1].continue_()
        assert call().get("status") == 200


@pytest.mark.long
def test_a_tab_that_hangs_in_a_refresh_loses_its_lock(lab):
    hung, other = lab.signed_in_tab(), lab.tab()
    hung.revoke_access()
    with lab.held(REFRESH) as refreshes:
        hung.begin_me()
        lab.wait_for(lambda: refreshes)
        call = other.begin_me()
        lab.wait_for(lambda: len(refreshes) == 2)
        refreshes[1].continue_()
        assert call().get("status") == 200
        assert len(refreshes) == 2


# 5, 10 and 11: an error is no sign-out


ERRORS = {
    "429": (json_answer(429, {"detail": "", "code": "throttled"}), {"code": "throttled", "status": 429}),
    "500": (html_answer(500), {"code": "bad_answer", "status": 500}),
    "502": (html_answer(502), {"code": "bad_answer", "status": 502}),
    "503": (json_answer(503, {"detail": "", "code": "unavailable"}), {"code": "unavailable", "status": 503}),
}
BAD_ANSWERS = {
    "html": html_answer(200),
    "html 401": html_answer(401),
    "no token": json_answer(200, {}),
    "no refresh token": json_answer(200, {"access": "a.e30.c", "expires_in": 300}),
    "null": json_answer(200, None),
}


def assert_still_signed_in(lab, tab):
    """The next call refreshes, now that refreshes reach the site again, and no tab was signed out."""
    lab.let_through(REFRESH)
    assert tab.me().get("status") == 200
    assert tab.changes() == ["signed_in"]


@pytest.mark.long
@pytest.mark.parametrize("error", ERRORS)
def test_an_error_of_the_server_does_not_sign_out(lab, error):
    answer, expected = ERRORS[error]
    tab = lab.signed_in_tab()
    tab.revoke_access()
    lab.answer(REFRESH, **answer)
    assert tab.me() == {**expected, "retryAfter": 0}
    assert_still_signed_in(lab, tab)


@pytest.mark.long
def test_offline_is_not_signed_out(lab):
    tab = lab.signed_in_tab()
    tab.revoke_access()
    lab.context.route(lab.site.url + REFRESH, lambda route: route.abort("internetdisconnected"))
    assert tab.me().get("code") == "offline"
    lab.context.set_offline(True)
    assert tab.me().get("code") == "offline"
    lab.context.set_offline(False)
    assert_still_signed_in(lab, tab)


@pytest.mark.long
def test_retry_after_is_kept(lab):
    tab = lab.signed_in_tab()
    tab.revoke_access()
    lab.answer(REFRESH, **json_answer(429, {"detail": "", "code": "throttled"}, **{"Retry-After": "2"}))
    assert [tab.me() for _each in range(3)] == [{"code": "throttled", "status": 429, "retryAfter": 2}] * 3
    assert len(lab.requests(REFRESH)) == 1
    lab.let_through(REFRESH)
    lab.pass_time(2100)
    assert tab.me().get("status") == 200


@pytest.mark.long
@pytest.mark.parametrize("answer", BAD_ANSWERS)
def test_a_bad_answer_to_a_refresh_does_not_sign_out(lab, answer):
    tab = lab.signed_in_tab()
    tab.revoke_access()
    lab.answer(REFRESH, **BAD_ANSWERS[answer])
    assert tab.me().get("code") == "bad_answer"
    assert_still_signed_in(lab, tab)


# 6: the clock


SHIFT_CLOCK = "hours => { const now = Date.now; Date.now = () => now() + hours * 3600_000 }"
SHIFT_MONOTONIC_CLOCK = "ms => { const now = performance.now.bind(performance); performance.now = () => now() + ms }"


@pytest.mark.long
@pytest.mark.parametrize("hours", [24 * 365, -24 * 365])
def test_a_wrong_clock_changes_nothing(lab, hours):
    tab = lab.tab()
    tab.page.evaluate(SHIFT_CLOCK, hours)
    tab.sign_in(lab.ann())
    tab.page.evaluate(SHIFT_CLOCK, -hours)
    assert tab.me().get("status") == 200
    tab.page.evaluate(SHIFT_CLOCK, hours)
    assert tab.me().get("status") == 200
    assert lab.requests(REFRESH) == []
    tab.page.evaluate(SHIFT_CLOCK, -hours)
    # A token of five minutes is due.
    tab.page.evaluate(SHIFT_MONOTONIC_CLOCK, 290_000)
    assert tab.me().get("status") == 200
    assert (len(lab.requests(REFRESH)), len(lab.requests(ME))) == (1, 3)


@pytest.mark.long
def test_a_token_that_expired_while_the_computer_slept_is_renewed(lab):
    tab = lab.signed_in_tab()
    tab.page.evaluate("() => { const now = performance.now(); performance.now = () => now }")
    tab.revoke_access()
    assert tab.me().get("status") == 200


# 7: a late refresh


@pytest.mark.long
def test_a_late_refresh_does_not_undo_a_sign_out(lab):
    tab, other = lab.signed_in_tab(), lab.tab()
    tab.revoke_access()
    with lab.held(REFRESH) as refreshes:
        call = tab.begin_me()
        lab.wait_for(lambda: refreshes)
        # Answered before the sign-out: the server has rotated the token.
        answers = [each.fetch() for each in refreshes]
        assert other.run("() => client.signOut()") == {"value": None}
        for route, answer in zip(refreshes, answers, strict=True):
            route.fulfill(response=answer)
        assert call().get("code") == "signed_out"
    assert [each.username() for each in (tab, other)] == [None, None]
    assert lab.tab().username() is None
    assert tab.changes() == ["signed_in", "signed_out"]


@pytest.mark.long
def test_a_late_refresh_does_not_replace_a_newer_sign_in(lab):
    tab, other, bob = lab.signed_in_tab(), lab.tab(), lab.bob()
    tab.revoke_access()
    with lab.held(REFRESH) as refreshes:
        call = tab.begin_me()
        lab.wait_for(lambda: refreshes)
        other.sign_in(bob)
        continue_all(refreshes)
        assert call().get("code") == "user_changed"
    assert [each.username() for each in (tab, other, lab.tab())] == [bob.username] * 3


@pytest.mark.long
def test_a_late_refusal_of_a_refresh_does_not_end_a_newer_sign_in(lab):
    tab, other, bob = lab.signed_in_tab(), lab.tab(), lab.bob()
    tab.revoke_access()
    with lab.held(REFRESH) as refreshes:
        call = tab.begin_me()
        lab.wait_for(lambda: refreshes)
        other.sign_in(bob)
        refused = json_answer(401, {"detail": "", "code": "token_not_valid"})
        [each.fulfill(**refused) for each in refreshes]
        assert call().get("code") == "user_changed"
    assert [each.username() for each in (tab, other)] == [bob.username] * 2


# 8: a repeated request


BODIES = {
    "text": "() => JSON.stringify({first_name: 'Ada'})",
    "blob": "() => new Blob([JSON.stringify({first_name: 'Ada'})])",
    "bytes": "() => new TextEncoder().encode(JSON.stringify({first_name: 'Ada'}))",
}
PATCH = """body => client.fetch('/api/me/', {
    method: 'PATCH', headers: {'Content-Type': 'application/json'}, body: eval(body)(),
})"""


@pytest.mark.long
@pytest.mark.parametrize("body", BODIES)
def test_a_repeated_request_keeps_its_body(lab, body):
    tab = lab.signed_in_tab()
    tab.revoke_access()
    outcome = tab.run(PATCH, BODIES[body])
    assert (outcome.get("status"), outcome.get("body", {}).get("first_name")) == (200, "Ada")
    assert len(lab.requests(ME)) == 2


@pytest.mark.long
def test_a_stream_as_body_is_refused_before_it_is_sent(lab):
    tab = lab.signed_in_tab()
    assert tab.run(PATCH, "() => new Blob(['{}']).stream()").get("code") == "stream_body"
    assert lab.requests(ME) == []


@pytest.mark.long
def test_a_repeated_request_is_not_sent_as_another_user(lab):
    tab, other, bob = lab.signed_in_tab(), lab.tab(), lab.bob()
    tab.revoke_access()
    with lab.held(ME) as calls:
        call = tab.begin(PATCH, BODIES["text"])
        lab.wait_for(lambda: calls)
        other.sign_in(bob)
        continue_all(calls)
        assert call().get("code") == "user_changed"
    assert other.me()["body"]["first_name"] == ""


@pytest.mark.long
def test_a_first_request_is_not_sent_as_another_user(lab):
    tab, other, bob = lab.signed_in_tab(), lab.tab(), lab.bob()
    # As if the message to the other tab were late.
    tab.page.evaluate("() => { BroadcastChannel.prototype.dispatchEvent = () => true }")
    other.page.evaluate("() => { BroadcastChannel.prototype.postMessage = () => {} }")
    other.sign_in(bob)
    assert tab.run(PATCH, BODIES["text"]).get("code") == "user_changed"
    assert other.me()["body"]["first_name"] == ""
    assert tab.changes() == ["signed_in", "signed_in"]


# 9: other tabs


@pytest.mark.long
def test_other_tabs_learn_of_sign_in_and_sign_out(lab):
    tab, other = lab.tab(), lab.tab()
    tab.sign_in(lab.ann())
    lab.wait_for(lambda: other.changes() == ["signed_in"])
    assert tab.run("() => client.signOut()") == {"value": None}
    lab.wait_for(lambda: other.changes() == ["signed_in", "signed_out"])
    assert tab.changes() == other.changes()


@pytest.mark.long
def test_other_tabs_learn_of_a_refused_refresh(lab):
    tab, other = lab.signed_in_tab(), lab.tab()
    assert other.me().get("status") == 200
    tab.revoke_access()
    lab.answer(REFRESH, **json_answer(401, {"detail": "", "code": "token_not_valid"}))
    assert tab.me().get("code") == "signed_out"
    lab.wait_for(lambda: other.changes() == ["signed_in", "signed_out"])
    assert other.me().get("code") == "signed_out"


# Bound tokens

# DOMException.INVALID_ACCESS_ERR
INVALID_ACCESS = 15


@pytest.mark.long
def test_a_bound_client_signs_in_calls_and_refreshes(lab):
    tab = lab.signed_in_tab(dpop=True)
    assert tab.me().get("status") == 200
    tab.revoke_access()
    assert tab.me().get("status") == 200
    assert all(each.headers["authorization"].startswith("DPoP ") for each in lab.requests(ME))
    assert lab.tab(dpop=True).me().get("status") == 200
    assert tab.run("() => client.signOut()") == {"value": None}
    assert tab.username() is None


@pytest.mark.long
def test_the_stored_key_cannot_be_exported(lab):
    tab = lab.signed_in_tab(dpop=True)
    read = """() => new Promise(resolve => {
        const opening = indexedDB.open('wristband')
        opening.onsuccess = () => {
            const clients = opening.result.transaction('clients').objectStore('clients').getAll()
            clients.onsuccess = () => resolve(clients.result[0])
        }
    })"""
    export = f"async () => crypto.subtle.exportKey('jwk', (await ({read})()).keys.%s)"
    assert "value" in tab.run(export % "publicKey")
    assert tab.run(export % "privateKey").get("code") == INVALID_ACCESS


@pytest.mark.long
def test_with_a_wrong_clock_a_proof_has_a_nonce_of_the_server(lab):
    tab = lab.tab(dpop=True)
    tab.page.evaluate(SHIFT_CLOCK, 24 * 365)
    tab.sign_in(lab.ann())
    assert tab.me().get("status") == 200
    assert len(lab.requests(ME)) == 1


@pytest.mark.long
def test_tokens_in_memory_are_not_stored_nor_shared(lab):
    tab = lab.signed_in_tab(storage="memory")
    assert tab.me().get("status") == 200
    assert lab.tab(storage="memory").username() is None
    assert tab.run("async () => (await indexedDB.databases()).length")["value"] == 0


@pytest.mark.long
def test_an_error_in_a_listener_does_not_stop_the_client(lab):
    tab = lab.tab()
    tab.page.evaluate("() => { client.onChange(() => { throw new Error('of the app') }) }")
    tab.sign_in(lab.ann())
    assert tab.me()["status"] == 200
    assert tab.changes() == ["signed_in"]
