"""Access tokens of a browser's session, for other hosts: what they contain, when they end, and what they cannot do."""

import json
from datetime import timedelta

import pytest
from django.conf import settings as django_settings
from django.db import connection
from django.utils import timezone

from accounts import ending
from accounts.models import SecurityEvent, Session, SignIn, User
from api.blocklist.models import Entry, StatusIndex
from api.tokens import AccessToken
from api.tokens.refresh import find_sign_in
from tests.api.dpop_client import Holder
from tests.conftest import ApiClient, Browser, claims_of, header_of, sign_in_of
from tests.second_factors import add_app

pytestmark = pytest.mark.django_db

TOKEN = "/api/session/token/"
NEW_PASSWORD = "a quite different passphrase"


def mint(browser, headers=None, **fields):
    return browser.generic("POST", TOKEN, json.dumps(fields), "application/json", headers=headers)


def client_of_session(browser, **fields):
    """A client with an access token of the browser's session."""
    response = mint(browser, **fields)
    assert response.status_code == 200, response.content
    return ApiClient(response.json()["access"])


@pytest.fixture
def hers(browser_of, ann):
    """Ann's browser."""
    return browser_of(ann)


def refused(response, status, code):
    assert (response.status_code, response.json()["code"]) == (status, code), response.content
    return True


def is_accepted(client):
    return client.get("/api/me/").status_code == 200


# Contents


def test_a_token_belongs_to_the_sign_in_of_the_session(hers, ann):
    response = mint(hers)
    assert response.json().keys() == {"access", "token_type", "expires_in"}
    assert response.json()["token_type"] == "Bearer"
    access = response.json()["access"]
    sign_in, claims = sign_in_of(ann), claims_of(access)
    assert (claims["sid"], claims["sub"], claims["aud"]) == (str(sign_in.pk), str(ann.pk), "api")
    assert (claims["auth_time"], claims["amr"]) == (int(sign_in.authenticated_at.timestamp()), ["pwd"])
    assert header_of(access)["typ"] == "at+jwt"
    assert ApiClient(access).get("/api/me/").json()["username"] == "ann"
    assert SignIn.objects.count() == 1


def test_a_token_is_not_cached_and_adds_no_event(hers):
    before = SecurityEvent.objects.count()
    assert mint(hers).headers["Cache-Control"] == "no-store"
    assert SecurityEvent.objects.count() == before


def test_the_list_of_sign_ins_marks_the_browser_as_current(hers, ann):
    (row,) = client_of_session(hers).get("/api/sign-ins/").json()["results"]
    assert (row["id"], row["kind"], row["current"]) == (str(sign_in_of(ann).pk), "browser", True)


def test_a_token_for_another_service_is_refused_here(hers, settings):
    settings.JWT_AUDIENCES = ["api", "reports"]
    client = client_of_session(hers, audience="reports")
    assert claims_of(client.access)["aud"] == "reports"
    assert refused(client.get("/api/me/"), 401, "token_not_valid")
    # The next token is for our own API again.
    assert is_accepted(client_of_session(hers))


def test_our_own_audience_can_be_named(hers):
    assert is_accepted(client_of_session(hers, audience="api"))


@pytest.mark.parametrize("audience", ["unknown", "", 1, None, ["api"], "api\u0000", "x" * 300])
def test_an_unknown_audience_is_refused(hers, audience):
    assert refused(mint(hers, audience=audience), 400, "invalid")


def test_with_status_lists_a_token_has_an_index(hers, settings, ann):
    settings.JWT_STATUS_LIST = True
    first, second = (claims_of(mint(hers).json()["access"])["status"]["status_list"]["idx"] for _ in range(2))
    assert first == second == sign_in_of(ann).status_index
    assert StatusIndex.objects.count() == 1
    SignIn.objects.all().end("ended_by_user")
    assert Entry.objects.get(kind="sid").status_index == first


def test_a_token_takes_two_statements(hers, django_assert_num_queries):
    """The session, and its sign-in again: a remembered session takes the second alone."""
    with django_assert_num_queries(2):
        mint(hers)


# Lifetime


def test_a_token_is_valid_for_minutes(hers, clock):
    response = mint(hers)
    assert response.json()["expires_in"] == django_settings.ACCESS_TOKEN.total_seconds()
    client = ApiClient(response.json()["access"])
    clock.shift(timedelta(seconds=response.json()["expires_in"] + 14))
    assert is_accepted(client)
    clock.shift(timedelta(seconds=1))
    assert refused(client.get("/api/me/"), 401, "token_not_valid")


