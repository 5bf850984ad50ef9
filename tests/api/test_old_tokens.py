"""Refresh tokens of the site before give a sign-in once, and only to the user that they belong to."""

import base64
import hashlib
import hmac
import json
import time
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import ending, pruning
from accounts.models import OldCredential, SecurityEvent, SignIn, User
from tests import old_site
from tests.conftest import ApiClient, claims_of
from tests.old_site import exchange, is_refused, is_taken, refresh_token

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("old_tokens_taken")]


def sign_in_here(user):
    response = ApiClient().sign_in(user.username, old_site.PASSWORD)
    assert response.status_code == 200
    return ApiClient(**{name: response.json()[name] for name in ("access", "refresh")})


# What it gives


def test_an_old_token_gives_tokens_of_a_sign_in_on_the_list(carol):
    response = exchange(refresh_token())
    assert response.json().keys() == {"access", "refresh", "expires_in", "refresh_expires_in"}
    client = ApiClient(response.json()["access"], response.json()["refresh"])
    assert client.get("/api/me/").json()["username"] == "carol"
    assert client.renew().status_code == 200
    assert [each["kind"] for each in client.get("/api/sign-ins/").json()["results"]] == ["client", "browser"]
    event = SecurityEvent.objects.get(user=carol, type="signed_in")
    assert event.details == {"kind": "client", "methods": "", "moved_in": "true"}


def test_the_time_and_methods_of_the_old_sign_in_are_not_claimed(carol):
    claims = claims_of(exchange(refresh_token()).json()["access"])
    assert "amr" not in claims
    assert claims["auth_time"] <= time.time() - 15 * 60


def test_a_sensitive_action_needs_the_password_first(carol):
    pair = exchange(refresh_token()).json()
    response = ApiClient(pair["access"]).post("/api/sign-ins/end-all/")
    assert response.json()["code"] == "recent_sign_in_required"


def test_a_public_key_verifies_old_tokens(carol):
    key = rsa.generate_private_key(65537, 2048)
    pem = (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )
    with override_settings(LEGACY_JWT_KEY=pem):
        assert is_taken(refresh_token(key=key, algorithm="RS256"))
        # The public key as a secret of HS256, signed by hand: PyJWT refuses to sign with it.
        assert exchange(_signed_with_public_key(pem)).status_code == 401
        assert exchange(refresh_token()).status_code == 401
        assert (
            exchange(refresh_token(key=ec.generate_private_key(ec.SECP256R1()), algorithm="ES256")).status_code == 401
        )


def _signed_with_public_key(pem):
    def part(content):
        return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=")

    claims = claims_of(refresh_token())
    signed = part({"alg": "HS256", "typ": "JWT"}) + b"." + part(claims)
    signature = base64.urlsafe_b64encode(hmac.new(pem.encode(), signed, hashlib.sha256).digest()).rstrip(b"=")
    return (signed + b"." + signature).decode()


# Once


def test_a_retry_within_the_grace_period_gets_the_same_sign_in(carol):
    token = refresh_token()
    first, second = exchange(token).json(), exchange(token).json()
    assert second["refresh"] == first["refresh"]
    assert SignIn.objects.filter(kind="client").count() == 1


def test_no_retry_is_accepted_once_the_new_token_was_used(carol):
    token = refresh_token()
    client = ApiClient(refresh=exchange(token).json()["refresh"])
    assert client.renew().status_code == 200
    assert exchange(token).status_code == 401
    assert client.renew().status_code == 200


def test_a_second_use_later_ends_the_sign_in_that_it_gave(carol, clock, mails_of):
    User.objects.filter(pk=carol.pk).update(email_confirmed_at=timezone.now())
    token = refresh_token()
    client = ApiClient(refresh=exchange(token).json()["refresh"])
    clock.shift(timedelta(seconds=11))
    assert mails_of(lambda: exchange(token)) == []
    assert client.renew().status_code == 401
    assert SignIn.objects.get(kind="client").end_reason == "token_reused"


def test_the_use_is_recorded_longer_than_the_token_is_valid(carol):
    token = refresh_token()
    assert is_taken(token)
    assert OldCredential.objects.get().until.timestamp() >= claims_of(token)["exp"] + 15


# Attacks

NOW = int(time.time())
WRONG = {
    "another key": {"key": "another key of more than thirty-two bytes"},
    "no signature": {"key": None, "algorithm": "none"},
    "another algorithm": {"algorithm": "HS512"},
    "expired": {"exp": NOW - 60},
    "an access token": {"token_type": "access"},
    "no type": {"token_type": None},
    "no expiry": {"exp": None},
    "no id": {"jti": None},
    "an id that is no text": {"jti": 5},
    "issued in the future": {"iat": NOW + 3600},
    "not valid yet": {"nbf": NOW + 3600},
    "no user": {"user_id": None},
    "an unknown user": {"user_id": 8},
    "a user that is no id": {"user_id": ["7"]},
    "a boolean user": {"user_id": True},
    "an expiry beyond all dates": {"exp": 10**15},
    "another password": {"hash_password": old_site.password_claim("md5$another$hash")},
}


@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG)
def test_a_token_that_is_not_valid_is_refused(changes, carol):
    assert is_refused(refresh_token(**changes))


