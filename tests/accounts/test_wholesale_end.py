"""Somebody with very many sign-ins."""

from functools import partialmethod
from io import StringIO
from uuid import uuid4

import pytest
from django.conf import settings
from django.core.management import call_command

from accounts import ending, starting
from accounts.models import SecurityEvent, Session, SignIn, SignInQuerySet, SignInRefused, User
from api.blocklist.models import Entry

pytestmark = pytest.mark.django_db

# PostgreSQL takes 65,535 values to a statement, SQLite as many as it was built for: 32,766 or more.
MORE_THAN_A_STATEMENT_TAKES = 66_000


def opens(client):
    return client.get("/api/me/").status_code == 200


def multiply(sign_in, copies):
    values = {field.attname: getattr(sign_in, field.attname) for field in SignIn._meta.concrete_fields}
    SignIn.objects.bulk_create((SignIn(**values | {"id": uuid4()}) for _ in range(copies)), batch_size=1000)


@pytest.mark.long
@pytest.mark.skipif(not settings.REDIS_URL, reason="it takes a while, so one store will do")
def test_more_than_a_statement_takes_end_in_one_transaction(browser_of, client_of, ann):
    client, browser = client_of(ann), browser_of(ann)
    multiply(SignIn.objects.get(user=ann, kind="browser"), MORE_THAN_A_STATEMENT_TAKES)
    assert User.objects.filter(pk=ann.pk).update(is_active=False) == 1
    assert not SignIn.objects.unended().exists()
    assert SecurityEvent.objects.filter(user=ann, type="sign_in_ended").count() == MORE_THAN_A_STATEMENT_TAKES + 2
    assert not opens(client)
    assert browser.get("/accounts/profile/").status_code == 302


def test_others_end_in_requests_that_stop_when_their_time_is_over(browser_of, client_of, ann, monkeypatch):
    monkeypatch.setattr("accounts.ending.REQUEST_SECONDS", 0)
    client, browser = client_of(ann), browser_of(ann)
    multiply(SignIn.objects.get(user=ann, kind="browser"), 3500)
    answers = [client.post("/api/sign-ins/end-others/").json() for _ in range(4)]
    # A batch of a thousand is done in any case; what is left is few enough for one step.
    assert answers == [
        {"ended": 1000, "left": 2501},
        {"ended": 1000, "left": 1501},
        {"ended": 1000, "left": 501},
        {"ended": 501},
    ]
    assert opens(client)
    assert browser.get("/accounts/profile/").status_code == 302


def test_all_are_out_though_a_request_has_not_the_time_to_mark_them(client_of, ann, monkeypatch):
    monkeypatch.setattr("accounts.ending.REQUEST_SECONDS", 0)
    clients = [client_of(ann) for _ in range(2)]
    multiply(SignIn.objects.filter(user=ann).first(), 2500)
    assert clients[0].post("/api/sign-ins/end-all/").json() == {"ended": 2502}
    assert not any(map(opens, clients))
    assert clients[1].renew().status_code == 401
    assert SignIn.objects.unended().filter(user=ann).count() >= 1500
    call_command("prune", stdout=StringIO())
    assert not SignIn.objects.unended().filter(user=ann).exists()


@pytest.fixture
def no_time(monkeypatch):
    """More than two sign-ins are many, and a request has the time for one batch of one."""
    monkeypatch.setattr("accounts.models.sign_in_querysets.MAX_ENDED_PER_TRANSACTION", 2)
    monkeypatch.setattr("accounts.ending.REQUEST_SECONDS", 0)
    monkeypatch.setattr("accounts.models.SignInQuerySet.end_in_batches", partialmethod(in_batches_of_one, "end"))
    monkeypatch.setattr(
        "accounts.models.SignInQuerySet.end_silently_in_batches",
        partialmethod(in_batches_of_one, "told"),
    )


OF_ONE = {"end": SignInQuerySet.end_in_batches, "told": SignInQuerySet.end_silently_in_batches}


def in_batches_of_one(sign_ins, way, reason):
    return OF_ONE[way](sign_ins, reason, size=1)


def test_others_that_are_older_are_out_at_once_and_the_kept_one_goes_on(client_of, browser_of, ann, no_time):
    older, browser, kept = [client_of(ann) for _ in range(4)], browser_of(ann), client_of(ann)
    assert kept.post("/api/sign-ins/end-others/").json() == {"ended": 5}
    assert opens(kept)
    assert kept.renew().status_code == 200
    assert not any(map(opens, older))
    assert {client.renew().status_code for client in older} == {401}
    assert browser.get("/accounts/profile/").status_code == 302
    assert SignIn.objects.unended().filter(user=ann).count() == 5, "one row is marked, the others are left"
    call_command("prune", stdout=StringIO())
    assert SignIn.objects.unended().get(user=ann).kind == "client"
    assert opens(kept)
    assert set(SignIn.objects.exclude(ended_at=None).values_list("end_reason", flat=True)) == {"ended_by_user"}