@pytest.mark.parametrize("field", ["created_at", "expires_at"])
def test_a_token_never_outlives_the_sign_in(hers, ann, clock, field):
    end = timezone.now() + timedelta(seconds=40)
    moment = end - django_settings.SIGN_IN_MAX if field == "created_at" else end
    SignIn.objects.filter(user=ann).update(**{field: moment})
    response = mint(hers)
    assert response.json()["expires_in"] == 40
    assert claims_of(response.json()["access"])["exp"] == int(end.timestamp())


def test_a_token_does_not_keep_the_session_alive(hers, ann, clock):
    client = client_of_session(hers)
    before = sign_in_of(ann).expires_at
    clock.shift(timedelta(minutes=4))
    assert is_accepted(client)
    assert sign_in_of(ann).expires_at == before


# Ends


def by_signing_out(browser, ann):
    browser.delete("/api/session/")


def by_the_page(browser, ann):
    browser.post("/accounts/logout/")


def by_another_sign_in(browser, ann):
    browser.post("/accounts/login/", {"username": "ann", "password": "violet anchor hums at dawn"})


def by_staff(browser, ann):
    SignIn.objects.all().end("ended_by_staff")


def by_a_password(browser, ann):
    ann.set_password(NEW_PASSWORD)
    ann.save()


def by_deactivation(browser, ann):
    User.objects.filter(pk=ann.pk).update(is_active=False)


def by_deletion_of_the_user(browser, ann):
    ann.delete()


def by_deletion_of_the_sign_in(browser, ann):
    SignIn.objects.all().delete()


def by_deletion_of_sessions(browser, ann):
    Session.objects.all().delete()


def by_deletion_of_each_session(browser, ann):
    for session in Session.objects.all():
        session.delete()


def by_the_store(browser, ann):
    Session.get_session_store_class()(browser.cookies[django_settings.SESSION_COOKIE_NAME].value).delete()


def wholesale(browser, ann):
    list(ending.end_all_in_batches(ann, "ended_by_user"))


def of_everybody(browser, ann):
    list(ending.end_everything("ended_by_staff"))


def by_sql(statement):
    def end(browser, ann):
        with connection.cursor() as cursor:
            cursor.execute(statement)
            # Deferred triggers fire at the end of the transaction, which a test does not commit.
            if connection.vendor == "postgresql":
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")

    return end


