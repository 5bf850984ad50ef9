"""Reports about violations of the Content Security Policy."""

import json

import pytest
from prometheus_client import REGISTRY

from api.throttling import AddressThrottle
from project import csp_reports

REPORT = {
    "document-uri": "https://testserver/accounts/reset/MQ/secret-token/?next=/secret",
    "referrer": "https://testserver/secret-referrer",
    "violated-directive": "script-src-elem",
    "effective-directive": "script-src-elem",
    "original-policy": "default-src 'self'",
    "blocked-uri": "https://evil.example/secret/path?user=ann",
    "source-file": "https://testserver/secret.js",
}


@pytest.fixture(autouse=True)
def new_minute(monkeypatch):
    monkeypatch.setattr(csp_reports, "budget", csp_reports._Budget())


@pytest.fixture
def send(client):
    def send(body, **headers):
        text = body if isinstance(body, bytes) else json.dumps({"csp-report": body}).encode()
        return client.post("/csp-report/", text, "application/csp-report", headers=headers, secure=True)

    return send


def counted(directive):
    return REGISTRY.get_sample_value("wristband_csp_reports_total", {"directive": directive}) or 0


def test_every_policy_names_the_place_for_reports(client):
    for path in ["/", "/api/me/", "/nowhere/", "/csp-report/"]:
        assert "report-uri /csp-report/" in client.get(path, secure=True).headers["Content-Security-Policy"]


def test_a_report_is_counted_and_logged_without_paths_or_users(send, caplog):
    before = counted("script-src-elem")
    assert send(REPORT, **{"sec-fetch-site": "same-origin"}).status_code == 204
    assert counted("script-src-elem") == before + 1
    [line] = [record.getMessage() for record in caplog.records if record.name == "project.csp_reports"]
    assert line.endswith("script-src-elem blocked evil.example on /accounts/reset/<uidb64>/<token>/")
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("change", "logged"),
    [
        ({"blocked-uri": "inline"}, "script-src-elem blocked inline"),
        ({"blocked-uri": "x\nforged line"}, "blocked another source"),
        ({"blocked-uri": "https://[::1"}, "blocked another source"),
        ({"effective-directive": "a\nb" * 900}, "other blocked evil.example"),
        ({"document-uri": "https://other.example/nowhere\nx"}, "on another page"),
        ({"document-uri": 7, "blocked-uri": None}, "blocked another source on another page"),
    ],
)
def test_a_log_line_has_known_words_only(send, caplog, change, logged):
    assert send(REPORT | change).status_code == 204
    assert logged in caplog.text
    assert "forged" not in caplog.text


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b'{"csp-report": []}', b"[" * 9_000, b"\xff"])
def test_what_is_no_report_is_a_bad_request(send, caplog, body):
    assert send(body).status_code == 400
    assert "Content Security Policy:" not in caplog.text


def test_a_large_report_is_refused(send):
    assert send(b" " * (csp_reports.MAX_BYTES + 1)).status_code == 413


def test_a_flood_adds_ten_lines_a_minute_to_the_log(send, caplog):
    before = counted("not read")
    assert {send(REPORT).status_code for _ in range(30)} == {204}
    assert caplog.text.count("Content Security Policy:") == csp_reports.MAX_REPORTS_PER_MINUTE == 10
    assert counted("not read") == before + 20


def test_another_type_of_body_is_refused(client):
    assert client.post("/csp-report/", {"csp-report": REPORT}, "application/json", secure=True).status_code == 415


def test_reports_do_not_use_up_the_token_requests_of_an_address(send, client, monkeypatch):
    monkeypatch.setattr(AddressThrottle, "THROTTLE_RATES", {"tokens": "2/min"})
    assert [send(REPORT).status_code for _ in range(3)] == [204, 204, 204]
    assert client.post("/api/token/verify/", {"token": "x"}, "application/json", secure=True).status_code == 401


def test_a_report_is_sent_by_post_only(client):
    assert client.get("/csp-report/", secure=True).status_code == 405
