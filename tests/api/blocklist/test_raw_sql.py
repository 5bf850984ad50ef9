"""Raw SQL that ends sign-ins is effective in both modes, and final; our own code does not fire the triggers twice."""
# ruff: noqa: S608 (all parts of the statements are constants)

import hashlib
import time
from collections import Counter
from contextlib import suppress

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from accounts import starting
from accounts.models import Session, SignIn, SignInRefused, User
from api.blocklist.models import Entry
from tests import servers
from tests.accounts.conftest import reset_link, world  # noqa: F401
from tests.accounts.ways_to_end import WAYS as WAYS_OF_CODE
from tests.accounts.ways_to_end import goes_to_sign_in, refresh
from tests.api.blocklist import raw_sql
from tests.api.blocklist.raw_sql import execute
from tests.conftest import ApiClient

pytestmark = pytest.mark.django_db(transaction=True)

every_raw_way = pytest.mark.parametrize(("end", "back"), raw_sql.WAYS.values(), ids=raw_sql.WAYS)
# The mirror reads the database every 0.8 s; the rest is for a busy machine.
SECONDS = 3


def is_soon_refused(client):
    servers.wait_until(lambda: client.get("/api/me/").status_code == 401, SECONDS)
    return True


def is_soon_signed_out(browser):
    servers.wait_until(lambda: goes_to_sign_in(browser), SECONDS)
    return True


def is_accepted(client):
    return client.get("/api/me/").status_code == 200


def mint(browser):
    return browser.post("/api/session/token/", {}, content_type="application/json")


def key_of(browser):
    return hashlib.sha256(browser.session.session_key.encode()).hexdigest()


# Each way in both modes


@every_raw_way
def test_raw_sql_revokes_in_both_modes(world, subtests, end, back):  # noqa: F811
    assert not goes_to_sign_in(world.browser)
    assert is_accepted(world.client)
    of_session = ApiClient(mint(world.browser).json()["access"])
    assert is_accepted(of_session)
    end(world.ann)
    with subtests.test("the access token of the session is refused"):
        assert is_soon_refused(of_session)
    with subtests.test("the browser has to sign in again"):
        assert is_soon_signed_out(world.browser)
    with subtests.test("the access token is refused"):
        assert is_soon_refused(world.client)
    with subtests.test("the refresh token is refused"):
        assert refresh(world, world.client.refresh) == 401
    with subtests.test("no session is left"):
        assert not Session.objects.filter(sign_in__user=world.ann.pk).exists()
    with subtests.test("other users stay signed in"):
        assert not goes_to_sign_in(world.bobs_browser)
        assert is_accepted(world.bobs_client)
        assert refresh(world, world.bobs_client.refresh) == 200


@pytest.mark.parametrize(
    ("end", "back"),
    [ways for ways in raw_sql.WAYS.values() if ways[1]],
    ids=[name for name, ways in raw_sql.WAYS.items() if ways[1]],
)
def test_setting_a_value_back_restores_no_sign_in(world, end, back):  # noqa: F811
    end(world.ann)
    back(world.ann)
    assert is_soon_signed_out(world.browser)
    assert is_soon_refused(world.client)
    assert refresh(world, world.client.refresh) == 401
    assert world.anonymous.sign_in("ann", world.password).status_code == 200
    assert is_accepted(world.anonymous)


def test_an_end_cannot_be_taken_back_by_raw_sql(world):  # noqa: F811
    raw_sql.end_sign_ins(world.ann)
    with pytest.raises(IntegrityError, match="an end is final"):
        execute(("UPDATE accounts_signin SET ended_at = NULL WHERE user_id = %s", world.ann.pk))


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (raw_sql.set_a_password, SignIn.Reason.PASSWORD_CHANGED),
        (raw_sql.deactivate, SignIn.Reason.USER_DEACTIVATED),
        (raw_sql.make_a_service, SignIn.Reason.ENDED_BY_STAFF),
    ],
)
def test_sign_ins_that_raw_sql_ended_show_the_reason(world, end, reason):  # noqa: F811
    before = timezone.now()
    end(world.ann)
    ended = SignIn.objects.filter(user=world.ann)
    assert set(ended.values_list("end_reason", flat=True)) == {reason}
    assert all(abs(each.ended_at - before).total_seconds() < 60 for each in ended)


