"""The device flow (RFC 8628): a program without a browser signs in by a code that its user types into a page."""

import re
from datetime import timedelta
from urllib.parse import urlencode

import pytest
from django.db import connection

from accounts.models import DeviceCode, SignIn, User
from tests.accounts.conftest import text_of
from tests.api.dpop_client import Holder
from tests.conftest import ApiClient, Browser, claims_of

pytestmark = pytest.mark.django_db

CODE, TOKEN, PAGE = "/api/device/code/", "/api/device/token/", "/accounts/device/"
GRANT = "urn:ietf:params:oauth:grant-type:device_code"


@pytest.fixture(autouse=True)
def device_flow(settings):
    settings.DEVICE_FLOW = True


def send(path, headers=None, **form):
    options = {"content_type": "application/x-www-form-urlencoded", "headers": headers or {}}
    return Browser().post(path, urlencode(form), REMOTE_ADDR="192.0.2.9", **options)


class Device:
    """A program that waits for its user."""

    def __init__(self, client_id="backup"):
        self.response = send(CODE, client_id=client_id)
        assert self.response.status_code == 200, self.response.content
        self.codes = self.response.json()
        self.user_code = self.codes["user_code"]

    def poll(self, **options):
        return send(TOKEN, grant_type=GRANT, device_code=self.codes["device_code"], **options)

    def poll_with(self, holder):
        """Polls with a proof, and once more if a nonce is required."""
        for _ in range(2):
            response = self.poll(headers={"DPoP": holder.proof("POST", f"https://testserver{TOKEN}")})
            holder.nonce = response.headers.get("DPoP-Nonce")
            if not holder.nonce:
                break
        return response


@pytest.fixture
def device():
    return Device()


@pytest.fixture
def page(browser_of, ann):
    """Ann's browser."""
    return browser_of(ann)


def decide(page, device, decision="allow", name="backup"):
    return page.post(PAGE, {"user_code": device.user_code, "decision": decision, "name": name})


def error_of(response):
    body = response.json()
    assert body["error"] == body["code"]
    return response.status_code, body["error"]


PENDING = (400, "authorization_pending")
DENIED = (400, "access_denied")


# The device


def test_a_device_gets_two_codes_and_the_page(device):
    assert re.fullmatch(r"[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}", device.user_code)
    assert device.codes["verification_uri"] == "https://testserver/accounts/device/"
    assert (device.codes["expires_in"], device.codes["interval"]) == (600, 5)
    assert "no-store" in device.response["Cache-Control"]


def test_no_code_is_stored(device):
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM accounts_devicecode")
        row = str(cursor.fetchall())
    assert device.codes["device_code"] not in row
    assert device.user_code not in row
    assert device.user_code.replace("-", "") not in row


def test_an_allowed_device_signs_in(device, page):
    assert error_of(device.poll()) == PENDING
    assert decide(page, device).status_code == 200
    tokens = device.poll().json()
    assert tokens["token_type"] == "Bearer"
    assert ApiClient(tokens["access_token"]).get("/api/me/").json()["username"] == "ann"
    sign_in = SignIn.objects.get(kind="client")
    assert (sign_in.name, sign_in.ip_address, str(sign_in.pk)) == (
        "backup",
        "192.0.2.9",
        claims_of(tokens["access_token"])["sid"],
    )


def test_a_device_code_signs_in_once(device, page):
    decide(page, device)
    assert device.poll().status_code == 200
    assert error_of(device.poll()) == (400, "invalid_grant")
    assert SignIn.objects.filter(kind="client").count() == 1


def test_a_refused_device_gets_no_tokens(device, page):
    decide(page, device, "deny")
    assert error_of(device.poll()) == DENIED


def test_an_expired_code_gets_no_tokens(clock, device):
    clock.shift(timedelta(minutes=10))
    assert error_of(device.poll()) == (400, "expired_token")


def test_an_allowed_code_expires_too(clock, device, page):
    decide(page, device)
    clock.shift(timedelta(minutes=10))
    assert error_of(device.poll()) == (400, "expired_token")


def test_an_unknown_code_gets_no_tokens(db):
    assert error_of(send(TOKEN, grant_type=GRANT, device_code="x")) == (400, "invalid_grant")


def test_a_user_code_is_no_device_code(device, page):
    decide(page, device)
    assert error_of(send(TOKEN, grant_type=GRANT, device_code=device.user_code)) == (400, "invalid_grant")


def test_each_request_that_is_too_early_makes_the_interval_longer(clock, device):
    assert error_of(device.poll()) == PENDING
    assert error_of(device.poll()) == (400, "slow_down")
    clock.shift(timedelta(seconds=6))
    assert error_of(device.poll()) == (400, "slow_down")
    clock.shift(timedelta(seconds=16))
    assert error_of(device.poll()) == PENDING


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, "invalid_grant"),
    ],
)
def test_another_grant_is_refused(db, form, code):
    assert error_of(send(TOKEN, **form)) == (400, code)


@pytest.mark.parametrize("form", [{}, {"grant_type": GRANT}, {"grant_type": "refresh_token"}])
def test_a_missing_field_is_an_invalid_request(db, form):
    response = send(TOKEN, **form)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize("client_id", ["", "   ", "x" * 61, "a\u202eb", "two\nlines"])
def test_an_invalid_name_gets_no_codes(db, client_id):
    assert send(CODE, client_id=client_id).status_code == 400
    assert not DeviceCode.objects.exists()


