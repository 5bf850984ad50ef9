"""Session mode on the pages: signing up, in and out, passwords, and how long a session lasts."""

import re
from contextlib import suppress
from datetime import timedelta
from importlib import import_module
from urllib.parse import urlsplit

import pytest
from asgiref.sync import async_to_sync
from django.apps import apps
from django.conf import settings
from django.contrib.sessions.backends.base import UpdateError
from django.utils import timezone

from accounts import mail
from accounts.models import SecurityEvent, Session, SignIn, User
from accounts.sessions import SessionStore

pytestmark = pytest.mark.django_db

NEW_PASSWORD = "a quite different passphrase"
PROFILE = "/accounts/profile/"


@pytest.fixture
def keeping_browser_of(browser, password):
    """A browser whose user ticked "keep me signed in"."""

    def sign_in(user):
        kept = browser()
        kept.post("/accounts/login/", {"username": user.username, "password": password, "keep": "on"})
        return kept

    return sign_in


@pytest.fixture
def reset_link(browser, mailoutbox, django_capture_on_commit_callbacks):
    """The path in the mail that someone gets after asking for a reset."""

    def read(user):
        with django_capture_on_commit_callbacks(execute=True):
            browser().post("/accounts/password_reset/", {"email": user.email})
        mail.wait()
        return re.search(r"/accounts/reset/[^/\s]+/[^/\s]+/", mailoutbox[-1].body).group()

    return read


def key_of(browser):
    return browser.cookies[settings.SESSION_COOKIE_NAME].value


def signed_in(browser):
    """Whether the next page is private, and not a redirect to the sign-in page."""
    response = browser.get(PROFILE)
    if response.status_code == 200:
        return True
    assert response.status_code == 302
    assert urlsplit(response.headers["Location"]).path == "/accounts/login/"
    return False


def cookie(value):
    """A raw Cookie header, for values that no cookie jar would send."""
    return {"cookie": f"{settings.SESSION_COOKIE_NAME}={value}"}


# Signing up


SIGN_UP = {
    "username": "carol",
    "email": "carol@example.com",
    "password": NEW_PASSWORD,
    "password1": NEW_PASSWORD,
    "password2": NEW_PASSWORD,
}


def test_the_sign_up_page_shows_a_form(browser):
    response = browser().get("/accounts/signup/")
    assert response.status_code == 200
    assert b"csrfmiddlewaretoken" in response.content


def test_signing_up_makes_a_user_who_can_sign_in(browser, anonymous):
    browser().post("/accounts/signup/", SIGN_UP)
    assert anonymous.sign_in("carol", NEW_PASSWORD).status_code == 200


def test_signing_up_leads_on(browser):
    assert browser().post("/accounts/signup/", SIGN_UP).status_code == 302


@pytest.mark.parametrize("chosen", ["", "too short", "manchesterunited", "x" * 129, "x" * 1_048_576])
def test_a_bad_password_signs_nobody_up(browser, chosen):
    browser().post("/accounts/signup/", SIGN_UP | {"password": chosen, "password1": chosen, "password2": chosen})
    assert not User.objects.filter(username="carol").exists()


@pytest.mark.parametrize("field", ["username", "email"])
def test_a_taken_name_or_address_in_other_letter_case_signs_nobody_up(browser, ann, field):
    browser().post("/accounts/signup/", SIGN_UP | {field: getattr(ann, field).upper()})
    assert User.objects.count() == 1


@pytest.mark.parametrize("flag", ["is_staff", "is_superuser"])
def test_nobody_signs_up_as_staff(browser, flag):
    browser().post("/accounts/signup/", SIGN_UP | {flag: "on"})
    assert getattr(User.objects.get(username="carol"), flag) is False


# Signing in


def test_the_right_password_signs_in(browser_of, ann):
    assert signed_in(browser_of(ann))


def test_a_sign_in_adds_one_row_for_a_browser(browser_of, ann):
    browser_of(ann)
    assert list(SignIn.objects.values_list("user", "kind")) == [(ann.pk, "browser")]