def test_a_sign_in_under_way_is_refused_after_raw_sql(ann):
    user = User.objects.get(pk=ann.pk)
    raw_sql.deactivate(ann)
    raw_sql.reactivate(ann)
    with pytest.raises(SignInRefused):
        starting.start(user, SignIn.Kind.CLIENT)


# Sessions


def change_the_keys(user):
    with connection.cursor() as cursor:
        for key in Session.objects.filter(sign_in__user=user).values_list("pk", flat=True):
            other = hashlib.sha256(key.encode()).hexdigest()
            cursor.execute("UPDATE accounts_session SET session_key = %s WHERE session_key = %s", [other, key])


def take_the_sign_in(user):
    execute(
        (
            "UPDATE accounts_session SET sign_in_id = NULL "
            "WHERE sign_in_id IN (SELECT id FROM accounts_signin WHERE user_id = %s)",
            user.pk,
        )
    )


@pytest.mark.parametrize("end", [raw_sql.delete_sessions, change_the_keys, take_the_sign_in])
def test_raw_sql_on_sessions_signs_browsers_out(world, end):  # noqa: F811
    keys = {key_of(each) for each in (world.browser, world.her_page)}
    of_session = ApiClient(mint(world.browser).json()["access"])
    assert is_accepted(of_session)
    end(world.ann)
    assert is_soon_signed_out(world.browser)
    # With another key, the session goes on.
    assert end == change_the_keys or is_soon_refused(of_session)
    assert is_accepted(world.client)
    assert not goes_to_sign_in(world.bobs_browser)
    entries = Entry.objects.filter(kind=Entry.Kind.SESSION_KEY)
    assert {each.token_id.hex for each in entries} == {key[:32] for key in keys}


def test_expired_sessions_need_no_entry(world):  # noqa: F811
    Session.objects.update(expire_date=timezone.now() - timezone.timedelta(minutes=1))
    raw_sql.delete_sessions(world.ann)
    assert not Entry.objects.exists()


def test_a_key_that_is_no_hash_can_be_deleted(ann, hers):
    sign_in = SignIn.objects.get()
    Session.objects.create(
        session_key="not-a-hash", sign_in=sign_in, expire_date=timezone.now() + timezone.timedelta(1)
    )
    raw_sql.delete_sessions(ann)
    assert not Session.objects.exists()


# Changes that end nothing


@pytest.mark.parametrize(
    "assignment",
    ["password = password", "is_active = is_active", "is_service = false", "is_active = true", "first_name = 'Zoe'"],
)
def test_raw_sql_that_changes_nothing_ends_nothing(world, assignment):  # noqa: F811
    execute((f"UPDATE accounts_user SET {assignment} WHERE id = %s", world.ann.pk))
    time.sleep(1)
    assert not goes_to_sign_in(world.browser)
    assert is_accepted(world.client)
    assert not Entry.objects.exists()


@every_raw_way
def test_raw_sql_that_is_rolled_back_ends_nothing(world, end, back):  # noqa: F811
    with suppress(ZeroDivisionError), transaction.atomic():
        end(world.ann)
        raise ZeroDivisionError
    time.sleep(1)
    assert not goes_to_sign_in(world.browser)
    assert is_accepted(world.client)
    assert refresh(world, world.client.refresh) == 200
    assert not Entry.objects.exists()


# Our own code


