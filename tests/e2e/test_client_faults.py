"""Puts a fault into the client, and checks that its test fails by an assertion."""

from typing import NamedTuple

import pytest

from tests.e2e import test_client, test_client_session
from tests.e2e.client_lab import MODULE, Lab
from tests.e2e.test_client_session import SessionLab

pytestmark = [pytest.mark.once, pytest.mark.long, pytest.mark.named]


class Fault(NamedTuple):
    what: str
    # The name in test_client.py or test_client_session.py without `test_`, and the values of its parameters.
    test: str
    # Texts of the client, and what replaces each.
    changes: dict[str, str]
    arguments: tuple[object, ...] = ()


# The number is that of the list in api/README.md.
FAULTS = [
    Fault(
        "1 each tab refreshes",
        "two_tabs_refresh_once_and_both_go_on",
        {"alone(name, work)": "work()"},
    ),
    Fault(
        "1 the second tab refreshes after the first",
        "two_tabs_refresh_once_and_both_go_on",
        {"held && held.access === stale": "held"},
    ),
    Fault(
        "2 each call refreshes",
        "several_401_cause_one_refresh_and_each_call_is_repeated",
        {"running.get(service) ??": "", "held && held.access === stale": "held"},
    ),
    Fault(
        "2 one call is repeated, and the others fail",
        "several_401_cause_one_refresh_and_each_call_is_repeated",
        {"const next = await token(service, first.sid": "if (running.size) return response;\n    $&"},
    ),
    Fault(
        "3 each 401 is answered with a refresh",
        "a_401_that_a_refresh_does_not_cure_causes_no_loop",
        {"incurable.set(request.url, next.access)": ""},
    ),
    Fault(
        "3 a repeated call is repeated",
        "a_401_that_a_refresh_does_not_cure_causes_no_loop",
        {"if (repeated.status === 401) incurable": "if (at++ < 9) return fetchAs(path, init);\n    $&"},
    ),
    Fault(
        "4 a lock in storage, which outlives its tab",
        "a_tab_that_is_closed_in_a_refresh_leaves_no_lock",
        {
            "return new Promise((resolve, reject) => {\n    const lock": """return new Promise((resolve, reject) => {
    const tryLock = () => {
      if (localStorage.getItem(name)) return setTimeout(tryLock, 50);
      localStorage.setItem(name, "locked");
      work().then(resolve, reject).finally(() => localStorage.removeItem(name));
    };
    return tryLock();
    const lock""",
        },
    ),
    Fault(
        "4 no end of the wait for a lock",
        "a_tab_that_hangs_in_a_refresh_loses_its_lock",
        {
            "const LOCK_WAIT_MS = 4000": "const LOCK_WAIT_MS = 60000",
            "const ANSWER_WAIT_MS = 8000": "const ANSWER_WAIT_MS = 60000",
        },
    ),
    *(
        Fault(
            f"5 {error} signs out",
            "an_error_of_the_server_does_not_sign_out",
            {'if (error.status !== 401 || error.code === "bad_answer") throw error;': ""},
            (error,),
        )
        for error in test_client.ERRORS
    ),
    Fault(
        "5 offline signs out",
        "offline_is_not_signed_out",
        {'if (error.status !== 401 || error.code === "bad_answer")': "if (error.status > 401)"},
    ),
    *(
        Fault(
            f"6 the computer's clock, wrong by {hours} hours",
            "a_wrong_clock_changes_nothing",
            {"performance.now()": "Date.now()"},
            (hours,),
        )
        for hours in (24 * 365, -24 * 365)
    ),
    Fault(
        "6 no refresh before the time is over",
        "a_token_that_expired_while_the_computer_slept_is_renewed",
        {"held.access === stale || isDue(held)": "isDue(held)"},
    ),
    Fault(
        "7 a late refresh undoes a sign-out",
        "a_late_refresh_does_not_undo_a_sign_out",
        {"(value?.refresh === refresh ? next : value)": "next"},
    ),
    Fault(
        "7 a late refresh replaces a sign-in",
        "a_late_refresh_does_not_replace_a_newer_sign_in",
        {"(value?.refresh === refresh ? next : value)": "(value ? next : value)"},
    ),
    Fault(
        "7 a late refusal ends a newer sign-in",
        "a_late_refusal_of_a_refresh_does_not_end_a_newer_sign_in",
        {"(value?.sid === ended?.sid ? undefined : value)": "undefined"},
    ),
    *(
        Fault(
            f"8 a call is repeated without its body ({body})",
            "a_repeated_request_keeps_its_body",
            {"await send(request, next)": "await send(new Request(request.url, { method: request.method }), next)"},
            (body,),
        )
        for body in test_client.BODIES
    ),
    Fault(
        "8 a stream is sent, and cannot be sent again",
        "a_stream_as_body_is_refused_before_it_is_sent",
        {'if (init.body?.getReader) throw failure("stream_body");': 'if (init.body?.getReader) init.duplex = "half";'},
    ),
    Fault(
        "8 a call is repeated as another user",
        "a_repeated_request_is_not_sent_as_another_user",
        {"await token(service, first.sid, first.access)": "await token(service, undefined, first.access)"},
    ),
    Fault(
        "8 a call is sent as another user",
        "a_first_request_is_not_sent_as_another_user",
        {"sid = known?.sid, stale": "sid, stale"},
    ),
    Fault(
        "9 other tabs do not learn of a sign-in",
        "other_tabs_learn_of_sign_in_and_sign_out",
        {"channel.postMessage(known && { sid: known.sid })": "undefined"},
    ),
    Fault(
        "9 other tabs do not learn of a refused refresh",
        "other_tabs_learn_of_a_refused_refresh",
        {"channel.postMessage(known && { sid: known.sid })": "undefined"},
    ),
    Fault(
        "10 Retry-After is ignored",
        "retry_after_is_kept",
        {"if (performance.now() < pause.until) throw pause.error;": ""},
    ),
    Fault(
        "11 a page of a proxy with status 401 signs out",
        "a_bad_answer_to_a_refresh_does_not_sign_out",
        {'error.status !== 401 || error.code === "bad_answer"': "error.status !== 401"},
        ("html 401",),
    ),
    *(
        Fault(
            f"11 an answer is stored without a check ({answer})",
            "a_bad_answer_to_a_refresh_does_not_sign_out",
            {
                'throw failure("bad_answer", 200, answer);': "return { ...answer, keys, sid: known.sid };",
                "(body || response.status === 204)) return body;": "true) return body ?? {};",
            },
            (answer,),
        )
        for answer in ("html", "no token", "no refresh token", "null")
    ),
]
IN_SESSION_MODE = [
    Fault(
        "2 each call asks for a token",
        "a_service_gets_one_token_for_several_calls",
        {"running.get(service) ??": ""},
    ),
    Fault(
        "3 each 401 of a service is answered with a new token",
        "a_token_that_a_service_refuses_is_renewed_once",
        {"incurable.set(request.url, next.access)": ""},
    ),
    Fault(
        "5 an error signs out",
        "errors_and_offline_are_not_signed_out",
        {'if (error.status !== 401 || error.code === "bad_answer") throw error;': ""},
    ),
    Fault(
        "5 a replaced session key signs out",
        "a_key_that_another_tab_replaced_is_not_signed_out",
        {"if (!hasToken && (await whoAmI()) && at === generation) return send(request);": ""},
    ),
    Fault(
        "7 a late answer undoes a sign-out",
        "a_late_answer_does_not_undo_a_sign_out",
        {"if (at !== generation) return whoAmI();": ""},
    ),
    Fault(
        "7 a late token undoes a sign-out",
        "a_late_token_does_not_undo_a_sign_out",
        {"else if (at === generation) {": "else {"},
    ),
    Fault(
        "8 a call is sent as another user",
        "a_user_who_signed_in_on_a_page_is_not_mistaken",
        {"sid = known?.sid, stale": "sid, stale"},
    ),
    Fault(
        "9 other tabs do not learn of a sign-in",
        "sign_in_and_sign_out_reach_other_tabs",
        {"channel.postMessage(known && { sid: known.sid })": "undefined"},
    ),
    Fault(
        "a token goes to any origin",
        "a_token_goes_to_no_other_origin_without_an_audience",
        {'if (!isOurs && !service) throw failure("audience_needed");': ""},
    ),
]


def with_fault(source: str, fault: Fault) -> str:
    for old, new in fault.changes.items():
        assert old in source, f"The client has no {old!r}"
        source = source.replace(old, new.replace("$&", old))
    return source


def expect_failure(lab, module, fault):
    lab.module = with_fault(lab.module, fault)
    test = getattr(module, f"test_{fault.test}")
    try:
        with pytest.raises(AssertionError):
            test(lab, *fault.arguments)
    finally:
        lab.close()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.what)
def test_the_test_of_a_fault_fails_with_it(chromium, site, fault):
    expect_failure(Lab(chromium, site), test_client, fault)


@pytest.mark.parametrize("fault", IN_SESSION_MODE, ids=lambda fault: fault.what)
def test_the_test_of_a_fault_in_session_mode_fails_with_it(chromium, site, fault):
    expect_failure(SessionLab(chromium, site), test_client_session, fault)


def test_each_of_the_eleven_faults_is_in_the_table():
    assert {fault.what.split()[0] for fault in FAULTS} == {str(number) for number in range(1, 12)}


def test_each_fault_changes_the_client():
    source = MODULE.read_text()
    assert [fault.what for fault in FAULTS + IN_SESSION_MODE if with_fault(source, fault) == source] == []
