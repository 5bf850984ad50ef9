"""The blocklist in the admin: inspect a leaked token, block it without storing it, and lift a block."""

import logging
import re
from datetime import timedelta
from html import unescape
from uuid import uuid4

import jwt
import pytest
import time_machine
from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from accounts.models import SecurityEvent, SignIn
from api.blocklist.models import Entry
from tests.accounts.admin_pages import BLOCKLIST, LEAKED, act, make_staff, text_of
from tests.conftest import claims_of, header_of, sign_in_of

pytestmark = pytest.mark.django_db

BLOCKER = ["blocklist.view_entry", "blocklist.block_token"]


def show(page, found):
    return page.post(LEAKED, {"found": found})


def do(page, answer, what, why="It was in a log."):
    finding = unescape(re.search(r'name="finding" value="([^"]+)"', answer.content.decode()).group(1))
    return page.post(LEAKED, {"finding": finding, "do": what, "why": why})


def offers(answer):
    return set(re.findall(r'name="do" value="(\w+)"', answer.content.decode()))


# Findings


def test_a_valid_access_token_is_described(page, client_of, ann):
    answer = show(page, client_of(ann).access)
    assert "an access token User ann" in text_of(answer)
    assert "Genuine and valid" in text_of(answer)
    assert offers(answer) == {"block", "end"}


def test_a_valid_refresh_token_is_described(page, client_of, ann):
    answer = show(page, client_of(ann).refresh)
    assert "a refresh token User ann" in text_of(answer)
    assert "Genuine and valid" in text_of(answer)
    assert offers(answer) == {"end"}


def test_a_spent_refresh_token_is_described(page, client_of, ann):
    client = client_of(ann)
    first = client.refresh
    client.renew()
    client.renew()
    answer = show(page, first)
    assert "already used" in text_of(answer)
    assert offers(answer) == {"end"}


def test_an_expired_token_is_described(page, client_of, ann):
    access = client_of(ann).access
    with time_machine.travel(timezone.now() + settings.ACCESS_TOKEN * 2, tick=False):
        answer = show(page, access)
    assert "User ann" in text_of(answer)
    assert "Genuine, but expired" in text_of(answer)
    assert offers(answer) == {"end"}


def test_a_token_of_an_ended_sign_in_is_described(page, client_of, ann):
    client = client_of(ann)
    sign_in_of(ann).end(SignIn.Reason.ENDED_BY_STAFF)
    for token in (client.access, client.refresh):
        assert "User ann" in text_of(show(page, token))
        assert offers(show(page, token)) == set()


def test_a_sign_in_id_is_found(page, client_of, ann):
    client_of(ann)
    answer = show(page, str(sign_in_of(ann).sid))
    assert "the id of a sign-in User ann" in text_of(answer)
    assert offers(answer) == {"end"}


@pytest.mark.parametrize("form", ["hex", "__str__"])
def test_a_refresh_token_id_is_found(page, client_of, ann, form):
    client_of(ann)
    refresh_id = sign_in_of(ann).refresh_id
    answer = show(page, refresh_id.hex if form == "hex" else str(refresh_id))
    assert "a refresh token User ann" in text_of(answer)
    assert offers(answer) == {"end"}


def test_an_access_token_id_has_no_known_owner(page, client_of, ann):
    answer = show(page, claims_of(client_of(ann).access)["jti"])
    assert "User Unknown" in text_of(answer)
    assert offers(answer) == {"block"}


def forged(token):
    return jwt.encode(claims_of(token), "k" * 32, headers={"kid": header_of(token)["kid"]})


@pytest.mark.parametrize(
    "spoil",
    [
        forged,
        lambda token: token[:-2],
        lambda token: "a.b.c",
        lambda token: "hello",
        lambda token: "\N{SNOWMAN}" * 50,
        lambda token: jwt.encode(claims_of(token) | {"exp": 1}, "k" * 32),
        lambda token: token + "=" * 5000,
    ],
)
def test_a_foreign_token_is_not_recognised(page, client_of, ann, spoil):
    answer = show(page, spoil(client_of(ann).access))
    assert answer.status_code == 200
    assert "not a token of this server" in text_of(answer)
    assert offers(answer) == set()


@pytest.mark.parametrize("found", ["", "   ", "x" * 9000, "\0"])
def test_invalid_input_shows_the_form_again(page, found):
    answer = show(page, found)
    assert answer.status_code == 200
    assert "errors" in answer.content.decode()


