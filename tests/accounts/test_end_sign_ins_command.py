"""manage.py end_sign_ins: of everyone, of one user, before a moment, or from an address."""

import uuid
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts import ending, sids, starting
from accounts.models import SecurityEvent, Session, SignIn, SignInRefused, User
from api.blocklist.models import Entry
from api.serializers import token_pair
from tests.accounts.conftest import is_accepted, is_revoked

pytestmark = pytest.mark.django_db


def end_sign_ins(*arguments):
    out = StringIO()
    call_command("end_sign_ins", *arguments, stdout=out)
    return out.getvalue().strip()


def test_the_command_ends_all_sign_ins_in_both_modes(client_of, browser_of, ann, bob):
    clients, browser = [client_of(ann), client_of(bob)], browser_of(ann)
    assert end_sign_ins("--all") == "3 sign-ins ended."
    assert all(map(is_revoked, clients))
    assert browser.get("/accounts/profile/").status_code == 302
    assert not Session.objects.exists()
    assert not SignIn.objects.live().exists()


def test_all_sign_ins_take_two_blocklist_entries(client_of, ann, bob):
    for user in [ann, bob] * 3:
        client_of(user)
    end_sign_ins("--all")
    assert list(Entry.objects.values_list("kind", flat=True)) == ["all", "all"]


def test_users_can_sign_in_after_an_end_of_all(client_of, browser_of, ann, clock):
    end_sign_ins("--all")
    clock.shift(timedelta(milliseconds=1))
    client, browser = client_of(ann), browser_of(ann)
    assert is_accepted(client)
    assert client.renew().status_code == 200
    assert is_accepted(client)
    assert browser.get("/accounts/profile/").status_code == 200


def test_the_command_can_be_repeated(client_of, ann):
    client_of(ann)
    end_sign_ins("--all")
    assert end_sign_ins("--all") == "0 sign-ins ended."


def test_an_interrupted_command_has_revoked_all_tokens(client_of, ann):
    client = client_of(ann)
    next(ending.end_everything(SignIn.Reason.ENDED_BY_STAFF))
    assert SignIn.objects.live().exists()
    assert is_revoked(client)


def test_an_interrupted_end_stays_in_force_until_expiry(client_of, ann, clock, settings):
    client = client_of(ann)
    next(ending.end_everything(SignIn.Reason.ENDED_BY_STAFF))
    for _ in range(5):
        clock.shift(settings.REFRESH_TOKEN / 2)
        call_command("prune", stdout=StringIO())
        assert client.renew().status_code == 401


def test_a_sign_in_whose_password_was_verified_before_is_refused(ann):
    verified = User.objects.get(pk=ann.pk)
    end_sign_ins("--all")
    with pytest.raises(SignInRefused):
        starting.start(verified, SignIn.Kind.CLIENT, idle_timeout=timedelta(days=1))


@pytest.mark.parametrize("whose", [["--all"], ["--user", "ann"]])
def test_a_sign_in_by_a_node_whose_clock_is_ahead_ends_too(client_of, ann, clock, whose):
    clock.shift(timedelta(seconds=5))
    client = client_of(ann)
    clock.shift(timedelta(seconds=-5))
    end_sign_ins(*whose)
    assert is_revoked(client)


def test_a_sign_in_with_an_id_of_older_releases_ends(client_of, ann, clock):
    clock.shift(timedelta(milliseconds=1))
    client = client_of(ann)
    old = uuid.uuid4()
    SignIn.objects.filter(user=ann).delete()
    sign_in = SignIn.objects.create(
        id=old,
        user=ann,
        kind="client",
        auth_hash=ann.get_session_auth_hash(),
        idle_timeout=timedelta(days=1),
        expires_at=timezone.now() + timedelta(days=1),
    )
    pair = token_pair(sign_in, timezone.now())
    client.access, client.refresh = pair["access"], pair["refresh"]
    assert is_accepted(client)
    end_sign_ins("--all")
    assert is_revoked(client)


def test_the_command_ends_the_sign_ins_of_one_user(client_of, browser_of, ann, bob):
    hers, his, browser = client_of(ann), client_of(bob), browser_of(ann)
    assert end_sign_ins("--user", "ann") == "2 sign-ins ended."
    assert is_revoked(hers)
    assert browser.get("/accounts/profile/").status_code == 302
    assert is_accepted(his)
    assert list(Entry.objects.values_list("kind", flat=True)) == ["sub"]


def test_that_user_can_sign_in_again(client_of, ann, clock):
    end_sign_ins("--user", "ann")
    clock.shift(timedelta(milliseconds=1))
    assert is_accepted(client_of(ann))


