"""Events of staff actions: the user sees action and reason, and only staff see the address."""

import re
from html import unescape

import pytest
from django.urls import reverse

from accounts.models import SecurityEvent, SignIn, User
from tests.conftest import Browser

pytestmark = pytest.mark.django_db

STAFF_ADDRESS = "192.0.2.99"
STAFF_AGENT = "StaffTool/7"
WHY = "The phone was stolen."
FROM_STAFF = {"headers": {"user-agent": STAFF_AGENT}, "REMOTE_ADDR": STAFF_ADDRESS}
OWN_ADDRESS = "198.51.100.7"
OWN_AGENT = "OwnTool/1"


@pytest.fixture
def act(browser_of, staff):
    """Returns a function that runs an action of the admin as a staff member."""
    page = browser_of(staff)

    def run(model, action, pk):
        form = {"action": action, "_selected_action": [str(pk)], "confirmed": "yes", "why": WHY}
        answer = page.post(reverse(f"admin:{model}_changelist"), form, **FROM_STAFF)
        assert answer.status_code == 302, answer.content.decode()

    return run


def end_one(ann, act, client_of, **_):
    client_of(ann)
    act("accounts_signin", "end_selected", SignIn.objects.filter(user=ann).latest("created_at").pk)


def end_all(ann, act, **_):
    act("accounts_user", "end_all_sign_ins", ann.pk)


def deactivate_and_reactivate(ann, act, **_):
    act("accounts_user", "deactivate", ann.pk)
    act("accounts_user", "reactivate", ann.pk)


def send_reset(ann, act, **_):
    act("accounts_user", "send_password_reset", ann.pk)


def edit(ann, browser_of, staff, **_):
    form = {"username": "ann", "email": "ann@third.example.org", "is_active": "on", "is_staff": "on"}
    url = reverse("admin:accounts_user_change", args=[ann.pk])
    assert browser_of(staff).post(url, form, **FROM_STAFF).status_code == 302


def block_a_token(ann, staff, browser_of, client_of, **_):
    page, url = browser_of(staff), reverse("admin:blocklist_entry_leaked")
    answer = page.post(url, {"found": client_of(ann).access}, **FROM_STAFF).content.decode()
    finding = unescape(re.search(r'name="finding" value="([^"]+)"', answer).group(1))
    page.post(url, {"finding": finding, "do": "block", "why": WHY}, **FROM_STAFF)
    assert SecurityEvent.objects.filter(type="token_blocked").exists()


STAFF_DO = [end_one, end_all, deactivate_and_reactivate, send_reset, edit, block_a_token]


@pytest.fixture
def done(ann, staff, act, browser_of, client_of, request):
    client_of(ann)
    request.param(ann=ann, staff=staff, act=act, browser_of=browser_of, client_of=client_of)
    return request.param


def seen_by(user, password):
    """Returns everything that the user sees of the events: pages and API."""
    page = Browser()
    form = {"username": user.username, "password": password}
    own = {"headers": {"user-agent": OWN_AGENT}, "REMOTE_ADDR": OWN_ADDRESS}
    assert page.post("/accounts/login/", form, **own).status_code == 302
    texts = [page.get(path, **own).content.decode() for path in ("/", "/accounts/activity/", "/accounts/sign-ins/")]
    texts += [page.get("/api/events/", **own).content.decode()]
    for event in SecurityEvent.objects.filter(user=user):
        texts.append(page.get(f"/accounts/activity/{event.pk}/not-me/", **own).content.decode())
    return "".join(texts)


@pytest.mark.parametrize("done", STAFF_DO, indirect=True)
def test_the_user_does_not_see_the_address_of_staff(done, ann, password):
    assert SecurityEvent.objects.filter(user=ann, ip_address=STAFF_ADDRESS, user_agent=STAFF_AGENT).exists()
    seen = seen_by(ann, password)
    assert STAFF_ADDRESS not in seen
    assert "StaffTool" not in seen
    assert OWN_ADDRESS in seen
    assert "OwnTool" in seen


@pytest.mark.parametrize("done", STAFF_DO, indirect=True)
def test_no_mail_contains_the_address_of_staff(ann, staff, act, browser_of, client_of, mails_of, request, done):
    User.objects.filter(pk=ann.pk).update(email_confirmed_at=ann.date_joined)
    work = done
    mails = mails_of(lambda: work(ann=ann, staff=staff, act=act, browser_of=browser_of, client_of=client_of))
    assert not [mail for mail in mails if STAFF_ADDRESS in mail.body or "StaffTool" in mail.body]


def test_the_user_sees_the_action_and_the_reason(ann, act, client_of, browser_of):
    end_one(ann, act, client_of)
    assert "A sign-in was ended." in browser_of(ann).get("/accounts/activity/").content.decode()
    [event] = [each for each in client_of(ann).get("/api/events/").json()["results"] if each["type"] == "sign_in_ended"]
    assert (event["details"]["why"], event["ip_address"], event["device"]) == (WHY, None, "Unknown device")


def test_staff_see_the_address_of_staff(ann, act, browser_of, client_of, staff):
    end_one(ann, act, client_of)
    listed = browser_of(staff).get(reverse("admin:accounts_securityevent_changelist")).content.decode()
    assert STAFF_ADDRESS in listed


def test_staff_see_the_address_of_their_own_actions(staff, browser_of):
    page = browser_of(staff)
    page.post("/accounts/sign-ins/end-others/", **FROM_STAFF)
    browser_of(staff)
    page.post("/accounts/sign-ins/end-others/", **FROM_STAFF)
    assert STAFF_ADDRESS in page.get("/accounts/activity/").content.decode()


def test_a_guess_by_another_user_shows_its_address(ann, bob, browser_of, password):
    guesser = browser_of(bob)
    guess = {"username": ann.username, "password": "not the right passphrase at all"}
    guesser.post("/accounts/login/", guess, REMOTE_ADDR="203.0.113.66")
    assert SecurityEvent.objects.get(type="sign_in_failed").actor == bob
    assert "203.0.113.66" in seen_by(ann, password)


def test_a_reset_by_another_user_shows_its_address(ann, bob, browser_of, browser, mails_of, password):
    [mail] = mails_of(lambda: browser().post("/accounts/password_reset/", {"email": ann.email}))
    link = re.search(r"/accounts/reset/[^/\s]+/[^/\s]+/", mail.body).group()
    form = {"new_password1": "a quite different passphrase"}
    thief = browser_of(bob)
    [mail_of_reset] = mails_of(lambda: thief.post(link, form, REMOTE_ADDR="203.0.113.66"))
    assert "203.0.113.66" in mail_of_reset.body
    assert "203.0.113.66" in seen_by(ann, "a quite different passphrase")
