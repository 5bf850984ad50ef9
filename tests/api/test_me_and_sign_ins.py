"""/api/me/, /api/sign-ins/ and /api/events/, by token and by session cookie."""

import uuid
from datetime import datetime

import pytest
from django.conf import settings

from accounts.models import SecurityEvent, SignIn, User
from tests.conftest import bearer

pytestmark = pytest.mark.django_db


@pytest.fixture(params=["token", "cookie"])
def anns_door(request, ann, client_of, browser_of):
    """A signed-in client of Ann: with a token, and with a cookie."""
    return client_of(ann) if request.param == "token" else browser_of(ann)


@pytest.fixture
def strict_browser_of(browser_of):
    """Returns a signed-in browser with CSRF checks."""

    def sign_in(user):
        browser = browser_of(user)
        browser.get("/accounts/profile/")
        browser.handler.enforce_csrf_checks = True
        return browser

    return sign_in


def csrf(browser):
    return {"x-csrftoken": browser.cookies[settings.CSRF_COOKIE_NAME].value, "referer": "https://testserver/"}


# /api/me/


def test_me_has_the_documented_fields(anns_door):
    assert anns_door.get("/api/me/").json().keys() == {
        "id",
        "username",
        "email",
        "first_name",
        "last_name",
        "date_joined",
        "email_confirmed",
        "new_email",
    }


def test_me_is_the_user_of_the_request(anns_door, ann, bob):
    answer = anns_door.get("/api/me/").json()
    assert (str(answer["id"]), answer["username"], answer["email"]) == (str(ann.pk), ann.username, ann.email)


def test_me_needs_a_sign_in(anonymous):
    response = anonymous.get("/api/me/")
    assert response.status_code == 401
    assert response.json().keys() >= {"detail", "code"}


@pytest.mark.parametrize("path", ["/api/me/", "/api/sign-ins/", "/api/events/"])
def test_private_responses_are_not_stored_by_caches(anns_door, path):
    assert "no-store" in anns_door.get(path).headers["Cache-Control"]


@pytest.mark.parametrize("field", ["first_name", "last_name"])
def test_a_client_changes_its_users_names(client_of, ann, field):
    response = client_of(ann).patch("/api/me/", {field: "Zoë"})
    assert (response.status_code, response.json()[field]) == (200, "Zoë")


def test_a_changed_name_is_stored(client_of, ann):
    client_of(ann).patch("/api/me/", {"first_name": "Zoë"})
    ann.refresh_from_db()
    assert ann.first_name == "Zoë"


def test_changing_one_name_leaves_the_other(client_of, ann):
    client = client_of(ann)
    client.patch("/api/me/", {"first_name": "Zoë", "last_name": "Lee"})
    client.patch("/api/me/", {"first_name": "Ann"})
    assert client.get("/api/me/").json()["last_name"] == "Lee"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", 999_999),
        ("username", "somebody-else"),
        ("email", "somebody@else.example"),
        ("date_joined", "2001-01-01T00:00:00Z"),
        ("is_staff", True),
        ("is_superuser", True),
        ("is_active", False),
        ("password", "a password from nowhere"),
    ],
)
def test_only_names_can_be_changed(client_of, ann, field, value):
    before = User.objects.filter(pk=ann.pk).values().get()
    client_of(ann).patch("/api/me/", {field: value})
    after = User.objects.filter(pk=ann.pk).values().get()
    assert after | {"last_login": None} == before | {"last_login": None}


def test_a_name_that_is_too_long_is_refused_and_named(client_of, ann):
    response = client_of(ann).patch("/api/me/", {"first_name": "x" * 151})
    assert response.status_code == 400
    assert response.json().keys() >= {"detail", "code", "first_name"}


def test_an_empty_patch_changes_nothing(client_of, ann):
    client = client_of(ann)
    before = client.get("/api/me/").json()
    client.patch("/api/me/", {})
    assert client.get("/api/me/").json() == before


# Both modes, never mixed


@pytest.mark.parametrize("path", ["/api/me/", "/api/sign-ins/", "/api/events/"])
def test_reading_works_in_either_mode(anns_door, path):
    assert anns_door.get(path).status_code == 200


WRITES = [
    ("PATCH", "/api/me/"),
    ("POST", "/api/sign-ins/end-others/"),
    ("POST", "/api/sign-ins/end-all/"),
    ("POST", "/api/password/change/"),
]


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_a_cookie_without_csrf_token_writes_nothing(strict_browser_of, ann, method, path):
    response = strict_browser_of(ann).generic(method, path, b"{}", content_type="application/json")
    assert response.status_code == 403
    assert response.json().keys() >= {"detail", "code"}


