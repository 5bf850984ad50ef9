"""manage.py prune: what has served its time goes, and nothing comes back to life."""

from datetime import timedelta
from io import StringIO

import pytest
import time_machine
from django.core.management import call_command
from django.utils import timezone

from accounts.models import Lock, SecurityEvent, Session, SignIn, User
from api.blocklist.models import EVERYBODY, Entry, all_of

pytestmark = pytest.mark.django_db

WRONG = "not the right passphrase at all"
DAY = timedelta(days=1)


@pytest.fixture
def clock():
    with time_machine.travel(timezone.now().replace(microsecond=0), tick=False) as traveller:
        yield traveller


def prune(*arguments):
    """What it says, by what it is about."""
    out = StringIO()
    call_command("prune", *arguments, stdout=out)
    return dict(line.split(": ", 1) for line in out.getvalue().splitlines())


def test_what_is_in_use_stays(client_of, browser_of, ann, bob):
    client, browser = client_of(ann), browser_of(ann)
    client_of(bob).post("/api/sign-ins/end-all/")
    counts = [model.objects.count() for model in (Session, SignIn, Entry, SecurityEvent, Lock)]
    prune()
    assert counts == [model.objects.count() for model in (Session, SignIn, Entry, SecurityEvent, Lock)]
    assert client.get("/api/me/").status_code == 200
    assert browser.get("/accounts/profile/").status_code == 200


def test_an_account_that_nobody_confirmed_or_uses_goes(ann, bob, staff, client_of, clock, settings):
    User.objects.filter(pk=ann.pk).update(email_confirmed_at=None)
    clock.shift(settings.UNCONFIRMED_KEEP - DAY)
    client_of(ann)
    clock.shift(2 * DAY)
    prune()
    assert set(User.objects.all()) == {ann, bob, staff}
    clock.shift(settings.UNCONFIRMED_KEEP)
    assert prune("--dry-run")["users"] == "1 to be deleted"
    prune()
    assert set(User.objects.all()) == {bob, staff}


def test_a_throw_away_account_goes_after_its_day_and_its_client_is_out(clock, client_of, password):
    client = client_of(User.objects.make_throw_away("demo", password))
    clock.shift(DAY - timedelta(seconds=1))
    prune()
    assert client.renew().status_code == 200
    clock.shift(timedelta(seconds=1))
    prune()
    assert client.get("/api/me/").status_code == 401
    assert not User.objects.exists()


def test_an_expired_session_goes(browser_of, ann, clock, settings):
    browser_of(ann)
    clock.shift(settings.SIGN_IN_MAX + DAY)
    prune()
    assert not Session.objects.exists()


def test_a_sign_in_goes_some_time_after_it_ended(client_of, ann, clock, settings):
    client_of(ann).post("/api/sign-ins/end-all/")
    clock.shift(settings.SIGN_IN_KEEP - timedelta(seconds=1))
    prune()
    assert SignIn.objects.count() == 1
    clock.shift(timedelta(seconds=2))
    prune()
    assert SignIn.objects.count() == 0


def test_a_sign_in_that_nobody_ended_goes_as_long_after_it_was_out_of_date(browser_of, ann, clock, settings):
    User.objects.update(email_confirmed_at=timezone.now())
    browser_of(ann)
    clock.shift(settings.SIGN_IN_MAX + settings.SIGN_IN_KEEP - timedelta(seconds=1))
    prune()
    assert SignIn.objects.count() == 1
    clock.shift(timedelta(seconds=2))
    prune()
    assert SignIn.objects.count() == 0
    assert not Entry.objects.exists()


def test_an_entry_goes_when_it_has_expired_and_not_before(client_of, ann, clock, settings):
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


def test_whatever_was_pruned_stays_out(client_of, ann, clock, settings):
    settings.SIGN_IN_KEEP = timedelta(0)
    client = client_of(ann)
    client.post("/api/sign-ins/end-all/")
    clock.shift(timedelta(seconds=1))
    prune()
    assert not SignIn.objects.exists()
    assert client.get("/api/me/").status_code == 401
    assert client.renew().status_code == 401


def test_events_go_when_they_are_old(ann, clock, settings):
    SecurityEvent.objects.record(SecurityEvent.Type.SIGNED_UP, ann)
    clock.shift(settings.EVENT_KEEP - timedelta(seconds=1))
    SecurityEvent.objects.record(SecurityEvent.Type.SIGNED_IN, ann)
    clock.shift(timedelta(seconds=2))
    prune()
    assert list(SecurityEvent.objects.values_list("type", flat=True)) == ["signed_in"]


def test_counts_go_when_they_are_past_use(anonymous, ann, clock):
    for _ in range(6):
        anonymous.sign_in("ann", WRONG)
    clock.shift(timedelta(hours=11))
    prune()
    assert Lock.objects.exists()
    clock.shift(timedelta(hours=2))
    prune()
    assert not Lock.objects.exists()


def test_a_dry_run_counts_and_deletes_nothing(client_of, ann, clock, settings):
    client_of(ann).post("/api/sign-ins/end-all/")
    clock.shift(settings.EVENT_KEEP + DAY)
    told = prune("--dry-run")
    assert told["sign-ins"] == "1 to be deleted"
    assert told["security events"] == "2 to be deleted"
    assert SignIn.objects.count() == 1
    assert SecurityEvent.objects.count() == 2


def test_ends_left_half_way_are_counted_once_however_many_entries_concern_them(client_of, ann, bob, clock):
    client_of(ann), client_of(bob)
    clock.shift(60)
    earlier = timezone.now()
    client_of(ann), client_of(bob)
    clock.shift(60)
    shut_out = [
        (Entry.Kind.EVERYBODY, EVERYBODY, earlier),
        *((Entry.Kind.USER, all_of(user), before) for user in (ann.pk, 10**6) for before in (earlier, timezone.now())),
        *((Entry.Kind.USER, all_of(user), timezone.now()) for user in range(2 * 10**6, 2 * 10**6 + 1000)),
    ]
    until = timezone.now() + DAY
    Entry.objects.bulk_create(
        Entry(kind=kind, token_id=token_id, before=before, until=until) for kind, token_id, before in shut_out
    )
    assert prune("--dry-run")["ends left half-way"] == "3 sign-ins to be ended"
    assert prune()["ends left half-way"] == "3 sign-ins ended"


def test_it_goes_in_batches_that_may_be_left_after_any(ann, clock, settings):
    for _ in range(5):
        SecurityEvent.objects.record(SecurityEvent.Type.SIGNED_IN, ann)
    clock.shift(settings.EVENT_KEEP + DAY)
    assert next(SecurityEvent.objects.all().prune(size=2)) == 2
    assert SecurityEvent.objects.count() == 3
    assert list(SecurityEvent.objects.all().prune(size=2)) == [2, 1]
