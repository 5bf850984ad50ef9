"""The contract of the four token endpoints: bodies, codes, headers and claims."""

import time
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import SecurityEvent, SignIn, User
from api.tokens import AccessToken, SignInEnded
from tests.conftest import ApiClient, bearer, claims_of, header_of

pytestmark = pytest.mark.django_db

WRONG_PASSWORD = "not the right passphrase at all"


# Obtaining tokens


def test_the_right_password_returns_a_pair_of_tokens(anonymous, ann, password):
    response = anonymous.post("/api/token/", {"username": ann.username, "password": password})
    assert response.status_code == 200
    assert response.json().keys() == {"access", "refresh", "expires_in", "refresh_expires_in"}


def test_the_answer_says_how_long_each_token_is_valid(anonymous, ann, password, clock, settings):
    answer = anonymous.post("/api/token/", {"username": ann.username, "password": password}).json()
    assert answer["expires_in"] == settings.ACCESS_TOKEN.total_seconds()
    assert answer["refresh_expires_in"] == settings.REFRESH_TOKEN.total_seconds()
    now = timezone.now().timestamp()
    assert claims_of(answer["access"])["exp"] - now == answer["expires_in"]
    assert claims_of(answer["refresh"])["exp"] - now == answer["refresh_expires_in"]


def test_an_answer_never_promises_more_than_there_is(anonymous, ann, password):
    answer = anonymous.post("/api/token/", {"username": ann.username, "password": password}).json()
    assert isinstance(answer["expires_in"], int)
    assert isinstance(answer["refresh_expires_in"], int)
    assert answer["expires_in"] <= claims_of(answer["access"])["exp"] - time.time() + 1


def test_a_second_answer_in_the_grace_period_says_what_is_left(client_of, ann, clock, settings):
    client = client_of(ann)
    clock.shift(timedelta(days=1))
    used = client.refresh
    first = client.renew().json()
    clock.shift(timedelta(seconds=7))
    second = ApiClient().post("/api/token/refresh/", {"refresh": used}).json()
    assert second["refresh"] == first["refresh"]
    assert second["refresh_expires_in"] == first["refresh_expires_in"] - 7
    assert (first["expires_in"], second["expires_in"]) == (300, 300)


def test_near_the_end_of_a_sign_in_the_tokens_expire_with_it(client_of, ann, clock, settings):
    client = client_of(ann)
    left = timedelta(seconds=90)
    SignIn.objects.update(created_at=timezone.now() - settings.SIGN_IN_MAX + left)
    answer = client.renew().json()
    assert (answer["expires_in"], answer["refresh_expires_in"]) == (90, 90)


# Codes of a refused access token


def test_a_client_can_tell_an_ended_sign_in_from_an_expired_token(client_of, ann, clock, settings):
    ended, expired = client_of(ann), client_of(ann)
    SignIn.objects.filter(pk=claims_of(ended.access)["sid"]).end("ended_by_user")
    refusal = ended.get("/api/me/")
    assert (refusal.status_code, refusal.json()["code"]) == (401, "sign_in_ended")
    assert refusal.headers["WWW-Authenticate"] == 'Bearer realm="api", error="invalid_token"'
    clock.shift(settings.ACCESS_TOKEN + settings.JWT_LEEWAY)
    # Of a token that has expired and whose sign-in has ended, the refresh shows it.
    assert [each.get("/api/me/").json()["code"] for each in (ended, expired)] == ["token_not_valid"] * 2
    assert [each.renew().status_code for each in (ended, expired)] == [401, 200]


def test_a_token_that_was_revoked_alone_can_be_replaced(client_of, ann):
    client = client_of(ann)
    AccessToken(client.access).revoke()
    refusal = client.get("/api/me/")
    assert (refusal.status_code, refusal.json()["code"]) == (401, "token_not_valid")
    assert client.renew().status_code == 200
    assert client.get("/api/me/").status_code == 200


def test_a_revoked_token_of_an_ended_sign_in_cannot_be_replaced(client_of, ann):
    client = client_of(ann)
    AccessToken(client.access).revoke()
    SignIn.objects.all().end("ended_by_user")
    assert client.get("/api/me/").json()["code"] == "sign_in_ended"


