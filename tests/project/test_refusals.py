"""The log of refused requests: who, what and why, without secrets, and bounded in a flood."""

import json
import logging
import time
from typing import Any
from uuid import uuid4

import jwt
import pytest
from django.http import HttpResponse
from django.urls import resolve

from accounts import refusals
from accounts.models import SignIn
from api import metrics
from tests.conftest import ApiClient, Browser, bearer
from tests.servers import wait_until

pytestmark = pytest.mark.django_db


@pytest.fixture
def refused(caplog: Any) -> Any:
    """Returns the records of refused requests."""

    def records() -> list[Any]:
        return [record for record in caplog.records if record.name == "accounts.refusals"]

    return records


def codes(records: list[Any]) -> list[tuple[int, str]]:
    return [(record.status_code, record.code) for record in records]


# Access (ASVS 16.3.2)


def test_access_to_the_sign_in_of_another_user_is_logged(refused: Any, client_of: Any, ann: Any, bob: Any) -> None:
    client_of(bob)
    sign_in = SignIn.objects.get()
    client = client_of(ann)
    assert client.delete(f"/api/sign-ins/{sign_in.pk}/").status_code == 404
    [line] = refused()
    assert (line.status_code, line.method, line.ip_address) == (404, "DELETE", "127.0.0.1")
    assert line.route == "/api/sign-ins/<uuid:pk>/"
    assert line.levelno == logging.WARNING


def test_the_line_has_the_user_and_the_request_id(client_of: Any, ann: Any, caplog: Any) -> None:
    from project.logs import Formatter

    answer = client_of(ann).delete(f"/api/sign-ins/{uuid4()}/")
    [record] = [each for each in caplog.records if each.name == "accounts.refusals"]
    line = json.loads(Formatter().format(record))
    assert (line["user_id"], line["request_id"]) == (ann.pk, answer["X-Request-ID"])
    assert (line["code"], line["method"], line["ip_address"]) == ("not_found", "DELETE", "127.0.0.1")


def test_a_page_without_permission_is_logged(refused: Any, browser_of: Any, staff: Any, ann: Any) -> None:
    ann.is_staff = True
    ann.save()
    assert browser_of(ann).get("/admin/accounts/user/").status_code == 403
    assert codes(refused()) == [(403, "permission_denied")]


def test_a_sensitive_call_without_a_recent_proof_is_logged(refused: Any, clock: Any, client_of: Any, ann: Any) -> None:
    client = client_of(ann)
    clock.shift(16 * 60)
    client.renew()
    assert client.post("/api/sign-ins/end-all/").status_code == 403
    assert codes(refused()) == [(403, "recent_sign_in_required")]


def test_an_address_without_a_view_is_not_logged(refused: Any) -> None:
    assert Browser().get("/wp-login.php").status_code == 404
    assert refused() == []


def test_a_call_without_credentials_is_not_logged(refused: Any) -> None:
    assert ApiClient().get("/api/me/").status_code == 401
    assert refused() == []


def test_a_granted_request_is_not_logged(refused: Any, client_of: Any, ann: Any) -> None:
    assert client_of(ann).get("/api/me/").status_code == 200
    assert refused() == []


# Attempts to bypass controls (ASVS 16.3.3)


def post_raw(body: bytes) -> Any:
    return Browser().generic("POST", "/api/token/", body, "application/json")


@pytest.mark.parametrize(
    ("body", "code", "reason"),
    [
        (b'{"username": "ann", "username": "bob"}', "parse_error", "duplicate key"),
        (b'{"username": NaN}', "parse_error", "NaN is not JSON"),
        (b"[" * 100, "parse_error", "nested too deeply"),
        (b"not json", "parse_error", None),
        (b'{"username": "a\\u0000b", "password": "x"}', "invalid", "null_characters_not_allowed"),
        (b'{"username": {"secret": 1}}', "invalid", "not_text required"),
    ],
)
def test_refused_input_is_logged_with_its_cause(refused: Any, body: bytes, code: str, reason: str | None) -> None:
    assert post_raw(body).status_code == 400
    [line] = refused()
    assert (line.code, line.reason) == (code, reason)
    assert "secret" not in str(vars(line) | {"request": ""})


def test_a_forged_token_is_logged_without_the_token(refused: Any) -> None:
    forged = jwt.encode({"sub": "1"}, "x" * 32, algorithm="HS256")
    assert ApiClient(access=forged).get("/api/me/").status_code == 401
    [line] = refused()
    assert line.code == "token_not_valid"
    assert forged not in str(vars(line) | {"request": ""})


def test_an_expired_token_is_not_logged(refused: Any, clock: Any, client_of: Any, ann: Any) -> None:
    client = client_of(ann)
    clock.shift(3600)
    assert client.get("/api/me/").status_code == 401
    assert refused() == []


def test_the_token_of_an_ended_sign_in_is_logged(refused: Any, client_of: Any, ann: Any) -> None:
    client = client_of(ann)
    SignIn.objects.get().end(SignIn.Reason.SIGNED_OUT)
    assert ApiClient(access=client.access).get("/api/me/").status_code == 401
    assert codes(refused()) == [(401, "sign_in_ended")]


