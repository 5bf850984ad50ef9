"""manage.py end_sign_ins: everybody's, somebody's, those before a moment, those from an address."""

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

pytestmark = pytest.mark.django_db


def end_sign_ins(*arguments):
    out = StringIO()
    call_command("end_sign_ins", *arguments, stdout=out)
    return out.getvalue().strip()


def works(client):
    return client.get("/api/me/").status_code == 200


def stays_out(client):
    return client.get("/api/me/").status_code == 401 and client.renew().status_code == 401


def test_everybodys_end_in_both_modes(client_of, browser_of, ann, bob):
    clients, browser = [client_of(ann), client_of(bob)], browser_of(ann)
    assert end_sign_ins("--all") == "3 sign-ins ended."
    assert all(map(stays_out, clients))
    assert browser.get("/accounts/profile/").status_code == 302
    assert not Session.objects.exists()
    assert not SignIn.objects.live().exists()


def test_two_entries_are_enough_for_everybody(client_of, ann, bob):
    for user in [ann, bob] * 3:
        client_of(user)
    end_sign_ins("--all")
    assert list(Entry.objects.values_list("kind", flat=True)) == ["all", "all"]


def test_who_signs_in_afterwards_is_let_in(client_of, browser_of, ann, clock):
    end_sign_ins("--all")
    clock.shift(timedelta(milliseconds=1))
    client, browser = client_of(ann), browser_of(ann)
    assert works(client)
    assert client.renew().status_code == 200
    assert works(client)
    assert browser.get("/accounts/profile/").status_code == 200


def test_it_can_be_repeated(client_of, ann):
    client_of(ann)
    end_sign_ins("--all")
    assert end_sign_ins("--all") == "0 sign-ins ended."


def test_no_token_works_once_the_first_row_is_written_even_if_it_stops_there(client_of, ann):
    client = client_of(ann)
    next(ending.end_everything(SignIn.Reason.ENDED_BY_STAFF))
    assert SignIn.objects.live().exists()
    assert stays_out(client)


def test_what_was_left_half_done_stays_out_for_as_long_as_it_might_have_lived(client_of, ann, clock, settings):
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
    assert stays_out(client)


def test_a_sign_in_with_an_id_of_before_ends_too(client_of, ann, clock):
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
    assert works(client)
    end_sign_ins("--all")
    assert stays_out(client)


def test_somebodys_end_and_nobody_elses(client_of, browser_of, ann, bob):
    hers, his, browser = client_of(ann), client_of(bob), browser_of(ann)
    assert end_sign_ins("--user", "ann") == "2 sign-ins ended."
    assert stays_out(hers)
    assert browser.get("/accounts/profile/").status_code == 302
    assert works(his)
    assert list(Entry.objects.values_list("kind", flat=True)) == ["sub"]


def test_somebody_may_sign_in_again(client_of, ann, clock):
    end_sign_ins("--user", "ann")
    clock.shift(timedelta(milliseconds=1))
    assert works(client_of(ann))


def test_those_before_a_moment_end_and_those_of_the_next_millisecond_go_on(client_of, ann, clock):
    before, moment = client_of(ann), timezone.now()
    clock.shift(timedelta(milliseconds=1))
    after = client_of(ann)
    clock.shift(timedelta(hours=1))
    before.renew(), after.renew()
    assert end_sign_ins("--before", moment.isoformat()) == "1 sign-in ended."
    assert stays_out(before)
    assert works(after)


def test_those_from_an_address_end(client_of, ann, bob):
    here, there = client_of(ann), client_of(bob)
    SignIn.objects.filter(user=bob).update(ip_address="203.0.113.9")
    assert end_sign_ins("--ip", "203.0.113.9") == "1 sign-in ended."
    assert works(here)
    assert stays_out(there)


def test_each_end_is_an_event_that_says_why(client_of, ann, bob):
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
def test_what_it_does_not_understand_ends_nothing(arguments, client_of, ann):
    client = client_of(ann)
    with pytest.raises(CommandError):
        end_sign_ins(*arguments)
    assert works(client)


# Ids that tell when they were made


@pytest.mark.parametrize("option", ["--user", "--before", "--ip"])
def test_an_empty_value_ends_nothing(client_of, ann, option):
    """As of a script whose variable is unset."""
    client = client_of(ann)
    with pytest.raises(CommandError):
        end_sign_ins(option, "")
    assert works(client)


@pytest.mark.parametrize("moment", ["2999-01-01", "2999-01-01T00:00+01:00"])
def test_a_future_moment_is_called_so(client_of, ann, moment):
    client = client_of(ann)
    with pytest.raises(CommandError, match=r"is in the future\. To end all sign-ins, use --all"):
        end_sign_ins("--before", moment)
    assert works(client)


@pytest.mark.parametrize("moment", ["yesterday", "2026-13-01", "0001-01-01T00:00+14:00", "2026-11-25T25:00"])
def test_what_is_no_moment_is_called_so(moment):
    with pytest.raises(CommandError, match=f"--before {moment}".replace("+", r"\+")):
        end_sign_ins("--before", moment)


@pytest.mark.parametrize("address", ["nginx", "203.0.113.0/24", "203.0.113.9:x", "1.2.3"])
def test_what_is_no_address_is_called_so(address):
    with pytest.raises(CommandError, match=f"--ip {address}: expected an IP address"):
        end_sign_ins("--ip", address)


@pytest.mark.parametrize("name", ["ANN", "ann@example.org", "Ann@Example.ORG"])
def test_a_user_is_found_by_name_or_address_in_whatever_case(client_of, ann, bob, name):
    client, other = client_of(ann), client_of(bob)
    assert end_sign_ins("--user", name) == "1 sign-in ended."
    assert stays_out(client)
    assert works(other)


def test_a_username_that_is_the_address_of_another_is_not_guessed_at(client_of, ann, bob):
    clients = [client_of(ann), client_of(bob)]
    User.objects.filter(pk=bob.pk).update(username="ann@example.org")
    with pytest.raises(CommandError, match=r"--user ann or --user bob@example\.org"):
        end_sign_ins("--user", "Ann@example.org")
    assert all(map(works, clients))
    assert end_sign_ins("--user", "bob@example.org") == "1 sign-in ended."
    assert works(clients[0])


def test_an_id_tells_its_moment_to_the_millisecond(clock):
    now = timezone.now() + timedelta(milliseconds=7)
    assert sids.started_at(sids.new(now)) == now
    assert sids.new(now).version == 7


def test_an_id_of_before_is_older_than_any_moment():
    assert sids.started(uuid.uuid4()) == 0


def test_no_id_is_beyond_all_dates():
    assert sids.started_at(uuid.UUID(int=(2**48 - 1) << 80 | 7 << 76 | 2 << 62)).year == 9999


def test_a_sign_in_and_its_id_tell_the_same_moment(client_of, ann):
    client_of(ann)
    sign_in = SignIn.objects.get()
    assert sids.started_at(sign_in.sid) <= sign_in.created_at < sids.just_after(sids.started_at(sign_in.sid))
