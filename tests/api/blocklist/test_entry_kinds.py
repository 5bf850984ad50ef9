"""Kinds of blocklist entries: only kind and moment make an entry wholesale, so that a pasted id cannot imitate one."""

import json
import os
from datetime import timedelta
from uuid import UUID, uuid1, uuid4

import pytest
from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone

from accounts import sids
from accounts.models import SignIn
from api.blocklist.mirror import Mirror
from api.blocklist.models import EVERYBODY_TOKEN_ID, Entry, max_access_expiry, user_token_id
from tests import servers
from tests.accounts.admin_pages import LEAKED, make_staff, text_of
from tests.api.blocklist.test_admin import BLOCKER, do, offers, show
from tests.api.blocklist.test_wholesale import settle

pytestmark = pytest.mark.django_db(transaction=True)
needs_redis = pytest.mark.skipif(not settings.REDIS_URL, reason="no Redis")


@pytest.fixture
def old_entries():
    """The blocklist model of the previous release on the current database."""
    state = MigrationLoader(connection).project_state([("blocklist", "0004_staff_entries")])
    return state.apps.get_model("blocklist", "Entry").objects


def old_node_finds(entries, sid, user_id):
    """EntryQuerySet.blocking() of the previous release."""
    ids = (sid, UUID(int=user_id), UUID(int=0))
    found = entries.filter(token_id__in=ids, lifted_at=None)
    return found.filter(before=None).exists() or found.filter(before__gt=sids.started_at(sid)).exists()


# Pasted ids


STRANGE_IDS = {
    "everybody's of before": EVERYBODY_TOKEN_ID,
    "a user's of before": user_token_id(1),
    "all ones": UUID(int=2**128 - 1),
    "version 1": uuid1(),
    "version 7": sids.new(),
    "version 4 of another variant": UUID(int=uuid4().int & ~(3 << 62)),
}


@pytest.mark.parametrize("strange", STRANGE_IDS.values(), ids=STRANGE_IDS)
def test_an_id_of_another_uuid_version_is_not_a_token_id(browser_of, client_of, password, ann, strange):
    client, page = client_of(ann), browser_of(make_staff("blocker", password, *BLOCKER))
    answer = show(page, strange.hex)
    assert "not a token of this server" in text_of(answer)
    assert offers(answer) == set()
    with pytest.raises(ValueError, match="version-4"):
        Entry.objects.block_leaked_token(strange, "It was pasted.")
    assert client.get("/api/me/").status_code == client.renew().status_code == 200


def test_a_token_entry_with_a_users_number_blocks_no_user(client_of, ann):
    client = client_of(ann)
    for number in (0, ann.pk):
        Entry.objects.create(token_id=UUID(int=number), kind="jti", why="An old node.", until=max_access_expiry())
    assert client.get("/api/me/").status_code == client.renew().status_code == 200


@needs_redis
def test_the_mirror_does_not_read_such_an_entry_as_wholesale(ann):
    for number in (0, ann.pk):
        Entry.objects.create(token_id=UUID(int=number), kind="jti", why="An old node.", until=max_access_expiry())
    mirror = Mirror()
    settle(mirror)
    assert not mirror.blocks(sids.new(), uuid4(), ann.pk)


def test_only_superusers_block_a_superusers_token(browser_of, client_of, password, staff):
    page, client = browser_of(make_staff("blocker", password, *BLOCKER)), client_of(staff)
    offered = show(browser_of(staff), client.access)
    assert offers(show(page, client.access)) == set()
    # The finding of another staff member, sent without the permission.
    assert do(page, offered, "block").status_code == 403
    assert client.get("/api/me/").status_code == 200
    assert do(browser_of(staff), offered, "block").status_code == 302
    assert client.get("/api/me/").status_code == 401


def test_a_token_of_an_unknown_owner_is_blocked_for_minutes(browser_of, password, staff):
    page, jti = browser_of(make_staff("blocker", password, *BLOCKER)), uuid4()
    assert do(page, show(page, jti.hex), "block").status_code == 302
    assert Entry.objects.get(token_id=jti).until <= max_access_expiry()
    assert page.get(LEAKED).status_code == 200


# The database


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "sub"},
        {"kind": "all"},
        {"kind": "sid", "before": sids.EPOCH},
        {"kind": "jti", "before": sids.EPOCH},
        {"kind": "all", "before": sids.EPOCH, "owner_id": 1},
        {"kind": "sid", "owner_id": 1},
    ],
    ids=str,
)
def test_the_database_refuses_an_entry_without_a_kind(fields):
    with pytest.raises(IntegrityError), transaction.atomic():
        Entry.objects.create(token_id=uuid4(), until=max_access_expiry(), **fields)


def test_the_compiled_check_and_the_orm_agree(ann):
    now = timezone.now()
    sid, other, jti = sids.new(now), sids.new(now + timedelta(hours=1)), uuid4()
    Entry.objects.block_sign_ins([sids.new()])
    cases = [(each, token_id, user) for each in (sid, other) for token_id in (jti, uuid4()) for user in (1, 2)]

    def blocked_cases():
        compiled = [Entry.objects.blocks(*case) for case in cases]
        assert compiled == [Entry.objects.blocking(each, user, jti).exists() for each, jti, user in cases]
        return sum(compiled)

    assert blocked_cases() == 0
    Entry.objects.block_all(now + timedelta(minutes=1), 1)
    assert blocked_cases() == 2
    Entry.objects.block_token(jti)
    assert blocked_cases() == 5
    Entry.objects.block_all(now + timedelta(hours=2))
    assert blocked_cases() == 8