def test_a_refused_form_is_one_line(caplog: Any) -> None:
    browser = Browser(enforce_csrf_checks=True)
    assert browser.post("/accounts/login/", {}, headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert len([each for each in caplog.records if "efused" in each.getMessage()]) == 1


@pytest.mark.parametrize("method", ["PUT", "TRACE", "DELETE"])
def test_a_method_that_is_not_allowed_is_logged(refused: Any, method: str) -> None:
    assert Browser().generic(method, "/accounts/login/").status_code == 405
    assert codes(refused()) == [(405, "method_not_allowed")]


def test_a_rate_limit_is_logged(refused: Any, settings: Any) -> None:
    from django.core.cache import cache

    cache.clear()
    for _ in range(601):
        answer = ApiClient().post("/api/token/verify/", {"token": "x"})
    assert answer.status_code == 429
    # The 401s before it have used up the lines of this client.
    assert refusals.window._summed["throttled"] == 1


def test_an_unknown_passkey_is_logged(refused: Any) -> None:
    step = ApiClient().post("/api/token/passkey/options/").json()["step"]
    answer = ApiClient().post("/api/token/passkey/", {"step": step, "credential": {"id": "AAAA"}})
    assert answer.status_code in (400, 404)
    assert len(refused()) == 1


def test_a_status_without_a_name_is_logged_by_its_number(refused: Any, rf: Any) -> None:
    request = rf.get("/")
    request.resolver_match = resolve("/")
    refusals.note(request, HttpResponse(status=499))
    assert codes(refused()) == [(499, "499")]


# The bounds


def test_one_client_gets_few_lines(refused: Any) -> None:
    for _ in range(50):
        ApiClient(access="x").get("/api/me/")
    assert len(refused()) == refusals.MAX_LINES_OF_CLIENT


def test_many_clients_get_a_limited_number_of_lines(refused: Any) -> None:
    for number in range(100):
        ApiClient(access="x").get("/api/me/", REMOTE_ADDR=f"192.0.2.{number}")
    assert len(refused()) == refusals.MAX_LINES_PER_WINDOW


def test_a_flood_does_not_hide_another_client(refused: Any) -> None:
    for _ in range(50):
        ApiClient(access="x").get("/api/me/")
    ApiClient(access="x").get("/api/me/", REMOTE_ADDR="192.0.2.1")
    assert refused()[-1].ip_address == "192.0.2.1"


def test_a_flood_of_some_networks_does_not_hide_another(refused: Any) -> None:
    for number in range(13 * refusals.MAX_LINES_OF_CLIENT):
        ApiClient(access="x").get("/api/me/", REMOTE_ADDR=f"198.51.100.{number // refusals.MAX_LINES_OF_CLIENT}")
    ApiClient(access="x").get("/api/me/", REMOTE_ADDR="192.0.2.1")
    assert refused()[-1].ip_address == "192.0.2.1"


def test_refused_forms_are_bounded_too(caplog: Any) -> None:
    for _ in range(20):
        Browser(enforce_csrf_checks=True).post("/accounts/login/", {}, headers={"sec-fetch-site": "cross-site"})
    assert len([each for each in caplog.records if "Refused a form" in each.getMessage()]) == (
        refusals.MAX_LINES_OF_CLIENT
    )


def test_foreign_hosts_are_bounded_too(caplog: Any) -> None:
    for _ in range(20):
        Browser(HTTP_HOST="evil.example").get("/")
    assert len([each for each in caplog.records if "evil.example" in each.getMessage()]) == refusals.MAX_LINES_OF_CLIENT


def test_the_rest_is_summed_up_in_one_line(refused: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "window", refusals.Window(seconds=0.5))
    for _ in range(8):
        ApiClient(access="x").get("/api/me/")
    wait_until(lambda: len(refused()) == 6)
    assert refused()[-1].getMessage() == "Refused 3 more requests in 0 s: token_not_valid 3"
    time.sleep(0.1)
    ApiClient(access="x").get("/api/me/")
    assert len(refused()) == 7


def test_codes_of_other_apps_are_bounded() -> None:
    window = refusals.Window()
    for number in range(100):
        window.admits(f"code_{number}", "192.0.2.1")
    assert len(window._summed) <= refusals.MAX_SUMMED_CODES + 1
    assert window._summed["other"] == 100 - refusals.MAX_LINES_OF_CLIENT - refusals.MAX_SUMMED_CODES


def test_refusals_are_counted_by_code(client_of: Any, ann: Any) -> None:
    before = metrics.refusals.labels("token_not_valid")._value.get()
    for _ in range(10):
        ApiClient().get("/api/me/", headers=bearer("x"))
    assert metrics.refusals.labels("token_not_valid")._value.get() == before + 10


def test_a_refusal_adds_no_row(client_of: Any, ann: Any, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        ApiClient(access="x").get("/api/me/")