def test_a_token_of_the_imported_password_is_taken(carol):
    assert is_taken(refresh_token(hash_password=old_site.password_claim(old_site.HASH)))


@pytest.mark.parametrize("text", ["", "a.b.c", "{}", "é.é.é", "a" * 5000, "..", "\x00.a.b"])
def test_other_texts_are_refused(text, carol):
    assert exchange(text).status_code in (400, 401)


def test_a_token_names_no_account_that_was_not_imported(carol, ann):
    assert is_refused(refresh_token(ann.pk))


def test_a_token_of_the_blacklist_is_refused(tmp_path):
    token = refresh_token()
    outstanding = {"id": 3, "jti": claims_of(token)["jti"], "user": 7, "expires_at": "2099-01-01T00:00:00Z"}
    blacklisted = {"id": 1, "token": 3, "blacklisted_at": "2026-01-01T00:00:00Z"}
    dump = old_site.write_dump(
        tmp_path,
        [old_site.USER],
        token_blacklist__outstandingtoken=[outstanding],
        token_blacklist__blacklistedtoken=[blacklisted],
    )
    assert "revoked tokens of the blacklist: 1" in old_site.import_users(dump)
    assert is_refused(token)
    assert is_taken(refresh_token())


def test_the_token_of_another_user_gives_that_user_only(tmp_path):
    dave = {"id": 8, "username": "dave", "email": "dave@old.example", "password": old_site.HASH}
    old_site.import_users(old_site.write_dump(tmp_path, [old_site.USER, dave]))
    pair = exchange(refresh_token(8)).json()
    assert ApiClient(pair["access"]).get("/api/me/").json()["username"] == "dave"


# What ends the sign-ins of before


def deactivate_and_back(user):
    User.objects.filter(pk=user.pk).update(is_active=False)
    User.objects.filter(pk=user.pk).update(is_active=True)


def change_password(user):
    user.set_password("a quite different passphrase")
    user.save()


def change_by_sql(user):
    with connection.cursor() as cursor:
        cursor.execute("UPDATE accounts_user SET password = 'md5$other$hash' WHERE id = %s", [user.pk])


def end_all(user):
    ending.end_all(user, SignIn.Reason.ENDED_BY_USER)


def end_before_now(user):
    # Only its first step: the rows are marked later.
    next(ending.end_before(timezone.now(), SignIn.Reason.ENDED_BY_STAFF))


def end_everything(user):
    pruning.run_batches(ending.end_everything(SignIn.Reason.ENDED_BY_STAFF), 10)


def end_the_sign_in_of_before(user):
    SignIn.objects.get(user=user).end(SignIn.Reason.ENDED_BY_USER)


def end_others(user):
    client = sign_in_here(user)
    assert client.post("/api/sign-ins/end-others/").json()["ended"] == 1


def deactivate(user):
    User.objects.filter(pk=user.pk).update(is_active=False)


def delete(user):
    user.delete()


ENDS = [
    deactivate,
    deactivate_and_back,
    change_password,
    change_by_sql,
    end_all,
    end_before_now,
    end_everything,
    end_the_sign_in_of_before,
    end_others,
    delete,
]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_whatever_ends_all_sign_ins_ends_old_tokens(end, carol):
    end(carol)
    assert exchange(refresh_token()).status_code == 401


def test_an_upgrade_of_the_hash_ends_no_old_token(carol):
    with override_settings(
        PASSWORD_HASHERS=[
            "django.contrib.auth.hashers.PBKDF2PasswordHasher",
            "django.contrib.auth.hashers.MD5PasswordHasher",
        ]
    ):
        sign_in_here(carol)
        assert not User.objects.get(pk=carol.pk).password.startswith("md5")
        assert is_taken(refresh_token())


def test_a_sign_in_with_the_password_ends_no_old_token(carol):
    sign_in_here(carol)
    assert is_taken(refresh_token())


def test_old_tokens_are_refused_after_the_time_in_the_settings(carol):
    with override_settings(LEGACY_JWT_UNTIL=timezone.now()):
        assert is_refused(refresh_token())


# Off by default


def test_without_the_setting_no_old_token_costs_a_statement(carol):
    with override_settings(LEGACY_JWT_KEY=""), CaptureQueriesContext(connection) as queries:
        assert exchange(refresh_token()).status_code == 401
    assert len(queries) == 0


def test_a_refresh_of_ours_still_takes_two_statements(carol):
    client = sign_in_here(carol)
    with CaptureQueriesContext(connection) as queries:
        assert client.renew().status_code == 200
    assert len(queries) == 2


# Notices


def test_the_first_sign_in_after_the_move_sends_no_mail(carol, mails_of):
    User.objects.filter(pk=carol.pk).update(
        email_confirmed_at=timezone.now(), last_login=timezone.now() - timedelta(days=3)
    )
    assert mails_of(lambda: exchange(refresh_token(), headers={"User-Agent": "OldApp/1.0"})) == []
    assert mails_of(lambda: sign_in_here(carol)) == []
    [mail] = mails_of(
        lambda: ApiClient().post(
            "/api/token/",
            {"username": "carol", "password": old_site.PASSWORD},
            headers={"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"},
        )
    )
    assert mail.subject == "A new device signed in to your account"
