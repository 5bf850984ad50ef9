"""How a process notices that the database was restored, and the indexes that are skipped then."""

import pytest
from django.db import connection

from accounts.models import SignIn
from api.blocklist.models import Entry, StatusIndex, Store, max_access_expiry
from api.blocklist.restore import SKIPPED_INDEXES, refuse_everything
from api.blocklist.row_cursor import RowCursor, StoreReplaced
from api.blocklist.store import MarkedRows

# Two ids are left of the four that the fixture assigns.
LOSE_IDS = {
    "postgresql": "SELECT setval(name, pg_sequence_last_value(name) - 2)"
    " FROM (SELECT pg_get_serial_sequence('blocklist_entry', 'id')::regclass AS name) AS of_table",
    "sqlite": "UPDATE sqlite_sequence SET seq = seq - 2 WHERE name = 'blocklist_entry'",
}
FIELDS = ("id", "token_id", "until", "before", "lifted_at", "kind", "owner_id")


@pytest.fixture
def older(transactional_db):
    """A cursor that has read entries, after which the database was restored to a state without them."""
    unread = RowCursor()
    Entry.objects.block_sign_ins(SignIn().pk for _ in range(4))
    assert len(unread.read()[0]) == 4
    Entry.objects.all()._raw_delete("default")
    with connection.cursor() as cursor:
        cursor.execute(LOSE_IDS[connection.vendor])
    return unread


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

    def test_lost_entries_are_noticed(self, older):
        with pytest.raises(StoreReplaced) as noticed:
            older.read()
        assert noticed.value.is_older

    @pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no TRUNCATE")
    def test_a_truncated_table_is_noticed(self):
        """As by `pg_restore --data-only` after TRUNCATE, with the same last id."""
        unread = RowCursor()
        Entry.objects.block_sign_ins([SignIn().pk])
        unread.read()
        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE blocklist_entry")
        with pytest.raises(StoreReplaced):
            unread.read()

    def test_the_command_makes_no_mirror_report_lost_entries(self, older):
        """Run in the restored database, before a process reads it."""
        refuse_everything()
        with pytest.raises(StoreReplaced) as noticed:
            older.read()
        assert not noticed.value.is_older

    def test_no_index_is_assigned_twice_after_a_restore(self, ann, settings):
        settings.JWT_STATUS_LIST = True
        StatusIndex.objects.create()
        before = StatusIndex.objects.latest_index()
        refuse_everything()
        below = Entry.objects.exclude(places_below=None).get().places_below
        assert StatusIndex.objects.create().pk >= below > before + SKIPPED_INDEXES
