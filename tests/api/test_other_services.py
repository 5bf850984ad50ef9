"""Endpoints for other services: revocation, introspection, audiences."""

from urllib.parse import urlencode

import pytest
from django.db import OperationalError
from django.db.models.signals import pre_save
from django.test import Client

from accounts import registration
from accounts.models import SecurityEvent, SignIn, User
from api.blocklist.models import Entry
from api.keys import Key
from tests.api.test_forged_tokens import FORGED
from tests.conftest import bearer, claims_of

pytestmark = pytest.mark.django_db

FORM = "application/x-www-form-urlencoded"
REVOKE, INTROSPECT = "/api/token/revoke/", "/api/token/introspect/"


@pytest.fixture
def send(browser):
    """Sends a form, with an access token if one is given."""

    def send(path, form, access="", content_type=FORM):
        headers = bearer(access) if access else {}
        body = form if isinstance(form, (str, bytes)) else urlencode(form)
        return browser().generic("POST", path, body, content_type, headers=headers)

    return send


@pytest.fixture
def gate(anonymous, db):
    """The access token of a service that may introspect."""
    service, password = registration.create_service("gate", ["introspect"])
    return anonymous.post("/api/token/", {"username": service.username, "password": password}).json()["access"]


@pytest.fixture
def introspect(send, gate):
    return lambda token: send(INTROSPECT, {"token": token}, gate)


# Revocation


def test_a_revoked_refresh_token_ends_its_sign_in(send, client_of, ann):
    client = client_of(ann)
    response = send(REVOKE, {"token": client.refresh})
    assert (response.status_code, response.json()) == (200, {})
    assert client.get("/api/me/").status_code == 401
    assert client.renew().status_code == 401
    assert SignIn.objects.get().end_reason == "signed_out"
    assert SecurityEvent.objects.filter(type="signed_out").count() == 1


def test_a_revoked_access_token_is_blocked_alone(send, client_of, ann):
    client = client_of(ann)
    assert send(REVOKE, {"token": client.access}).status_code == 200
    assert client.get("/api/me/").status_code == 401
    assert client.renew().status_code == 200
    assert client.get("/api/me/").status_code == 200


def test_the_owner_gets_one_mail_about_a_revoked_access_token(send, client_of, browser_of, ann):
    client = client_of(ann)
    for _ in range(2):
        send(REVOKE, {"token": client.access})
    send(REVOKE, {"token": client.access[:-2]})
    client.renew()
    [event] = [each for each in client.get("/api/events/").json()["results"] if each["type"] == "token_revoked"]
    claims = claims_of(client.access)
    assert (event["sid"], event["ip_address"]) == (claims["sid"], "127.0.0.1")
    assert event["details"]["jti"] != claims["jti"]
    assert "An app revoked an access token." in browser_of(ann).get("/accounts/activity/").content.decode()
    assert client.access not in str(list(SecurityEvent.objects.values()))


def test_no_access_token_is_revoked_without_an_event(send, client_of, ann):
    def fails(**kwargs):
        raise OperationalError

    client = client_of(ann)
    pre_save.connect(fails, sender=SecurityEvent)
    try:
        assert send(REVOKE, {"token": client.access}).status_code == 503
    finally:
        pre_save.disconnect(fails, sender=SecurityEvent)
    assert not Entry.objects.exists()
    assert client.get("/api/me/").status_code == 200


@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "nonsense", ""])
@pytest.mark.parametrize("kind", ["access", "refresh"])
def test_a_hint_changes_nothing(send, client_of, ann, kind, hint):
    client = client_of(ann)
    send(REVOKE, {"token": getattr(client, kind), "token_type_hint": hint})
    assert client.get("/api/me/").status_code == 401


@pytest.mark.parametrize("kind", ["access", "refresh"])
def test_a_second_revocation_changes_nothing(send, client_of, ann, kind):
    token = getattr(client_of(ann), kind)
    first, second = send(REVOKE, {"token": token}), send(REVOKE, {"token": token})
    assert (first.status_code, first.content) == (second.status_code, second.content)
    assert Entry.objects.count() == 1


def test_an_access_token_of_an_ended_sign_in_adds_nothing(send, client_of, ann):
    client = client_of(ann)
    send(REVOKE, {"token": client.refresh})
    send(REVOKE, {"token": client.access})
    assert Entry.objects.count() == 1


@pytest.mark.parametrize("kind", ["access", "refresh"])
@pytest.mark.parametrize("forge", ["another key", "no sid", "padded", "exp an hour ago", "three words", "only dots"])
def test_an_invalid_token_gets_the_same_response(send, client_of, ann, kind, forge):
    client = client_of(ann)
    response = send(REVOKE, {"token": FORGED[forge](getattr(client, kind))})
    known = send(REVOKE, {"token": client.access})
    assert (response.status_code, response.content) == (known.status_code, known.content) == (200, b"{}")
    assert {*response.headers} == {*known.headers}
    assert SignIn.objects.get().ended_at is None