def test_only_a_refused_token_costs_statements(client_of, ann, django_assert_num_queries):
    """Without Redis, each check of the blocklist is a statement."""
    client = client_of(ann)
    with django_assert_num_queries(1):
        AccessToken(client.access)
    SignIn.objects.all().end("ended_by_user")
    with django_assert_num_queries(2), pytest.raises(SignInEnded):
        AccessToken(client.access)


def test_the_access_token_is_accepted(client_of, browser, ann):
    response = browser().get("/api/me/", headers=bearer(client_of(ann).access))
    assert response.status_code == 200


def test_a_sign_in_adds_one_row_for_a_client(anonymous, ann, password):
    anonymous.post("/api/token/", {"username": ann.username, "password": password})
    assert list(SignIn.objects.values_list("user", "kind")) == [(ann.pk, "client")]


def test_a_sign_in_adds_one_event(anonymous, ann, password):
    before = SecurityEvent.objects.count()
    anonymous.post("/api/token/", {"username": ann.username, "password": password})
    assert SecurityEvent.objects.count() == before + 1


def test_every_sign_in_has_its_own_row(client_of, ann):
    assert claims_of(client_of(ann).access)["sid"] != claims_of(client_of(ann).access)["sid"]


def test_a_token_response_sets_no_cookie(anonymous, ann, password):
    response = anonymous.post("/api/token/", {"username": ann.username, "password": password})
    assert not response.cookies


@pytest.fixture
def refusals(anonymous, ann, bob, password):
    """The responses to three users whose sign-in is refused, each for another reason."""
    User.objects.filter(pk=bob.pk).update(is_active=False)
    return {
        "wrong password": anonymous.post("/api/token/", {"username": ann.username, "password": WRONG_PASSWORD}),
        "unknown user": anonymous.post("/api/token/", {"username": "nobody-here", "password": password}),
        "inactive user": anonymous.post("/api/token/", {"username": bob.username, "password": password}),
    }


REASONS = ["wrong password", "unknown user", "inactive user"]


@pytest.mark.parametrize("reason", REASONS)
def test_a_refused_sign_in_is_401(refusals, reason):
    assert refusals[reason].status_code == 401


@pytest.mark.parametrize("reason", REASONS)
def test_a_refused_sign_in_is_no_active_account(refusals, reason):
    answer = refusals[reason].json()
    assert answer["code"] == "no_active_account"
    assert isinstance(answer["detail"], str)


@pytest.mark.parametrize("reason", REASONS[1:])
def test_the_refusals_of_a_sign_in_are_identical(refusals, reason):
    assert refusals[reason].content == refusals["wrong password"].content


@pytest.mark.parametrize("reason", REASONS)
def test_the_challenge_to_a_refused_password_blames_no_token(refusals, reason):
    challenge = refusals[reason].headers["WWW-Authenticate"]
    assert challenge.startswith("Bearer")
    assert "invalid_token" not in challenge


def test_a_refused_sign_in_adds_no_row(refusals):
    assert not SignIn.objects.exists()


@pytest.mark.parametrize("missing", ["username", "password"])
def test_a_missing_field_is_named_beside_detail_and_code(anonymous, ann, password, missing):
    body = {"username": ann.username, "password": password}
    del body[missing]
    response = anonymous.post("/api/token/", body)
    assert response.status_code == 400
    assert response.json().keys() >= {"detail", "code", missing}


# Claims


def test_an_access_token_has_exactly_the_documented_claims(client_of, ann):
    assert claims_of(client_of(ann).access).keys() == {
        "iss",
        "aud",
        "sub",
        "sid",
        "jti",
        "iat",
        "exp",
        "token_type",
        "username",
        "amr",
        "acr",
        "auth_time",
    }


def test_a_refresh_token_has_the_documented_claims(client_of, ann):
    assert claims_of(client_of(ann).refresh).keys() >= {"iss", "aud", "sub", "sid", "jti", "iat", "exp", "token_type"}