def test_a_sign_in_adds_one_event(browser_of, ann):
    before = SecurityEvent.objects.count()
    browser_of(ann)
    assert SecurityEvent.objects.count() == before + 1


@pytest.mark.parametrize("wrong", ["", "not the right passphrase", "x" * 1_048_576, "a\x00b"])
def test_a_wrong_password_signs_nobody_in(browser, ann, wrong):
    visitor = browser()
    response = visitor.post("/accounts/login/", {"username": ann.username, "password": wrong})
    assert response.status_code < 500
    assert not signed_in(visitor)


@pytest.mark.parametrize("username", ["", "nobody-here", "a\x00b", "x" * 1_048_576, "' OR 1=1 --", "\u202enna"])
def test_an_unknown_username_signs_nobody_in(browser, ann, password, username):
    visitor = browser()
    response = visitor.post("/accounts/login/", {"username": username, "password": password})
    assert response.status_code < 500
    assert not signed_in(visitor)


def test_a_deactivated_user_does_not_sign_in(browser, ann, password):
    User.objects.filter(pk=ann.pk).update(is_active=False)
    visitor = browser()
    visitor.post("/accounts/login/", {"username": ann.username, "password": password})
    assert not signed_in(visitor)


def test_signing_in_needs_a_csrf_token(browser, ann, password):
    visitor = browser()
    visitor.handler.enforce_csrf_checks = True
    response = visitor.post("/accounts/login/", {"username": ann.username, "password": password})
    assert response.status_code == 403


def test_a_username_signs_in_on_the_admins_page_too(browser, staff, password):
    visitor = browser()
    visitor.post("/admin/login/?next=/admin/", {"username": staff.username, "password": password, "next": "/admin/"})
    assert visitor.get("/admin/").status_code == 200


def test_a_sign_in_on_the_admins_page_is_on_the_same_list(browser, staff, password):
    browser().post("/admin/login/?next=/admin/", {"username": staff.username, "password": password, "next": "/admin/"})
    assert list(SignIn.objects.values_list("user", "kind")) == [(staff.pk, "browser")]


def test_the_admin_is_not_for_everybody(browser_of, ann):
    assert browser_of(ann).get("/admin/").status_code == 302


def test_a_token_does_not_open_the_admin(browser, client_of, staff):
    response = browser().get("/admin/", headers={"authorization": f"Bearer {client_of(staff).access}"})
    assert response.status_code == 302


# Where a sign-in leads to

FOREIGN = [
    "https://evil.example/",
    "http://evil.example/",
    "//evil.example/",
    "///evil.example/",
    "////evil.example/",
    "/\\evil.example/",
    "\\\\evil.example/",
    "http:evil.example",
    "http:///evil.example",
    "https:/evil.example",
    "javascript:alert(1)",
    "data:text/html,x",
    " https://evil.example/",
    "\thttps://evil.example/",
    "/\t/evil.example/",
    "/\n/evil.example/",
    "https://testserver@evil.example/",
    "https://testserver.evil.example/",
    "https://evil.example\\@testserver/",
    "ftp://testserver/",
    "\x00//evil.example/",
    "x" * 10_000,
]


@pytest.mark.parametrize("place", ["query", "form"])
@pytest.mark.parametrize("target", FOREIGN, ids=lambda target: repr(target[:40]))
def test_a_sign_in_never_leads_to_another_site(browser, ann, password, target, place):
    form = {"username": ann.username, "password": password}
    if place == "form":
        response = browser().post("/accounts/login/", form | {"next": target})
    else:
        response = browser().post("/accounts/login/", form, query_params={"next": target})
    location = response.headers["Location"]
    assert urlsplit(location).netloc in {"", "testserver"}
    assert re.match(r"(https://testserver)?/(?![/\\])", location)


def test_a_sign_in_leads_to_where_one_came_from(browser, ann, password):
    response = browser().post(
        "/accounts/login/",
        {"username": ann.username, "password": password, "next": "/accounts/password_change/"},
        query_params={"next": "/accounts/password_change/"},
    )
    assert response.headers["Location"] == "/accounts/password_change/"


