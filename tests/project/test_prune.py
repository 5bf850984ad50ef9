"""manage.py prune: deletes expired rows and unused accounts, without restoring a revoked token."""

import json
from datetime import timedelta
from importlib import import_module
from io import StringIO
from tempfile import NamedTemporaryFile

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from accounts import registration
from accounts.models import AttemptCounter, SecurityEvent, Session, SignIn, User
from api.blocklist.models import EVERYBODY_TOKEN_ID, Entry, user_token_id
from tests.conftest import ApiClient, Browser

pytestmark = pytest.mark.django_db

WRONG = "not the right passphrase at all"
DAY = timedelta(days=1)


def prune(*arguments):
    """Returns the lines of the command by their subject."""
    out = StringIO()
    call_command("prune", *arguments, stdout=out)
    return dict(line.split(": ", 1) for line in out.getvalue().splitlines())


def test_rows_in_use_are_kept(client_of, browser_of, ann, bob):
    client, browser = client_of(ann), browser_of(ann)
    client_of(bob).post("/api/sign-ins/end-all/")
    counts = [model.objects.count() for model in (Session, SignIn, Entry, SecurityEvent, AttemptCounter)]
    prune()
    assert counts == [model.objects.count() for model in (Session, SignIn, Entry, SecurityEvent, AttemptCounter)]
    assert client.get("/api/me/").status_code == 200
    assert browser.get("/accounts/profile/").status_code == 200


def register(name, password):
    form = {"username": name, "email": f"{name}@example.org", "password": password}
    assert ApiClient().post("/api/register/", form).status_code == 201
    return User.objects.get(username=name)


def sign_up(name, password):
    """Signs up on the page and returns the signed-in browser."""
    browser = Browser()
    form = {"username": name, "email": f"{name}@example.org", "password1": password}
    assert browser.post("/accounts/signup/", form).status_code == 302
    return browser


@pytest.fixture
def later(clock, settings):
    """Returns a function that moves the clock past the retention of unused accounts."""
    return lambda: clock.shift(max(settings.UNCONFIRMED_KEEP, settings.SIGN_IN_MAX) + DAY)


@pytest.mark.parametrize("sign_up", [register, sign_up])
def test_an_unconfirmed_and_unused_sign_up_is_deleted(sign_up, password, clock, settings):
    sign_up("ann", password)
    clock.shift(settings.UNCONFIRMED_KEEP - DAY)
    prune()
    assert User.objects.exists()
    clock.shift(2 * DAY)
    assert prune("--dry-run")["users"] == "1 to be deleted"
    prune()
    assert not User.objects.exists()


def made_by(way, password):
    """Creates an account without a sign-up, a confirmed address or a sign-in."""
    if way == "bulk_create":
        User.objects.bulk_create(User(username=f"u{n}", email=f"u{n}@example.org", password="x") for n in range(3))
    elif way == "loaddata":
        fields = {"username": "u", "email": "u@example.org", "password": "x", "date_joined": "2020-01-01T00:00:00Z"}
        with NamedTemporaryFile("w", suffix=".json") as file:
            file.write(json.dumps([{"model": "accounts.user", "fields": fields}]))
            file.flush()
            call_command("loaddata", file.name, verbosity=0)
    elif way == "raw SQL":
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO accounts_user (username, email, password, first_name, last_name, is_superuser, is_staff,"
                " is_active, date_joined, generation) VALUES ('u', 'u@example.org', 'x', '', '', %s, %s, %s, %s, 0)",
                [False, False, True, timezone.now()],
            )
    elif way == "createsuperuser":
        call_command("createsuperuser", username="u", email="u@example.org", interactive=False, verbosity=0)
    elif way == "get_or_create":
        User.objects.get_or_create(username="u", defaults={"email": "u@example.org"})
    else:
        User.objects.create_user("u", "u@example.org", password)


