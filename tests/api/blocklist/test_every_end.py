"""Each way to end a sign-in, checked in each reader of the blocklist: at once, and in the next status list."""

from types import SimpleNamespace
from urllib.parse import urlencode
from uuid import UUID

import pytest
from django.conf import settings as project_settings
from django.core.management import call_command
from django.utils import timezone

from accounts import ending
from accounts.models import SignIn, User
from api.blocklist.leaks import identify
from api.blocklist.mirror import Mirror
from api.blocklist.models import Entry
from api.blocklist.restore import end_restored_sign_ins
from tests import servers
from tests.accounts.admin_pages import BLOCKLIST, SIGN_INS, USERS, act, text_of
from tests.api.blocklist.test_admin import do, show
from tests.api.blocklist.test_status_list import FORM, INVALID, SUSPENDED, VALID, statuses
from tests.api.blocklist.test_wholesale import settle
from tests.conftest import bearer, claims_of, newest_link

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("with_status_list")]

NEW_PASSWORD = "quiet copper lantern drifts"
REASON = SignIn.Reason.ENDED_BY_STAFF


@pytest.fixture
def world(ann, bob, staff, browser, browser_of, client_of, anonymous, password, mailoutbox, monkeypatch):
    """Ann's client that will end, what can end it, and Bob's client that must not end."""
    mirror = None
    if project_settings.REDIS_URL:
        mirror = Mirror()
        settle(mirror)
        monkeypatch.setattr("api.tokens.access.mirror", mirror)
    first = client_of(ann)
    return SimpleNamespace(
        client=first,
        sign_in=SignIn.objects.get(pk=claims_of(first.access)["sid"]),
        other=client_of(ann),
        bobs=client_of(bob),
        page=browser_of(ann),
        staff=browser_of(staff),
        ann=ann,
        anonymous=anonymous,
        browser=browser,
        browser_of=browser_of,
        password=password,
        mails=mailoutbox,
        mirror=mirror,
        monkeypatch=monkeypatch,
    )


# Ways to end


def sign_out_of_the_api(world):
    world.anonymous.post("/api/token/blacklist/", {"refresh": world.client.refresh})


def end_from_the_list(world):
    world.other.delete(f"/api/sign-ins/{world.sign_in.pk}/")


def end_others(world):
    world.other.post("/api/sign-ins/end-others/", {})


def end_all(world):
    world.other.post("/api/sign-ins/end-all/", {})


def end_all_of_many(world):
    world.monkeypatch.setattr("accounts.models.sign_in_querysets.MAX_ENDED_PER_TRANSACTION", 2)
    world.other.post("/api/sign-ins/end-all/", {})
    assert Entry.objects.filter(kind="sub").exists()


def change_the_password(world):
    world.other.post("/api/password/change/", {"old_password": world.password, "new_password": NEW_PASSWORD})


def change_the_password_on_the_page(world):
    form = {"old_password": world.password, "new_password1": NEW_PASSWORD}
    world.page.post("/accounts/password_change/", form)


def reset_the_password(world):
    world.anonymous.post("/api/password/reset/", {"email": world.ann.email})
    uid, token = newest_link(world.mails, r"/reset/([^/\s]+)/([^/\s]+)/").groups()
    body = {"uid": uid, "token": token, "new_password": NEW_PASSWORD}
    world.anonymous.post("/api/password/reset/confirm/", body)


def deactivate(world):
    world.ann.is_active = False
    world.ann.save()


def deactivate_by_update(world):
    User.objects.filter(pk=world.ann.pk).update(is_active=False)


def deactivate_in_the_admin(world):
    act(world.staff, USERS, "deactivate", world.ann)


def delete(world):
    world.ann.delete()


def delete_by_queryset(world):
    User.objects.filter(pk=world.ann.pk).delete()


def end_by_update(world):
    SignIn.objects.filter(user=world.ann).update(ended_at=timezone.now())


def delete_the_rows(world):
    SignIn.objects.filter(user=world.ann).delete()


def command(*words):
    return lambda world: call_command("end_sign_ins", *words)


