"""Wholesale ends: users with very many sign-ins, and ends over several requests."""

from functools import partialmethod
from io import StringIO
from uuid import uuid4

import pytest
from django.conf import settings
from django.core.management import call_command

from accounts import ending, starting
from accounts.models import SecurityEvent, Session, SignIn, SignInQuerySet, SignInRefused, User
from api.blocklist.models import Entry
from tests.accounts.conftest import is_accepted

pytestmark = pytest.mark.django_db

# PostgreSQL takes 65,535 values in a statement, SQLite 32,766 or more, depending on its build.
MORE_THAN_A_STATEMENT_TAKES = 66_000


def multiply(sign_in, copies):
    values = {field.attname: getattr(sign_in, field.attname) for field in SignIn._meta.concrete_fields}
    SignIn.objects.bulk_create((SignIn(**values | {"id": uuid4()}) for _ in range(copies)), batch_size=1000)


@pytest.mark.long
@pytest.mark.skipif(not settings.REDIS_URL, reason="it takes a while, so one store will do")
@pytest.mark.named
def test_more_ends_than_query_values_fit_in_one_transaction(browser_of, client_of, ann):
    client, browser = client_of(ann), browser_of(ann)
    multiply(SignIn.objects.get(user=ann, kind="browser"), MORE_THAN_A_STATEMENT_TAKES)
    assert User.objects.filter(pk=ann.pk).update(is_active=False) == 1
    assert not SignIn.objects.unended().exists()
    assert SecurityEvent.objects.filter(user=ann, type="sign_in_ended").count() == MORE_THAN_A_STATEMENT_TAKES + 2
    assert not is_accepted(client)
    assert browser.get("/accounts/profile/").status_code == 302


def test_a_request_ends_others_until_its_time_is_over(browser_of, client_of, ann, monkeypatch):
    monkeypatch.setattr("accounts.ending.REQUEST_SECONDS", 0)
    client, browser = client_of(ann), browser_of(ann)
    multiply(SignIn.objects.get(user=ann, kind="browser"), 3500)
    answers = [client.post("/api/sign-ins/end-others/").json() for _ in range(4)]
    # Each request ends at least a batch of 1000. The last 501 fit in one batch.
    assert answers == [
        {"ended": 1000, "left": 2501},
        {"ended": 1000, "left": 1501},
        {"ended": 1000, "left": 501},
        {"ended": 501},
    ]
    assert is_accepted(client)
    assert browser.get("/accounts/profile/").status_code == 302


def test_a_request_without_time_revokes_all_and_leaves_rows(client_of, ann, monkeypatch):
    monkeypatch.setattr("accounts.ending.REQUEST_SECONDS", 0)
    clients = [client_of(ann) for _ in range(2)]
    multiply(SignIn.objects.filter(user=ann).first(), 2500)
    assert clients[0].post("/api/sign-ins/end-all/").json() == {"ended": 2502}
    assert not any(map(is_accepted, clients))
    assert clients[1].renew().status_code == 401
    assert SignIn.objects.unended().filter(user=ann).count() >= 1500
    call_command("prune", stdout=StringIO())
    assert not SignIn.objects.unended().filter(user=ann).exists()


@pytest.fixture
def no_time(monkeypatch):
    """More than two sign-ins are a wholesale end, and a request has time for one batch of one."""
    monkeypatch.setattr("accounts.models.sign_in_querysets.MAX_ENDED_PER_TRANSACTION", 2)
    monkeypatch.setattr("accounts.ending.REQUEST_SECONDS", 0)
    monkeypatch.setattr("accounts.models.SignInQuerySet.end_in_batches", partialmethod(in_batches_of_one, "end"))
    monkeypatch.setattr(
        "accounts.models.SignInQuerySet.end_silently_in_batches",
        partialmethod(in_batches_of_one, "silently"),
    )


OF_ONE = {"end": SignInQuerySet.end_in_batches, "silently": SignInQuerySet.end_silently_in_batches}


def in_batches_of_one(sign_ins, way, reason):
    return OF_ONE[way](sign_ins, reason, size=1)


def test_older_sign_ins_are_revoked_at_once_except_the_kept_one(client_of, browser_of, ann, no_time):
    older, browser, kept = [client_of(ann) for _ in range(4)], browser_of(ann), client_of(ann)
    assert kept.post("/api/sign-ins/end-others/").json() == {"ended": 5}
    assert is_accepted(kept)
    assert kept.renew().status_code == 200
    assert not any(map(is_accepted, older))
    assert {client.renew().status_code for client in older} == {401}
    assert browser.get("/accounts/profile/").status_code == 302
    assert SignIn.objects.unended().filter(user=ann).count() == 5, "one row is marked, the others are left"
    call_command("prune", stdout=StringIO())
    assert SignIn.objects.unended().get(user=ann).kind == "client"
    assert is_accepted(kept)
    assert set(SignIn.objects.exclude(ended_at=None).values_list("end_reason", flat=True)) == {"ended_by_user"}