@pytest.mark.parametrize(
    "way", ["bulk_create", "loaddata", "raw SQL", "createsuperuser", "get_or_create", "create_user"]
)
def test_an_account_imported_or_created_by_staff_is_kept(way, password, later):
    made_by(way, password)
    count = User.objects.count()
    later(), later()
    prune()
    assert User.objects.count() == count > 0


def signs_in_by_token(name, password, clock):
    register(name, password)
    clock.shift(timedelta(seconds=1))
    assert ApiClient().sign_in(name, password).status_code == 200


def signs_in_once_more(name, password, clock):
    sign_up(name, password)
    assert Browser().post("/accounts/login/", {"username": name, "password": password}).status_code == 302


def goes_on_in_the_browser_of_the_sign_up(name, password, clock):
    browser = sign_up(name, password)
    clock.shift(timedelta(hours=2))
    assert browser.get("/accounts/profile/").status_code == 200


def connects_a_client(name, password, clock):
    browser = sign_up(name, password)
    assert browser.post("/accounts/clients/new/", {"name": "backup"}).status_code == 200


def is_deactivated_by_staff(name, password, clock):
    User.objects.filter(pk=register(name, password).pk).update(is_active=False)


def is_given_a_group(name, password, clock):
    register(name, password).groups.add(Group.objects.get(name="Support"))


def has_data_of_another_app(name, password, clock):
    LogEntry.objects.create(user=register(name, password), action_flag=1)


def signs_in_at_a_node_of_the_release_before(name, password, clock):
    """That release writes last_login and does not know the column unused_since."""
    User.objects.filter(pk=register(name, password).pk).update(last_login=timezone.now() + timedelta(seconds=1))


@pytest.mark.parametrize(
    "use",
    [
        signs_in_by_token,
        signs_in_once_more,
        goes_on_in_the_browser_of_the_sign_up,
        connects_a_client,
        is_deactivated_by_staff,
        is_given_a_group,
        has_data_of_another_app,
        signs_in_at_a_node_of_the_release_before,
    ],
)
def test_an_account_that_was_used_is_kept(use, password, clock, later):
    use("ann", password, clock)
    for _ in range(4):
        later()
        prune()
    assert User.objects.filter(username="ann").exists()


def test_the_migration_marks_unused_sign_ups_only(password):
    """Runs the migration that fills unused_since."""
    register("ann", password)
    sign_up("bob", password)
    User.objects.create_user("eve", "eve@example.org", password)
    User.objects.update(unused_since=None)
    import_module("accounts.migrations.0023_mark_unused_accounts").mark_unused(apps, connection.schema_editor())
    assert list(User.objects.exclude(unused_since=None).values_list("username", flat=True)) == ["ann"]


def test_a_throw_away_account_is_deleted_with_its_client(clock, client_of, password):
    client = client_of(registration.create_throw_away_user("demo", password))
    clock.shift(DAY - timedelta(seconds=1))
    prune()
    assert client.renew().status_code == 200
    clock.shift(timedelta(seconds=1))
    prune()
    assert client.get("/api/me/").status_code == 401
    assert not User.objects.exists()


def test_an_expired_session_is_deleted(browser_of, ann, clock, settings):
    browser_of(ann)
    clock.shift(settings.SIGN_IN_MAX + DAY)
    prune()
    assert not Session.objects.exists()


def test_an_ended_sign_in_is_deleted_after_its_retention(client_of, ann, clock, settings):
    client_of(ann).post("/api/sign-ins/end-all/")
    clock.shift(settings.SIGN_IN_KEEP - timedelta(seconds=1))
    prune()
    assert SignIn.objects.count() == 1
    clock.shift(timedelta(seconds=2))
    prune()
    assert SignIn.objects.count() == 0


def test_an_expired_sign_in_is_deleted_after_its_retention(browser_of, ann, clock, settings):
    User.objects.update(email_confirmed_at=timezone.now())
    browser_of(ann)
    clock.shift(settings.SIGN_IN_MAX + settings.SIGN_IN_KEEP - timedelta(seconds=1))
    prune()
    assert SignIn.objects.count() == 1
    clock.shift(timedelta(seconds=2))
    prune()
    assert SignIn.objects.count() == 0
    assert not Entry.objects.exists()


