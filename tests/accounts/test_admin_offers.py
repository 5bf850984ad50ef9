"""The admin offers an action only if it has an effect."""

import re
from datetime import timedelta

import pytest
from django.contrib.auth.hashers import make_password
from django.utils import timezone

from accounts import guess_limits
from accounts.models import AttemptCounter, SignIn, User
from tests.accounts.admin_pages import SIGN_INS, USERS, act, make_staff, text_of
from tests.conftest import sign_in_of

pytestmark = pytest.mark.django_db


def offered(page, address):
    """Returns the actions that have a button on the page of an object."""
    return set(re.findall(r'<button name="action" value="(\w+)"', page.get(address).content.decode()))


def lock(user):
    AttemptCounter.objects.start_attempt(guess_limits.sources_of_stranger(user.username, "203.0.113.9"))
    AttemptCounter.objects.filter(account=guess_limits.username_digest(user.username)).update(
        count=30, until=timezone.now() + timedelta(hours=1)
    )


IMPOSSIBLE = {
    "an active user without a sign-in": (lambda user: None, {"deactivate", "send_password_reset", "sign_in_as"}),
    "a deactivated user": (lambda user: User.objects.filter(pk=user.pk).update(is_active=False), {"reactivate"}),
    "a user with a lock": (lock, {"deactivate", "send_password_reset", "sign_in_as", "unlock"}),
    "a user without a password": (
        lambda user: User.objects.filter(pk=user.pk).update(password=make_password(None)),
        {"deactivate", "sign_in_as"},
    ),
    "a service": (lambda user: User.objects.filter(pk=user.pk).update(is_service=True), {"deactivate"}),
    "a throw-away user": (
        lambda user: User.objects.filter(pk=user.pk).update(delete_after=timezone.now() + timedelta(days=1)),
        {"deactivate", "sign_in_as"},
    ),
}


@pytest.mark.parametrize("who", IMPOSSIBLE)
def test_the_page_of_a_user_offers_possible_actions(browser_of, staff, ann, who):
    change, possible = IMPOSSIBLE[who]
    change(ann)
    assert offered(browser_of(staff), f"{USERS}{ann.pk}/change/") == possible


def test_a_user_who_is_signed_in_can_be_signed_out(browser_of, client_of, staff, ann):
    client_of(ann)
    assert "end_all_sign_ins" in offered(browser_of(staff), f"{USERS}{ann.pk}/change/")


def test_staff_are_not_offered_to_deactivate_themselves(browser_of, staff):
    assert "deactivate" not in offered(browser_of(staff), f"{USERS}{staff.pk}/change/")


def test_support_is_offered_no_action_on_a_superuser(browser_of, client_of, password, staff):
    client_of(staff)
    dana = make_staff("dana", password, "accounts.view_user", "accounts.end_signin", "accounts.deactivate_user")
    assert offered(browser_of(dana), f"{USERS}{staff.pk}/change/") == set()


def test_the_page_of_an_ended_sign_in_does_not_offer_to_end_it(browser_of, client_of, staff, ann):
    client_of(ann)
    sign_in, page = sign_in_of(ann), browser_of(staff)
    assert offered(page, f"{SIGN_INS}{sign_in.pk}/change/") == {"end_selected"}
    sign_in.end(SignIn.Reason.SIGNED_OUT)
    assert offered(page, f"{SIGN_INS}{sign_in.pk}/change/") == set()


def test_the_page_of_an_expired_sign_in_does_not_offer_to_end_it(browser_of, client_of, staff, ann):
    client_of(ann)
    SignIn.objects.filter(user=ann).update(expires_at=timezone.now())
    assert offered(browser_of(staff), f"{SIGN_INS}{sign_in_of(ann).pk}/change/") == set()


def test_an_expired_attempt_counter_offers_no_reset(browser_of, staff, ann):
    lock(ann)
    page, address = (
        browser_of(staff),
        f"/admin/accounts/attemptcounter/{AttemptCounter.objects.of(ann).locked_out().first().pk}/change/",
    )
    assert offered(page, address) == {"lift"}
    AttemptCounter.objects.of(ann).update(until=timezone.now())
    assert offered(page, address) == set()


@pytest.mark.parametrize("action", ["end_all_sign_ins", "reactivate", "unlock"])
def test_an_action_without_effect_shows_a_message(browser_of, staff, ann, action):
    assert "There is nothing to do." in text_of(act(browser_of(staff), USERS, action, ann, agree=False))


def test_users_who_cannot_reset_a_password_are_not_counted(browser_of, staff, ann, bob):
    User.objects.filter(pk=bob.pk).update(password=make_password(None))
    page = browser_of(staff)
    assert "1 user receives an e-mail" in text_of(act(page, USERS, "send_password_reset", ann, bob, agree=False))


def test_actions_that_lock_out_are_marked_and_last(browser_of, client_of, staff, ann):
    client_of(ann)
    page = browser_of(staff).get(f"{USERS}{ann.pk}/change/").content.decode()
    buttons = re.findall(r'<button name="action" value="(\w+)"( class="severe")?', page)
    assert [name for name, is_severe in buttons if is_severe] == ["deactivate"]
    assert buttons[-1][0] == "deactivate"


@pytest.mark.parametrize(("action", "css"), [("deactivate", "severe"), ("end_all_sign_ins", "default")])
def test_the_confirmation_of_a_severe_action_is_marked(browser_of, client_of, staff, ann, action, css):
    client_of(ann)
    page = act(browser_of(staff), USERS, action, ann, agree=False).content.decode()
    assert f'<button class="{css}" name="confirmed"' in page


@pytest.mark.parametrize(
    ("number", "title", "button"),
    [(1, "Deactivate account?", "Deactivate this account"), (2, "Deactivate accounts?", "Deactivate accounts")],
)
def test_a_confirmation_is_worded_for_one_and_for_several(browser_of, staff, ann, bob, number, title, button):
    page = act(browser_of(staff), USERS, "deactivate", *[ann, bob][:number], agree=False).content.decode()
    assert f"<h1>{title}</h1>" in page
    assert f">{button}</button>" in page


@pytest.mark.parametrize(
    ("change", "badge"),
    [
        ({}, "<li>active</li>"),
        ({"is_active": False}, '<li class="warning">deactivated</li>'),
        ({"email_confirmed_at": None}, '<li class="warning">e-mail address not confirmed</li>'),
        ({"is_service": True}, "<li>service account</li>"),
        ({"is_superuser": True}, "<li>superuser</li>"),
    ],
)
def test_the_page_of_a_user_shows_the_state_at_the_top(browser_of, staff, ann, change, badge):
    User.objects.filter(pk=ann.pk).update(**change)
    assert badge in browser_of(staff).get(f"{USERS}{ann.pk}/change/").content.decode()


def test_sign_ins_and_events_come_first_and_permissions_are_folded(browser_of, client_of, staff, ann):
    client_of(ann)
    page = browser_of(staff).get(f"{USERS}{ann.pk}/change/").content.decode()
    places = [page.index(each) for each in ("Live sign-ins", "Last events", "Second factors", 'id="id_username"')]
    assert places == sorted(places)
    assert re.search(r"<details><summary>\s*<h2[^>]*>Permissions</h2>", page)


def test_the_sign_ins_of_a_user_are_above_the_form(browser_of, client_of, staff, ann):
    client_of(ann)
    page = browser_of(staff).get(f"{USERS}{ann.pk}/change/").content.decode()
    assert page.index("Live sign-ins") < page.index('id="id_username"')
