"""Hand-written SQL, compiled queries and instances built without from_db() give what the plain ORM gives."""

import uuid
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import Model
from django.test import RequestFactory
from django.utils import timezone

from accounts import sessions, sids
from accounts.compiled_queries import CompiledQuery, CompiledUpdate, partial_instance
from accounts.http import request_context
from accounts.models import SecurityEvent, Session, SignIn, User, sign_in_querysets
from accounts.models.sign_ins import user_columns
from accounts.models.users import _user_row
from api.blocklist.models import Entry
from api.tokens import RefreshToken

pytestmark = pytest.mark.django_db

USER_AGENT = "Robo\N{LATIN SMALL LETTER T WITH CARON}/1 \"'%s{}"


def row_of(sign_in):
    """All columns of the row but its id."""
    return SignIn.objects.values().filter(pk=sign_in.pk).get() | {"id": None}


def state_of(instance):
    """What an instance has: values, which of them are loaded, and what it compares them with on save()."""
    return {name: value for name, value in vars(instance).items() if name not in ("_state", "_stored")}


@pytest.fixture
def twins(ann, client_of):
    """Two sign-ins that differ by their id alone."""
    client_of(ann)
    sign_in = SignIn.objects.get(user=ann)
    twin = SignIn.objects.create(**SignIn.objects.values().get(pk=sign_in.pk) | {"id": uuid.uuid4()})
    assert row_of(sign_in) == row_of(twin)
    return sign_in, SignIn.objects.get(pk=twin.pk)


# SecurityEvent: INSERT ... SELECT


@pytest.mark.parametrize("reason", [SignIn.Reason.SIGNED_OUT, SignIn.Reason.ENDED_BY_STAFF])
def test_inserted_events_equal_those_of_bulk_create(reason, ann, staff, client_of, browser_of, monkeypatch):
    client_of(ann)
    browser_of(ann)
    client_of(staff)
    sign_ins = list(SignIn.objects.all())

    def record(max_log_lines):
        monkeypatch.setattr("accounts.models.events.MAX_LOG_LINES_PER_CHANGE", max_log_lines)
        before = set(SecurityEvent.objects.values_list("pk", flat=True))
        request = RequestFactory().get("/", headers={"user-agent": USER_AGENT}, REMOTE_ADDR="203.0.113.7")
        with request_context.use_request(request), request_context.acting('Lost "it\'s" %s\\', staff):
            SecurityEvent.objects.record_ends(sign_ins, reason, SignIn.objects.all())
        events = SecurityEvent.objects.exclude(pk__in=before).order_by("sid")
        assert all(timezone.now() - event.created_at < timedelta(minutes=1) for event in events)
        return [event | {"id": None, "created_at": None} for event in events.values()]

    from_orm, from_sql = record(len(sign_ins)), record(0)
    assert len(from_orm) == 3
    assert from_orm[0]["user_agent"] == USER_AGENT
    assert from_sql == from_orm


# SignInManager.live_by_kind(): TABLESAMPLE


def test_a_sample_of_all_pages_equals_the_exact_count(ann, bob, client_of, browser_of, monkeypatch):
    for user in (ann, bob):
        client_of(user)
        browser_of(user)
    client_of(ann)
    SignIn.objects.filter(user=bob, kind=SignIn.Kind.BROWSER).end(SignIn.Reason.ENDED_BY_STAFF)
    monkeypatch.setattr(sign_in_querysets, "MAX_COUNTED_EXACTLY", -2)
    monkeypatch.setattr(sign_in_querysets, "SAMPLE_ONE_IN", 1)
    counts, is_exact = SignIn.objects.live_by_kind()
    assert counts == SignIn.objects.live().by_kind() == {"client": 3, "browser": 1}
    assert is_exact == (connection.vendor != "postgresql")


# CompiledUpdate


def test_a_swapped_refresh_id_equals_an_update(twins, django_assert_num_queries):
    sign_in, twin = twins
    former, now = sign_in.refresh_id, timezone.now()
    with django_assert_num_queries(1):
        assert sign_in.swap_refresh_id(now)
    updated = SignIn.objects.filter(pk=twin.pk, refresh_id=former, ended_at=None).update(
        refresh_id=sign_in.refresh_id,
        previous_refresh_id=former,
        refreshed_at=now,
        last_seen_at=now,
        expires_at=min(now + twin.idle_timeout, twin.max_expires_at),
    )
    assert updated == 1
    assert row_of(sign_in) == row_of(twin)


@pytest.mark.parametrize("change", [{"refresh_id": uuid.uuid4()}, {"ended_at": timezone.now()}])
def test_a_compiled_update_checks_its_conditions(twins, change):
    sign_in, _twin = twins
    SignIn.objects.filter(pk=sign_in.pk).update(**change)
    before = row_of(sign_in)
    assert not sign_in.swap_refresh_id(timezone.now())
    assert row_of(sign_in) == before


