"""A backup restored under running nodes by the steps of project/README.md, on real servers."""

import re
import time

import httpx
import psycopg
import pytest
from psycopg import sql

from accounts.models import SignIn
from api.blocklist.models import Entry, StatusIndex, Store, max_access_expiry
from api.blocklist.restore import SKIPPED_INDEXES, end_restored_sign_ins
from api.blocklist.row_cursor import RowCursor, StoreReplaced
from api.blocklist.store import MarkedRows
from tests import servers
from tests.conftest import bearer

FIELDS = ("id", "token_id", "until", "before", "lifted_at", "kind", "owner_id")


@pytest.mark.django_db(transaction=True)
class TestStore:
    def test_the_marked_rows_match_the_orm(self, django_assert_num_queries):
        Entry.objects.block_sign_ins(sign_in.pk for sign_in in [SignIn(), SignIn(), SignIn()])
        Entry.objects.block_all(max_access_expiry(), 7)
        rows = Entry.objects.order_by("id").values_list(*FIELDS)
        with django_assert_num_queries(1):
            mark, found = MarkedRows(rows[:3]).read()
        assert found == list(rows[:3])
        assert mark.last_id == Entry.objects.latest("id").pk
        assert MarkedRows(rows.filter(pk=-1)).read()[1] == []

    def test_pruning_is_not_taken_for_a_restore(self):
        unread = RowCursor()
        Entry.objects.bulk_create(Entry(token_id=SignIn().pk, kind="sid", until=max_access_expiry()) for _ in range(5))
        assert len(unread.read()[0]) == 5
        Entry.objects.all()._raw_delete("default")
        assert unread.read() == ([], False)

    @pytest.mark.parametrize("replace", [lambda: Store.objects.renew(), lambda: Store.objects.all().delete()])
    def test_a_new_store_id_makes_a_mirror_load_everything(self, replace):
        Store.objects.renew()
        unread = RowCursor()
        Entry.objects.block_sign_ins([SignIn().pk, SignIn().pk])
        assert len(unread.read()[0]) == 2
        replace()
        with pytest.raises(StoreReplaced):
            unread.read()
        assert len(unread.read()[0]) == 2

    def test_no_index_is_assigned_twice_after_a_restore(self, ann, settings):
        settings.JWT_STATUS_LIST = True
        StatusIndex.objects.create()
        before = StatusIndex.objects.latest_index()
        list(end_restored_sign_ins(SignIn.Reason.ENDED_BY_STAFF))
        below = Entry.objects.exclude(places_below=None).get().places_below
        assert StatusIndex.objects.create().pk >= below > before + SKIPPED_INDEXES


# On real servers

NAME = "wristband"
MAKE = """
from accounts.models import User
for name in ("ann", "bob"):
    User.objects.create_user(name, name + "@example.org", "violet anchor hums at dawn")
"""
COUNT = """
from accounts.models import SecurityEvent, SignIn
print(SecurityEvent.objects.filter(type="token_reused").count(), SignIn.objects.filter(ended_at=None).count())
"""


def another_database(admin, live, backup):
    """Restores like `dropdb`, `createdb` and `pg_restore`."""
    disconnect(admin, NAME)
    admin.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(NAME)))
    admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE yesterday").format(sql.Identifier(NAME)))


def the_rows(empty):
    """Restores like `pg_restore --data-only`, with connections that stay open."""

    def restore(admin, live, backup):
        with psycopg.connect(live) as to, psycopg.connect(backup) as of:
            to.execute("SET session_replication_role = replica")
            tables = [name for [name] in of.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
            to.execute(empty(tables))
            for table in map(sql.Identifier, tables):
                with (
                    of.cursor().copy(sql.SQL("COPY {} TO STDOUT").format(table)) as out,
                    to.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(table)) as into,
                ):
                    for block in out:
                        into.write(block)
            sequences = of.execute("SELECT sequencename, coalesce(last_value, 1), last_value FROM pg_sequences")
            for name, value, used in sequences.fetchall():
                to.execute("SELECT setval(%s::regclass, %s, %s)", [name, value, used is not None])

    return restore


def truncated(tables):
    return sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join(map(sql.Identifier, tables)))


def deleted(tables):
    return sql.SQL("; ").join(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)) for table in tables)


def disconnect(admin, name):
    admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name)))
    admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
    while admin.execute("SELECT 1 FROM pg_stat_activity WHERE datname = %s", [name]).fetchone():
        time.sleep(0.05)


def back_up(admin):
    disconnect(admin, NAME)
    admin.execute(sql.SQL("CREATE DATABASE yesterday TEMPLATE {}").format(sql.Identifier(NAME)))
    admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(NAME)))