# Session keys


def test_signing_in_gives_a_new_session_key(browser, ann, password):
    visitor = browser()
    visitor.cookies[settings.SESSION_COOKIE_NAME] = "f" * 32
    visitor.post("/accounts/login/", {"username": ann.username, "password": password})
    assert key_of(visitor) != "f" * 32


def test_a_key_from_before_the_sign_in_opens_nothing(browser, ann, password):
    visitor = browser()
    visitor.cookies[settings.SESSION_COOKIE_NAME] = "f" * 32
    visitor.post("/accounts/login/", {"username": ann.username, "password": password})
    thief = browser()
    thief.cookies[settings.SESSION_COOKIE_NAME] = "f" * 32
    assert not signed_in(thief)


@pytest.mark.parametrize("second", ["ann", "bob"])
def test_signing_in_again_gives_a_new_session_key(browser_of, ann, bob, password, second):
    browser = browser_of(ann)
    first_key = key_of(browser)
    browser.post("/accounts/login/", {"username": second, "password": password})
    assert key_of(browser) != first_key


@pytest.mark.parametrize("second", ["ann", "bob"])
def test_signing_in_again_makes_the_old_key_worthless(browser, browser_of, ann, bob, password, second):
    anns = browser_of(ann)
    replay = browser()
    replay.cookies[settings.SESSION_COOKIE_NAME] = key_of(anns)
    anns.post("/accounts/login/", {"username": second, "password": password})
    assert not signed_in(replay)


def test_two_sign_ins_have_two_keys(browser_of, ann):
    assert key_of(browser_of(ann)) != key_of(browser_of(ann))


def test_a_session_key_has_more_than_128_random_bits(browser_of, ann):
    keys = {key_of(browser_of(ann)) for _ in range(10)}
    assert len(keys) == 10
    assert {len(key) for key in keys} == {32}
    # Of 36 letters and digits: 165 bits, and 10 keys use nearly all of them.
    assert len(set("".join(keys))) >= 30


def test_a_new_secret_key_signs_nobody_out_while_the_old_one_is_named(browser_of, ann, settings):
    browser, old = browser_of(ann), settings.SECRET_KEY
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another-9Rk2mVx7Lq4TzWc8NfHs3YbJd6PgAu5EeKt1Ro", [old]
    assert signed_in(browser)
    settings.SECRET_KEY_FALLBACKS = []
    assert not signed_in(browser)


def test_the_session_key_is_nowhere_in_the_database(browser_of, ann):
    key = key_of(browser_of(ann))
    dump = {model._meta.label: str(list(model._base_manager.values())) for model in apps.get_models()}
    assert not [label for label, text in dump.items() if key in text]


def test_what_the_database_holds_of_a_session_opens_nothing(browser, browser_of, ann):
    browser_of(ann)
    stored = [str(value) for value in Session.objects.values_list().get()]
    visitors = [browser() for _ in stored]
    for visitor, value in zip(visitors, stored, strict=True):
        visitor.cookies[settings.SESSION_COOKIE_NAME] = value
    assert not any(signed_in(visitor) for visitor in visitors)


def test_the_session_key_is_on_no_page(browser_of, ann):
    browser = browser_of(ann)
    pages = [browser.get(path).content.decode() for path in [PROFILE, "/api/me/", "/api/sign-ins/", "/api/events/"]]
    assert not [page for page in pages if key_of(browser) in page]


GARBAGE = {
    "random letters": "zq0v8d6k1p4r7s2t5u9w3x6y1a4b7c0e",
    "empty": "",
    "one letter": "a",
    "a NUL": "a\x00b",
    "a quoted NUL": '"a\\000b"',
    "8 KB": "x" * 8192,
    "bytes": "\xff\xfe\xe9",
    "a path": "../../etc/passwd",
    "SQL": "' OR 1=1 --",
    "JSON": "{}",
    "None": "None",
}