@pytest.mark.parametrize("claim", ["username", "email", "first_name", "password", "is_staff"])
def test_a_refresh_token_contains_no_personal_data(client_of, ann, claim):
    assert claim not in claims_of(client_of(ann).refresh)


@pytest.mark.parametrize("kind", ["access", "refresh"])
def test_sub_is_the_id_of_the_user_as_text(client_of, ann, kind):
    assert claims_of(getattr(client_of(ann), kind))["sub"] == str(ann.pk)


@pytest.mark.parametrize("kind", ["access", "refresh"])
def test_sid_is_the_id_of_the_sign_in(client_of, ann, kind):
    claims = claims_of(getattr(client_of(ann), kind))
    assert claims["sid"] == str(SignIn.objects.get().pk)


@pytest.mark.parametrize("kind", ["access", "refresh"])
def test_token_type_names_the_kind_of_token(client_of, ann, kind):
    assert claims_of(getattr(client_of(ann), kind))["token_type"] == kind


@pytest.mark.parametrize(("kind", "typ"), [("access", "at+jwt"), ("refresh", "rt+jwt")])
def test_typ_in_the_header_names_the_kind_of_token(client_of, ann, kind, typ):
    assert header_of(getattr(client_of(ann), kind))["typ"] == typ


@pytest.mark.parametrize("kind", ["access", "refresh"])
def test_the_header_names_the_key(client_of, ann, kind):
    kid = header_of(getattr(client_of(ann), kind))["kid"]
    assert isinstance(kid, str)
    assert kid


@pytest.mark.parametrize("kind", ["access", "refresh"])
@pytest.mark.parametrize("claim", ["iss", "aud"])
def test_issuer_and_audience_are_always_set(client_of, ann, kind, claim):
    value = claims_of(getattr(client_of(ann), kind))[claim]
    assert isinstance(value, str)
    assert value


def test_access_and_refresh_token_have_ids_of_their_own(client_of, ann):
    client = client_of(ann)
    assert claims_of(client.access)["jti"] != claims_of(client.refresh)["jti"]


def test_the_username_claim_is_the_username(client_of, ann):
    assert claims_of(client_of(ann).access)["username"] == ann.username


def test_an_access_token_lives_five_minutes(client_of, ann):
    claims = claims_of(client_of(ann).access)
    assert claims["exp"] - claims["iat"] == 5 * 60


def test_a_refresh_token_lives_fourteen_days(client_of, ann):
    claims = claims_of(client_of(ann).refresh)
    assert claims["exp"] - claims["iat"] == 14 * 24 * 60 * 60


def test_an_access_token_stays_under_500_bytes(client_of, ann):
    assert len(client_of(ann).access.encode()) < 500


def test_a_new_name_is_returned_whatever_the_token_contains(client_of, ann):
    client = client_of(ann)
    User.objects.filter(pk=ann.pk).update(username="ann-renamed")
    assert client.get("/api/me/").json()["username"] == "ann-renamed"


# Refresh, verify, blacklist


def test_a_refresh_returns_a_new_pair(client_of, anonymous, ann):
    response = anonymous.post("/api/token/refresh/", {"refresh": client_of(ann).refresh})
    assert response.status_code == 200
    assert response.json().keys() == {"access", "refresh", "expires_in", "refresh_expires_in"}


def test_verify_returns_an_empty_200_for_a_valid_access_token(client_of, anonymous, ann):
    response = anonymous.post("/api/token/verify/", {"token": client_of(ann).access})
    assert (response.status_code, response.json()) == (200, {})


def test_verify_returns_an_empty_200_for_a_valid_refresh_token(client_of, anonymous, ann):
    response = anonymous.post("/api/token/verify/", {"token": client_of(ann).refresh})
    assert (response.status_code, response.json()) == (200, {})


@pytest.mark.parametrize("kind", ["access", "refresh"])
def test_verify_refuses_a_token_of_an_ended_sign_in(client_of, anonymous, ann, kind):
    client = client_of(ann)
    client.post("/api/sign-ins/end-all/", {})
    response = anonymous.post("/api/token/verify/", {"token": getattr(client, kind)})
    assert (response.status_code, response.json()["code"]) == (401, "token_not_valid")