class Client:
    def __init__(self, url, name):
        self.http = httpx.Client(base_url=url, timeout=30, trust_env=False)
        self.name = name

    def sign_in(self):
        return self._keep("/api/token/", {"username": self.name, "password": "violet anchor hums at dawn"})

    def refresh(self, token=None):
        return self._keep("/api/token/refresh/", {"refresh": token or self.refresh_token})

    def _keep(self, path, body):
        # A terminated connection causes at most one 503 for each worker.
        for _ in range(10):
            answer = self.http.post(path, json=body)
            if answer.status_code != 503:
                break
            time.sleep(0.2)
        if answer.status_code == 200:
            self.access, self.refresh_token = answer.json()["access"], answer.json()["refresh"]
        return answer.status_code

    def call(self, access=None):
        headers = bearer(access or self.access)
        # A terminated connection causes at most one 503 for each worker.
        for _ in range(10):
            status = self.http.get("/api/me/", headers=headers).status_code
            if status != 503:
                return status
            time.sleep(0.2)
        return 503


class Browser:
    def __init__(self, url, name):
        self.http = httpx.Client(base_url=url, timeout=30, trust_env=False)
        self.name = name

    def sign_in(self):
        page = self.http.get("/accounts/login/")
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text).group(1)
        form = {"csrfmiddlewaretoken": token, "username": self.name, "password": "violet anchor hums at dawn"}
        return self.http.post("/accounts/login/", data=form, headers={"Referer": str(page.url)}).status_code

    def shows_profile(self):
        return self.http.get("/accounts/profile/").status_code == 200


@pytest.mark.once
@pytest.mark.long
@pytest.mark.parametrize(
    "restore",
    [another_database, the_rows(truncated), the_rows(deleted)],
    ids=["another database", "tables truncated", "rows deleted"],
)
def test_after_a_restore_old_tokens_fail_without_a_reuse_event(restore):
    with servers.postgres() as postgres, servers.valkey() as valkey:
        env = {
            "DATABASE_URL": servers.create_database(postgres.url, NAME),
            "REDIS_URL": valkey.url,
            "DEBUG": "true",
            "TOKEN_RATE": "",
        }
        backup = f"{postgres.url.rpartition('/')[0]}/yesterday"
        servers.manage(env, "migrate", "--verbosity=0")
        servers.manage(env, "shell", "--verbosity=0", "--command", MAKE)
        admin = psycopg.connect(postgres.url, autocommit=True)
        with admin, servers.node(env, workers=2) as node:
            # In the backup: a client that refreshes later, a client that ends later, and two browsers.
            honest, ended = Client(node.url, "ann"), Client(node.url, "bob")
            browser, ended_browser = Browser(node.url, "ann"), Browser(node.url, "bob")
            assert honest.sign_in() == ended.sign_in() == 200
            assert browser.sign_in() == ended_browser.sign_in() == 302
            back_up(admin)
            assert honest.call() == ended.call() == 200
            assert honest.refresh() == honest.refresh() == 200
            assert ended.http.post("/api/sign-ins/end-all/", json={}, headers=bearer(ended.access))
            # Not in the backup, and enough rows that the last id of the mirrors is higher than in the backup.
            later = Client(node.url, "bob")
            for _ in range(20):
                assert later.sign_in() == 200
                assert (
                    later.http.post("/api/token/blacklist/", json={"refresh": later.refresh_token}).status_code == 200
                )
            assert later.sign_in() == later.call() == 200

            restore(admin, env["DATABASE_URL"], backup)
            output = servers.manage(env, "after_restore")

            assert re.match(r"[1-9]\d* sign-ins ended", output)
            for _ in range(12):
                assert [each.call() for each in (honest, ended, later)] == [401, 401, 401]
            assert [each.refresh() for each in (honest, ended, later)] == [401, 401, 401]
            assert not browser.shows_profile()
            assert not ended_browser.shows_profile()
            thefts, unended = servers.manage(env, "shell", "--verbosity=0", "--command", COUNT).split()
            assert (thefts, unended) == ("0", "0")
            assert "used twice" not in node.log

            # Everything works as before: sign-ins succeed, and each worker knows an end at once.
            for _ in range(5):
                assert honest.sign_in() == 200
                assert {honest.call() for _ in range(4)} == {200}
                assert (
                    honest.http.post("/api/token/blacklist/", json={"refresh": honest.refresh_token}).status_code == 200
                )
                assert {honest.call() for _ in range(6)} == {401}
            assert browser.sign_in() == 302
            assert browser.shows_profile()
