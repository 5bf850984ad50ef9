"""The session key: new at each sign-in, stored as a hash, and in a strict cookie."""

import pytest
from django.apps import apps
from django.conf import settings

from accounts.models import Session, SignIn
from tests.accounts.test_session_pages import PROFILE, key_of, signed_in

pytestmark = pytest.mark.django_db


def cookie(value):
    """A raw Cookie header, for values that no cookie jar would send."""
    return {"cookie": f"{settings.SESSION_COOKIE_NAME}={value}"}


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