def command_before(world):
    call_command("end_sign_ins", "--before", timezone.now().isoformat())


def end_in_the_admin(world):
    act(world.staff, SIGN_INS, "end_selected", world.sign_in)


def end_everyone_in_the_admin(world):
    world.staff.post(f"{SIGN_INS}end-everyone/", {"why": "A key leaked.", "confirmed": "yes"})


def first_step_of(ends):
    """An end that is interrupted after its first step: the rows follow later."""
    return lambda world: next(ends(world))


def wholesale_and_then_deleted(world):
    call_command("end_sign_ins", "--user", "ann")
    world.ann.delete()


def wholesale_and_then_the_row_deleted(world):
    call_command("end_sign_ins", "--all")
    world.sign_in.delete()


def reuse_a_refresh_token(world):
    first = world.client.refresh
    world.client.renew()
    SignIn.objects.filter(pk=world.sign_in.pk).update(refreshed_at=timezone.now() - timezone.timedelta(minutes=1))
    world.anonymous.post("/api/token/refresh/", {"refresh": first})


def revoke_the_refresh_token(world):
    world.browser().generic("POST", "/api/token/revoke/", urlencode({"token": world.client.refresh}), FORM)


ENDS_OF_ANN = {
    "signed out": sign_out_of_the_api,
    "ended from the list": end_from_the_list,
    "end others": end_others,
    "end all": end_all,
    "end all of a thousand": end_all_of_many,
    "password changed": change_the_password,
    "password changed on the page": change_the_password_on_the_page,
    "password reset": reset_the_password,
    "deactivated": deactivate,
    "deactivated by update": deactivate_by_update,
    "deactivated in the admin": deactivate_in_the_admin,
    "deleted": delete,
    "deleted by a queryset": delete_by_queryset,
    "the row updated": end_by_update,
    "the row deleted": delete_the_rows,
    "the command, a user": command("--user", "ann"),
    "ended in the admin": end_in_the_admin,
    "a user, left half-way": first_step_of(lambda world: ending.end_all_in_batches(world.ann, REASON)),
    "a user, then deleted": wholesale_and_then_deleted,
    "a refresh token used twice": reuse_a_refresh_token,
    "a refresh token revoked": revoke_the_refresh_token,
}
ENDS_OF_EVERYBODY = {
    "the command, all": command("--all"),
    "the command, before": command_before,
    "the command, an address": command("--ip", "127.0.0.1"),
    "everyone in the admin": end_everyone_in_the_admin,
    "everyone, left half-way": first_step_of(lambda world: ending.end_everything(REASON)),
    "before a moment, left half-way": first_step_of(lambda world: ending.end_before(timezone.now(), REASON)),
    "everyone, then a row deleted": wholesale_and_then_the_row_deleted,
    "after a restore": lambda world: list(end_restored_sign_ins(REASON)),
    "after a restore, left half-way": first_step_of(lambda world: end_restored_sign_ins(REASON)),
}
ENDS = ENDS_OF_ANN | ENDS_OF_EVERYBODY


# Readers: each returns True if the access token of a client is accepted


def ids_of(client):
    claims = claims_of(client.access)
    return UUID(claims["sid"]), UUID(claims["jti"]), int(claims["sub"])


def by_the_database(world, client):
    return not Entry.objects.blocks(*ids_of(client))


def by_the_mirror(world, client):
    return world.mirror is None or not world.mirror.blocks(*ids_of(client))


def by_a_new_mirror(world, client):
    if world.mirror is None:
        return None
    mirror = Mirror()
    settle(mirror)
    return not mirror.blocks(*ids_of(client))


def by_a_call(world, client):
    return client.get("/api/me/").status_code == 200


def by_verify(world, client):
    return world.anonymous.post("/api/token/verify/", {"token": client.access}).status_code == 200


def by_introspection(world, client):
    # Staff sign in again, since their own sign-in may have ended.
    token = world.staff_token()
    answer = world.browser().generic(
        "POST",
        "/api/token/introspect/",
        urlencode({"token": client.access}),
        FORM,
        headers=bearer(token),
    )
    assert answer.status_code == 200
    return answer.json()["active"]