@pytest.mark.parametrize("value", GARBAGE.values(), ids=GARBAGE)
def test_a_cookie_that_is_none_of_ours_is_anonymous(browser, browser_of, ann, value):
    browser_of(ann)
    response = browser().get(PROFILE, headers=cookie(value))
    assert response.status_code == 302


@pytest.mark.parametrize("value", GARBAGE.values(), ids=GARBAGE)
def test_a_cookie_that_is_none_of_ours_adds_no_row(browser, value):
    for path in [PROFILE, "/accounts/login/", "/accounts/signup/", "/accounts/password_reset/", "/api/me/", "/"]:
        browser().get(path, headers=cookie(value))
    assert (Session.objects.count(), SignIn.objects.count()) == (0, 0)


@pytest.mark.parametrize("value", GARBAGE.values(), ids=GARBAGE)
def test_a_cookie_that_is_none_of_ours_is_not_taken_up(browser, value):
    response = browser().get("/accounts/login/", headers=cookie(value))
    taken = response.cookies.get(settings.SESSION_COOKIE_NAME)
    assert taken is None or taken.value == ""


def test_looking_around_adds_no_row(browser):
    visitor = browser()
    for path in ["/", "/accounts/login/", "/accounts/signup/", "/accounts/password_reset/", "/api/me/", "/admin/"]:
        visitor.get(path)
    assert (Session.objects.count(), SignIn.objects.count()) == (0, 0)


@pytest.mark.parametrize("attribute", ["httponly", "secure"])
def test_the_session_cookie_is_out_of_reach_of_scripts_and_plain_http(browser_of, ann, attribute):
    assert browser_of(ann).cookies[settings.SESSION_COOKIE_NAME][attribute]


def test_the_session_cookie_stays_on_this_site(browser_of, ann):
    morsel = browser_of(ann).cookies[settings.SESSION_COOKIE_NAME]
    assert (morsel["samesite"], morsel["path"], morsel["domain"]) in {("Lax", "/", ""), ("Strict", "/", "")}


# Signing out


def test_signing_out_makes_the_browser_anonymous(browser_of, ann):
    browser = browser_of(ann)
    browser.post("/accounts/logout/")
    assert not signed_in(browser)


def test_after_signing_out_the_cookie_replayed_is_anonymous(browser, browser_of, ann):
    anns = browser_of(ann)
    replay = browser()
    replay.cookies[settings.SESSION_COOKIE_NAME] = key_of(anns)
    anns.post("/accounts/logout/")
    assert not signed_in(replay)


def test_a_link_does_not_sign_out(browser_of, ann):
    browser = browser_of(ann)
    assert browser.get("/accounts/logout/").status_code == 405
    assert signed_in(browser)


def test_signing_out_needs_a_csrf_token(browser_of, ann):
    browser = browser_of(ann)
    browser.handler.enforce_csrf_checks = True
    assert browser.post("/accounts/logout/").status_code == 403
    assert signed_in(browser)


def test_a_request_under_way_does_not_bring_the_session_back(browser, browser_of, ann):
    anns = browser_of(ann)
    replay = browser()
    replay.cookies[settings.SESSION_COOKIE_NAME] = key_of(anns)
    slow = import_module(settings.SESSION_ENGINE).SessionStore(key_of(anns))
    slow["basket"] = "full"
    anns.post("/accounts/logout/")
    with suppress(UpdateError):
        slow.save()
    assert not signed_in(replay)


def test_signing_out_signs_out_here_only(browser_of, ann):
    here, there = browser_of(ann), browser_of(ann)
    here.post("/accounts/logout/")
    assert signed_in(there)


# How long a session lasts


def test_without_keeping_the_cookie_ends_with_the_browser(browser_of, ann):
    morsel = browser_of(ann).cookies[settings.SESSION_COOKIE_NAME]
    assert (morsel["max-age"], morsel["expires"]) == ("", "")


