"""API keys: made once, refused at once when they end, within their scopes and their owner's rights."""

import base64
import re
import uuid
import zlib
from datetime import timedelta

import pytest
from django.core.cache import cache
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from accounts import api_keys
from accounts.models import SecurityEvent, SignIn, User
from api import step_up
from api.blocklist import api_keys as blocklist_keys
from api.blocklist.api_keys import find_sign_in, remembered_keys
from tests.conftest import ApiClient, Browser, bearer
from tests.security.urls import all_urls

pytestmark = pytest.mark.django_db

KEYS = "/api/api-keys/"
ME = "/api/me/"


@pytest.fixture
def make(client_of):
    """Returns a function that makes a key and returns the body of the response."""

    def make(user, **wanted):
        response = client_of(user).post(KEYS, {"name": "nightly report", **wanted})
        assert response.status_code == 201, response.content
        return response.json()

    return make


@pytest.fixture
def key(make, ann):
    """Ann's key, which may read and write."""
    return make(ann, scopes=["read", "write"])["key"]


@pytest.fixture
def by_key(key):
    return ApiClient(key)


def refusal(response):
    return response.status_code, response.json().get("code")


NOT_VALID = (401, "api_key_not_valid")
NOT_ALLOWED = (403, "api_key_not_allowed")


# Its text


def test_a_secret_scanner_recognises_a_key(key):
    assert re.fullmatch(r"wp_[a-z2-7]{64}", key)
    content = base64.b32decode(key[3:].upper())
    assert zlib.crc32(content[:36]).to_bytes(4) == content[36:]


def test_only_its_hash_is_stored(key):
    sign_in = SignIn.objects.get(kind="key")
    secret = base64.b32decode(key[3:].upper())[16:36]
    row = str(SignIn.objects.filter(pk=sign_in.pk).values().get())
    assert re.fullmatch("[0-9a-f]{64}", sign_in.key_hash)
    assert not [each for each in (key, secret.hex(), str(secret)) if each in row]


def test_a_key_with_a_typing_error_costs_no_statement(key, django_assert_num_queries):
    wrong = key[:-1] + ("a" if key[-1] != "a" else "b")
    with django_assert_num_queries(0):
        assert refusal(ApiClient(wrong).get(ME)) == NOT_VALID


# Requests


def test_a_key_acts_as_its_owner(by_key):
    assert by_key.get(ME).json()["username"] == "ann"


def test_a_key_is_refused_with_a_challenge(anonymous, key):
    response = ApiClient("wp_" + "a" * 64).get(ME)
    assert refusal(response) == NOT_VALID
    assert response["WWW-Authenticate"] == 'Bearer realm="api", error="invalid_token"'


@pytest.mark.parametrize("scheme", ["DPoP", "Token", "Basic", "ApiKey"])
def test_a_key_needs_the_scheme_bearer(key, scheme):
    assert ApiClient().get(ME, headers={"Authorization": f"{scheme} {key}"}).status_code == 401


def test_a_bad_key_never_falls_back_to_the_cookie(browser_of, ann, key):
    response = browser_of(ann).get(ME, headers=bearer(key[:-1]))
    assert refusal(response) == NOT_VALID


def test_another_secret_for_the_same_sign_in_is_refused(key):
    read = api_keys.read(key.encode())
    forged = api_keys._text(api_keys.ReadKey(read.sid, b"x" * api_keys.SECRET_BYTES))
    assert refusal(ApiClient(forged).get(ME)) == NOT_VALID


def test_an_empty_hash_matches_no_key(client_of, ann):
    client_of(ann)
    forged = api_keys._text(api_keys.ReadKey(SignIn.objects.get().sid, b"x" * api_keys.SECRET_BYTES))
    assert refusal(ApiClient(forged).get(ME)) == NOT_VALID


def test_a_key_shows_no_page(browser, key):
    for path in ("/accounts/profile/", "/accounts/sign-ins/", "/admin/"):
        assert browser().get(path, headers=bearer(key)).status_code == 302, path


def test_a_key_expires(clock, make, ann):
    client = ApiClient(make(ann, expires_in_days=60)["key"])
    clock.shift(timedelta(days=59))
    assert client.get(ME).status_code == 200
    clock.shift(timedelta(days=1))
    assert refusal(client.get(ME)) == NOT_VALID


def test_use_does_not_prolong_a_key(clock, make, ann):
    made = make(ann, expires_in_days=1)
    before = SignIn.objects.get(kind="key").expires_at
    clock.shift(timedelta(hours=23))
    assert ApiClient(made["key"]).get(ME).status_code == 200
    assert SignIn.objects.get(kind="key").expires_at == before


def test_a_lower_limit_applies_to_existing_keys(clock, by_key, settings):
    settings.API_KEY_MAX = timedelta(days=7)
    clock.shift(timedelta(days=8))
    assert refusal(by_key.get(ME)) == NOT_VALID
    assert not SignIn.objects.filter(kind="key").live().exists()


