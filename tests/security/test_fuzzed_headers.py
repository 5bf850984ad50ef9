"""
Fuzzed headers of proxies and clients: always a response and never an exception, also behind a trusted proxy.
More inputs: HYPOTHESIS_EFFORT=100 pytest tests/security/test_fuzzed_headers.py --timeout=0
"""

import logging
import re
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from accounts import addresses
from accounts.models import SecurityEvent, SignIn
from tests.conftest import ApiClient, Browser
from tests.security import examples

pytestmark = pytest.mark.django_db

PASSWORD = "violet anchor hums at dawn"
PROXY = "10.0.0.5"
JSON, FORM = "application/json", "application/x-www-form-urlencoded"
REQUESTS = [
    ("POST", "/api/token/", '{"username": "ann", "password": "violet anchor hums at dawn"}', JSON),
    ("POST", "/accounts/login/", "username=ann&password=violet+anchor+hums+at+dawn", FORM),
    ("POST", "/api/token/verify/", '{"token": "x"}', JSON),
    ("POST", "/api/token/revoke/", "token=x", FORM),
    ("GET", "/api/me/", "", ""),
    ("PATCH", "/api/me/", '{"first_name": "Ann"}', JSON),
    ("POST", "/accounts/profile/", "first_name=Ann", FORM),
    ("GET", "/accounts/sign-ins/", "", ""),
    ("GET", "/admin/login/", "", ""),
    ("POST", "/accounts/language/", "language=de", FORM),
    ("GET", "/health/live", "", ""),
    ("GET", "/metrics", "", ""),
    ("GET", "/compare/", "", ""),
    ("GET", "/api/schema/", "", ""),
    ("OPTIONS", "/api/me/", "", ""),
    ("GET", "/nothing/", "", ""),
]

bytes_of_wsgi = st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=40)
utf8 = st.text(st.characters(exclude_categories=["Cs"]), max_size=30).map(lambda text: text.encode().decode("latin-1"))
numbers = st.integers(-1, 10**20).map(str) | st.sampled_from(["+1", "1_0", "0x1", "1e3", "\u0661", ""])
ips = (st.ip_addresses() | st.sampled_from(["::ffff:10.0.0.5", "64:ff9b::8.8.8.8", "fe80::1%x", PROXY])).map(str)
hops = st.one_of(
    ips,
    st.builds("{}:{}".format, ips, numbers),
    st.builds('"[{}]:{}"'.format, ips, numbers),
    st.sampled_from(["unknown", "_x", "", " ", "unix:", "for=1.2.3.4", "[", "]", '"', "%", "1.2.3.4/8"]),
    bytes_of_wsgi,
)
host_names = st.builds(
    "{}{}{}".format,
    st.sampled_from(["testserver", "TESTSERVER", "testserver.", "evil.example", "[::1]", "[", "", "*", "10.0.0.3"]),
    st.sampled_from(["", ":", "::"]),
    numbers,
)
origins = st.builds("{}{}".format, st.sampled_from(["https://", "http://", "HTTPS://", "//", "null", ""]), host_names)
languages = st.lists(st.builds("{};q={}".format, st.sampled_from(["de", "en-GB", "*", "x" * 9, "-"]), numbers)).map(
    ",".join
)
HEADERS: dict[str, st.SearchStrategy[str]] = {
    "x-forwarded-for": st.lists(hops, max_size=5).map(",".join),
    "x-forwarded-proto": st.sampled_from(["https", "HTTPS", "http", "https, http", "", "ftp", "\xff"]),
    "x-forwarded-ssl": st.sampled_from(["on", "off", ""]),
    "x-forwarded-host": host_names,
    "x-request-id": bytes_of_wsgi | numbers | st.text("aA0_.:-", max_size=80),
    "forwarded": hops,
    "host": host_names | bytes_of_wsgi,
    "origin": origins,
    "referer": origins,
    "sec-fetch-site": st.sampled_from(["same-origin", "same-site", "none", "cross-site", "", "\xff"]),
    "sec-fetch-mode": bytes_of_wsgi,
    "accept-language": languages,
    "accept": bytes_of_wsgi | st.just("application/json;" * 200),
    "authorization": st.builds("{} {}".format, st.sampled_from(["Bearer", "DPoP", "Basic", "\xff"]), bytes_of_wsgi),
    "dpop": bytes_of_wsgi | st.just("eyJ9.eyJ9.x"),
    "cookie": st.builds(
        "{}={}".format, st.sampled_from(["__Host-sessionid", "__Host-csrftoken", "__Host-language", ""]), bytes_of_wsgi
    ),
    # No longer than the body: the test client's stream fails beyond its end, where a server's stream ends.
    "content-length": st.sampled_from(["0", "1", "00", "-1", "+1", "1_0", "0x1", "1e3", "", "\xb2", "9" * 20]),
    "transfer-encoding": st.sampled_from(["chunked", "gzip, chunked", "", "identity", "\xff"]),
    "content-encoding": bytes_of_wsgi,
    "content-type": bytes_of_wsgi | st.sampled_from(["application/json; charset=idna", "multipart/form-data"]),
    "user-agent": utf8 | bytes_of_wsgi,
    "x-compare": numbers,
    "x-csrftoken": bytes_of_wsgi,
}