def test_when_kept_the_cookie_outlives_the_browser(keeping_browser_of, ann):
    morsel = keeping_browser_of(ann).cookies[settings.SESSION_COOKIE_NAME]
    assert timedelta(days=14) <= timedelta(seconds=int(morsel["max-age"])) <= timedelta(days=30)


def test_without_keeping_a_session_outlasts_an_idle_evening(clock, browser_of, ann):
    browser = browser_of(ann)
    clock.shift(timedelta(hours=23))
    assert signed_in(browser)


def test_without_keeping_a_session_ends_after_an_idle_day(clock, browser_of, ann):
    browser = browser_of(ann)
    clock.shift(timedelta(days=1, minutes=6))
    assert not signed_in(browser)


def test_without_keeping_use_starts_the_day_anew(clock, browser_of, ann):
    browser = browser_of(ann)
    clock.shift(timedelta(hours=20))
    browser.get(PROFILE)
    clock.shift(timedelta(hours=20))
    assert signed_in(browser)


def test_when_kept_a_session_outlasts_thirteen_idle_days(clock, keeping_browser_of, ann):
    browser = keeping_browser_of(ann)
    clock.shift(timedelta(days=13, hours=23))
    assert signed_in(browser)


def test_when_kept_a_session_ends_after_fourteen_idle_days(clock, keeping_browser_of, ann):
    browser = keeping_browser_of(ann)
    clock.shift(timedelta(days=14, minutes=6))
    assert not signed_in(browser)


def test_when_kept_use_starts_the_fourteen_days_anew(clock, keeping_browser_of, ann):
    browser = keeping_browser_of(ann)
    clock.shift(timedelta(days=12))
    browser.get(PROFILE)
    clock.shift(timedelta(days=12))
    assert signed_in(browser)


def test_a_session_in_daily_use_lasts_until_day_thirty(clock, keeping_browser_of, ann):
    browser = keeping_browser_of(ann)
    for _ in range(29):
        clock.shift(timedelta(days=1))
        browser.get(PROFILE)
    clock.shift(timedelta(hours=23))
    assert signed_in(browser)


def test_no_use_keeps_a_session_alive_beyond_thirty_days(clock, keeping_browser_of, ann):
    browser = keeping_browser_of(ann)
    for _ in range(29):
        clock.shift(timedelta(days=1))
        browser.get(PROFILE)
    clock.shift(timedelta(days=1, minutes=1))
    assert not signed_in(browser)


def test_a_cookie_of_an_expired_session_does_not_change_by_editing_it(clock, browser_of, ann):
    browser = browser_of(ann)
    browser.cookies[settings.SESSION_COOKIE_NAME]["max-age"] = "99999999"
    clock.shift(timedelta(days=2))
    assert not signed_in(browser)


def test_an_expired_session_leaves_the_list(clock, browser_of, client_of, ann):
    browser_of(ann)
    clock.shift(timedelta(days=2))
    assert client_of(ann).get("/api/sign-ins/").json()["count"] == 1


def test_last_seen_is_not_written_on_every_request(clock, browser_of, ann):
    browser = browser_of(ann)
    before = SignIn.objects.get().last_seen_at
    clock.shift(timedelta(minutes=4))
    browser.get(PROFILE)
    assert SignIn.objects.get().last_seen_at == before


def test_last_seen_is_written_after_five_minutes(clock, browser_of, ann):
    browser = browser_of(ann)
    clock.shift(timedelta(minutes=6))
    browser.get(PROFILE)
    assert SignIn.objects.get().last_seen_at == timezone.now()


@pytest.mark.parametrize("path", [PROFILE, "/api/me/"])
def test_one_query_authenticates_a_request(browser_of, ann, django_assert_num_queries, path):
    browser = browser_of(ann)
    with django_assert_num_queries(1):
        assert browser.get(path).status_code == 200


def test_no_query_authenticates_a_stranger(browser, django_assert_num_queries):
    with django_assert_num_queries(0):
        browser().get(PROFILE)


# Private pages