def test_revocation_ignores_any_credentials(send, client_of, ann):
    client = client_of(ann)
    assert send(REVOKE, {"token": client.refresh}, "nonsense").status_code == 200
    assert client.renew().status_code == 401


# Introspection


def test_a_valid_access_token_is_active(introspect, client_of, ann):
    token = client_of(ann).access
    claims = claims_of(token)
    expected = {name: claims[name] for name in ["iss", "sub", "aud", "exp", "iat", "jti", "sid"]}
    response = introspect(token)
    assert response.status_code == 200
    assert response.json() == {"active": True, "token_type": "Bearer", "username": "ann", **expected}
    assert "no-store" in response.headers["Cache-Control"]


def test_introspection_returns_the_current_name(introspect, client_of, ann):
    token = client_of(ann).access
    User.objects.filter(pk=ann.pk).update(username="ann-renamed")
    assert introspect(token).json()["username"] == "ann-renamed"


def ended(client, send, user):
    client.post("/api/sign-ins/end-all/", {})


def revoked(client, send, user):
    send(REVOKE, {"token": client.access})


def deactivated(client, send, user):
    User.objects.filter(pk=user.pk).update(is_active=False)


def deleted(client, send, user):
    user.delete()


def password_changed(client, send, user):
    user.set_password("quiet copper lantern drifts")
    user.save()


def refreshed(client, send, user):
    access = client.access
    client.renew()
    client.access = access


@pytest.mark.parametrize("change", [ended, revoked, deactivated, deleted, password_changed, refreshed])
def test_introspection_agrees_with_the_api(introspect, send, client_of, ann, change):
    client = client_of(ann)
    change(client, send, ann)
    active = client.get("/api/me/").status_code == 200
    response = introspect(client.access)
    assert response.status_code == 200
    assert response.json()["active"] is active
    assert active or response.content == b'{"active":false}'


def test_a_forged_token_is_not_active(introspect, client_of, ann, subtests):
    honest = client_of(ann).access
    for name, forge in FORGED.items():
        with subtests.test(name):
            response = introspect(forge(honest).encode(errors="replace"))
            assert (response.status_code, response.content) in [
                (200, b'{"active":false}'),
                (413, response.content),
            ]
    assert introspect(honest).json()["active"]


def test_a_refresh_token_is_not_active(introspect, client_of, ann):
    assert introspect(client_of(ann).refresh).content == b'{"active":false}'


def test_anonymous_clients_do_not_introspect(send, client_of, ann):
    response = send(INTROSPECT, {"token": client_of(ann).access})
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


def test_ordinary_users_do_not_introspect_even_their_own_token(send, client_of, ann):
    token = client_of(ann).access
    assert send(INTROSPECT, {"token": token}, token).status_code == 403


def test_staff_introspect(send, client_of, ann, staff):
    assert send(INTROSPECT, {"token": client_of(ann).access}, client_of(staff).access).json()["active"]


def test_a_service_without_the_scope_does_not_introspect(send, anonymous, client_of, ann):
    service, password = registration.create_service("printer", [])
    access = anonymous.post("/api/token/", {"username": service.username, "password": password}).json()["access"]
    assert send(INTROSPECT, {"token": client_of(ann).access}, access).status_code == 403


def test_a_scope_does_not_make_a_user_a_service(send, client_of, ann):
    User.objects.filter(pk=ann.pk).update(scopes="introspect")
    token = client_of(ann).access
    assert send(INTROSPECT, {"token": token}, token).status_code == 403


def test_a_withdrawn_scope_is_refused_at_once(send, gate, client_of, ann):
    User.objects.filter(username="gate").update(scopes="")
    assert send(INTROSPECT, {"token": client_of(ann).access}, gate).status_code == 403


def test_another_site_cannot_introspect_with_the_cookie_of_staff(browser_of, staff):
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = browser_of(staff).cookies
    response = strict.generic("POST", INTROSPECT, urlencode({"token": "x"}), FORM, secure=True)
    assert response.status_code == 403


def test_introspection_costs_four_statements_without_redis(
    introspect, client_of, ann, settings, django_assert_num_queries
):
    settings.REDIS_URL = ""
    token = client_of(ann).access
    # Blocklist and user of the caller, then blocklist and user of the token.
    with django_assert_num_queries(4):
        introspect(token)


# Forms


BAD_FORMS = {
    "nothing": b"",
    "no token": b"token_type_hint=access_token",
    "an empty token": b"token=",
    "two tokens": b"token=a&token=b",
    "two hints": b"token=a&token_type_hint=a&token_type_hint=b",
    "a NUL": b"token=a%00b",
    "bytes that are no UTF-8": b"token=%ff",
    "raw bytes": b"token=\xff\xfe",
    "a surrogate": b"token=%ed%a0%80",
    "many fields": b"&".join(b"f%d=1" % number for number in range(1000)),
    "1 MB": b"token=" + b"a" * 1_000_000,
}