# Actions


def test_a_token_is_blocked_alone(page, client_of, ann):
    client = client_of(ann)
    assert do(page, show(page, client.access), "block").status_code == 302
    assert client.get("/api/me/").status_code == 401
    client.renew()
    assert client.get("/api/me/").status_code == 200


def test_a_token_id_is_blocked(page, client_of, ann):
    client = client_of(ann)
    do(page, show(page, claims_of(client.access)["jti"]), "block")
    assert client.get("/api/me/").status_code == 401


@pytest.mark.parametrize("which", ["access", "refresh"])
def test_the_sign_in_of_a_token_is_ended(page, client_of, ann, which):
    client = client_of(ann)
    do(page, show(page, getattr(client, which)), "end")
    assert (client.get("/api/me/").status_code, client.renew().status_code) == (401, 401)


def test_the_event_has_the_user_the_actor_and_the_reason(page, client_of, staff, ann):
    client = client_of(ann)
    do(page, show(page, client.access), "block")
    event = SecurityEvent.objects.get(type="token_blocked")
    assert (event.user, event.actor, event.sid) == (ann, staff, sign_in_of(ann).sid)
    assert event.details == {"jti": claims_of(client.access)["jti"], "why": "It was in a log."}


def test_the_list_shows_the_reason_and_the_actor(page, client_of, staff, ann):
    do(page, show(page, client_of(ann).access), "block")
    client_of(ann)
    sign_in_of(ann).end(SignIn.Reason.SIGNED_OUT)
    text = text_of(page.get(BLOCKLIST))
    assert "It was in a log. sue" in text
    assert "ann signed out" in text


def test_an_action_without_a_reason_is_refused(page, client_of, ann):
    client = client_of(ann)
    assert do(page, show(page, client.access), "block", why="").status_code == 200
    assert client.get("/api/me/").status_code == 200


@pytest.mark.parametrize("finding", ["", "made up", "eyJqdGkiOiJ4In0:1x:xx"])
def test_a_forged_finding_is_refused(page, finding):
    assert page.post(LEAKED, {"finding": finding, "do": "block", "why": "x"}).status_code == 400


def test_a_finding_expires(page, client_of, ann, settings):
    settings.REAUTHENTICATION_TIMEOUT = timedelta(hours=3)
    answer = show(page, client_of(ann).access)
    with time_machine.travel(timezone.now() + timedelta(hours=2), tick=False):
        assert do(page, answer, "block").status_code == 400
    assert not Entry.objects.exists()


@pytest.mark.parametrize("what", ["block", "nonsense"])
def test_an_action_that_was_not_offered_is_refused(page, client_of, ann, what):
    assert do(page, show(page, client_of(ann).refresh), what).status_code == 400


def test_the_token_is_neither_stored_nor_shown(page, client_of, ann, caplog):
    client = client_of(ann)
    with caplog.at_level(logging.DEBUG):
        shown = show(page, client.access)
        answers = [shown, do(page, shown, "block", why=""), do(page, shown, "block"), page.get(BLOCKLIST)]
    signature = client.access.rpartition(".")[2]
    assert not [answer for answer in answers if signature in answer.content.decode()]
    assert signature not in caplog.text
    assert "no-store" in shown["Cache-Control"]


# Permissions


def test_the_view_permission_does_not_allow_blocking(browser_of, client_of, password, ann):
    page = browser_of(make_staff("watcher", password, "blocklist.view_entry"))
    assert "Block a leaked token" not in text_of(page.get(BLOCKLIST))
    assert show(page, client_of(ann).access).status_code == 403


def test_the_block_permission_does_not_allow_ending(browser_of, client_of, password, ann):
    page, client = browser_of(make_staff("blocker", password, *BLOCKER)), client_of(ann)
    answer = show(page, client.access)
    assert offers(answer) == {"block"}
    assert do(page, answer, "end").status_code == 403
    assert client.get("/api/me/").status_code == 200


def test_only_superusers_end_a_superusers_sign_in(browser_of, client_of, password, staff):
    page = browser_of(make_staff("blocker", password, *BLOCKER, "accounts.end_signin"))
    client = client_of(staff)
    answer = show(page, client.access)
    assert offers(answer) == set()
    found_by_a_superuser = show(browser_of(staff), client.access)
    assert do(page, found_by_a_superuser, "end").status_code == 403
    assert do(page, found_by_a_superuser, "block").status_code == 403
    assert client.get("/api/me/").status_code == 200


