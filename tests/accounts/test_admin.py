"""The admin: permissions, confirmation of actions, effects of actions, and the contents of its pages."""

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission

from accounts.models import SecurityEvent, Session, SignIn, User
from api.blocklist.models import Entry
from tests.accounts.admin_pages import (
    BLOCKLIST,
    EVENTS,
    LEAKED,
    SIGN_INS,
    USERS,
    act,
    make_staff,
    make_support,
    text_of,
)
from tests.accounts.conftest import latest_event
from tests.conftest import send_mails, sign_in_of

pytestmark = pytest.mark.django_db

PAGES = [USERS, SIGN_INS, EVENTS, BLOCKLIST, LEAKED]
ALL_OF_STAFF = [
    "accounts.view_user",
    "accounts.change_user",
    "accounts.deactivate_user",
    "accounts.send_password_reset",
    "accounts.view_signin",
    "accounts.end_signin",
    "accounts.view_securityevent",
    "accounts.export_securityevent",
    "blocklist.view_entry",
    "blocklist.block_token",
    "blocklist.lift_entry",
    "auth.change_group",
    "auth.view_group",
    "auth.add_group",
]


@pytest.fixture
def dana(db, password):
    return make_support("dana", password)


@pytest.fixture
def max_(db, password):
    """A staff member with every permission who is not a superuser."""
    return make_staff("max", password, *ALL_OF_STAFF)


# Permissions to view


@pytest.mark.parametrize("url", ["/admin/", *PAGES])
def test_a_user_who_is_not_staff_is_redirected_to_the_sign_in(browser_of, ann, url):
    answer = browser_of(ann).get(url)
    assert (answer.status_code, answer["Location"].partition("?")[0]) == (302, "/admin/login/")


@pytest.mark.parametrize("url", ["/admin/", *PAGES])
def test_no_page_of_the_admin_accepts_a_token(browser, client_of, staff, url):
    answer = browser().get(url, headers={"authorization": f"Bearer {client_of(staff).access}"})
    assert answer.status_code == 302


@pytest.mark.parametrize(
    ("url", "status"), [(USERS, 200), (SIGN_INS, 200), (EVENTS, 200), (BLOCKLIST, 403), (LEAKED, 403)]
)
def test_support_sees_users_sign_ins_and_events(browser_of, dana, url, status):
    assert browser_of(dana).get(url).status_code == status


def test_support_has_four_permissions():
    codenames = Group.objects.get(name="Support").permissions.values_list("codename", flat=True)
    assert set(codenames) == {"view_user", "view_signin", "end_signin", "view_securityevent"}


@pytest.mark.parametrize("url", [*PAGES, "/admin/auth/group/"])
def test_staff_without_permissions_see_nothing(browser_of, password, db, url):
    assert browser_of(make_staff("new", password)).get(url).status_code == 403


@pytest.mark.parametrize("url", [USERS, SIGN_INS, EVENTS, BLOCKLIST])
def test_the_admin_adds_no_rows(browser_of, staff, url):
    assert browser_of(staff).get(f"{url}add/").status_code == 403
    assert browser_of(staff).post(f"{url}add/", {"username": "x"}).status_code == 403