def test_without_api_keys_existing_ones_are_refused(by_key, settings):
    settings.API_KEY_MAX = timedelta(0)
    assert refusal(by_key.get(ME)) == NOT_VALID


def test_its_last_use_is_recorded(clock, by_key, hers):
    assert hers.get(KEYS).json()["results"][0]["last_used_at"] is None
    clock.shift(timedelta(minutes=6))
    by_key.get(ME)
    hers.renew()
    assert hers.get(KEYS).json()["results"][0]["last_used_at"] is not None


def test_a_key_in_use_outlasts_a_secret_key(clock, by_key, settings):
    old = settings.SECRET_KEY
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another secret of fifty characters, as it should be", [old]
    clock.shift(timedelta(minutes=6))
    assert by_key.get(ME).status_code == 200
    settings.SECRET_KEY_FALLBACKS = []
    remembered_keys.clear()
    assert by_key.get(ME).status_code == 200


def test_keys_that_are_not_valid_are_rate_limited(monkeypatch, by_key):
    monkeypatch.setattr("api.throttling.RefusedKeyThrottle.get_rate", lambda self: "3/minute")
    unknown = ApiClient("wp_" + "a" * 64)
    assert [unknown.get(ME).status_code for _ in range(4)] == [401, 401, 401, 429]
    assert by_key.get(ME).status_code == 200
    cache.clear()


# Statements


def test_a_first_check_costs_one_statement(by_key, django_assert_num_queries):
    with django_assert_num_queries(1):
        assert find_sign_in(by_key.access.encode()).user.username == "ann"


def test_the_compiled_query_has_the_parameters_of_the_orm(db):
    sid = uuid.UUID("0197a1b2-0000-7000-8000-000000000001")
    _sql, parameters = blocklist_keys._rows(sid).values_list("pk").query.get_compiler("default").as_sql()
    assert blocklist_keys._parameters(sid) == list(parameters)


# Scopes


def test_a_key_reads_unless_it_asks_for_more(make, ann):
    made = make(ann)
    assert made["scopes"] == ["read"]
    assert ApiClient(made["key"]).get(ME).status_code == 200


def test_a_key_needs_the_scope_write_for_a_change(make, ann):
    response = ApiClient(make(ann)["key"]).patch(ME, {"first_name": "Zoe"})
    assert refusal(response) == (403, "insufficient_scope")
    assert 'error="insufficient_scope", scope="write"' in response["WWW-Authenticate"]


def test_a_key_that_writes_need_not_read(make, ann):
    client = ApiClient(make(ann, scopes=["write"])["key"])
    assert client.patch(ME, {"first_name": "Zoe"}).status_code == 200
    assert refusal(client.get(ME)) == (403, "insufficient_scope")


ALLOWED = {
    ("/api/me/", "PATCH"),
    ("/api/token/introspect/", "POST"),
}


def test_a_key_can_do_what_is_listed_and_nothing_else(by_key, make, staff, ann):
    """The URLs come from the URL conf, so that a new endpoint has to decide."""
    client = ApiClient(make(staff, scopes=["read", "write"])["key"])
    done = set()
    for place in all_urls():
        if not place.is_api or place.reads_no_cookie or place.route.startswith(("/api/session/", "/compare/")):
            continue
        for method in place.methods:
            response = client.request(method, place.path(), {})
            if response.status_code != 405 and refusal(response) != NOT_ALLOWED:
                done.add((place.route, method))
    assert done == ALLOWED
    assert client.get(ME).status_code == 200


@pytest.mark.parametrize("path", ["/api/factors/", KEYS])
def test_a_key_lists_neither_factors_nor_keys(by_key, path):
    assert refusal(by_key.get(path)) == NOT_ALLOWED


def test_a_key_is_no_session(by_key):
    assert by_key.get("/api/session/").status_code == 401


def test_a_key_has_the_rights_of_its_owner(by_key, make, staff):
    def introspect(key):
        form = {"content_type": "application/x-www-form-urlencoded", "headers": bearer(key)}
        return Browser().post("/api/token/introspect/", "token=x", **form).status_code

    assert introspect(by_key.access) == 403
    assert introspect(make(staff)["key"]) == 200


# Making one


def test_making_a_key_is_an_event_and_a_mail(mails_of, hers):
    [mail] = mails_of(lambda: hers.post(KEYS, {"name": "nightly report"}))
    assert "nightly report" in mail.body
    event = SecurityEvent.objects.get(type="api_key_made")
    assert (event.sid, event.details) == (SignIn.objects.get(kind="key").pk, {"scopes": "read"})


def test_making_a_key_is_no_sign_in_of_the_user(hers, ann):
    before = User.objects.get(pk=ann.pk).last_login
    hers.post(KEYS, {"name": "nightly report"})
    assert User.objects.get(pk=ann.pk).last_login == before