def status_of(world, token):
    named = claims_of(token)["status"]["status_list"]
    answer = world.browser().get(named["uri"].removeprefix("https://id.example.org"))
    assert answer.status_code == 200
    return statuses(claims_of(answer.content.decode())["status_list"])[named["idx"]]


def by_the_status_list(world, client):
    return status_of(world, client.access) == VALID


def by_the_leaked_token_page(world, client):
    return identify(client.access).is_accepted


READERS = [
    by_the_database,
    by_the_mirror,
    by_a_new_mirror,
    by_a_call,
    by_verify,
    by_introspection,
    by_the_status_list,
    by_the_leaked_token_page,
]


def accepted_by(world, client):
    answers = {reader.__name__: reader(world, client) for reader in READERS}
    return {name for name, is_good in answers.items() if is_good}


ALL = {reader.__name__ for reader in READERS}


@pytest.fixture
def readers(world, client_of, staff):
    world.staff_token = lambda: client_of(staff).access
    if world.mirror is None:
        return ALL - {"by_a_new_mirror"}
    return ALL


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_each_end_is_effective_for_each_reader(world, readers, end):
    access = world.client.access
    assert accepted_by(world, world.client) == readers
    end(world)
    good = accepted_by(world, world.client)
    assert good - ({"by_the_mirror"} if world.mirror is None else set()) == set()
    # In every token of the sign-in, not only in the last.
    assert status_of(world, access) == INVALID
    assert identify(world.client.refresh).is_accepted is False
    assert world.client.renew().status_code == 401
    assert accepted_by(world, world.bobs) == (
        readers if end in ENDS_OF_ANN.values() else accepted_by(world, world.client)
    )


def rows_of(answer, sign_in):
    """The row of the sign-in in a list of the admin."""
    return next(row for row in answer.content.decode().split("<tr") if f"{sign_in.pk}/change/" in row)


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_each_end_is_seen_in_the_admin(world, browser_of, staff, end):
    end(world)
    page = browser_of(staff)
    if SignIn.objects.filter(pk=world.sign_in.pk).exists():
        text = text_of(page.get(f"{SIGN_INS}{world.sign_in.pk}/change/"))
        assert "ended" in text
        assert "tokens refused until" in text
        assert 'class="live"' not in rows_of(page.get(SIGN_INS), world.sign_in)
    assert page.get("/admin/").status_code == page.get(BLOCKLIST).status_code == 200


# A single token


def revoke(world):
    world.browser().generic("POST", "/api/token/revoke/", urlencode({"token": world.client.access}), FORM)


def block_as_leaked(world):
    assert do(world.staff, show(world.staff, world.client.access), "block").status_code == 302


@pytest.mark.parametrize("block", [revoke, block_as_leaked])
def test_each_reader_refuses_a_token_that_is_blocked_alone(world, readers, block):
    block(world)
    good = accepted_by(world, world.client)
    assert good - ({"by_the_mirror"} if world.mirror is None else set()) == set()
    assert status_of(world, world.client.access) == SUSPENDED
    blocked = world.client.access
    assert world.client.renew().status_code == 200
    # Its sign-in stays live; a service that reads only the list refuses it until the blocked token has expired.
    assert accepted_by(world, world.client) == readers - {"by_the_status_list"}
    world.client.access = blocked


def test_each_reader_accepts_a_token_after_a_lift(world, readers):
    block_as_leaked(world)
    entry = Entry.objects.get()
    assert entry.lift("It was a mistake.")
    # Read from the database only: within a second, or later on a busy machine.
    servers.wait_until(lambda: by_the_mirror(world, world.client))
    assert accepted_by(world, world.client) == readers
    assert status_of(world, world.client.access) == VALID


def test_a_lifted_block_does_not_hide_an_end(world, readers):
    block_as_leaked(world)
    Entry.objects.get().lift("It was a mistake.")
    call_command("end_sign_ins", "--user", "ann")
    assert status_of(world, world.client.access) == INVALID
    assert accepted_by(world, world.client) - ({"by_the_mirror"} if world.mirror is None else set()) == set()