PRIVATE = [PROFILE, "/accounts/password_change/"]


@pytest.mark.parametrize("path", PRIVATE)
def test_a_private_page_asks_a_stranger_to_sign_in(browser, path):
    location = urlsplit(browser().get(path).headers["Location"])
    assert (location.path, location.query) == ("/accounts/login/", f"next={path}")


@pytest.mark.parametrize("path", PRIVATE)
def test_a_private_page_is_not_stored_by_caches(browser_of, ann, path):
    assert "no-store" in browser_of(ann).get(path).headers["Cache-Control"]


@pytest.mark.parametrize("path", ["/accounts/login/", "/accounts/signup/"])
def test_a_page_that_signs_in_is_not_stored_by_caches(browser, path):
    assert "no-store" in browser().get(path).headers["Cache-Control"]


def test_the_profile_shows_who_is_signed_in(browser_of, ann):
    assert ann.username in browser_of(ann).get(PROFILE).content.decode()


# Changing the password


def change(browser, old, new, again=None):
    form = {"old_password": old, "new_password1": new, "new_password2": again or new}
    return browser.post("/accounts/password_change/", form)


def test_a_changed_password_signs_in(browser_of, anonymous, ann, password):
    change(browser_of(ann), password, NEW_PASSWORD)
    assert anonymous.sign_in(ann.username, NEW_PASSWORD).status_code == 200


def test_the_password_from_before_a_change_does_not(browser_of, anonymous, ann, password):
    change(browser_of(ann), password, NEW_PASSWORD)
    assert anonymous.sign_in(ann.username, password).status_code == 401


def test_who_changes_the_password_stays_signed_in(browser_of, ann, password):
    browser = browser_of(ann)
    change(browser, password, NEW_PASSWORD)
    assert signed_in(browser)


def test_a_change_of_the_password_gives_a_new_session_key(browser, browser_of, ann, password):
    anns = browser_of(ann)
    replay = browser()
    replay.cookies[settings.SESSION_COOKIE_NAME] = key_of(anns)
    change(anns, password, NEW_PASSWORD)
    assert not signed_in(replay)


def test_the_wrong_old_password_changes_nothing(browser_of, anonymous, ann, password):
    change(browser_of(ann), "not the right passphrase", NEW_PASSWORD)
    assert anonymous.sign_in(ann.username, password).status_code == 200


def test_two_different_new_passwords_change_nothing(browser_of, anonymous, ann, password):
    change(browser_of(ann), password, NEW_PASSWORD, "and another passphrase")
    assert anonymous.sign_in(ann.username, password).status_code == 200


@pytest.mark.parametrize("new", ["too short", "manchesterunited", "x" * 129, "kp7-vz2-mq9-wx4-" * 65_536])
def test_a_bad_new_password_changes_nothing(browser_of, anonymous, ann, password, new):
    change(browser_of(ann), password, new)
    assert anonymous.sign_in(ann.username, password).status_code == 200


@pytest.mark.parametrize(
    "new", ["  blanks before and after  ", "🐙🦔🪁🧶🥁🎏🪗🧭🌵🛶🥨🪐🧿🎐🦩", "kp7-vz2-mq9-wx4-" * 8]
)
def test_a_new_password_is_taken_exactly(browser_of, anonymous, ann, password, new):
    change(browser_of(ann), password, new)
    assert anonymous.sign_in(ann.username, new).status_code == 200


def test_a_password_does_not_grow_old(clock, browser, ann, password):
    clock.shift(timedelta(days=3 * 365))
    response = browser().post("/accounts/login/", {"username": ann.username, "password": password})
    assert response.headers["Location"] == "/"


# Resetting it


def test_asking_for_a_reset_leads_on(browser, ann):
    response = browser().post("/accounts/password_reset/", {"email": ann.email})
    assert (response.status_code, response.headers["Location"]) == (302, "/accounts/password_reset/done/")


def test_an_unknown_address_leads_to_the_same_page(browser, ann):
    response = browser().post("/accounts/password_reset/", {"email": "nobody@example.org"})
    assert (response.status_code, response.headers["Location"]) == (302, "/accounts/password_reset/done/")


