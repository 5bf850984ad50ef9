"""What staff do to others asks for a recent proof of who they are (OWASP ASVS 7.5.3)."""

from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import Group

from accounts.models import SignIn, User
from api.blocklist.models import Entry
from tests.accounts.admin_pages import EVENTS, LEAKED, SIGN_INS, USERS, act
from tests.conftest import claims_of, sign_in_of
from tests.second_factors import add_app

pytestmark = pytest.mark.django_db

FRESH, STALE = timedelta(minutes=14), timedelta(minutes=16)
ACTIONS = ["end_all_sign_ins", "deactivate", "send_password_reset", "unlock", "remove_factors"]


@pytest.fixture
def stale(clock, page):
    """A browser of a superuser whose last proof is 16 minutes old."""
    clock.shift(STALE)
    return page


def asked(response):
    """Returns the page to which the re-authentication page will return."""
    location = urlsplit(response.headers.get("Location", ""))
    assert (response.status_code, location.path) == (302, "/accounts/confirm/"), response
    return parse_qs(location.query)["next"][0]


@pytest.mark.parametrize("agree", [False, True])
@pytest.mark.parametrize("action", ACTIONS)
def test_an_action_on_a_user_asks_for_a_recent_proof(stale, ann, action, agree):
    assert asked(act(stale, USERS, action, ann, agree=agree)) == f"{USERS}{ann.pk}/change/"


def test_without_a_recent_proof_no_sign_in_ends(clock, page, client_of, ann):
    clock.shift(STALE)
    client = client_of(ann)
    asked(act(page, SIGN_INS, "end_selected", sign_in_of(ann)))
    assert client.get("/api/me/").status_code == 200


def test_without_a_recent_proof_no_account_is_deactivated(stale, ann):
    act(stale, USERS, "deactivate", ann)
    assert User.objects.get(pk=ann.pk).is_active


def test_without_a_recent_proof_no_token_is_blocked(clock, page, client_of, ann):
    clock.shift(STALE)
    assert asked(page.post(LEAKED, {"found": client_of(ann).access})) == LEAKED
    assert not Entry.objects.exists()


def test_a_finding_made_before_blocks_nothing_after_the_proof_is_old(clock, page, client_of, ann):
    client = client_of(ann)
    finding = page.post(LEAKED, {"found": claims_of(client.access)["jti"]}).context["finding"]
    clock.shift(STALE)
    asked(page.post(LEAKED, {"finding": finding, "why": "It was in a log.", "do": "end"}))
    assert SignIn.objects.live().filter(user=ann).exists()


def test_without_a_recent_proof_not_all_sign_ins_end(clock, page, client_of, ann):
    clock.shift(STALE)
    client = client_of(ann)
    url = f"{SIGN_INS}end-everyone/"
    assert asked(page.post(url, {"confirmed": "yes", "why": "A breach."})) == url
    assert client.get("/api/me/").status_code == 200


def test_without_a_recent_proof_rights_stay(stale, ann):
    url = f"{USERS}{ann.pk}/change/"
    form = {"username": "ann", "email": ann.email, "is_active": "on", "is_superuser": "on"}
    assert asked(stale.post(url, form)) == url
    assert not User.objects.get(pk=ann.pk).is_superuser


def test_without_a_recent_proof_no_account_is_deleted(stale, ann):
    asked(stale.post(f"{USERS}{ann.pk}/delete/", {"post": "yes"}))
    assert User.objects.filter(pk=ann.pk).exists()


def test_without_a_recent_proof_groups_stay(stale):
    group = Group.objects.get(name="Support")
    asked(stale.post(f"/admin/auth/group/{group.pk}/change/", {"name": "Helpers", "permissions": []}))
    assert Group.objects.get(pk=group.pk).name == "Support"


def test_an_action_on_many_returns_to_the_list(stale, ann, bob):
    assert asked(act(stale, f"{USERS}?state=active", "deactivate", ann, bob)) == f"{USERS}?state=active"


def test_the_page_of_an_object_is_shown_without_a_recent_proof(stale, ann):
    assert stale.get(f"{USERS}{ann.pk}/change/").status_code == 200


def test_an_export_needs_no_recent_proof(stale):
    assert stale.post(f"{EVENTS}export/").status_code == 200


def test_staff_sign_out_without_a_recent_proof(stale):
    assert stale.post("/admin/logout/").status_code == 200
    assert stale.get("/admin/").status_code == 302


def test_a_proof_counts_for_all_actions_of_fifteen_minutes(clock, stale, client_of, ann, bob, password):
    stale.post("/accounts/confirm/", {"password": password, "next": USERS})
    assert act(stale, USERS, "deactivate", ann).status_code == 302
    clock.shift(FRESH)
    act(stale, USERS, "deactivate", bob)
    assert set(User.objects.filter(is_active=False)) == {ann, bob}


def test_the_next_page_says_that_nothing_was_changed(stale, ann):
    response = act(stale, USERS, "deactivate", ann)
    assert "Nothing was changed yet" in stale.get(response.headers["Location"]).content.decode()


def test_a_password_is_no_proof_for_staff_with_a_second_factor(page, client_of, staff, ann):
    """The browser signed in before the factor was added: its sign-in has level 1."""
    add_app(client_of(staff))
    asked(act(page, USERS, "deactivate", ann))
    assert User.objects.get(pk=ann.pk).is_active


def test_a_hostile_id_stays_in_the_path(stale):
    response = stale.post(USERS, {"action": "deactivate", "_selected_action": "../../../evil/?x=//evil.example"})
    assert asked(response).startswith(USERS)


def test_staff_without_a_session_are_asked_to_sign_in(browser, ann):
    response = act(browser(), USERS, "deactivate", ann)
    assert urlsplit(response.headers["Location"]).path == "/admin/login/"