def test_a_key_makes_no_key(by_key):
    assert refusal(by_key.post(KEYS, {"name": "another"})) == NOT_ALLOWED


def test_making_a_key_needs_a_recent_proof(clock, hers):
    clock.shift(timedelta(minutes=16))
    hers.renew()
    assert refusal(hers.post(KEYS, {"name": "x"})) == (403, "recent_sign_in_required")


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "  "},
        {"name": "a\u202eb"},
        {"name": "x" * 61},
        {"scopes": []},
        {"scopes": ["admin"]},
        {"scopes": "read"},
        {"expires_in_days": 0},
        {"expires_in_days": 366},
        {"expires_in_days": "many"},
        {"expires_in_days": 1.5},
        {"expires_in_days": 1e300},
    ],
)
def test_invalid_input_makes_no_key(hers, wrong):
    answer = hers.post(KEYS, {"name": "x", **wrong})
    assert answer.status_code == 400
    assert all(isinstance(reason, str) for name in wrong for reason in answer.json()[name])
    assert isinstance(answer.json()[next(iter(wrong))], list)
    assert not SignIn.objects.filter(kind="key").exists()


def test_a_number_with_a_zero_fraction_is_an_integer(hers):
    assert hers.post(KEYS, {"name": "x", "expires_in_days": 92.0}).status_code == 201


def test_a_user_has_a_limited_number_of_keys(monkeypatch, hers):
    monkeypatch.setattr(api_keys, "MAX_KEYS", 2)
    for _ in range(2):
        assert hers.post(KEYS, {"name": "x"}).status_code == 201
    assert refusal(hers.post(KEYS, {"name": "x"})) == (409, "too_many_keys")


def test_a_user_of_bound_tokens_has_no_key(hers, ann):
    User.objects.filter(pk=ann.pk).update(bound_tokens_only=True)
    assert refusal(hers.post(KEYS, {"name": "x"})) == (403, "bound_tokens_only")


def test_a_key_of_a_user_who_now_needs_bound_tokens_is_refused(by_key, ann):
    User.objects.filter(pk=ann.pk).update(bound_tokens_only=True)
    assert refusal(by_key.get(ME)) == NOT_VALID


def test_the_setting_0_makes_no_keys(hers, settings):
    settings.API_KEY_MAX = timedelta(0)
    assert hers.post(KEYS, {"name": "x"}).status_code == 404


def test_the_list_has_no_key(hers):
    made = hers.post(KEYS, {"name": "x"}).json()
    [listed] = hers.get(KEYS).json()["results"]
    assert listed == {name: value for name, value in made.items() if name != "key"}


# Ending one


def test_a_key_ends_like_any_sign_in(hers, by_key):
    assert by_key.get(ME).status_code == 200
    sid = hers.get(KEYS).json()["results"][0]["id"]
    assert hers.delete(f"/api/sign-ins/{sid}/").status_code == 204
    assert refusal(by_key.get(ME)) == NOT_VALID


def test_who_finds_a_key_can_revoke_it(anonymous, by_key):
    form = "application/x-www-form-urlencoded"
    response = anonymous.http.post("/api/token/revoke/", f"token={by_key.access}", content_type=form)
    assert response.status_code == 200
    assert refusal(by_key.get(ME)) == NOT_VALID


def test_a_disputed_key_ends(hers, by_key):
    event = SecurityEvent.objects.get(type="api_key_made")
    assert hers.post(f"/api/events/{event.pk}/not-me/").json() == {"ended": 1}
    assert refusal(by_key.get(ME)) == NOT_VALID


def test_prune_keeps_a_valid_key(clock, make, ann):
    make(ann, expires_in_days=365)
    clock.shift(timedelta(days=200))
    list(SignIn.objects.prune())
    assert SignIn.objects.filter(kind="key").count() == 1
    clock.shift(timedelta(days=200))
    list(SignIn.objects.prune())
    assert not SignIn.objects.filter(kind="key").exists()


def test_nothing_is_remembered_of_a_refused_key(by_key):
    SignIn.objects.get(kind="key").end(SignIn.Reason.ENDED_BY_USER)
    remembered_keys.clear()
    by_key.get(ME)
    assert len(remembered_keys) == 0


# Views of other apps


class PaymentView(APIView):
    """A view with RecentAuthentication, which says nothing about keys."""

    permission_classes = (IsAuthenticated, step_up.RecentAuthentication)

    def post(self, request: Request) -> Response:
        return Response({})


@pytest.mark.parametrize("auth", ["key", "client"])
def test_a_view_with_recent_authentication_takes_no_key(auth, by_key, hers):
    client = {"key": by_key, "client": hers}[auth]
    request = APIRequestFactory().post("/pay/", {}, headers=bearer(client.access), secure=True)
    response = PaymentView.as_view()(request)
    assert response.status_code == {"key": 403, "client": 200}[auth]
    if auth == "key":
        assert response.data["code"] == "api_key_not_allowed"
