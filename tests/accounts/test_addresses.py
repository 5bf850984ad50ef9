"""IP addresses of clients: all notations of an address are equal, at every place that compares addresses."""

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import models

from accounts import addresses, rate_limits
from accounts.models import AttemptCounter, SecurityEvent, SignIn
from tests.conftest import ApiClient, Browser

PROXY = "10.0.0.5"
WRONG = "not the right passphrase at all"

FORMS = {
    "198.51.100.7": "198.51.100.7",
    " 198.51.100.7\t": "198.51.100.7",
    "198.51.100.7:1": "198.51.100.7",
    "198.51.100.7:65535": "198.51.100.7",
    '"198.51.100.7:443"': "198.51.100.7",
    "::ffff:198.51.100.7": "198.51.100.7",
    "::FFFF:c633:6407": "198.51.100.7",
    "[::ffff:198.51.100.7]:8443": "198.51.100.7",
    "64:ff9b::8.8.4.4": "8.8.4.4",
    "2001:DB8:0::9": "2001:db8::9",
    "[2001:db8::9]": "2001:db8::9",
    '"[2001:db8::9]:50123"': "2001:db8::9",
    "2001:db8::9:443": "2001:db8::9:443",
    "fe80::1%eth0": "fe80::1",
    "[fe80::1%25eth0]:80": "fe80::1",
    "::1": "::1",
}
NONE_AT_ALL = [
    "",
    " ",
    "unknown",
    "_hidden",
    "unix:",
    "localhost",
    "for=198.51.100.7",
    "198.51.100.7:",
    "198.51.100.7:65536",
    "198.51.100.7:http",
    "198.51.100.7/32",
    "198.51.100.007",
    "198.51.100",
    "3325256711",
    "١٩٨.51.100.7",
    "[2001:db8::9",
    "2001:db8::9]:443",
    "[]:80",
    '"',
    '""',
    "198.51.100.7 198.51.100.8",
    "::ffff:198.51.100.7:443",
    "9" * 100_000,
]


@pytest.mark.parametrize(("text", "address"), FORMS.items())
def test_all_notations_of_an_address_are_equal(text: str, address: str) -> None:
    assert addresses.canonical(text) == address


@pytest.mark.parametrize("text", NONE_AT_ALL, ids=lambda text: repr(text[:30]))
def test_an_invalid_address_is_none(text: str) -> None:
    assert addresses.canonical(text) is None
    assert not addresses.is_within(text, ["0.0.0.0/0", "::/0"])


@pytest.mark.parametrize("private", ["10.0.0.5", "127.0.0.1", "192.168.1.1"])
def test_a_nat64_address_is_not_the_private_address_in_it(private: str) -> None:
    assert not addresses.is_within(f"64:ff9b::{private}", [private])


@pytest.mark.parametrize("network", ["::ffff:10.0.0.0/104", "10.0.0.0/8", " 10.0.0.5 ", "::ffff:a00:5"])
@pytest.mark.parametrize("peer", ["10.0.0.5", "::ffff:10.0.0.5", "[::ffff:a00:5]:4711"])
def test_a_network_contains_an_address_in_any_notation(network: str, peer: str) -> None:
    assert addresses.is_within(peer, [network])
    assert not addresses.is_within("11.0.0.5", [network])


# Through HTTP


def recorded_address(xff: str | None, peer: str = PROXY) -> str | None:
    """Returns the address of a sign-in from this peer with this X-Forwarded-For header."""
    headers = {} if xff is None else {"x-forwarded-for": xff}
    credentials = {"username": "ann", "password": "violet anchor hums at dawn"}
    assert ApiClient().post("/api/token/", credentials, headers=headers, REMOTE_ADDR=peer).status_code == 200
    sign_in = SignIn.objects.latest("created_at")
    assert SecurityEvent.objects.filter(type="signed_in").latest("created_at").ip_address == sign_in.ip_address
    return sign_in.ip_address