@pytest.mark.skipif(connection.vendor != "postgresql", reason="the plans of PostgreSQL")
def test_the_check_reads_indexes_only(ann):
    entries = [Entry(token_id=uuid4(), kind="sid", until=max_access_expiry()) for _ in range(5000)]
    Entry.objects.bulk_create(entries)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE blocklist_entry")
    assert "Seq Scan" not in Entry.objects.blocking(sids.new(), 1, uuid4()).order_by().explain()


# Nodes of the previous release


def test_an_old_node_knows_a_wholesale_end_of_a_new_node(old_entries, ann):
    sid = sids.new()
    assert not old_node_finds(old_entries, sid, ann.pk)
    Entry.objects.block_all(sids.just_after(timezone.now()), ann.pk)
    assert old_node_finds(old_entries, sid, ann.pk)
    assert not old_node_finds(old_entries, sid, ann.pk + 1)
    Entry.objects.block_all(sids.just_after(timezone.now()))
    assert old_node_finds(old_entries, sid, ann.pk + 1)


@pytest.mark.parametrize("number", [1, 15, 16, 255, 4242, 2**40 + 12345, 2**63 - 1])
def test_a_new_node_knows_a_wholesale_end_of_an_old_node(old_entries, number):
    sid, before = sids.new(), sids.just_after(timezone.now())
    old_entries.create(kind="sub", token_id=UUID(int=number), before=before, until=max_access_expiry())
    assert Entry.objects.get().owner_id == number
    assert Entry.objects.blocks(sid, uuid4(), number)
    assert not Entry.objects.blocks(sid, uuid4(), number - 1)
    old_entries.create(kind="all", token_id=UUID(int=0), before=before, until=max_access_expiry())
    assert Entry.objects.blocks(sid, uuid4(), number - 1)


@needs_redis
def test_a_new_mirror_knows_a_wholesale_end_of_an_old_node(old_entries):
    old_entries.create(kind="sub", token_id=UUID(int=7), before=timezone.now(), until=max_access_expiry())
    mirror, sid = Mirror(), sids.new(timezone.now() - timedelta(hours=1))
    settle(mirror)
    assert mirror.blocks(sid, uuid4(), 7)
    assert not mirror.blocks(sid, uuid4(), 8)


def test_prune_finishes_the_ends_of_an_old_node(old_entries, client_of, ann, bob):
    client_of(ann), client_of(bob)
    before = sids.just_after(timezone.now())
    old_entries.create(kind="sub", token_id=UUID(int=ann.pk), before=before, until=max_access_expiry())
    assert Entry.objects.unfinished_count() == 1
    list(Entry.objects.finish_ending())
    assert list(SignIn.objects.filter(ended_at=None).values_list("user", flat=True)) == [bob.pk]


SEED = """
import json, uuid
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone
now, day = timezone.now(), timezone.timedelta(days=1)
old = MigrationExecutor(connection).loader.project_state([("blocklist", "0004_staff_entries")]).apps
entries = old.get_model("blocklist", "Entry").objects
entries.create(kind="sub", token_id=uuid.UUID(int=4242), before=now, until=now + day, why="Asked by phone.")
entries.create(kind="all", token_id=uuid.UUID(int=0), before=now, until=now + day)
entries.create(kind="sid", token_id=uuid.UUID(int=2**100), until=now + day)
entries.create(kind="jti", token_id=uuid.UUID(int=0), until=now + day, why="Pasted.")
entries.create(kind="jti", token_id=uuid.UUID(int=2**100 + 1), until=now + day, why="It leaked.")
"""
READ = """
import json
from django.db import connection
with connection.cursor() as cursor:
    cursor.execute("SELECT {columns}, lifted_at IS NULL FROM blocklist_entry ORDER BY id")
    print(json.dumps([[*row[:-1], bool(row[-1])] for row in cursor.fetchall()], default=str))
"""


@pytest.fixture
def database(tmp_path):
    """A separate database with the schema of the previous release."""
    url = os.environ["DATABASE_URL"]
    name = f"kinds_{uuid4().hex}"
    env = {"DATABASE_URL": servers.create_database(url, name) if url else f"sqlite:///{tmp_path / name}"}
    servers.manage(env, "migrate", "--verbosity=0")
    servers.manage(env, "migrate", "--verbosity=0", "blocklist", "0004")
    servers.manage(env, "shell", "--verbosity=0", "--command", SEED)
    return env


@pytest.mark.long
def test_entries_of_the_last_release_migrate_both_ways(database):
    def read(columns):
        return json.loads(servers.manage(database, "shell", "--verbosity=0", "--command", READ.format(columns=columns)))

    before = read("kind, token_id")
    servers.manage(database, "migrate", "--verbosity=0")
    assert [row[:2] for row in read("kind, owner_id")] == [
        ["sub", 4242],
        ["all", None],
        ["sid", None],
        ["jti", None],
        ["jti", None],
    ]
    # No token has such an id: such an entry, made by mistake, refused every token.
    assert [row[-1] for row in read("kind, owner_id")] == [True, True, True, False, True]
    servers.manage(database, "migrate", "--verbosity=0", "blocklist", "0004")
    assert [row[:2] for row in read("kind, token_id")] == [row[:2] for row in before]