@pytest.mark.parametrize("way", WAYS_OF_CODE, ids=lambda way: way.__name__)
def test_each_way_of_our_code_adds_one_entry_for_an_end(world, way):  # noqa: F811
    before = dict(SignIn.objects.filter(user=world.ann).values_list("pk", "kind"))
    assert not Entry.objects.exists()
    way(world)
    ended = before.keys() - set(SignIn.objects.unended().values_list("pk", flat=True))
    assert ended
    entries = Counter(Entry.objects.filter(kind=Entry.Kind.SIGN_IN).values_list("token_id", flat=True))
    assert entries == Counter(ended)
    # Keys that a browser replaced, and none of a sign-in that ended.
    keys = Entry.objects.filter(kind=Entry.Kind.SESSION_KEY).values_list("token_id", flat=True)
    assert not {key_of(world.browser)[:32]} & {key.hex for key in keys}
    assert not Entry.objects.wholesale().exists()


def test_an_entry_of_a_trigger_outlasts_its_tokens(world):  # noqa: F811
    raw_sql.end_sign_ins(world.ann)
    until = Entry.objects.filter(kind=Entry.Kind.SIGN_IN).first().until
    assert timezone.timedelta(hours=24, minutes=50) < until - timezone.now() < timezone.timedelta(hours=25, minutes=10)


def test_pruned_rows_need_no_entry(world):  # noqa: F811
    long_ago = timezone.now() - timezone.timedelta(days=40)
    SignIn.objects.filter(user=world.ann).end(SignIn.Reason.SIGNED_OUT)
    Entry.objects.all()._raw_delete("default")
    # As a row of an earlier release.
    SignIn._base_manager.filter(user=world.ann).update(ended_at=long_ago, expires_at=long_ago)
    execute(("UPDATE accounts_signin SET is_end_announced = false WHERE user_id = %s", world.ann.pk))
    list(SignIn.objects.prune())
    assert not SignIn.objects.filter(user=world.ann).exists()
    assert not Entry.objects.exists()


def test_deleting_a_row_keeps_its_place_in_the_status_list(ann, client_of):
    client_of(ann)
    sign_in = SignIn.objects.get()
    SignIn.objects.filter(pk=sign_in.pk).update(status_index=7)
    list(SignIn.objects.all().end_silently_in_batches(SignIn.Reason.ENDED_BY_STAFF))
    assert not Entry.objects.exists()
    raw_sql.delete_sign_ins(ann)
    assert Entry.objects.get().status_index == 7


# Beside nodes of the previous release


def as_the_previous_release(user, keep):
    """Does what that code does for a change of the password: the password, the generation, then the other ends."""
    others = "user_id = %s AND ended_at IS NULL AND id <> %s"
    sid = SignIn._meta.pk.get_db_prep_value(keep.pk, connection)
    execute(
        ("UPDATE accounts_user SET password = 'md5$salt$of-another' WHERE id = %s", user.pk),
        ("UPDATE accounts_user SET generation = generation + 1 WHERE id = %s", user.pk),
        (
            f"UPDATE accounts_signin SET ended_at = {raw_sql.NOW}, end_reason = 'password_changed' WHERE {others}",
            user.pk,
            sid,
        ),
    )


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no deferred triggers")
def test_the_previous_release_keeps_the_changing_sign_in(world):  # noqa: F811
    keep = SignIn.objects.filter(user=world.ann, kind=SignIn.Kind.CLIENT).latest("created_at")
    as_the_previous_release(world.ann, keep)
    assert list(SignIn.objects.filter(user=world.ann).unended()) == [keep]
    assert is_accepted(world.her_program)
    assert is_soon_refused(world.client)


def test_browsers_that_the_previous_release_ends_get_an_entry(world):  # noqa: F811
    browsers = SignIn.objects.filter(user=world.ann, kind=SignIn.Kind.BROWSER)
    execute(
        (
            f"UPDATE accounts_signin SET ended_at = {raw_sql.NOW}, end_reason = 'signed_out' "
            "WHERE user_id = %s AND kind = 'browser'",
            world.ann.pk,
        )
    )
    entries = Entry.objects.filter(kind=Entry.Kind.SIGN_IN).values_list("token_id", flat=True)
    assert set(entries) == set(browsers.values_list("pk", flat=True))