@pytest.fixture
def behind_proxy(settings: Any) -> None:
    settings.TRUSTED_PROXIES = [PROXY, "2001:db8:aaaa::/48"]


@pytest.mark.django_db
@pytest.mark.parametrize("peer", [PROXY, f"::ffff:{PROXY}", f"[::ffff:{PROXY}]:80"])
@pytest.mark.parametrize(
    ("xff", "address"),
    {
        "203.0.113.9:5678": "203.0.113.9",
        "[2001:db8::9]:443": "2001:db8::9",
        '"203.0.113.9"': "203.0.113.9",
        "::ffff:203.0.113.9": "203.0.113.9",
        "unknown": None,
        "": None,
        # The last hop is the one that the proxy added.
        "6.6.6.6, 203.0.113.9:5678": "203.0.113.9",
        "6.6.6.6,": None,
        "6.6.6.6, unix:": None,
        # More than one trusted proxy.
        f"6.6.6.6, 203.0.113.9:1234, [2001:db8:aaaa::7]:99, {PROXY}:80": "203.0.113.9",
        f"6.6.6.6, unknown, {PROXY}": None,
        f"{PROXY}:80": PROXY,
    }.items(),
)
def test_the_address_from_the_proxy_is_recorded(
    behind_proxy: None, ann: Any, peer: str, xff: str, address: str | None
) -> None:
    assert recorded_address(xff, peer) == address


@pytest.mark.django_db
def test_without_a_forwarded_address_the_proxy_is_recorded(behind_proxy: None, ann: Any) -> None:
    assert recorded_address(None) == PROXY


@pytest.mark.django_db
def test_an_ipv4_mapped_client_is_not_a_trusted_proxy(behind_proxy: None, ann: Any) -> None:
    assert recorded_address("6.6.6.6", "::ffff:203.0.113.9") == "203.0.113.9"


def guess(name: str, password: str, **how: Any) -> int:
    status: int = ApiClient().post("/api/token/", {"username": name, "password": password}, **how).status_code
    return status


@pytest.mark.django_db
@pytest.mark.parametrize("form", ["::ffff:{}", "[::ffff:{}]:4711"])
def test_ipv4_clients_count_apart_on_a_dual_stack_socket(form: str, ann: Any, password: str) -> None:
    for number in range(rate_limits.LIMITS[rate_limits.Kind.ADDRESS].free_attempts + 1):
        guess(f"nobody{number}", WRONG, REMOTE_ADDR=form.format("198.51.100.7"))
    assert guess("ann", password, REMOTE_ADDR=form.format("198.51.100.7")) == 429
    assert guess("ann", password, REMOTE_ADDR="198.51.100.7") == 429
    assert guess("ann", password, REMOTE_ADDR=form.format("198.51.100.8")) == 200


@pytest.mark.django_db
@pytest.mark.parametrize("xff", ["unknown", "6.6.6.6, _client", ""])
def test_a_client_without_an_address_locks_out_no_other_client(
    behind_proxy: None, ann: Any, password: str, xff: str
) -> None:
    how = {"headers": {"x-forwarded-for": xff}, "REMOTE_ADDR": PROXY}
    for number in range(rate_limits.LIMITS[rate_limits.Kind.ADDRESS].free_attempts + 1):
        guess(f"nobody{number}", WRONG, **how)
    assert guess("ann", password, **how) == 200
    assert guess("ann", password, REMOTE_ADDR=PROXY) == 200


@pytest.mark.django_db
def test_clients_without_an_address_are_rate_limited(behind_proxy: None, ann: Any, password: str) -> None:
    how = {"headers": {"x-forwarded-for": "unknown"}, "REMOTE_ADDR": PROXY}
    guess("nobody", WRONG, **how)
    count = AttemptCounter.objects.get(kind=rate_limits.Kind.ADDRESS)
    assert count.ip_address is None
    assert (
        count.limit.free_attempts
        == rate_limits.CLIENTS_IN_CROWD * rate_limits.LIMITS[rate_limits.Kind.ADDRESS].free_attempts
    )
    AttemptCounter.objects.filter(pk=count.pk).update(count=count.limit.free_attempts - 1)
    assert guess("nobody", WRONG, **how) == 401
    assert guess("ann", password, **how) == 429