def test_a_cookie_without_csrf_token_ends_no_sign_in(strict_browser_of, client_of, ann):
    client_of(ann)
    victim = SignIn.objects.get(kind="client")
    response = strict_browser_of(ann).delete(f"/api/sign-ins/{victim.pk}/")
    victim.refresh_from_db()
    assert (response.status_code, victim.ended_at) == (403, None)


def test_a_csrf_refusal_is_not_a_token_error(strict_browser_of, ann):
    response = strict_browser_of(ann).patch("/api/me/", {"first_name": "Eve"}, content_type="application/json")
    assert response.json()["code"] != "token_not_valid"


def test_a_cookie_with_csrf_token_writes(strict_browser_of, ann):
    browser = strict_browser_of(ann)
    response = browser.patch("/api/me/", {"first_name": "Zoë"}, content_type="application/json", headers=csrf(browser))
    assert (response.status_code, response.json()["first_name"]) == (200, "Zoë")


def test_a_token_writes_without_csrf_token(browser, client_of, ann):
    caller = browser()
    caller.handler.enforce_csrf_checks = True
    response = caller.patch(
        "/api/me/",
        {"first_name": "Zoë"},
        content_type="application/json",
        headers=bearer(client_of(ann).access),
    )
    assert response.status_code == 200


def test_with_a_token_and_a_cookie_the_token_is_used(browser_of, client_of, ann, bob):
    response = browser_of(bob).get("/api/me/", headers=bearer(client_of(ann).access))
    assert response.json()["username"] == ann.username


BAD_HEADERS = {
    "a token that is none": "Bearer bad",
    "lower case": "bearer bad",
    "another scheme": "JWT x",
    "basic": "Basic YW5uOnBhc3N3b3Jk",
    "empty": "",
    "blank": " ",
    "the scheme alone": "Bearer",
    "the scheme and a blank": "Bearer ",
    "two tokens": "Bearer one two",
    "two headers in one": "Bearer one, Bearer two",
    "a tab": "Bearer\tbad",
    "no scheme": "bad",
    "non-ascii bytes": "Bearer \xff\xfe\xe9",
    "a non-ascii scheme": "B\xe9arer x",
    "UTF-8 bytes": "Bearer \xf0\x9f\x8e\xab",
    "a NUL": "Bearer a\x00b",
    "100 KB": "Bearer " + "x" * 100_000,
    "100 KB of dots": "Bearer " + "." * 100_000,
    "100 KB of scheme": "x" * 100_000,
}


@pytest.mark.parametrize("header", BAD_HEADERS.values(), ids=BAD_HEADERS)
def test_a_bad_authorization_header_never_falls_back_to_the_cookie(browser_of, ann, header):
    response = browser_of(ann).get("/api/me/", headers={"authorization": header})
    assert response.status_code == 401


@pytest.mark.parametrize("header", BAD_HEADERS.values(), ids=BAD_HEADERS)
def test_a_bad_authorization_header_gets_detail_and_code(browser_of, ann, header):
    answer = browser_of(ann).get("/api/me/", headers={"authorization": header}).json()
    assert isinstance(answer["detail"], str)
    assert isinstance(answer["code"], str)


@pytest.mark.parametrize("header", BAD_HEADERS.values(), ids=BAD_HEADERS)
def test_a_bad_authorization_header_writes_nothing(browser_of, ann, header):
    browser = browser_of(ann)
    browser.patch("/api/me/", {"first_name": "Eve"}, content_type="application/json", headers={"authorization": header})
    ann.refresh_from_db()
    assert ann.first_name != "Eve"


# /api/sign-ins/


def test_the_list_shows_both_kinds(anns_door, browser_of, client_of, ann):
    browser_of(ann)
    client_of(ann)
    kinds = {row["kind"] for row in anns_door.get("/api/sign-ins/").json()["results"]}
    assert kinds == {"browser", "client"}


def test_an_entry_has_the_documented_fields(anns_door):
    (row,) = anns_door.get("/api/sign-ins/").json()["results"]
    assert row.keys() == {
        "id",
        "kind",
        "name",
        "device",
        "ip_address",
        "created_at",
        "last_seen_at",
        "expires_at",
        "current",
        "bound",
    }