ENDS = {
    "signing out": by_signing_out,
    "signing out on the page": by_the_page,
    "another sign-in in the browser": by_another_sign_in,
    "staff": by_staff,
    "a password": by_a_password,
    "a deactivation": by_deactivation,
    "a deletion of the user": by_deletion_of_the_user,
    "a deletion of the sign-in": by_deletion_of_the_sign_in,
    "a deletion of all sessions": by_deletion_of_sessions,
    "a deletion of each session": by_deletion_of_each_session,
    "a deletion by the session store": by_the_store,
    "an end of all of a user": wholesale,
    "an end of everything": of_everybody,
    "SQL: end": by_sql("UPDATE accounts_signin SET ended_at = CURRENT_TIMESTAMP"),
    "SQL: password": by_sql("UPDATE accounts_user SET password = 'x'"),
    "SQL: deletion of sessions": by_sql("DELETE FROM accounts_session"),
    "SQL: sessions without a sign-in": by_sql("UPDATE accounts_session SET sign_in_id = NULL"),
    "SQL: deactivation": by_sql("UPDATE accounts_user SET is_active = FALSE"),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_each_end_refuses_the_token_and_mints_no_other(hers, ann, end, settings):
    settings.JWT_AUDIENCES = ["api", "reports"]
    key = hers.cookies[django_settings.SESSION_COOKIE_NAME].value
    client, elsewhere = client_of_session(hers), client_of_session(hers, audience="reports")
    end(hers, ann)
    assert refused(client.get("/api/me/"), 401, "sign_in_ended")
    assert 'error="invalid_token"' in client.get("/api/me/").headers["WWW-Authenticate"]
    assert ApiClient().post("/api/token/verify/", {"token": client.access}).status_code == 401
    # Of a sign-in, or of all before a moment: a service that asks finds it too.
    claims = claims_of(elsewhere.access)
    token = AccessToken.__new__(AccessToken)
    token.payload = claims
    assert Entry.objects.blocks(token.sid, token.jti, token.user_id)
    thief = Browser()
    thief.cookies[django_settings.SESSION_COOKIE_NAME] = key
    assert refused(mint(thief), 401, "not_authenticated")


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_token_minted_while_the_sign_in_ends_is_refused(hers, ann, end, clock):
    """The row was read before the end, and the token signed after it: the entry outlasts the token."""
    read_at = timezone.now()
    sign_in = find_sign_in(sign_in_of(ann).pk, ann.pk)
    clock.shift(timedelta(seconds=2))
    end(hers, ann)
    client = ApiClient(str(AccessToken.for_sign_in(sign_in, read_at)))
    clock.shift(django_settings.ACCESS_TOKEN + django_settings.JWT_LEEWAY - timedelta(seconds=3))
    assert refused(client.get("/api/me/"), 401, "sign_in_ended")


def test_a_sign_in_that_ends_before_the_row_is_read_gets_no_token(hers, ann):
    statements = []

    def end_before_second(execute, *statement):
        statements.append(statement)
        if len(statements) == 2:
            SignIn.objects.all().end("ended_by_user")
        return execute(*statement)

    with connection.execute_wrapper(end_before_second):
        assert refused(mint(hers), 401, "not_authenticated")


def copy_of(browser):
    """A browser with a stolen cookie."""
    thief = Browser()
    thief.cookies[django_settings.SESSION_COOKIE_NAME] = browser.cookies[django_settings.SESSION_COOKIE_NAME].value
    return thief


def test_a_key_that_is_replaced_before_the_row_is_read_gets_no_token(hers, password):
    thief, statements = copy_of(hers), []

    def prove_before_second(execute, *statement):
        statements.append(statement)
        if len(statements) == 2:
            assert by_the_api(hers, password).status_code == 204
        return execute(*statement)

    with connection.execute_wrapper(prove_before_second):
        assert refused(mint(thief), 401, "not_authenticated")


@pytest.mark.parametrize("path", ["/api/reauthenticate/", "/accounts/confirm/"])
def test_the_key_is_replaced_before_a_proof_is_recorded(hers, ann, password, clock, path):
    """A thief who asks for a token before each statement of the proof gets none with the proof."""
    clock.shift(django_settings.REAUTHENTICATION_TIMEOUT + timedelta(seconds=1))
    thief, minted, is_minting = copy_of(hers), [], []

    def mint_before(execute, *statement):
        if not is_minting:
            is_minting.append(True)
            minted.append(mint(thief))
            is_minting.clear()
        return execute(*statement)

    with connection.execute_wrapper(mint_before):
        body, kind = ({"password": password}, {"content_type": "application/json"} if "api" in path else {})
        assert hers.post(path, body, **kind).status_code in (204, 302)
    proved_at = int(sign_in_of(ann).authenticated_at.timestamp())
    tokens = [each.json()["access"] for each in minted if each.status_code == 200]
    assert tokens
    assert len(tokens) < len(minted)
    assert all(claims_of(token)["auth_time"] < proved_at for token in tokens)


def test_a_replaced_session_key_keeps_the_token(hers, password):
    """Re-authentication replaces the key, and the sign-in goes on."""
    client = client_of_session(hers)
    before = hers.cookies[django_settings.SESSION_COOKIE_NAME].value
    hers.post("/accounts/confirm/", {"password": password})
    assert hers.cookies[django_settings.SESSION_COOKIE_NAME].value != before
    assert is_accepted(client)
    assert is_accepted(client_of_session(hers))


def test_a_revoked_token_leaves_the_session(hers):
    client, second = client_of_session(hers), client_of_session(hers)
    Browser().generic("POST", "/api/token/revoke/", f"token={client.access}", "application/x-www-form-urlencoded")
    assert refused(client.get("/api/me/"), 401, "token_not_valid")
    assert is_accepted(second)
    assert hers.get("/api/session/").status_code == 200


def test_a_token_can_end_its_own_browser(hers, ann):
    client = client_of_session(hers)
    assert client.delete(f"/api/sign-ins/{sign_in_of(ann).pk}/").status_code == 204
    assert hers.get("/api/session/").status_code == 401


def test_a_token_cannot_be_refreshed_or_mint_another(hers):
    client = client_of_session(hers)
    assert client.post("/api/token/refresh/", {"refresh": client.access}).status_code == 401
    assert refused(client.post(TOKEN, {}), 401, "bad_authorization_header")


# Bound tokens


def prove(holder, browser, **fields):
    """Mints a token with a proof, and once more if a nonce is required."""
    for _try in range(2):
        response = mint(browser, {"DPoP": holder.proof("POST", f"https://testserver{TOKEN}")}, **fields)
        if "DPoP-Nonce" not in response.headers:
            break
        holder.nonce = response.headers["DPoP-Nonce"]
    return response


def test_a_proof_binds_this_token_only(hers, ann):
    holder = Holder()
    response = prove(holder, hers)
    assert response.json()["token_type"] == "DPoP", response.content
    holder.access = response.json()["access"]
    assert holder.me().json()["username"] == "ann"
    assert refused(ApiClient(holder.access).get("/api/me/"), 401, "token_not_valid")
    assert sign_in_of(ann).key_thumbprint == ""
    assert is_accepted(client_of_session(hers))


def test_a_proof_for_another_address_is_refused(hers):
    holder = Holder()
    prove(holder, hers)
    for proof in ("x", holder.proof("POST", "https://testserver/api/token/"), holder.proof("GET", TOKEN)):
        assert refused(mint(hers, {"DPoP": proof}), 400, "invalid_dpop_proof")


def test_a_proof_is_valid_once(hers):
    holder = Holder()
    prove(holder, hers)
    proof = {"DPoP": holder.proof("POST", f"https://testserver{TOKEN}")}
    assert mint(hers, proof).status_code == 200
    assert refused(mint(hers, proof), 400, "invalid_dpop_proof")


@pytest.mark.parametrize("way", ["all", "staff", "the user"])
def test_where_keys_are_required_a_token_needs_a_proof(hers, ann, settings, way):
    settings.DPOP_REQUIRED = "" if way == "the user" else way
    User.objects.filter(pk=ann.pk).update(is_staff=way == "staff", bound_tokens_only=way == "the user")
    assert refused(mint(hers), 400, "invalid_dpop_proof")
    assert prove(Holder(), hers).json()["token_type"] == "DPoP"
    # The session itself needs none.
    assert hers.get("/api/session/").status_code == 200


# Step-up


def test_a_recent_sign_in_is_enough_for_a_sensitive_action(hers):
    assert client_of_session(hers).post("/api/sign-ins/end-others/", {}).status_code == 200


def test_an_old_sign_in_must_be_confirmed_in_the_browser(hers, ann, password, clock):
    clock.shift(django_settings.REAUTHENTICATION_TIMEOUT + timedelta(seconds=1))
    client = client_of_session(hers)
    assert refused(client.post("/api/sign-ins/end-others/", {}), 403, "recent_sign_in_required")
    confirmed = hers.post("/api/reauthenticate/", {"password": password}, content_type="application/json")
    assert confirmed.status_code == 204
    assert client_of_session(hers).post("/api/sign-ins/end-others/", {}).status_code == 200


def by_the_api(browser, password):
    return browser.post("/api/reauthenticate/", {"password": password}, content_type="application/json")


def by_the_confirm_page(browser, password):
    return browser.post("/accounts/confirm/", {"password": password})


def by_a_new_password(browser, password):
    body = {"old_password": password, "new_password": NEW_PASSWORD}
    return browser.post("/api/password/change/", body, content_type="application/json")


SENSITIVE = ["/api/email/change/", "/api/factors/totp/", "/api/sign-ins/end-others/", "/api/me/delete/"]


@pytest.mark.parametrize("prove", [by_the_api, by_the_confirm_page, by_a_new_password])
@pytest.mark.parametrize("path", SENSITIVE)
def test_a_token_from_before_a_proof_gains_nothing_by_it(hers, ann, password, clock, prove, path):
    """A thief of the cookie may have minted it: the proof replaced the cookie, and is not for the thief."""
    clock.shift(django_settings.REAUTHENTICATION_TIMEOUT + timedelta(seconds=1))
    stolen = client_of_session(hers)
    assert prove(hers, password).status_code in (204, 302)
    body = {"new_email": "ann@example.net"} if "email" in path else {}
    assert refused(stolen.post(path, body), 403, "recent_sign_in_required")
    assert User.objects.filter(pk=ann.pk, new_email="").exists()


@pytest.mark.parametrize("path", ["/api/reauthenticate/", "/api/password/confirm/"])
def test_a_token_of_a_session_cannot_confirm_its_user(hers, ann, password, clock, path):
    """The session key would stay the same: a stolen cookie would gain the proof."""
    before = sign_in_of(ann).authenticated_at
    clock.shift(timedelta(minutes=1))
    response = client_of_session(hers).post(path, {"password": password})
    assert refused(response, 403, "session_required")
    assert sign_in_of(ann).authenticated_at == before


def test_a_token_of_a_session_cannot_change_the_password(hers, ann, password):
    body = {"old_password": password, "new_password": NEW_PASSWORD}
    assert refused(client_of_session(hers).post("/api/password/change/", body), 403, "session_required")
    ann.refresh_from_db()
    assert ann.check_password(password)


def test_a_factor_added_by_a_token_is_not_proved_in_the_session(hers, ann):
    add_app(client_of_session(hers))
    assert sign_in_of(ann).methods == "password"