def test_newer_sign_ins_end_over_several_requests(client_of, ann, no_time):
    kept, newer = client_of(ann), [client_of(ann) for _ in range(4)]
    answers = [kept.post("/api/sign-ins/end-others/").json()]
    assert answers == [{"ended": 1, "left": 3}]
    assert [is_accepted(client) for client in newer] == [True, True, True, False], "the newest first"
    answers += [kept.post("/api/sign-ins/end-others/").json() for _ in range(3)]
    assert sum(each["ended"] for each in answers) == 4
    assert "left" not in answers[-1]
    assert not any(map(is_accepted, newer))
    assert is_accepted(kept)


def test_the_page_shows_how_many_others_remain(browser_of, client_of, ann, no_time):
    browser = browser_of(ann)
    for _ in range(4):
        client_of(ann)
    page = browser.post("/accounts/sign-ins/end-others/", follow=True).content.decode()
    assert "1 other was signed out." in page
    assert "3 others are still signed in. Sign out the others again." in page


def test_a_kept_sign_in_with_an_old_id_stays_valid(client_of, ann, no_time):
    """Its id has no time, as in older releases. A wholesale end would revoke it, too."""
    others, kept = [client_of(ann) for _ in range(3)], client_of(ann)
    old = SignIn.objects.filter(user=ann).order_by("-created_at").first()
    reader = SignIn.objects.create(
        **{field.attname: getattr(old, field.attname) for field in SignIn._meta.concrete_fields} | {"id": uuid4()}
    )
    answers = [ending.end_others(ann, SignIn.Reason.ENDED_BY_USER, reader) for _ in range(5)]
    assert answers[-1].left == 0
    assert not any(map(is_accepted, [*others, kept]))
    assert not Entry.objects.blocks(reader.pk, uuid4(), ann.pk)
    assert SignIn.objects.unended().get(user=ann) == reader


def test_a_running_sign_in_is_refused_by_an_end_of_others(client_of, ann, no_time):
    for _ in range(4):
        client_of(ann)
    kept = client_of(ann)
    proved = User.objects.get(pk=ann.pk)
    kept.post("/api/sign-ins/end-others/")
    with pytest.raises(SignInRefused):
        starting.start(proved, SignIn.Kind.CLIENT)
    assert is_accepted(client_of(ann)), "who proves the password afterwards is in"


def test_one_entry_revokes_all_sign_ins_of_a_user(browser_of, client_of, ann, bob, monkeypatch):
    monkeypatch.setattr("accounts.models.sign_in_querysets.MAX_ENDED_PER_TRANSACTION", 2)
    clients, browser, his = [client_of(ann) for _ in range(3)], browser_of(ann), client_of(bob)
    assert clients[0].post("/api/sign-ins/end-all/").json() == {"ended": 4}
    assert not any(map(is_accepted, clients))
    assert browser.get("/accounts/profile/").status_code == 302
    assert is_accepted(his)
    assert list(Entry.objects.values_list("kind", "blocked_by")) == [("sub", ann.pk)]
    ended = SignIn.objects.filter(user=ann)
    assert set(ended.values_list("end_reason", "ended_by")) == {("ended_by_user", ann.pk)}


def test_prune_marks_remaining_rows_with_the_original_reason(client_of, ann, monkeypatch):
    monkeypatch.setattr("accounts.models.sign_in_querysets.MAX_ENDED_PER_TRANSACTION", 0)
    monkeypatch.setattr("accounts.models.SignInQuerySet.end_silently_in_batches", lambda *_arguments: [])
    client_of(ann).post("/api/sign-ins/end-all/")
    monkeypatch.undo()
    call_command("prune", stdout=StringIO())
    assert SignIn.objects.get(user=ann).end_reason == "ended_by_user"


def test_more_users_than_query_values_are_all_revoked(browser_of, client_of, ann, bob, staff, monkeypatch):
    monkeypatch.setattr("accounts.compiled_queries.MAX_QUERY_VALUES", 2)
    everyone = (ann, bob, staff)
    clients, browsers = [client_of(user) for user in everyone], [browser_of(user) for user in everyone]
    assert User.objects.update(is_active=False) == 3
    assert not any(map(is_accepted, clients))
    assert {browser.get("/accounts/profile/").status_code for browser in browsers} == {302}
    assert SecurityEvent.objects.filter(type="user_deactivated").count() == 3
    User.objects.all().delete()
    assert not User.objects.exists()


def test_more_sessions_than_one_delete_takes_are_all_deleted(browser_of, ann, bob, monkeypatch):
    monkeypatch.setattr("accounts.ending.SESSIONS_PER_DELETE", 2)
    browsers = [browser_of(user) for user in (ann, bob, ann, bob, ann)]
    assert sum(ending.end_everything("ended_by_staff")) == 5
    assert not Session.objects.exists()
    assert {browser.get("/accounts/profile/").status_code for browser in browsers} == {302}