def test_an_entry_describes_its_sign_in(anns_door):
    (row,) = anns_door.get("/api/sign-ins/").json()["results"]
    sign_in = SignIn.objects.get()
    assert (row["id"], row["kind"], row["ip_address"]) == (str(sign_in.pk), sign_in.kind, "127.0.0.1")


def test_an_entry_has_its_times(anns_door):
    (row,) = anns_door.get("/api/sign-ins/").json()["results"]
    created, seen, expires = (
        datetime.fromisoformat(row[name]) for name in ("created_at", "last_seen_at", "expires_at")
    )
    assert created <= seen < expires


def test_an_entry_has_a_readable_device(anns_door):
    (row,) = anns_door.get("/api/sign-ins/").json()["results"]
    assert isinstance(row["device"], str)


def test_only_the_sign_in_of_the_request_is_current(anns_door, browser_of, client_of, ann):
    asking = str(SignIn.objects.get().pk)
    browser_of(ann)
    client_of(ann)
    rows = anns_door.get("/api/sign-ins/").json()["results"]
    assert [row["id"] for row in rows if row["current"]] == [asking]


def test_the_list_does_not_show_other_users(anns_door, browser_of, client_of, bob):
    browser_of(bob)
    client_of(bob)
    assert anns_door.get("/api/sign-ins/").json()["count"] == 1


def test_the_list_does_not_show_ended_sign_ins(anns_door, anonymous, client_of, ann):
    anonymous.post("/api/token/blacklist/", {"refresh": client_of(ann).refresh})
    assert anns_door.get("/api/sign-ins/").json()["count"] == 1


def test_the_list_has_the_documented_envelope(anns_door):
    assert anns_door.get("/api/sign-ins/").json().keys() == {"count", "next", "previous", "results"}


def test_following_next_shows_every_sign_in_once(client_of, ann):
    clients = [client_of(ann) for _ in range(30)]
    seen, path = [], "/api/sign-ins/"
    while path:
        page = clients[0].get(path).json()
        seen += [row["id"] for row in page["results"]]
        path = page["next"]
    assert sorted(seen) == sorted(str(pk) for pk in SignIn.objects.values_list("pk", flat=True))


@pytest.mark.parametrize("page", ["0", "-1", "abc", "9" * 30, "%00", "1e3", ""])
@pytest.mark.parametrize("path", ["/api/sign-ins/", "/api/events/"])
def test_an_invalid_page_number_is_not_a_500(client_of, ann, path, page):
    assert client_of(ann).get(f"{path}?page={page}").status_code in {200, 400, 404}


def test_the_list_needs_a_sign_in(anonymous):
    assert anonymous.get("/api/sign-ins/").status_code == 401


# Ending


def test_ending_one_is_204(anns_door, client_of, ann):
    asking = SignIn.objects.get()
    client_of(ann)
    victim = SignIn.objects.exclude(pk=asking.pk).get()
    assert anns_door.delete(f"/api/sign-ins/{victim.pk}/").status_code == 204


def test_an_ended_one_disappears_from_the_list(anns_door, client_of, ann):
    asking = SignIn.objects.get()
    client_of(ann)
    victim = SignIn.objects.exclude(pk=asking.pk).get()
    anns_door.delete(f"/api/sign-ins/{victim.pk}/")
    assert [row["id"] for row in anns_door.get("/api/sign-ins/").json()["results"]] == [str(asking.pk)]


def test_ending_one_does_not_end_the_others(client_of, ann):
    phone, laptop = client_of(ann), client_of(ann)
    (victim,) = [row["id"] for row in laptop.get("/api/sign-ins/").json()["results"] if row["current"]]
    phone.delete(f"/api/sign-ins/{victim}/")
    assert phone.get("/api/me/").status_code == 200


def test_ending_the_current_one_signs_out(client_of, ann):
    client = client_of(ann)
    client.delete(f"/api/sign-ins/{SignIn.objects.get().pk}/")
    assert client.get("/api/me/").status_code == 401


def test_another_users_sign_in_is_not_found(anns_door, client_of, bob):
    client_of(bob)
    victim = SignIn.objects.get(user=bob)
    assert anns_door.delete(f"/api/sign-ins/{victim.pk}/").status_code == 404


def test_another_users_sign_in_stays(client_of, ann, bob):
    phone_of_bob = client_of(bob)
    client_of(ann).delete(f"/api/sign-ins/{SignIn.objects.get(user=bob).pk}/")
    assert phone_of_bob.get("/api/me/").status_code == 200


def test_staff_do_not_end_another_users_sign_in_here(client_of, staff, bob):
    client_of(bob)
    victim = SignIn.objects.get(user=bob)
    assert client_of(staff).delete(f"/api/sign-ins/{victim.pk}/").status_code == 404