@pytest.mark.parametrize("url", [SIGN_INS, EVENTS, BLOCKLIST])
def test_a_superuser_cannot_change_or_delete_records(browser_of, client_of, staff, ann, url):
    client_of(ann)
    sign_in_of(ann).end(SignIn.Reason.ENDED_BY_STAFF)
    model = {SIGN_INS: SignIn, EVENTS: SecurityEvent, BLOCKLIST: Entry}[url]
    page, row = browser_of(staff), model.objects.order_by("pk")[0]
    before = model.objects.filter(pk=row.pk).values().get()
    assert page.post(f"{url}{row.pk}/change/", {"type": "signed_up", "kind": "client"}).status_code == 403
    assert page.post(f"{url}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    act(page, url, "delete_selected", row, post="yes")
    assert model.objects.filter(pk=row.pk).values().get() == before


def test_the_list_of_users_has_no_bulk_deletion(browser_of, staff, ann):
    act(browser_of(staff), USERS, "delete_selected", ann, post="yes")
    assert User.objects.filter(pk=ann.pk).exists()


# Confirmation


@pytest.mark.parametrize("action", ["end_all_sign_ins", "deactivate", "send_password_reset"])
def test_an_action_on_users_asks_for_confirmation(browser_of, client_of, staff, ann, action, mailoutbox):
    client = client_of(ann)
    answer = act(browser_of(staff), USERS, action, ann, agree=False)
    send_mails()
    assert (answer.status_code, client.get("/api/me/").status_code, len(mailoutbox)) == (200, 200, 0)
    assert "1 " in text_of(answer)


def test_the_confirmation_page_counts_sign_ins_by_kind(browser_of, client_of, staff, ann):
    client_of(ann)
    client_of(ann)
    browser_of(ann)
    text = text_of(act(browser_of(staff), USERS, "end_all_sign_ins", ann, agree=False))
    assert "1 user is signed out" in text
    assert "1 browser session is revoked" in text
    assert "2 clients have" in text


@pytest.mark.parametrize("why", ["", "   ", "two\nlines", "back \u202e wards", "x" * 201])
def test_an_action_without_a_reason_asks_again(browser_of, client_of, staff, ann, why):
    client = client_of(ann)
    answer = act(browser_of(staff), SIGN_INS, "end_selected", sign_in_of(ann), why=why)
    assert (answer.status_code, client.get("/api/me/").status_code) == (200, 200)


def test_a_get_request_runs_no_action(browser_of, client_of, staff, ann):
    client = client_of(ann)
    form = {"action": "end_selected", "_selected_action": str(sign_in_of(ann).pk), "confirmed": "yes", "why": "x"}
    browser_of(staff).get(SIGN_INS, form)
    assert client.get("/api/me/").status_code == 200


def test_an_action_without_a_csrf_token_is_refused(browser_of, client_of, staff, ann):
    client, page = client_of(ann), browser_of(staff)
    page.handler.enforce_csrf_checks = True
    assert act(page, SIGN_INS, "end_selected", sign_in_of(ann)).status_code == 403
    assert client.get("/api/me/").status_code == 200


@pytest.mark.parametrize("url", [USERS, SIGN_INS])
@pytest.mark.parametrize("made_up", ["zzz", "\0", "9" * 40, "-1", ""])
def test_an_invalid_id_is_no_server_error(browser_of, staff, url, made_up):
    form = {"action": "end_selected" if url == SIGN_INS else "deactivate", "_selected_action": made_up}
    assert browser_of(staff).post(url, form).status_code in (200, 302, 400)


# Effects of actions


def test_support_ends_a_sign_in(browser_of, client_of, dana, ann):
    client = client_of(ann)
    assert act(browser_of(dana), SIGN_INS, "end_selected", sign_in_of(ann)).status_code == 302
    assert client.get("/api/me/").status_code == 401


def test_the_event_has_the_staff_member_and_the_reason(browser_of, client_of, dana, ann):
    client_of(ann)
    act(browser_of(dana), SIGN_INS, "end_selected", sign_in_of(ann))
    event = latest_event("sign_in_ended")
    assert (event.user, event.actor, event.details["why"]) == (ann, dana, "The phone was stolen.")


def test_select_all_ends_only_the_sign_ins_of_the_filter(browser_of, client_of, staff, ann, bob, monkeypatch):
    monkeypatch.setattr("accounts.admin.lists.BoundedList.list_per_page", 2)
    anns, bobs = [client_of(ann) for _ in range(5)], client_of(bob)
    page = browser_of(staff)
    act(page, f"{SIGN_INS}?kind=client&user={ann.pk}", "end_selected", sign_in_of(ann), select_across="1")
    assert [client.get("/api/me/").status_code for client in anns] == [401] * 5
    assert bobs.get("/api/me/").status_code == 200
    assert page.get("/admin/").status_code == 200


def test_an_action_beyond_its_time_continues_at_the_next_request(browser_of, client_of, staff, ann, monkeypatch):
    monkeypatch.setattr("accounts.admin.sign_ins.REQUEST_BUDGET_SECONDS", -1.0)
    original = SignIn.objects.all().__class__.end_in_batches
    monkeypatch.setattr("accounts.models.SignInQuerySet.end_in_batches", lambda self, reason: original(self, reason, 2))
    for _ in range(3):
        client_of(ann)
    page, url = browser_of(staff), f"{SIGN_INS}?user={ann.pk}"
    answer = act(page, url, "end_selected", sign_in_of(ann), select_across="1")
    assert (answer.status_code, SignIn.objects.live().filter(user=ann).count()) == (200, 1)
    assert "1 sign-in ends at once" in text_of(answer)
    assert act(page, url, "end_selected", sign_in_of(ann), select_across="1").status_code == 302
    assert not SignIn.objects.live().filter(user=ann).exists()


def test_sign_out_everywhere_ends_both_kinds(browser_of, client_of, dana, ann):
    client, page = client_of(ann), browser_of(ann)
    act(browser_of(dana), USERS, "end_all_sign_ins", ann)
    assert client.get("/api/me/").status_code == 401
    assert page.get("/accounts/profile/").status_code == 302


def test_deactivating_signs_out_everywhere_and_is_an_event(browser_of, client_of, max_, ann):
    client = client_of(ann)
    act(browser_of(max_), USERS, "deactivate", ann)
    ann.refresh_from_db()
    event = latest_event("user_deactivated")
    assert (ann.is_active, client.get("/api/me/").status_code) == (False, 401)
    assert (event.user, event.actor, event.details["why"]) == (ann, max_, "The phone was stolen.")


def test_staff_cannot_deactivate_themselves(browser_of, max_, ann):
    act(browser_of(max_), USERS, "deactivate", max_, ann)
    assert set(User.objects.filter(is_active=False)) == {ann}


def test_reactivating_is_an_event(browser_of, max_, ann):
    User.objects.filter(pk=ann.pk).update(is_active=False)
    act(browser_of(max_), USERS, "reactivate", ann)
    ann.refresh_from_db()
    assert (ann.is_active, latest_event("user_reactivated").actor) == (True, max_)


def test_a_password_reset_is_mailed_to_the_user(browser_of, max_, ann, mailoutbox, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        act(browser_of(max_), USERS, "send_password_reset", ann)
    send_mails()
    assert [each.to for each in mailoutbox] == [[ann.email]]
    assert (latest_event("password_reset_asked").user, latest_event("password_reset_asked").actor) == (ann, max_)


@pytest.mark.parametrize("action", ["deactivate", "reactivate", "send_password_reset"])
def test_support_cannot_run_other_actions(browser_of, dana, ann, action, mailoutbox):
    act(browser_of(dana), USERS, action, ann)
    send_mails()
    ann.refresh_from_db()
    assert (ann.is_active, mailoutbox) == (True, [])


def test_staff_with_view_permission_end_no_sign_in(browser_of, client_of, password, ann):
    client = client_of(ann)
    watcher = make_staff("watcher", password, "accounts.view_signin", "accounts.view_user")
    page = browser_of(watcher)
    act(page, SIGN_INS, "end_selected", sign_in_of(ann))
    act(page, USERS, "end_all_sign_ins", ann)
    assert client.get("/api/me/").status_code == 200


# Superusers and permissions


@pytest.mark.parametrize("action", ["end_all_sign_ins", "deactivate", "reactivate", "send_password_reset"])
def test_staff_cannot_act_on_a_superuser(browser_of, client_of, max_, staff, action, mailoutbox):
    client = client_of(staff)
    act(browser_of(max_), USERS, action, staff)
    send_mails()
    staff.refresh_from_db()
    assert (client.get("/api/me/").status_code, staff.is_active, mailoutbox) == (200, True, [])


def test_staff_cannot_end_a_sign_in_of_a_superuser(browser_of, client_of, max_, staff):
    client = client_of(staff)
    answer = act(browser_of(max_), SIGN_INS, "end_selected", sign_in_of(staff), agree=False)
    assert "is not ended: only superusers can end it" in text_of(answer)
    act(browser_of(max_), SIGN_INS, "end_selected", sign_in_of(staff))
    assert client.get("/api/me/").status_code == 200


FORGED = {
    "username": "max",
    "email": "evil@example.org",
    "is_active": "on",
    "is_staff": "on",
    "is_superuser": "on",
    "password": "pbkdf2_sha256$1$x$x",
    "password1": "let me in, please do",
    "password2": "let me in, please do",
    "usable_password": "true",
    "first_name": "Max",
    "last_name": "",
}


def test_staff_cannot_extend_their_own_permissions(browser_of, max_):
    everything = [str(pk) for pk in Permission.objects.values_list("pk", flat=True)]
    before = max_.password
    page = browser_of(max_)
    assert page.post(f"{USERS}{max_.pk}/change/", {**FORGED, "user_permissions": everything}).status_code == 302
    max_.refresh_from_db()
    assert max_.first_name == "Max"
    assert (max_.is_superuser, max_.email, max_.password) == (False, "max@example.org", before)
    assert max_.user_permissions.count() == len(ALL_OF_STAFF)


def test_staff_cannot_change_a_superuser(browser_of, max_, staff):
    assert browser_of(max_).post(f"{USERS}{staff.pk}/change/", {**FORGED, "username": "sue2"}).status_code == 403
    staff.refresh_from_db()
    assert staff.username == "sue"


def test_staff_cannot_change_a_group_that_they_are_in(browser_of, max_, dana):
    group = Group.objects.get(name="Support")
    max_.groups.add(group)
    page = browser_of(max_)
    everything = [str(pk) for pk in Permission.objects.values_list("pk", flat=True)]
    form = {"name": "Support", "permissions": everything}
    assert page.post(f"/admin/auth/group/{group.pk}/change/", form).status_code == 403
    assert page.post("/admin/auth/group/add/", form | {"name": "Kings"}).status_code == 403
    assert group.permissions.count() == 4


def test_the_admin_sets_no_password(browser_of, staff, ann):
    before = ann.password
    page = browser_of(staff)
    page.post(f"{USERS}{ann.pk}/change/", FORGED | {"username": "ann"})
    page.post(f"{USERS}{ann.pk}/password/", FORGED)
    ann.refresh_from_db()
    assert ann.password == before


def test_permissions_given_by_a_superuser_are_an_event(browser_of, staff, ann):
    form = {"username": "ann", "email": ann.email, "is_active": "on", "is_staff": "on"}
    browser_of(staff).post(f"{USERS}{ann.pk}/change/", form)
    event = latest_event("rights_changed")
    assert (event.user, event.actor, event.details["changed"]) == (ann, staff, "is_staff")


def test_an_address_changed_by_a_superuser_is_an_event(browser_of, staff, ann):
    form = {"username": "ann", "email": "new@example.org", "is_active": "on"}
    browser_of(staff).post(f"{USERS}{ann.pk}/change/", form)
    event = latest_event("user_edited")
    assert (event.user, event.actor, event.details["changed"]) == (ann, staff, "email")


def test_deleting_a_user_keeps_the_events_and_the_blocklist(browser_of, client_of, staff, ann):
    client = client_of(ann)
    events = SecurityEvent.objects.count()
    page = browser_of(staff)
    assert "sign-ins: 1" in text_of(page.get(f"{USERS}{ann.pk}/delete/")).casefold()
    page.post(f"{USERS}{ann.pk}/delete/", {"post": "yes"})
    assert not User.objects.filter(username="ann").exists()
    assert SecurityEvent.objects.count() > events
    assert client.get("/api/me/").status_code == 401


# Contents of pages


def test_the_page_of_a_user_links_to_sign_ins_and_events(browser_of, client_of, dana, ann):
    client_of(ann)
    page, sign_in = browser_of(dana), sign_in_of(ann)
    of_user = page.get(f"{USERS}{ann.pk}/change/").content.decode()
    of_sign_in = page.get(f"{SIGN_INS}{sign_in.pk}/change/").content.decode()
    assert f"{SIGN_INS}{sign_in.pk}/change/" in of_user
    assert f"{SIGN_INS}?user={ann.pk}" in of_user
    assert f"{EVENTS}?user={ann.pk}" in of_user
    assert f"{USERS}{ann.pk}/change/" in of_sign_in
    assert "signed in" in of_sign_in


def test_the_page_of_an_ended_client_shows_its_blocklist_entry(browser_of, client_of, staff, ann):
    client_of(ann)
    page, sign_in = browser_of(staff), sign_in_of(ann)
    assert "not on the blocklist" in text_of(page.get(f"{SIGN_INS}{sign_in.pk}/change/"))
    sign_in.end(SignIn.Reason.ENDED_BY_STAFF)
    assert "tokens refused until" in text_of(page.get(f"{SIGN_INS}{sign_in.pk}/change/"))


def test_text_from_clients_is_escaped_in_the_admin(browser_of, browser, staff, ann, password):
    evil = "<img src=x onerror=alert(1)>"
    browser().post("/accounts/login/", {"username": "ann", "password": password}, headers={"user-agent": f"{evil}/1.0"})
    User.objects.filter(pk=ann.pk).update(first_name=evil)
    page = browser_of(staff)
    for url in every_page(ann):
        answer = page.get(url)
        assert answer.status_code == 200, url
        assert "<img src=x" not in answer.content.decode(), url


def every_page(user):
    sign_in, event = sign_in_of(user), SecurityEvent.objects.filter(user=user)[0]
    yield from ["/admin/", USERS, SIGN_INS, EVENTS, BLOCKLIST, LEAKED]
    yield from [f"{USERS}{user.pk}/change/", f"{USERS}{user.pk}/delete/", f"{USERS}{user.pk}/history/"]
    yield from [f"{SIGN_INS}{sign_in.pk}/change/", f"{EVENTS}{event.pk}/change/", f"{SIGN_INS}?q={sign_in.pk}"]
    yield from [f"{BLOCKLIST}{entry.pk}/change/" for entry in Entry.objects.all()[:1]]


def test_no_page_shows_a_secret(browser_of, client_of, staff, ann, password):
    client, anns_page = client_of(ann), browser_of(ann)
    client.renew()
    ended = client_of(ann)
    SignIn.objects.filter(pk=sign_in_of(ann).pk).end(SignIn.Reason.ENDED_BY_STAFF)
    sign_ins = SignIn.objects.filter(user=ann)
    secrets = {User.objects.get(pk=ann.pk).password, client.access, client.refresh, ended.access, ended.refresh}
    # The state of the offer to add a passkey is a plain word.
    secrets |= {each.value for name, each in anns_page.cookies.items() if name != settings.PASSKEY_OFFER_COOKIE_NAME}
    secrets |= set(Session.objects.values_list("session_key", flat=True))
    for sign_in in sign_ins:
        ids = [sign_in.refresh_id, sign_in.previous_refresh_id or sign_in.refresh_id]
        secrets |= {sign_in.auth_hash, *(form for each in ids for form in (str(each), each.hex))}
    page = browser_of(staff)
    for url in every_page(ann):
        text = page.get(url).content.decode()
        assert not [secret for secret in secrets if secret in text], url
    exported = b"".join(page.post(f"{EVENTS}export/").streaming_content).decode()
    assert not [secret for secret in secrets if secret in exported]


def test_the_history_of_the_admin_contains_no_secret(browser_of, client_of, staff, ann):
    client = client_of(ann)
    browser_of(staff).post(LEAKED, {"found": client.access})
    act(browser_of(staff), USERS, "end_all_sign_ins", ann)
    dump = str([list(model._base_manager.values()) for model in apps.get_models()])
    assert client.access not in dump
    assert client.access.rpartition(".")[2] not in dump
    assert not LogEntry.objects.filter(change_message__contains=client.access).exists()