# Lifting


@pytest.fixture
def blocked(page, client_of, ann):
    client = client_of(ann)
    do(page, show(page, client.access), "block")
    assert client.get("/api/me/").status_code == 401
    return client


def test_a_token_is_valid_again_after_a_lift(page, blocked):
    act(page, BLOCKLIST, "lift", Entry.objects.get())
    assert blocked.get("/api/me/").status_code == 200


def test_lifting_is_an_event(page, blocked, staff, ann):
    act(page, BLOCKLIST, "lift", Entry.objects.get())
    event = SecurityEvent.objects.get(type="block_lifted")
    assert (event.user, event.actor, event.details["why"]) == (ann, staff, "The phone was stolen.")
    entry = Entry.objects.get()
    assert (entry.lifted_by, entry.lifted_at is not None) == (staff, True)


@pytest.mark.parametrize("why", ["", "  "])
def test_a_lift_without_a_reason_is_refused(page, blocked, why):
    act(page, BLOCKLIST, "lift", Entry.objects.get(), why=why)
    assert blocked.get("/api/me/").status_code == 401


def test_a_lift_needs_a_confirmation(page, blocked):
    answer = act(page, BLOCKLIST, "lift", Entry.objects.get(), agree=False)
    assert "1 token is accepted again" in text_of(answer)
    assert blocked.get("/api/me/").status_code == 401


def test_lifting_does_not_bring_back_a_sign_in(page, client_of, ann):
    client = client_of(ann)
    sign_in_of(ann).end(SignIn.Reason.ENDED_BY_STAFF)
    answer = act(page, BLOCKLIST, "lift", Entry.objects.get(), agree=False)
    assert "Ended sign-ins stay ended" in text_of(answer)
    act(page, BLOCKLIST, "lift", Entry.objects.get())
    assert client.get("/api/me/").status_code == 401


def test_a_lifted_token_of_an_ended_sign_in_stays_refused(page, blocked, ann):
    sign_in_of(ann).end(SignIn.Reason.ENDED_BY_STAFF)
    act(page, BLOCKLIST, "lift", Entry.objects.get(kind="jti"))
    assert blocked.get("/api/me/").status_code == 401


def test_only_blocks_by_staff_are_lifted(page, client_of, ann):
    client = client_of(ann)
    Entry.objects.block_token(uuid4())
    act(page, BLOCKLIST, "lift", Entry.objects.get())
    assert Entry.objects.get().lifted_at is None
    assert client.get("/api/me/").status_code == 200


def test_a_token_blocked_twice_is_lifted_twice(page, blocked):
    first = Entry.objects.get()
    Entry.objects.block_leaked_token(first.token_id, "Seen again.")
    act(page, BLOCKLIST, "lift", first)
    assert blocked.get("/api/me/").status_code == 401
    act(page, BLOCKLIST, "lift", Entry.objects.get(why="Seen again."))
    assert blocked.get("/api/me/").status_code == 200


def test_a_token_can_be_blocked_again_after_a_lift(page, blocked):
    act(page, BLOCKLIST, "lift", Entry.objects.get())
    do(page, show(page, blocked.access), "block")
    assert blocked.get("/api/me/").status_code == 401


def test_the_block_permission_does_not_allow_lifting(browser_of, password, blocked):
    page = browser_of(make_staff("blocker", password, *BLOCKER))
    act(page, BLOCKLIST, "lift", Entry.objects.get())
    assert blocked.get("/api/me/").status_code == 401


def lift_by_update(entry):
    Entry.objects.filter(pk=entry.pk).update(lifted_at=timezone.now())


def lift_by_save(entry):
    entry.lifted_at = timezone.now()
    entry.save()


@pytest.mark.parametrize("way", [lift_by_update, lift_by_save])
def test_the_admin_has_no_other_way_to_lift(blocked, way):
    with pytest.raises(TypeError):
        way(Entry.objects.get())
    assert blocked.get("/api/me/").status_code == 401


def test_the_database_refuses_to_lift_an_entry_of_a_sign_in(client_of, ann):
    client_of(ann)
    sign_in_of(ann).end(SignIn.Reason.ENDED_BY_STAFF)
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE blocklist_entry SET lifted_at = blocked_at")
