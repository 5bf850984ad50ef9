"""Names and ends of sign-ins, and disputed events, over the API."""

from datetime import timedelta
from uuid import uuid4

import pytest

from accounts.models import SecurityEvent, SignIn
from tests.conftest import sign_in_of

pytestmark = pytest.mark.django_db

ENDED = "/api/sign-ins/ended/"


def path_of(sign_in):
    return f"/api/sign-ins/{sign_in.pk}/"


# Names


@pytest.mark.parametrize("kind", ["browser", "client"])
def test_a_sign_in_of_each_kind_is_renamed(kind, hers, browser_of, ann):
    sign_in = sign_in_of(ann)
    if kind == "browser":
        browser_of(ann)
        sign_in = SignIn.objects.get(kind="browser")
    response = hers.patch(path_of(sign_in), {"name": "Kitchen"})
    assert (response.status_code, response.json()["id"], response.json()["name"]) == (200, str(sign_in.pk), "Kitchen")
    assert SignIn.objects.get(pk=sign_in.pk).name == "Kitchen"


def test_the_answer_is_the_entry_of_the_list(hers, ann):
    renamed = hers.patch(path_of(sign_in_of(ann)), {"name": "Phone"}).json()
    assert hers.get("/api/sign-ins/").json()["results"] == [renamed]


def test_a_browser_renames_its_own_sign_in(browser_of, ann):
    browser = browser_of(ann)
    response = browser.patch(path_of(sign_in_of(ann)), {"name": "Laptop"}, "application/json")
    assert (response.status_code, response.json()["name"], response.json()["current"]) == (200, "Laptop", True)


def test_renaming_writes_the_name_only(hers, ann):
    before = SignIn.objects.filter(user=ann).values().get()
    hers.patch(path_of(sign_in_of(ann)), {"name": "Phone", "ended_at": None, "expires_at": "2099-01-01", "kind": "x"})
    assert SignIn.objects.filter(user=ann).values().get() == before | {"name": "Phone"}


@pytest.mark.parametrize("name", ["x" * 61, "a\nb", "\u202egpj.exe", "\u200b", 7, None, []])
def test_a_bad_name_is_refused_and_named(hers, ann, name):
    response = hers.patch(path_of(sign_in_of(ann)), {"name": name})
    assert (response.status_code, response.json().keys()) == (400, {"detail", "code", "name"})
    assert sign_in_of(ann).name == ""


@pytest.mark.parametrize(
    ("given", "stored"), [("  Phone ", "Phone"), ("", ""), ("   ", ""), ("👩\u200d💻", "👩\u200d💻")]
)
def test_a_name_is_stored_as_the_page_stores_it(hers, ann, given, stored):
    assert hers.patch(path_of(sign_in_of(ann)), {"name": given}).json()["name"] == stored


def test_an_empty_patch_changes_nothing(hers, ann):
    hers.patch(path_of(sign_in_of(ann)), {"name": "Phone"})
    response = hers.patch(path_of(sign_in_of(ann)), {})
    assert (response.status_code, response.json()["name"]) == (200, "Phone")


def test_the_sign_in_of_another_user_is_not_found(hers, client_of, bob):
    client_of(bob)
    assert hers.patch(path_of(sign_in_of(bob)), {"name": "Mine"}).status_code == 404
    assert sign_in_of(bob).name == ""


def test_an_ended_sign_in_is_not_found(hers, client_of, ann):
    client_of(ann)
    ended = sign_in_of(ann)
    ended.end(SignIn.Reason.ENDED_BY_USER)
    assert hers.patch(path_of(ended), {"name": "Mine"}).status_code == 404
    assert hers.patch(f"/api/sign-ins/{uuid4()}/", {"name": "Mine"}).status_code == 404


def test_renaming_needs_no_recent_proof(clock, hers, ann):
    clock.shift(timedelta(minutes=16))
    hers.renew()
    assert hers.patch(path_of(sign_in_of(ann)), {"name": "Phone"}).status_code == 200