def test_a_blocklist_entry_is_deleted_when_it_has_expired(client_of, ann, clock, settings):
    client = client_of(ann)
    client.post("/api/sign-ins/end-all/")
    prune()
    assert client.get("/api/me/").status_code == 401
    clock.shift(settings.ACCESS_TOKEN + settings.JWT_LEEWAY + timedelta(minutes=6))
    prune()
    assert Entry.objects.exists(), "a node may be as far ahead"
    clock.shift(DAY)
    prune()
    assert not Entry.objects.exists()
    assert client.get("/api/me/").status_code == 401


def test_pruned_sign_ins_stay_revoked(client_of, ann, clock, settings):
    settings.SIGN_IN_KEEP = timedelta(0)
    client = client_of(ann)
    client.post("/api/sign-ins/end-all/")
    clock.shift(timedelta(seconds=1))
    prune()
    assert not SignIn.objects.exists()
    assert client.get("/api/me/").status_code == 401
    assert client.renew().status_code == 401


def test_old_events_are_deleted(ann, clock, settings):
    SecurityEvent.objects.record(SecurityEvent.Type.SIGNED_UP, ann)
    clock.shift(settings.EVENT_KEEP - timedelta(seconds=1))
    SecurityEvent.objects.record(SecurityEvent.Type.SIGNED_IN, ann)
    clock.shift(timedelta(seconds=2))
    prune()
    assert list(SecurityEvent.objects.values_list("type", flat=True)) == ["signed_in"]


def test_expired_attempt_counters_are_deleted(anonymous, ann, clock):
    for _ in range(6):
        anonymous.sign_in("ann", WRONG)
    clock.shift(timedelta(hours=11))
    prune()
    assert AttemptCounter.objects.exists()
    clock.shift(timedelta(hours=14))
    prune()
    assert not AttemptCounter.objects.exists()


def test_a_dry_run_counts_and_deletes_nothing(client_of, ann, clock, settings):
    client_of(ann).post("/api/sign-ins/end-all/")
    clock.shift(settings.EVENT_KEEP + DAY)
    output = prune("--dry-run")
    assert output["sign-ins"] == "1 to be deleted"
    assert output["security events"] == "2 to be deleted"
    assert SignIn.objects.count() == 1
    assert SecurityEvent.objects.count() == 2


def test_unfinished_ends_are_counted_once(client_of, ann, bob, clock):
    client_of(ann), client_of(bob)
    clock.shift(60)
    earlier = timezone.now()
    client_of(ann), client_of(bob)
    clock.shift(60)
    shut_out = [
        (Entry.Kind.EVERYBODY, EVERYBODY_TOKEN_ID, earlier),
        *(
            (Entry.Kind.USER, user_token_id(user), before)
            for user in (ann.pk, 10**6)
            for before in (earlier, timezone.now())
        ),
        *((Entry.Kind.USER, user_token_id(user), timezone.now()) for user in range(2 * 10**6, 2 * 10**6 + 1000)),
    ]
    until = timezone.now() + DAY
    Entry.objects.bulk_create(
        Entry(kind=kind, token_id=token_id, before=before, until=until) for kind, token_id, before in shut_out
    )
    assert prune("--dry-run")["unfinished revocations"] == "3 sign-ins to be ended"
    assert prune()["unfinished revocations"] == "3 sign-ins ended"


def test_rows_are_deleted_in_independent_batches(ann, clock, settings):
    for _ in range(5):
        SecurityEvent.objects.record(SecurityEvent.Type.SIGNED_IN, ann)
    clock.shift(settings.EVENT_KEEP + DAY)
    assert next(SecurityEvent.objects.all().prune(size=2)) == 2
    assert SecurityEvent.objects.count() == 3
    assert list(SecurityEvent.objects.all().prune(size=2)) == [2, 1]