@pytest.mark.parametrize(
    "path", ["/accounts/password_reset/", "/accounts/password_reset/done/", "/accounts/reset/done/"]
)
def test_the_pages_around_a_reset_are_there(browser, path):
    assert browser().get(path).status_code == 200


def test_the_link_shows_the_form_without_a_detour(browser, reset_link, ann):
    response = browser().get(reset_link(ann))
    assert response.status_code == 200
    assert b'name="new_password1"' in response.content


def test_opening_the_link_stores_nothing(browser, reset_link, ann):
    response = browser().get(reset_link(ann))
    assert settings.SESSION_COOKIE_NAME not in response.cookies
    assert not Session.objects.exists()


def test_the_page_behind_the_link_is_not_stored_by_caches(browser, reset_link, ann):
    assert "no-store" in browser().get(reset_link(ann)).headers["Cache-Control"]


def reset(browser, link, new=NEW_PASSWORD):
    return browser.post(link, {"new_password1": new, "new_password2": new})


def test_a_reset_leads_on(browser, reset_link, ann):
    response = reset(browser(), reset_link(ann))
    assert (response.status_code, response.headers["Location"]) == (302, "/accounts/reset/done/")


def test_a_reset_password_signs_in(browser, reset_link, anonymous, ann):
    reset(browser(), reset_link(ann))
    assert anonymous.sign_in(ann.username, NEW_PASSWORD).status_code == 200


def test_a_reset_signs_nobody_in(browser, reset_link, ann):
    visitor = browser()
    reset(visitor, reset_link(ann))
    assert not signed_in(visitor)


@pytest.mark.parametrize("method", ["get", "head"])
def test_a_mail_scanner_does_not_use_the_link_up(browser, reset_link, ann, method):
    link = reset_link(ann)
    getattr(browser(), method)(link)
    assert reset(browser(), link).status_code == 302


def test_the_link_works_once(browser, reset_link, anonymous, ann):
    link = reset_link(ann)
    reset(browser(), link)
    reset(browser(), link, "yet another passphrase")
    assert anonymous.sign_in(ann.username, "yet another passphrase").status_code == 401


def test_the_link_shows_no_form_once_used(browser, reset_link, ann):
    link = reset_link(ann)
    reset(browser(), link)
    assert b'name="new_password1"' not in browser().get(link).content


def test_the_link_dies_after_an_hour(browser, reset_link, ann, clock):
    link = reset_link(ann)
    clock.shift(timedelta(hours=1, minutes=1))
    assert b'name="new_password1"' not in browser().get(link).content


@pytest.mark.parametrize("new", ["too short", "manchesterunited", "x" * 129])
def test_a_bad_password_is_refused_at_a_reset(browser, reset_link, anonymous, ann, new):
    reset(browser(), reset_link(ann), new)
    assert anonymous.sign_in(ann.username, new).status_code in {400, 401}


@pytest.mark.parametrize(
    "path",
    [
        "/accounts/reset/MQ/x/",
        "/accounts/reset/MQ/set-password/",
        "/accounts/reset/x/x/",
        "/accounts/reset/%00/%00/",
        "/accounts/reset/%ff/%ff/",
        "/accounts/reset/LTE/a-b/",
        "/accounts/reset/" + "9" * 400 + "/a-b/",
        "/accounts/reset/OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk/a-b/",
    ],
)
@pytest.mark.parametrize("method", ["get", "post"])
def test_a_link_that_is_none_shows_no_form(browser, ann, path, method):
    response = getattr(browser(), method)(path)
    assert response.status_code < 500
    assert b'name="new_password1"' not in response.content


@pytest.mark.parametrize("key", [None, "", "x", "\0", "ü" * 32])
def test_what_is_no_key_is_a_key_of_no_session(db, key):
    assert not SessionStore().exists(key)
    assert not async_to_sync(SessionStore().aexists)(key)