def test_verify_refuses_a_token_of_a_deactivated_user(client_of, anonymous, ann):
    client = client_of(ann)
    User.objects.filter(pk=ann.pk).update(is_active=False)
    assert anonymous.post("/api/token/verify/", {"token": client.access}).status_code == 401


def test_blacklist_returns_an_empty_object(client_of, anonymous, ann):
    response = anonymous.post("/api/token/blacklist/", {"refresh": client_of(ann).refresh})
    assert (response.status_code, response.json()) == (200, {})


def test_blacklist_ends_the_sign_in(client_of, anonymous, ann):
    anonymous.post("/api/token/blacklist/", {"refresh": client_of(ann).refresh})
    assert SignIn.objects.get().ended_at is not None


def test_after_blacklist_the_access_token_is_refused(client_of, anonymous, ann):
    client = client_of(ann)
    anonymous.post("/api/token/blacklist/", {"refresh": client.refresh})
    assert client.get("/api/me/").status_code == 401


def test_after_blacklist_the_refresh_token_is_refused(client_of, anonymous, ann):
    client = client_of(ann)
    anonymous.post("/api/token/blacklist/", {"refresh": client.refresh})
    response = anonymous.post("/api/token/refresh/", {"refresh": client.refresh})
    assert (response.status_code, response.json()["code"]) == (401, "token_not_valid")


def test_blacklist_does_not_end_other_sign_ins_of_the_user(client_of, anonymous, ann):
    phone, laptop = client_of(ann), client_of(ann)
    anonymous.post("/api/token/blacklist/", {"refresh": phone.refresh})
    assert laptop.get("/api/me/").status_code == 200


BODIES = {
    "/api/token/refresh/": "refresh",
    "/api/token/verify/": "token",
    "/api/token/blacklist/": "refresh",
}


@pytest.mark.parametrize(("path", "field"), BODIES.items())
def test_an_invalid_token_is_not_valid(anonymous, path, field):
    response = anonymous.post(path, {field: "not-a-token"})
    assert (response.status_code, response.json()["code"]) == (401, "token_not_valid")


@pytest.mark.parametrize(("path", "field"), BODIES.items())
def test_a_refused_token_gets_a_challenge(anonymous, path, field):
    response = anonymous.post(path, {field: "not-a-token"})
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(("path", "field"), BODIES.items())
def test_a_missing_token_is_a_400_that_names_the_field(anonymous, path, field):
    response = anonymous.post(path, {})
    assert response.status_code == 400
    assert response.json().keys() >= {"detail", "code", field}


# Headers


def test_a_new_pair_of_tokens_is_not_stored_by_caches(anonymous, ann, password):
    response = anonymous.post("/api/token/", {"username": ann.username, "password": password})
    assert "no-store" in response.headers["Cache-Control"]


def test_a_refreshed_pair_of_tokens_is_not_stored_by_caches(client_of, anonymous, ann):
    response = anonymous.post("/api/token/refresh/", {"refresh": client_of(ann).refresh})
    assert "no-store" in response.headers["Cache-Control"]


def test_without_a_token_the_challenge_names_no_error(anonymous):
    response = anonymous.get("/api/me/")
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert "error" not in response.headers["WWW-Authenticate"]


def test_a_bad_token_is_named_in_the_challenge(browser):
    response = browser().get("/api/me/", headers=bearer("not-a-token"))
    assert response.status_code == 401
    assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]


def test_the_token_of_an_ended_sign_in_is_named_in_the_challenge(client_of, ann):
    client = client_of(ann)
    client.post("/api/sign-ins/end-all/", {})
    assert 'error="invalid_token"' in client.get("/api/me/").headers["WWW-Authenticate"]


@pytest.mark.parametrize("name", ["access_token", "token", "access", "jwt"])
def test_a_token_in_the_query_string_is_ignored(client_of, browser, ann, name):
    response = browser().get("/api/me/", {name: client_of(ann).access})
    assert response.status_code == 401