def test_renaming_takes_two_statements(hers, ann, django_assert_num_queries):
    path = path_of(sign_in_of(ann))
    # The first one is that of the blocklist, which a current mirror does not need.
    with django_assert_num_queries(3):
        hers.patch(path, {"name": "Phone"})


# Ends


def test_an_ended_sign_in_is_listed_with_its_reason(hers, client_of, ann):
    client_of(ann)
    ended = sign_in_of(ann)
    hers.delete(path_of(ended))
    [row] = hers.get(ENDED).json()["results"]
    assert (row["id"], row["end_reason"]) == (str(ended.pk), "ended_by_user")
    assert row["ended_at"] is not None


def test_an_expired_sign_in_is_listed_as_expired(clock, client_of, ann):
    client_of(ann)
    expired = sign_in_of(ann)
    clock.shift(timedelta(days=15))
    [row] = client_of(ann).get(ENDED).json()["results"]
    assert (row["id"], row["end_reason"]) == (str(expired.pk), "expired")
    assert row["ended_at"] == expired.expires_at.isoformat().replace("+00:00", "Z")


def test_ends_of_more_than_30_days_ago_are_not_listed(clock, client_of, ann):
    client_of(ann)
    sign_in_of(ann).end(SignIn.Reason.ENDED_BY_USER)
    clock.shift(timedelta(days=31))
    assert client_of(ann).get(ENDED).json()["count"] == 0


def test_the_list_of_ends_shows_only_the_users_own(hers, client_of, bob):
    client_of(bob)
    sign_in_of(bob).end(SignIn.Reason.ENDED_BY_USER)
    assert hers.get(ENDED).json()["count"] == 0


def test_the_list_of_ends_needs_a_sign_in(anonymous):
    assert anonymous.get(ENDED).status_code == 401


# Disputes


@pytest.fixture
def stranger(hers, client_of, ann):
    """A client that signed in as Ann after her own."""
    return client_of(ann)


def not_me(user, type="signed_in"):
    return f"/api/events/{SecurityEvent.objects.filter(user=user, type=type).first().pk}/not-me/"


def test_disputing_a_sign_in_ends_it(hers, stranger, ann):
    response = hers.post(not_me(ann))
    assert (response.status_code, response.json()) == (200, {"ended": 1})
    assert stranger.get("/api/me/").status_code == 401
    assert SecurityEvent.objects.filter(user=ann, type="sign_in_ended").count() == 1


def test_disputing_twice_ends_nothing_the_second_time(hers, stranger, ann):
    path = not_me(ann)
    hers.post(path)
    assert hers.post(path).json() == {"ended": 0}


def test_the_current_sign_in_stays_valid(hers, ann):
    assert hers.post(not_me(ann)).json() == {"ended": 0}
    assert hers.get("/api/me/").status_code == 200


def test_an_event_without_a_sign_in_is_no_error(hers, ann):
    SecurityEvent.objects.record(SecurityEvent.Type.PASSWORD_CHANGED, ann)
    assert hers.post(not_me(ann, "password_changed")).json() == {"ended": 0}


def test_disputing_needs_a_recent_proof(clock, hers, stranger, ann):
    clock.shift(timedelta(minutes=16))
    hers.renew()
    assert hers.post(not_me(ann)).json()["code"] == "recent_sign_in_required"
    assert SignIn.objects.live().count() == 2


def test_an_event_of_another_user_is_not_found(hers, client_of, bob):
    his = client_of(bob)
    assert hers.post(not_me(bob)).status_code == 404
    assert hers.post(f"/api/events/{10**30}/not-me/").status_code == 404
    assert his.get("/api/me/").status_code == 200


def test_events_say_whether_they_can_be_disputed(hers, ann):
    SecurityEvent.objects.record(SecurityEvent.Type.EMAIL_CONFIRMED, ann)
    rows = hers.get("/api/events/").json()["results"]
    assert {row["type"]: row["is_disputable"] for row in rows} == {"signed_in": True, "email_confirmed": False}
