"""API keys without a statement: what a process remembers, and what makes it look the key up again."""

import time
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.hashers import make_password
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.urls import include, path
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import ending
from accounts.models import SignIn, User
from accounts.models.lifetimes import LAST_SEEN_PRECISION
from api.blocklist.api_keys import remembered_keys
from api.blocklist.models import Entry, Store
from tests.api.blocklist.test_mirror import eventually
from tests.conftest import ApiClient

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.urls(__name__),
    pytest.mark.usefixtures("current_mirror"),
]

API = "/api/name/"
NEW_PASSWORD = "a quite different passphrase"


class NameEndpoint(APIView):
    def get(self, request: Request) -> Response:
        return Response({"id": request.user.pk, "username": request.user.username})

    post = get


urlpatterns = [path("api/name/", NameEndpoint.as_view()), path("", include("project.urls"))]


@pytest.fixture
def maker(client_of: Any, ann: Any) -> Any:
    """Ann's client, which makes the key."""
    return client_of(ann)


@pytest.fixture
def by_key(maker: Any) -> ApiClient:
    """A client with Ann's key, which this process remembers."""
    client = ApiClient(maker.post("/api/api-keys/", {"name": "report"}).json()["key"])
    assert statements(client) == 1
    assert statements(client) == 0
    return client


def statements(client: ApiClient, status: int = 200) -> int:
    with CaptureQueriesContext(connection) as queries:
        response = client.get(API)
    assert response.status_code == status, response.content
    return len([each for each in queries if "blocklist_store" not in each["sql"]])


def key_row() -> Any:
    return SignIn.objects.filter(kind="key")


# What is remembered


def test_a_remembered_key_names_its_owner(by_key, ann):
    assert by_key.get(API).json() == {"id": ann.pk, "username": "ann"}


def test_a_remembered_key_has_its_scopes(by_key):
    response = by_key.post(API)
    assert (response.status_code, response.json()["code"]) == (403, "insufficient_scope")


def test_no_secret_is_remembered(by_key, ann):
    (remembered,) = remembered_keys._by_key.values()
    row = key_row().get()
    secrets = [by_key.access, row.key_hash, row.auth_hash, User.objects.get(pk=ann.pk).password]
    assert not [secret for secret in secrets if secret in repr(remembered)]


def test_an_unknown_key_is_not_remembered(by_key):
    before = len(remembered_keys)
    assert ApiClient("wp_" + "a" * 64).get(API).status_code == 401
    assert len(remembered_keys) == before


# When a key is looked up again


def test_without_redis_each_request_is_a_statement(by_key, settings):
    settings.REDIS_URL = ""
    assert [statements(by_key) for _ in range(3)] == [1, 1, 1]


def test_in_a_transaction_each_request_is_a_statement(by_key):
    with transaction.atomic():
        assert statements(by_key) == 1


def test_a_key_is_checked_again_after_a_while(by_key, settings):
    settings.SESSION_RECHECK = timedelta(seconds=0.5)
    time.sleep(0.6)
    assert [statements(by_key), statements(by_key)] == [1, 0]


def test_the_use_is_recorded_every_five_minutes(by_key, clock):
    before = key_row().get().last_seen_at
    clock.shift(LAST_SEEN_PRECISION + timedelta(seconds=5))
    by_key.get(API)
    assert key_row().get().last_seen_at > before


def test_a_remembered_key_expires(by_key, clock):
    clock.shift(timedelta(days=90, seconds=1))
    assert by_key.get(API).status_code == 401


def test_another_database_drops_all_remembered_keys(by_key):
    Store.objects.renew()
    eventually(lambda: statements(by_key) > 0, within=2.0)


# What ends it at the next request


def end_one(maker, ann):
    maker.delete(f"/api/sign-ins/{key_row().get().pk}/")


def end_others(maker, ann):
    maker.post("/api/sign-ins/end-others/", {})


def revoke_all(maker, ann):
    """The first step of an end of all: it marks no row."""
    next(ending.end_everything("ended_by_staff"))
    assert key_row().get().ended_at is None


def revoke_all_of_the_user(maker, ann):
    Entry.objects.block_all(timezone.now() + timedelta(seconds=1), ann.pk)


def deactivate(maker, ann):
    User.objects.filter(pk=ann.pk).update(is_active=False)


def set_a_password(maker, ann):
    User.objects.filter(pk=ann.pk).update(password=make_password(NEW_PASSWORD))


def delete_the_user(maker, ann):
    ann.delete()


def delete_the_key(maker, ann):
    key_row().delete()


@pytest.mark.parametrize(
    "end",
    [
        end_one,
        end_others,
        revoke_all,
        revoke_all_of_the_user,
        deactivate,
        set_a_password,
        delete_the_user,
        delete_the_key,
    ],
    ids=lambda end: end.__name__,
)
@pytest.mark.parametrize("is_remembered", [True, False], ids=["remembered", "read again"])
def test_an_ended_key_is_refused_at_the_next_request(by_key, maker, ann, end, is_remembered):
    end(maker, ann)
    if not is_remembered:
        remembered_keys.clear()
    assert by_key.get(API).status_code == 401


RAW = {
    "ended": "UPDATE accounts_signin SET ended_at = created_at WHERE kind = 'key'",
    "deactivated": "UPDATE accounts_user SET is_active = false WHERE username = 'ann'",
    "another password": "UPDATE accounts_user SET password = 'x' WHERE username = 'ann'",
    "deleted": "DELETE FROM accounts_signin WHERE kind = 'key'",
}


@pytest.mark.parametrize("sql", RAW.values(), ids=RAW)
def test_raw_sql_ends_a_key_within_a_second(by_key, sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
    eventually(lambda: by_key.get(API).status_code == 401, within=1.5)