@pytest.mark.parametrize("path", [REVOKE, INTROSPECT])
@pytest.mark.parametrize("body", BAD_FORMS.values(), ids=BAD_FORMS)
def test_a_bad_form_is_refused_with_an_oauth_error_and_our_code(send, gate, path, body):
    response = send(path, body, gate)
    assert response.status_code in {400, 413}
    assert response.json().keys() >= {"detail", "code"}
    assert response.json()["error"] == "invalid_request"


@pytest.mark.parametrize("path", [REVOKE, INTROSPECT])
@pytest.mark.parametrize(
    "content_type",
    ["application/json", "text/plain", "multipart/form-data; boundary=x", FORM + "; charset=utf-16", "", "x"],
)
def test_a_wrong_content_type_is_refused(send, gate, client_of, ann, path, content_type):
    client = client_of(ann)
    response = send(path, {"token": client.refresh}, gate, content_type)
    assert response.status_code in {400, 415}
    assert client.renew().status_code == 200


@pytest.mark.parametrize("path", [REVOKE, INTROSPECT])
@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_a_wrong_method_is_refused(browser, gate, path, method):
    headers = bearer(gate)
    assert browser().generic(method, path, "token=x", FORM, headers=headers).status_code == 405


@pytest.mark.parametrize("path", [REVOKE, INTROSPECT])
def test_a_token_in_the_query_string_does_not_count(browser, gate, client_of, ann, path):
    client = client_of(ann)
    headers = bearer(gate)
    response = browser().generic("POST", f"{path}?token={client.refresh}", "", FORM, headers=headers)
    assert response.status_code == 400
    assert client.renew().status_code == 200


# Audiences


@pytest.fixture
def shop(settings, anonymous, ann, password):
    """Ann's client of another service."""
    settings.JWT_AUDIENCES = ["api", "https://shop.example.org"]
    asked = {"username": ann.username, "password": password, "audience": "https://shop.example.org"}
    response = anonymous.post("/api/token/", asked)
    assert response.status_code == 200
    anonymous._keep(response)
    return anonymous


def test_an_access_token_can_be_for_another_service(shop):
    assert claims_of(shop.access)["aud"] == "https://shop.example.org"


def test_its_refresh_token_is_for_us_and_stores_the_audience(shop):
    assert claims_of(shop.refresh)["aud"] == "api"
    assert shop.renew().status_code == 200
    assert claims_of(shop.access)["aud"] == "https://shop.example.org"


def test_a_token_for_another_service_is_refused_here(shop, send, introspect):
    assert shop.get("/api/me/").status_code == 401
    verified = shop.http.post("/api/token/verify/", {"token": shop.access}, content_type="application/json")
    assert verified.status_code == 401
    assert send(INTROSPECT, {"token": shop.access}, shop.access).status_code == 401


def test_a_token_for_another_service_can_be_introspected_by_it(shop, introspect, send):
    assert introspect(shop.access).json()["aud"] == "https://shop.example.org"
    send(REVOKE, {"token": shop.access})
    assert introspect(shop.access).json() == {"active": False}


def test_a_token_for_another_service_ends_with_its_sign_in(shop, introspect, send):
    send(REVOKE, {"token": shop.refresh})
    assert introspect(shop.access).json() == {"active": False}


def test_a_removed_audience_gets_no_more_tokens(shop, introspect, settings):
    settings.JWT_AUDIENCES = ["api"]
    assert shop.renew().status_code == 401
    assert introspect(shop.access).json() == {"active": False}


def test_our_own_audience_may_be_requested(anonymous, ann, password):
    asked = {"username": ann.username, "password": password, "audience": "api"}
    anonymous._keep(anonymous.post("/api/token/", asked))
    assert anonymous.get("/api/me/").status_code == 200


@pytest.mark.parametrize("audience", ["https://evil.example", "", " api", "API", ["api"], None, 1, "x" * 300])
def test_an_unknown_audience_is_refused(anonymous, ann, password, audience):
    asked = {"username": ann.username, "password": password, "audience": audience}
    response = anonymous.post("/api/token/", asked)
    assert response.status_code == 400
    assert "audience" in response.json()
    assert not SignIn.objects.exists()


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
def test_an_access_token_stays_under_500_bytes_with_public_keys_too(tmp_path, settings, client_of, ann, algorithm):
    (tmp_path / "key.pem").write_bytes(Key.generate(algorithm).pem)
    settings.JWT_KEYS = str(tmp_path)
    User.objects.filter(pk=ann.pk).update(username="n" * 16)
    ann.refresh_from_db()
    token = client_of(ann).access
    assert claims_of(token).keys() >= {"acr", "auth_time"}
    assert len(token) < 500