@pytest.mark.django_db
def test_throttles_count_clients_without_an_address(behind_proxy: None, monkeypatch: Any) -> None:
    from api.throttling import TokenThrottle

    monkeypatch.setattr(TokenThrottle, "THROTTLE_RATES", {"tokens": "2/minute"})

    def verify(xff: str) -> int:
        headers = {"x-forwarded-for": xff}
        call = ApiClient().post("/api/token/verify/", {"token": "x"}, headers=headers, REMOTE_ADDR=PROXY)
        status: int = call.status_code
        return status

    assert [verify("203.0.113.9:1"), verify("203.0.113.9:2"), verify("203.0.113.9")] == [401, 401, 429]
    # Clients without an address share a limit that is larger by a factor, not unlimited.
    assert [verify("unknown") for _ in range(2)] == [401] * 2
    answers = [verify("unknown") for _ in range(80)]
    assert 30 <= answers.count(401) <= 2 * rate_limits.CLIENTS_IN_CROWD


@pytest.mark.django_db
def test_metrics_accept_an_address_in_any_notation(settings: Any) -> None:
    settings.METRICS_ADDRESSES = ["192.0.2.0/24"]
    for form in ("::ffff:192.0.2.7", "192.0.2.7:9090", "192.0.2.7"):
        assert Browser().get("/metrics", REMOTE_ADDR=form).status_code == 200
    assert Browser().get("/metrics", REMOTE_ADDR="::ffff:198.51.100.7").status_code == 403


# Stored addresses


def end_sign_ins(address: str) -> str:
    out = StringIO()
    call_command("end_sign_ins", "--ip", address, stdout=out)
    return out.getvalue().strip()


@pytest.mark.django_db
@pytest.mark.parametrize("typed", ["198.51.100.7", "::ffff:198.51.100.7", "198.51.100.7:5678", "[::ffff:c633:6407]"])
@pytest.mark.parametrize("stored", ["198.51.100.7", "::ffff:198.51.100.7"])
def test_the_command_finds_an_address_in_any_notation(client_of: Any, ann: Any, typed: str, stored: str) -> None:
    client_of(ann)
    SignIn.objects.update(ip_address=stored)
    client_of(ann)
    assert end_sign_ins(typed) == "1 sign-in ended."


@pytest.mark.parametrize("typed", ["unknown", "198.51.100.0/24", "198.51.100.7:x"])
def test_the_command_refuses_an_invalid_address(typed: str) -> None:
    with pytest.raises(CommandError, match="expected an IP address"):
        end_sign_ins(typed)


@pytest.mark.django_db
@pytest.mark.parametrize("page", ["signin", "securityevent", "user"])
def test_staff_find_an_address_in_any_notation(
    browser_of: Any, client_of: Any, ann: Any, staff: Any, page: str
) -> None:
    client_of(ann)
    # As an earlier release stored it. The triggers that keep events unchanged are bypassed.
    SignIn.objects.filter(user=ann).update(ip_address="::ffff:198.51.100.7")
    event = SecurityEvent(user=ann, type="signed_in", ip_address="::ffff:198.51.100.7", user_agent="", details={})
    models.Model.save(event)
    browser = browser_of(staff)
    for typed in ("198.51.100.7", "[::ffff:198.51.100.7]:80", " 198.51.100.7:443"):
        found = browser.get(f"/admin/accounts/{page}/", {"q": typed}).context["cl"].result_count
        assert found == 1, typed
    assert browser.get(f"/admin/accounts/{page}/", {"q": "198.51.100.8"}).context["cl"].result_count == 0
