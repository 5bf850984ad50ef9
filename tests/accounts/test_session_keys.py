"""Session keys: new at each sign-in, stored as a hash, sent in a strict cookie."""

import pytest
from django.apps import apps
from django.conf import settings

from accounts.models import Session, SignIn
from tests.accounts.test_session_pages import PROFILE, key_of, signed_in

pytestmark = pytest.mark.django_db


def cookie(value):
    """Returns a raw Cookie header, for values that a cookie jar does not send."""
    return {"cookie": f"{settings.SESSION_COOKIE_NAME}={value}"}


def test_signing_in_creates_a_new_session_key(browser, ann, password):
    visitor = browser()
    visitor.cookies[settings.SESSION_COOKIE_NAME] = "f" * 32
    visitor.post("/accounts/login/", {"username": ann.username, "password": password})
    assert key_of(visitor) != "f" * 32


def test_a_key_from_before_the_sign_in_is_refused(browser, ann, password):
    visitor = browser()
    visitor.cookies[settings.SESSION_COOKIE_NAME] = "f" * 32
    visitor.post("/accounts/login/", {"username": ann.username, "password": password})
    thief = browser()
    thief.cookies[settings.SESSION_COOKIE_NAME] = "f" * 32
    assert not signed_in(thief)


@pytest.mark.parametrize("second", ["ann", "bob"])
def test_signing_in_again_creates_a_new_session_key(browser_of, ann, bob, password, second):
    browser = browser_of(ann)
    first_key = key_of(browser)
    browser.post("/accounts/login/", {"username": second, "password": password})
    assert key_of(browser) != first_key


@pytest.mark.parametrize("second", ["ann", "bob"])
def test_signing_in_again_revokes_the_old_key(browser, browser_of, ann, bob, password, second):
    anns = browser_of(ann)
    replay = browser()
    replay.cookies[settings.SESSION_COOKIE_NAME] = key_of(anns)
    anns.post("/accounts/login/", {"username": second, "password": password})
    assert not signed_in(replay)


def test_two_sign_ins_have_different_keys(browser_of, ann):
    assert key_of(browser_of(ann)) != key_of(browser_of(ann))


def test_a_session_key_has_more_than_128_random_bits(browser_of, ann):
    keys = {key_of(browser_of(ann)) for _ in range(10)}
    assert len(keys) == 10
    assert {len(key) for key in keys} == {32}
    # 32 of 36 letters and digits are 165 bits, and 10 keys contain nearly all of them.
    assert len(set("".join(keys))) >= 30


def test_a_new_secret_key_with_the_old_as_fallback_ends_nothing(browser_of, ann, settings):
    browser, old = browser_of(ann), settings.SECRET_KEY
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another-9Rk2mVx7Lq4TzWc8NfHs3YbJd6PgAu5EeKt1Ro", [old]
    assert signed_in(browser)
    settings.SECRET_KEY_FALLBACKS = []
    assert not signed_in(browser)


def test_the_session_key_is_not_in_the_database(browser_of, ann):
    key = key_of(browser_of(ann))
    dump = {model._meta.label: str(list(model._base_manager.values())) for model in apps.get_models()}
    assert not [label for label, text in dump.items() if key in text]


def test_stored_values_of_a_session_do_not_sign_in(browser, browser_of, ann):
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
def test_an_invalid_session_cookie_is_anonymous(browser, browser_of, ann, value):
    browser_of(ann)
    response = browser().get(PROFILE, headers=cookie(value))
    assert response.status_code == 302


@pytest.mark.parametrize("value", GARBAGE.values(), ids=GARBAGE)
def test_an_invalid_session_cookie_adds_no_row(browser, value):
    for path in [PROFILE, "/accounts/login/", "/accounts/signup/", "/accounts/password_reset/", "/api/me/", "/"]:
        browser().get(path, headers=cookie(value))
    assert (Session.objects.count(), SignIn.objects.count()) == (0, 0)


@pytest.mark.parametrize("value", GARBAGE.values(), ids=GARBAGE)
def test_an_invalid_session_cookie_is_not_adopted(browser, value):
    response = browser().get("/accounts/login/", headers=cookie(value))
    taken = response.cookies.get(settings.SESSION_COOKIE_NAME)
    assert taken is None or taken.value == ""


def test_a_visitor_adds_no_row(browser):
    visitor = browser()
    for path in ["/", "/accounts/login/", "/accounts/signup/", "/accounts/password_reset/", "/api/me/", "/admin/"]:
        visitor.get(path)
    assert (Session.objects.count(), SignIn.objects.count()) == (0, 0)


@pytest.mark.parametrize("attribute", ["httponly", "secure"])
def test_the_session_cookie_is_http_only_and_secure(browser_of, ann, attribute):
    assert browser_of(ann).cookies[settings.SESSION_COOKIE_NAME][attribute]


def test_the_session_cookie_is_same_site(browser_of, ann):
    morsel = browser_of(ann).cookies[settings.SESSION_COOKIE_NAME]
    assert (morsel["samesite"], morsel["path"], morsel["domain"]) in {("Lax", "/", ""), ("Strict", "/", "")}