@pytest.mark.parametrize("pk", [str(uuid.UUID(int=0)), "1", "not-an-id", "%00", "%ff", "x" * 5000])
def test_an_unknown_sign_in_is_not_found(client_of, ann, pk):
    response = client_of(ann).delete(f"/api/sign-ins/{pk}/")
    assert response.status_code == 404
    assert response.json().keys() >= {"detail", "code"}


def test_ending_one_needs_a_sign_in(anonymous, client_of, ann):
    client_of(ann)
    assert anonymous.delete(f"/api/sign-ins/{SignIn.objects.get().pk}/").status_code == 401


def test_ending_the_others_returns_their_number(client_of, browser_of, ann):
    client = client_of(ann)
    client_of(ann)
    browser_of(ann)
    response = client.post("/api/sign-ins/end-others/", {})
    assert (response.status_code, response.json()) == (200, {"ended": 2})


def test_ending_the_others_keeps_the_current_one(client_of, browser_of, ann):
    client = client_of(ann)
    client_of(ann)
    browser_of(ann)
    client.post("/api/sign-ins/end-others/", {})
    assert client.get("/api/me/").status_code == 200


def test_ending_the_others_from_a_browser_keeps_that_browser(client_of, browser_of, ann):
    browser = browser_of(ann)
    client_of(ann)
    response = browser.post("/api/sign-ins/end-others/", {}, content_type="application/json")
    assert response.json() == {"ended": 1}
    assert browser.get("/api/me/").status_code == 200


def test_ending_the_others_twice_ends_none_the_second_time(client_of, ann):
    client = client_of(ann)
    client_of(ann)
    client.post("/api/sign-ins/end-others/", {})
    assert client.post("/api/sign-ins/end-others/", {}).json() == {"ended": 0}


def test_ending_all_returns_their_number(client_of, browser_of, ann):
    client = client_of(ann)
    client_of(ann)
    browser_of(ann)
    response = client.post("/api/sign-ins/end-all/", {})
    assert (response.status_code, response.json()) == (200, {"ended": 3})


def test_ending_all_ends_the_current_one(client_of, ann):
    client = client_of(ann)
    client.post("/api/sign-ins/end-all/", {})
    assert client.get("/api/me/").status_code == 401


@pytest.mark.parametrize("path", ["/api/sign-ins/end-others/", "/api/sign-ins/end-all/"])
def test_ending_many_does_not_affect_other_users(client_of, ann, bob, path):
    phone_of_bob = client_of(bob)
    client_of(ann).post(path, {})
    assert phone_of_bob.get("/api/me/").status_code == 200


@pytest.mark.parametrize("path", ["/api/sign-ins/end-others/", "/api/sign-ins/end-all/"])
def test_ending_many_needs_a_sign_in(anonymous, path):
    assert anonymous.post(path, {}).status_code == 401


@pytest.mark.parametrize("path", ["/api/sign-ins/end-others/", "/api/sign-ins/end-all/"])
def test_reading_ends_nothing(client_of, ann, path):
    client = client_of(ann)
    assert client.get(path).status_code == 405
    assert client.get("/api/me/").status_code == 200


# /api/events/


def test_events_come_newest_first(anns_door, client_of, ann):
    client_of(ann).post("/api/sign-ins/end-others/", {})
    times = [row["created_at"] for row in client_of(ann).get("/api/events/").json()["results"]]
    assert len(times) > 1
    assert times == sorted(times, reverse=True)


def test_events_have_their_type(client_of, ann):
    (newest, *_) = client_of(ann).get("/api/events/").json()["results"]
    assert newest["type"] == "signed_in"


def test_events_of_other_users_are_not_listed(client_of, browser_of, ann, bob):
    browser_of(bob)
    client_of(bob)
    answer = client_of(ann).get("/api/events/").json()
    assert answer["count"] == SecurityEvent.objects.filter(user=ann).count()


def test_events_have_the_documented_envelope(client_of, ann):
    assert client_of(ann).get("/api/events/").json().keys() == {"count", "next", "previous", "results"}


def test_events_need_a_sign_in(anonymous):
    assert anonymous.get("/api/events/").status_code == 401


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_events_cannot_be_written_over_the_api(client_of, browser, ann, method):
    response = browser().generic(
        method, "/api/events/", b"{}", content_type="application/json", headers=bearer(client_of(ann).access)
    )
    assert response.status_code == 405