def test_without_the_setting_there_is_no_device_flow(page, settings):
    settings.DEVICE_FLOW = False
    assert send(CODE, client_id="backup").status_code == 404
    assert send(TOKEN, grant_type=GRANT, device_code="x").status_code == 404
    assert page.get(PAGE).status_code == 404


# Tokens


def test_an_oauth_client_refreshes_at_the_same_place(device, page):
    decide(page, device)
    first = device.poll().json()
    second = send(TOKEN, grant_type="refresh_token", refresh_token=first["refresh_token"]).json()
    assert second["refresh_token"] != first["refresh_token"]
    assert ApiClient(second["access_token"]).get("/api/me/").status_code == 200


def test_a_proof_binds_the_tokens(device, page):
    decide(page, device)
    response = device.poll_with(Holder())
    assert response.json()["token_type"] == "DPoP"
    assert claims_of(response.json()["access_token"])["cnf"]["jkt"] == SignIn.objects.get(kind="client").key_thumbprint


def test_a_user_of_bound_tokens_needs_a_proof(device, page, ann):
    decide(page, device)
    User.objects.filter(pk=ann.pk).update(bound_tokens_only=True)
    response = device.poll()
    assert (response.status_code, response.json()["error"]) == (400, "invalid_dpop_proof")
    assert device.poll_with(Holder()).status_code == 200


def test_a_device_has_no_recent_proof(device, page):
    decide(page, device)
    client = ApiClient(device.poll().json()["access_token"])
    response = client.post("/api/sign-ins/end-others/", {})
    assert (response.status_code, response.json()["code"]) == (403, "recent_sign_in_required")


def test_a_device_has_the_methods_of_the_browser(device, page):
    decide(page, device)
    device.poll()
    assert SignIn.objects.get(kind="client").methods == "password"


# What happens between the decision and the tokens


def end_the_browser(ann):
    SignIn.objects.get(user=ann, kind="browser").end(SignIn.Reason.ENDED_BY_USER)


def deactivate(ann):
    User.objects.filter(pk=ann.pk).update(is_active=False)


def change_the_password(ann):
    ann.set_password("a quite different passphrase")
    ann.save()


def start_a_generation(ann):
    """As an end of all sign-ins but that of the browser."""
    User.objects.filter(pk=ann.pk).start_generation()


def delete(ann):
    ann.delete()


@pytest.mark.parametrize(
    "end", [end_the_browser, deactivate, change_the_password, start_a_generation, delete], ids=lambda end: end.__name__
)
def test_an_end_before_the_tokens_refuses_the_device(device, page, ann, end):
    decide(page, device)
    end(ann)
    assert error_of(device.poll()) == DENIED
    assert not SignIn.objects.filter(kind="client", ended_at=None).exists()


# The page


def test_a_visitor_signs_in_first(browser, device):
    response = browser().get(PAGE)
    assert response["Location"] == f"/accounts/login/?next={PAGE}"


def test_a_decision_needs_a_recent_proof(clock, page):
    clock.shift(timedelta(minutes=16))
    device = Device()
    assert decide(page, device)["Location"].startswith("/accounts/confirm/")
    assert error_of(device.poll()) == PENDING


def test_the_page_shows_which_device_waits(device, page):
    content = page.post(PAGE, {"user_code": device.user_code}).content.decode()
    assert "192.0.2.9" in content
    assert "backup" in content
    assert "If another person gave you the code, refuse." in content
    assert error_of(device.poll()) == PENDING


def test_a_code_in_the_address_is_not_used(device, page):
    assert device.user_code not in text_of(page.get(f"{PAGE}?user_code={device.user_code}"))
    assert "value=" not in page.get(PAGE).content.decode().partition('name="user_code"')[2].partition(">")[0]


@pytest.mark.parametrize(
    "change", [str.lower, lambda code: code.replace("-", ""), lambda code: f" {code[:2]} {code[2:]} "]
)
def test_a_code_is_typed_in_any_way(device, page, change):
    content = page.post(PAGE, {"user_code": change(device.user_code)}).content.decode()
    assert "192.0.2.9" in content


def test_the_name_of_a_device_is_escaped(page):
    device = Device("<script>x</script>")
    content = page.post(PAGE, {"user_code": device.user_code}).content.decode()
    assert "<script>x" not in content


def test_the_user_can_change_the_name(device, page):
    decide(page, device, name="my server")
    device.poll()
    assert SignIn.objects.get(kind="client").name == "my server"


def test_a_decision_is_final(device, page):
    decide(page, device, "deny")
    assert "This code is unknown" in decide(page, device).content.decode()
    assert error_of(device.poll()) == DENIED


def test_an_unknown_code_is_an_error(page):
    assert "This code is unknown" in page.post(PAGE, {"user_code": "BBBB-BBBB"}).content.decode()


def test_guesses_of_codes_are_limited(page, device):
    for _ in range(20):
        page.post(PAGE, {"user_code": "BBBB-BBBB"})
    assert "Too many attempts" in decide(page, device).content.decode()
    assert error_of(device.poll()) == PENDING


def test_a_new_device_is_announced(mails_of, device, page):
    decide(page, device)
    [mail] = mails_of(device.poll)
    assert "backup" in mail.body


def test_old_codes_are_pruned(clock, device):
    clock.shift(timedelta(minutes=69))
    list(DeviceCode.objects.prune())
    assert DeviceCode.objects.exists()
    clock.shift(timedelta(minutes=2))
    list(DeviceCode.objects.prune())
    assert not DeviceCode.objects.exists()