def test_others_that_are_newer_end_in_as_many_requests_as_it_takes(client_of, ann, no_time):
    kept, newer = client_of(ann), [client_of(ann) for _ in range(4)]
    answers = [kept.post("/api/sign-ins/end-others/").json()]
    assert answers == [{"ended": 1, "left": 3}]
    assert [opens(client) for client in newer] == [True, True, True, False], "the newest first"
    answers += [kept.post("/api/sign-ins/end-others/").json() for _ in range(3)]
    assert sum(each["ended"] for each in answers) == 4
    assert "left" not in answers[-1]
    assert not any(map(opens, newer))
    assert opens(kept)


def test_the_page_says_how_many_others_are_left(browser_of, client_of, ann, no_time):
    browser = browser_of(ann)
    for _ in range(4):
        client_of(ann)
    page = browser.post("/accounts/sign-ins/end-others/", follow=True).content.decode()
    assert "1 other sign-in ended." in page
    assert "3 other sign-ins have not ended yet. End the other sign-ins again." in page


def test_a_kept_sign_in_whose_id_does_not_name_its_start_goes_on(client_of, ann, no_time):
    """Of before ids had their start in them: a wholesale end would take it along."""
    others, kept = [client_of(ann) for _ in range(3)], client_of(ann)
    old = SignIn.objects.filter(user=ann).order_by("-created_at").first()
    reader = SignIn.objects.create(
        **{field.attname: getattr(old, field.attname) for field in SignIn._meta.concrete_fields} | {"id": uuid4()}
    )
    answers = [ending.end_others(ann, SignIn.Reason.ENDED_BY_USER, reader) for _ in range(5)]
    assert answers[-1].left == 0
    assert not any(map(opens, [*others, kept]))
    assert not Entry.objects.blocks(reader.pk, uuid4(), ann.pk)
    assert SignIn.objects.unended().get(user=ann) == reader


def test_a_sign_in_under_way_loses_to_the_end_of_the_others(client_of, ann, no_time):
    for _ in range(4):
        client_of(ann)
    kept = client_of(ann)
    proved = User.objects.get(pk=ann.pk)
    kept.post("/api/sign-ins/end-others/")
    with pytest.raises(SignInRefused):
        starting.start(proved, SignIn.Kind.CLIENT)
    assert opens(client_of(ann)), "who proves the password afterwards is in"


def test_all_of_somebody_with_many_end_by_one_entry(browser_of, client_of, ann, bob, monkeypatch):
    monkeypatch.setattr("accounts.models.sign_in_querysets.MAX_ENDED_PER_TRANSACTION", 2)
    clients, browser, his = [client_of(ann) for _ in range(3)], browser_of(ann), client_of(bob)
    assert clients[0].post("/api/sign-ins/end-all/").json() == {"ended": 4}
    assert not any(map(opens, clients))
    assert browser.get("/accounts/profile/").status_code == 302
    assert opens(his)
    assert list(Entry.objects.values_list("kind", "blocked_by")) == [("sub", ann.pk)]
    ended = SignIn.objects.filter(user=ann)
    assert set(ended.values_list("end_reason", "ended_by")) == {("ended_by_user", ann.pk)}


def test_what_was_left_of_them_is_marked_as_its_user_would_have(client_of, ann, monkeypatch):
    monkeypatch.setattr("accounts.models.sign_in_querysets.MAX_ENDED_PER_TRANSACTION", 0)
    monkeypatch.setattr("accounts.models.SignInQuerySet.end_silently_in_batches", lambda *_arguments: [])
    client_of(ann).post("/api/sign-ins/end-all/")
    monkeypatch.undo()
    call_command("prune", stdout=StringIO())
    assert SignIn.objects.get(user=ann).end_reason == "ended_by_user"


def test_of_more_users_than_a_statement_takes_each_is_out(browser_of, client_of, ann, bob, staff, monkeypatch):
    monkeypatch.setattr("accounts.compiled_queries.MAX_QUERY_VALUES", 2)
    everyone = (ann, bob, staff)
    clients, browsers = [client_of(user) for user in everyone], [browser_of(user) for user in everyone]
    assert User.objects.update(is_active=False) == 3
    assert not any(map(opens, clients))
    assert {browser.get("/accounts/profile/").status_code for browser in browsers} == {302}
    assert SecurityEvent.objects.filter(type="user_deactivated").count() == 3
    User.objects.all().delete()
    assert not User.objects.exists()


def test_more_sessions_than_a_statement_deletes_are_all_gone(browser_of, ann, bob, monkeypatch):
    monkeypatch.setattr("accounts.ending.SESSIONS_PER_DELETE", 2)
    browsers = [browser_of(user) for user in (ann, bob, ann, bob, ann)]
    assert sum(ending.end_everything("ended_by_staff")) == 5
    assert not Session.objects.exists()
    assert {browser.get("/accounts/profile/").status_code for browser in browsers} == {302}