def values(name: str) -> st.SearchStrategy[str]:
    return HEADERS[name] if name == "content-length" else HEADERS[name] | bytes_of_wsgi


some_headers = st.lists(st.sampled_from(sorted(HEADERS)), min_size=1, max_size=4, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: values(name) for name in names})
)


@pytest.mark.long
@hypothesis_settings(max_examples=examples(150), suppress_health_check=list(HealthCheck))
@given(request=st.sampled_from(REQUESTS), headers=some_headers, peer=st.sampled_from([PROXY, "203.0.113.9", ""]))
def test_no_header_raises_an_exception(
    ann: Any, settings: Any, caplog: Any, request: tuple[str, str, str, str], headers: dict[str, str], peer: str
) -> None:
    settings.TRUSTED_PROXIES, settings.METRICS_ADDRESSES = [PROXY], ["10.0.0.0/8"]
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    caplog.clear()
    method, path, body, content_type = request
    with transaction.atomic():
        answer = Browser().generic(method, path, body, content_type, headers=headers, REMOTE_ADDR=peer)
        assert answer.status_code < 500
        assert re.fullmatch(r"[A-Za-z0-9_.:-]{8,64}", answer["X-Request-ID"])
        for kept in [*SignIn.objects.all(), *SecurityEvent.objects.all()]:
            assert kept.ip_address is None or addresses.canonical(kept.ip_address) == kept.ip_address
            assert kept.user_agent.isprintable() or not kept.user_agent
            assert len(kept.user_agent) <= 512
        transaction.set_rollback(True)
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR or record.exc_info]
    assert errors == []


AGENTS = {
    "Łódź-App/1.0 (Jürgen’s Gerät)": "Łódź-App/1.0 (Jürgen’s Gerät)",
    "日本語ブラウザ/2": "日本語ブラウザ/2",
    # Characters that change the direction of text, or are invisible, are replaced.
    "app/1 \u202egpj.exe": "app/1 \N{REPLACEMENT CHARACTER}gpj.exe",
    "app\u200b\u2066/1": "app\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}/1",
    "app/1\x1b[31m\x7f\x85": "app/1\N{REPLACEMENT CHARACTER}[31m" + 2 * "\N{REPLACEMENT CHARACTER}",
    "é" * 600: "é" * 512,
}


@pytest.mark.parametrize(("sent", "kept"), AGENTS.items(), ids=lambda text: repr(text[:12]))
def test_a_user_agent_in_utf8_is_decoded(ann: Any, sent: str, kept: str) -> None:
    headers = {"user-agent": sent.encode().decode("latin-1")}
    credentials = {"username": "ann", "password": PASSWORD}
    assert ApiClient().post("/api/token/", credentials, headers=headers).status_code == 200
    assert SignIn.objects.get().user_agent == kept


def test_a_user_agent_that_is_not_utf8_is_decoded_as_latin_1(ann: Any) -> None:
    """Old clients send it, and incomplete UTF-8 is no reason to refuse a request."""
    credentials = {"username": "ann", "password": PASSWORD}
    assert ApiClient().post("/api/token/", credentials, headers={"user-agent": "Ger\xe4t/1"}).status_code == 200
    assert SignIn.objects.get().user_agent == "Gerät/1"
