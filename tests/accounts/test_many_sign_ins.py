"""Somebody with very many sign-ins."""

from io import StringIO

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection

from accounts.models import SecurityEvent, Session, SignIn, User
from api.blocklist.models import Entry

pytestmark = pytest.mark.django_db

# PostgreSQL takes 65,535 values to a statement, SQLite as many as it was built for: 32,766 or more.
MORE_THAN_A_STATEMENT_TAKES = 66_000
COPIES = """
INSERT INTO accounts_signin ({columns})
SELECT gen_random_uuid(), {others} FROM accounts_signin, generate_series(1, %s) WHERE id = %s
"""


def opens(client):
    return client.get("/api/me/").status_code == 200


@pytest.mark.long
@pytest.mark.skipif(not settings.REDIS_URL, reason="it takes a while, so one store will do")
def test_more_than_a_statement_takes_end_in_one_transaction(browser_of, client_of, ann):
    client, browser = client_of(ann), browser_of(ann)
    others = [field.column for field in SignIn._meta.concrete_fields if not field.primary_key]
    with connection.cursor() as cursor:
        statement = COPIES.format(columns=", ".join(["id", *others]), others=", ".join(others))
        template = SignIn.objects.get(user=ann, kind="browser")
        cursor.execute(statement, [MORE_THAN_A_STATEMENT_TAKES, template.pk])
    answer = client.post("/api/sign-ins/end-others/")
    assert (answer.status_code, answer.json()) == (200, {"ended": MORE_THAN_A_STATEMENT_TAKES + 1})
    assert SignIn.objects.unended().filter(user=ann).get().kind == "client"
    assert SecurityEvent.objects.filter(user=ann, type="sign_in_ended").count() == MORE_THAN_A_STATEMENT_TAKES + 1
    assert opens(client)
    assert browser.get("/accounts/profile/").status_code == 302


def test_all_of_somebody_with_many_end_by_one_entry(browser_of, client_of, ann, bob, monkeypatch):
    monkeypatch.setattr("accounts.models.MANY", 2)
    clients, browser, his = [client_of(ann) for _ in range(3)], browser_of(ann), client_of(bob)
    assert clients[0].post("/api/sign-ins/end-all/").json() == {"ended": 4}
    assert not any(map(opens, clients))
    assert browser.get("/accounts/profile/").status_code == 302
    assert opens(his)
    assert list(Entry.objects.values_list("kind", "blocked_by")) == [("sub", ann.pk)]
    ended = SignIn.objects.filter(user=ann)
    assert set(ended.values_list("end_reason", "ended_by")) == {("ended_by_user", ann.pk)}


def test_what_was_left_of_them_is_marked_as_its_user_would_have(client_of, ann, monkeypatch):
    monkeypatch.setattr("accounts.models.MANY", 0)
    monkeypatch.setattr("accounts.models.SignInQuerySet.end_told_in_batches", lambda *_arguments: [])
    client_of(ann).post("/api/sign-ins/end-all/")
    monkeypatch.undo()
    call_command("prune", stdout=StringIO())
    assert SignIn.objects.get(user=ann).end_reason == "ended_by_user"


def test_of_more_users_than_a_statement_takes_each_is_out(browser_of, client_of, ann, bob, staff, monkeypatch):
    monkeypatch.setattr("accounts.rows.VALUES", 2)
    everyone = (ann, bob, staff)
    clients, browsers = [client_of(user) for user in everyone], [browser_of(user) for user in everyone]
    assert User.objects.update(is_active=False) == 3
    assert not any(map(opens, clients))
    assert {browser.get("/accounts/profile/").status_code for browser in browsers} == {302}
    assert SecurityEvent.objects.filter(type="user_deactivated").count() == 3
    User.objects.all().delete()
    assert not User.objects.exists()


def test_more_sessions_than_a_statement_deletes_are_all_gone(browser_of, ann, bob, monkeypatch):
    monkeypatch.setattr("accounts.models.SESSIONS", 2)
    browsers = [browser_of(user) for user in (ann, bob, ann, bob, ann)]
    assert sum(SignIn.objects.end_everything("ended_by_staff")) == 5
    assert not Session.objects.exists()
    assert {browser.get("/accounts/profile/").status_code for browser in browsers} == {302}