def test_the_moment_is_exact_to_the_millisecond(client_of, ann, clock):
    before, moment = client_of(ann), timezone.now()
    clock.shift(timedelta(milliseconds=1))
    after = client_of(ann)
    clock.shift(timedelta(hours=1))
    before.renew(), after.renew()
    assert end_sign_ins("--before", moment.isoformat()) == "1 sign-in ended."
    assert is_revoked(before)
    assert is_accepted(after)


def test_the_command_ends_sign_ins_from_an_address(client_of, ann, bob):
    here, there = client_of(ann), client_of(bob)
    SignIn.objects.filter(user=bob).update(ip_address="203.0.113.9")
    assert end_sign_ins("--ip", "203.0.113.9") == "1 sign-in ended."
    assert is_accepted(here)
    assert is_revoked(there)


def test_each_end_is_an_event_with_the_reason(client_of, ann, bob):
    client_of(ann), client_of(bob)
    end_sign_ins("--all", "--why", "The key leaked.")
    events = SecurityEvent.objects.filter(type="sign_in_ended")
    assert {event.user for event in events} == {ann, bob}
    assert {event.details["why"] for event in events} == {"The key leaked."}


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--user", "nobody"],
        ["--all", "--user", "ann"],
        ["--before", "soon"],
        ["--before", "2999-01-01T00:00"],
        ["--ip", "here"],
    ],
)
def test_invalid_options_end_no_sign_in(arguments, client_of, ann):
    client = client_of(ann)
    with pytest.raises(CommandError):
        end_sign_ins(*arguments)
    assert is_accepted(client)


# Ids that contain their time


@pytest.mark.parametrize("option", ["--user", "--before", "--ip"])
def test_an_empty_value_ends_no_sign_in(client_of, ann, option):
    """A script with an unset variable passes an empty value."""
    client = client_of(ann)
    with pytest.raises(CommandError):
        end_sign_ins(option, "")
    assert is_accepted(client)


@pytest.mark.parametrize("moment", ["2999-01-01", "2999-01-01T00:00+01:00"])
def test_a_future_moment_is_refused_with_that_reason(client_of, ann, moment):
    client = client_of(ann)
    with pytest.raises(CommandError, match=r"is in the future\. To end all sign-ins, use --all"):
        end_sign_ins("--before", moment)
    assert is_accepted(client)


@pytest.mark.parametrize("moment", ["yesterday", "2026-13-01", "0001-01-01T00:00+14:00", "2026-11-25T25:00"])
def test_an_invalid_moment_is_refused_with_that_reason(moment):
    with pytest.raises(CommandError, match=f"--before {moment}".replace("+", r"\+")):
        end_sign_ins("--before", moment)


@pytest.mark.parametrize("address", ["nginx", "203.0.113.0/24", "203.0.113.9:x", "1.2.3"])
def test_an_invalid_address_is_refused_with_that_reason(address):
    with pytest.raises(CommandError, match=f"--ip {address}: expected an IP address"):
        end_sign_ins("--ip", address)


@pytest.mark.parametrize("name", ["ANN", "ann@example.org", "Ann@Example.ORG"])
def test_a_user_is_found_by_name_or_address_in_any_case(client_of, ann, bob, name):
    client, other = client_of(ann), client_of(bob)
    assert end_sign_ins("--user", name) == "1 sign-in ended."
    assert is_revoked(client)
    assert is_accepted(other)


def test_an_ambiguous_name_is_refused(client_of, ann, bob):
    clients = [client_of(ann), client_of(bob)]
    User.objects.filter(pk=bob.pk).update(username="ann@example.org")
    with pytest.raises(CommandError, match=r"--user ann or --user bob@example\.org"):
        end_sign_ins("--user", "Ann@example.org")
    assert all(map(is_accepted, clients))
    assert end_sign_ins("--user", "bob@example.org") == "1 sign-in ended."
    assert is_accepted(clients[0])


def test_an_id_contains_its_time_to_the_millisecond(clock):
    now = timezone.now() + timedelta(milliseconds=7)
    assert sids.started_at(sids.new(now)) == now
    assert sids.new(now).version == 7


def test_an_id_of_older_releases_has_the_lowest_time():
    assert sids.started(uuid.uuid4()) == 0


def test_every_id_has_a_valid_date():
    assert sids.started_at(uuid.UUID(int=(2**48 - 1) << 80 | 7 << 76 | 2 << 62)).year == 9999


def test_a_sign_in_and_its_id_have_the_same_time(client_of, ann):
    client_of(ann)
    sign_in = SignIn.objects.get()
    assert sids.started_at(sign_in.sid) <= sign_in.created_at < sids.just_after(sids.started_at(sign_in.sid))