def test_a_compiled_update_writes_the_columns_of_its_fields(twins, ann, bob):
    sign_in, twin = twins
    fields = {
        "authenticated_at": timezone.now() - timedelta(days=1),
        "key_thumbprint": "thumb'print",
        "idle_timeout": timedelta(hours=1, microseconds=1),
        "ended_by": bob.pk,
        "ip_address": "2001:db8::1",
    }
    assert {SignIn._meta.get_field(name).column for name in fields} > {"proved_at", "bound_to", "ended_by_id"}
    update = CompiledUpdate("accounts.SignIn", list(fields), where=["user", "key_thumbprint", "id"], null=["ended_at"])
    for _again in range(2):
        assert update.run(*fields.values(), ann.pk, "", sign_in.pk) == (0 if _again else 1)
    assert SignIn.objects.filter(pk=twin.pk, key_thumbprint="").update(**fields) == 1
    assert row_of(sign_in) == row_of(twin)


# CompiledQuery


def values_of(rows):
    return list(rows.get())


def test_the_compiled_query_of_a_user_equals_the_orm(ann, staff):
    for user in (ann, staff):
        assert _user_row.first(user.pk) == values_of(User.objects.filter(pk=user.pk).values_list(*user_columns()))
    assert _user_row.first(0) is None


def test_the_compiled_query_of_a_session_equals_the_orm(ann, browser_of):
    browser = browser_of(ann)
    key = browser.session.session_key
    row = Session.objects.filter(pk=sessions.digest(key))
    columns = ["session_data", "expire_date", *SignIn.columns("sign_in__")]
    assert sessions._session_by_key.first(sessions.digest(key)) == values_of(row.values_list(*columns))
    assert sessions._session_by_key.first(key) is None
    row.update(sign_in=None)
    assert sessions._session_by_key.first(sessions.digest(key)) == values_of(row.values_list(*columns))


def test_the_compiled_query_of_a_refresh_token_equals_the_orm(ann, client_of):
    token = RefreshToken(client_of(ann).refresh)
    from_orm = SignIn.objects.select_related("user").get(pk=token.sid)
    sign_in = token.get_sign_in()
    assert [getattr(sign_in, name) for name in SignIn.DECISIVE_FIELDS] == [
        getattr(from_orm, name) for name in SignIn.DECISIVE_FIELDS
    ]
    assert [getattr(sign_in.user, name) for name in user_columns()] == [
        getattr(from_orm.user, name) for name in user_columns()
    ]
    Entry.objects.block_sign_ins([token.sid])
    assert token.get_sign_in() is None
    assert not token.family.exists()


def test_the_compiled_query_of_the_blocklist_equals_the_orm(ann, bob, client_of):
    def agree():
        rows = SignIn.objects.order_by("pk").values_list("pk", "user_id")
        asked = [(sid, jti, user_id) for sid, user_id in rows for jti in (blocked, uuid.uuid4())]
        answers = [Entry.objects.blocks(*each) for each in asked]
        assert answers == [Entry.objects.blocking(sid, user_id, jti).exists() for sid, jti, user_id in asked]
        return sum(answers)

    blocked = uuid.uuid4()
    for user in (ann, ann, bob):
        client_of(user)
    assert agree() == 0
    Entry.objects.block_token(blocked)
    assert agree() == 3
    Entry.objects.block_sign_ins([SignIn.objects.filter(user=ann)[0].pk])
    assert agree() == 4
    Entry.objects.block_all(sids.just_after(timezone.now()), bob.pk)
    assert agree() == 5


@pytest.mark.parametrize("model", [SignIn, SecurityEvent])
def test_a_compiled_query_converts_values_like_the_orm(model, ann, client_of):
    client_of(ann)
    columns = [field.attname for field in model._meta.concrete_fields]
    query = CompiledQuery(lambda: model.objects.filter(user=0).order_by().values_list(*columns))
    from_orm = values_of(model.objects.filter(user=ann).values_list(*columns))
    row = query.first(ann.pk)
    assert row == from_orm
    assert [type(value) for value in row] == [type(value) for value in from_orm]


# partial_instance()


def test_a_partial_instance_equals_one_of_from_db(ann, client_of):
    client_of(ann)
    names = SignIn.DECISIVE_FIELDS
    from_orm = SignIn.objects.only(*names).get(user=ann)
    built = partial_instance(SignIn, zip(names, SignIn.objects.values_list(*names).get(user=ann), strict=True))
    assert_same(built, from_orm)
    built.refresh_from_db()
    from_orm.refresh_from_db()
    assert_same(built, from_orm)


def assert_same(one: Model, other: Model) -> None:
    assert state_of(one) == state_of(other)
    assert one._stored == other._stored
    assert one.get_deferred_fields() == other.get_deferred_fields()
    assert (one._state.adding, one._state.db) == (other._state.adding, other._state.db)
    assert one == other
