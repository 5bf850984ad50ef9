"""Session mode without a statement: what a process remembers, and what makes it look the session up again."""

import time
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.conf import settings as project_settings
from django.contrib.auth.hashers import make_password
from django.contrib.auth.mixins import LoginRequiredMixin
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.test.utils import CaptureQueriesContext
from django.urls import include, path
from django.views import View
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import ending
from accounts.models import Session, SignIn, User
from accounts.models.lifetimes import LAST_SEEN_PRECISION
from accounts.sessions import digest
from api.blocklist import sessions
from api.blocklist.models import Store
from api.blocklist.sessions import remembered_sessions
from tests.accounts import test_django_idioms
from tests.accounts.support_pages import sign_in_as
from tests.api.blocklist.test_mirror import eventually
from tests.conftest import bearer

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.urls(__name__),
    pytest.mark.usefixtures("current_mirror"),
]

PAGE, API = "/name/", "/api/name/"
NEW_PASSWORD = "a quite different passphrase"


class NamePage(LoginRequiredMixin, View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(f"{request.user.pk} {request.user.username}")


class NameEndpoint(APIView):
    def get(self, request: Request) -> Response:
        return Response({"id": request.user.pk, "username": request.user.username})


urlpatterns = [
    path("name/", NamePage.as_view()),
    path("api/name/", NameEndpoint.as_view()),
    path("", include(test_django_idioms)),
]


@pytest.fixture
def hers(browser_of: Any, ann: Any) -> Any:
    """Ann's browser, whose session this process remembers."""
    browser = browser_of(ann)
    assert statements(browser) > 0
    assert_remembered(browser)
    return browser


@pytest.fixture
def other(browser_of: Any, hers: Any, ann: Any) -> Any:
    """Another browser of Ann, which ends the first."""
    return browser_of(ann)


def statements(browser: Any, path: str = API, status: int = 200) -> int:
    with CaptureQueriesContext(connection) as queries:
        response = browser.get(path)
    assert response.status_code == status, response.content
    return len([each for each in queries if "blocklist_store" not in each["sql"]])


def assert_remembered(browser: Any) -> None:
    assert (statements(browser), statements(browser, PAGE)) == (0, 0)


def assert_refused(browser: Any) -> None:
    assert (browser.get(API).status_code, browser.get(PAGE).status_code) == (401, 302)


def key_of(browser: Any) -> str:
    return browser.cookies[project_settings.SESSION_COOKIE_NAME].value


def with_key(browser: Any, key: str) -> Any:
    """A browser with the same session key, as a thief has it."""
    thief = type(browser)()
    thief.cookies[project_settings.SESSION_COOKIE_NAME] = key
    return thief


# What is remembered


def test_a_support_sign_in_is_never_remembered(browser_of, staff, ann):
    browser = browser_of(staff)
    sign_in_as(browser, ann)
    assert statements(browser) > 0
    assert statements(browser) > 0
    User.objects.filter(pk=staff.pk).update(is_superuser=False)
    assert_refused(browser)


def test_a_session_with_shorter_limits_needs_no_statement(settings, browser_of, staff):
    settings.STAFF_IDLE, settings.STAFF_MAX = timedelta(minutes=10), timedelta(hours=1)
    browser = browser_of(staff)
    statements(browser)
    assert_remembered(browser)


def test_a_checked_session_needs_no_statement(hers, ann):
    assert sum(statements(hers, path) for path in [API, PAGE] * 20) == 0


def test_a_remembered_session_names_its_user(hers, ann):
    assert hers.get(API).json() == {"id": ann.pk, "username": "ann"}
    assert hers.get(PAGE).content.decode() == f"{ann.pk} ann"


def test_other_fields_of_the_user_are_read_when_needed(hers, ann):
    models = User.objects.filter(pk=ann.pk)
    models.update(email="new@example.org", first_name="Ann-Kathrin")
    answer = hers.get("/api/me/").json()
    assert (answer["email"], answer["first_name"]) == ("new@example.org", "Ann-Kathrin")


def test_rights_are_read_when_needed(browser_of, staff):
    page = browser_of(staff)
    page.get(API)
    assert page.get("/admin/").status_code == 200
    User.objects.filter(pk=staff.pk).update(is_staff=False)
    assert page.get("/admin/").status_code == 302


def test_requests_share_no_objects(hers):
    first, second = (remembered_sessions.valid(digest(key_of(hers))).build() for _ in range(2))
    first.user.username = "mallory"
    first.last_seen_at = None
    assert (second.user.username, second.last_seen_at is None) == ("ann", False)
    assert hers.get(API).json()["username"] == "ann"


def test_session_data_is_read_when_needed(hers):
    store = sessions.SessionStore(key_of(hers))
    assert store.sign_in.user.username == "ann"
    with CaptureQueriesContext(connection) as queries:
        assert store["sid"] == str(store.sign_in.sid)
    assert len(queries) == 1


def test_no_secret_is_remembered(hers, ann):
    (remembered,) = remembered_sessions._by_key.values()
    kept = repr(remembered)
    user = User.objects.get(pk=ann.pk)
    secrets = [key_of(hers), user.password, SignIn.objects.get(user=ann).auth_hash, user.email]
    assert not [secret for secret in secrets if secret in kept]


def test_an_anonymous_session_is_not_remembered(browser):
    visitor = browser()
    store = sessions.SessionStore()
    store["basket"] = 1
    store.save()
    visitor.cookies[project_settings.SESSION_COOKIE_NAME] = store.session_key
    before = len(remembered_sessions)
    assert visitor.get(API).status_code == 401
    assert len(remembered_sessions) == before


def test_the_number_of_remembered_sessions_is_bounded(monkeypatch, browser_of, ann):
    monkeypatch.setattr(sessions, "MAX_REMEMBERED", 3)
    browsers = [browser_of(ann) for _ in range(5)]
    for browser in browsers:
        assert browser.get(API).status_code == 200
    assert len(remembered_sessions) == 3
    assert [statements(browser) > 0 for browser in browsers[:2]] == [True, True]


# The endpoints of the session (api.browser_session)


def mint(browser: Any) -> Any:
    return browser.post("/api/session/token/", {}, content_type="application/json")


def test_a_token_of_a_remembered_session_takes_one_statement(hers, django_assert_num_queries):
    with django_assert_num_queries(1):
        assert mint(hers).status_code == 200
    assert statements(hers, "/api/session/") == 1


def test_no_token_is_minted_after_the_end_of_a_remembered_session(hers):
    """The sign-in ends after the request was authenticated from memory, and before the token is made."""

    def end_first(execute, sql, *arguments):
        if "FROM accounts_session " in sql.replace('"', "") and not sql.startswith("UPDATE") and not ended:
            ended.append(sql)
            SignIn.objects.all().end(SignIn.Reason.ENDED_BY_USER)
        return execute(sql, *arguments)

    ended: list[str] = []
    assert_remembered(hers)
    with connection.execute_wrapper(end_first):
        response = mint(hers)
    assert ended
    assert (response.status_code, response.json()["code"]) == (401, "not_authenticated")


# When a session is looked up again


def test_without_redis_each_request_is_a_statement(hers, settings):
    settings.REDIS_URL = ""
    assert [statements(hers) for _ in range(3)] == [1, 1, 1]


def test_with_zero_seconds_each_request_is_a_statement(browser_of, ann, settings):
    settings.SESSION_RECHECK = timedelta(0)
    browser = browser_of(ann)
    assert [statements(browser) for _ in range(3)] == [1, 1, 1]


def test_in_a_transaction_each_request_is_a_statement(hers):
    with transaction.atomic():
        assert statements(hers) == 1


def test_what_a_transaction_reads_is_not_remembered(browser_of, ann):
    browser = browser_of(ann)
    remembered_sessions.clear()
    with transaction.atomic():
        assert browser.get(API).status_code == 200
    assert len(remembered_sessions) == 0


def test_a_session_is_checked_again_after_a_while(hers, settings):
    settings.SESSION_RECHECK = timedelta(seconds=0.5)
    time.sleep(0.6)
    assert statements(hers) == 1
    assert statements(hers) == 0


def test_the_use_is_recorded_every_five_minutes(hers, clock, ann):
    sign_in = SignIn.objects.get(user=ann)
    clock.shift(LAST_SEEN_PRECISION - timedelta(seconds=5))
    hers.get(API)
    assert SignIn.objects.get(user=ann).last_seen_at == sign_in.last_seen_at
    clock.shift(timedelta(seconds=10))
    hers.get(API)
    assert SignIn.objects.get(user=ann).last_seen_at > sign_in.last_seen_at


def test_an_idle_session_expires(hers, clock, settings):
    clock.shift(settings.BROWSER_IDLE_TIMEOUT + LAST_SEEN_PRECISION)
    assert_refused(hers)


def test_a_session_that_another_process_extended_goes_on(hers, clock, ann, settings):
    clock.shift(settings.BROWSER_IDLE_TIMEOUT - timedelta(minutes=1))
    later = SignIn.objects.get(user=ann).expires_at + timedelta(hours=1)
    SignIn.objects.filter(user=ann).update(expires_at=later)
    clock.shift(timedelta(minutes=2))
    assert hers.get(API).status_code == 200


def test_another_database_drops_all_remembered_sessions(hers):
    Store.objects.renew()
    eventually(lambda: statements(hers) > 0, within=2.0)


def test_forged_news_costs_a_statement_and_no_more(hers, one_valkey, ann):
    sid = SignIn.objects.get(user=ann).pk
    until = int(time.time()) + 60
    with redis.Redis.from_url(one_valkey.url) as client:
        client.publish("wp:blocked", f'[["{sid.hex}"], {until}]')
        client.exists("wp:blocked")
    assert [statements(hers) for _ in range(3)] == [1, 1, 1]


# What ends it at the next request


def sign_out(hers, other, ann):
    with_key(hers, key_of(hers)).post("/accounts/logout/")


def end_one(hers, other, ann):
    first = SignIn.objects.filter(user=ann).earliest("created_at")
    other.delete(f"/api/sign-ins/{first.pk}/")


def end_others(hers, other, ann):
    other.post("/api/sign-ins/end-others/", {}, content_type="application/json")


def end_everyone(hers, other, ann):
    list(ending.end_everything("ended_by_staff"))


def end_many(hers, other, ann):
    list(ending.end_all_in_batches(ann, "ended_by_user"))


def deactivate(hers, other, ann):
    User.objects.filter(pk=ann.pk).update(is_active=False)


def set_a_password(hers, other, ann):
    User.objects.filter(pk=ann.pk).update(password=make_password(NEW_PASSWORD))


def delete_the_user(hers, other, ann):
    ann.delete()


def delete_sign_ins(hers, other, ann):
    SignIn.objects.filter(user=ann).delete()


def set_ended_at(hers, other, ann):
    SignIn.objects.filter(user=ann).update(ended_at=SignIn.objects.first().created_at)


def delete_sessions(hers, other, ann):
    Session.objects.filter(sign_in__user=ann).delete()


def delete_each_session(hers, other, ann):
    for session in Session.objects.filter(sign_in__user=ann):
        session.delete()


def delete_by_the_store(hers, other, ann):
    sessions.SessionStore(key_of(hers)).delete()


WAYS = [
    sign_out,
    end_one,
    end_others,
    end_everyone,
    end_many,
    deactivate,
    set_a_password,
    delete_the_user,
    delete_sign_ins,
    set_ended_at,
    delete_sessions,
    delete_each_session,
    delete_by_the_store,
]


@pytest.mark.parametrize("end", WAYS)
def test_an_end_takes_effect_at_the_next_request(hers, other, ann, end):
    thief, of_session = with_key(hers, key_of(hers)), bearer(mint(hers).json()["access"])
    assert_remembered(thief)
    assert thief.get(API, headers=of_session).status_code == 200
    end(hers, other, ann)
    assert_refused(thief)
    if end == delete_by_the_store:
        # By a trigger alone.
        eventually(lambda: thief.get(API, headers=of_session).status_code == 401)
    assert thief.get(API, headers=of_session).status_code == 401


def test_a_rolled_back_end_ends_nothing(hers, ann):
    with transaction.atomic():
        SignIn.objects.filter(user=ann).end("signed_out")
        transaction.set_rollback(True)
    assert_remembered(hers)


def test_entering_the_password_again_replaces_the_key(hers, ann, password):
    old = with_key(hers, key_of(hers))
    SignIn.objects.filter(user=ann).update(authenticated_at=ann.date_joined - timedelta(days=1))
    hers.post("/accounts/confirm/", {"password": password})
    assert key_of(hers) != key_of(old)
    assert_refused(old)
    assert hers.get(API).status_code == 200


def test_a_password_change_keeps_its_own_browser(hers, other, password):
    form = {"old_password": password, "new_password1": NEW_PASSWORD}
    assert other.post("/accounts/password_change/", form).status_code == 302
    assert_refused(hers)
    assert other.get(API).status_code == 200


@pytest.mark.parametrize("idiom", ["keep", "keep-fresh", "keep-async", "login"])
def test_a_password_change_by_an_adopters_view_keeps_its_browser(hers, other, idiom):
    other.get(API)
    assert_remembered(other)
    assert other.post(f"/shop/{idiom}/").content == b"done"
    assert other.get(API).status_code == 200
    assert_refused(hers)


def test_reactivating_does_not_restore_a_browser(hers, ann):
    User.objects.filter(pk=ann.pk).update(is_active=False)
    User.objects.filter(pk=ann.pk).update(is_active=True)
    assert_refused(hers)


def test_ends_of_others_do_not_concern_a_session(hers, browser_of, bob):
    bobs = browser_of(bob)
    bobs.post("/api/sign-ins/end-all/", {}, content_type="application/json")
    assert_remembered(hers)


def test_a_dead_redis_delays_an_end_by_a_second_at_most(hers, other, one_valkey, ann):
    one_valkey.kill()
    SignIn.objects.filter(user=ann).end("ended_by_user")
    time.sleep(1.0)
    assert_refused(hers)


# Pages


@pytest.mark.parametrize(
    ("path", "number"),
    [
        # The user's row, and what the page lists.
        ("/", 4),
        ("/accounts/sign-ins/", 3),
        ("/accounts/activity/", 3),
        ("/accounts/profile/", 1),
        ("/api/me/", 1),
    ],
)
def test_pages_read_neither_the_session_nor_its_data(hers, path, number):
    hers.get(path)
    assert_remembered(hers)
    with CaptureQueriesContext(connection) as queries:
        assert hers.get(path).status_code == 200
    read = [each["sql"] for each in queries if "blocklist_store" not in each["sql"]]
    assert len(read) == number, read
    assert not [sql for sql in read if "accounts_session" in sql]
