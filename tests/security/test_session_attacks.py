"""The attacks on sessions of the OWASP Web Security Testing Guide (WSTG-SESS), on a browser's cookie."""

from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib.sessions.backends.base import UpdateError
from django.core.signing import dumps
from django.utils import timezone

from accounts import ending
from accounts.models import Session, SignIn, User
from accounts.sessions import SessionStore, digest
from tests.conftest import Browser
from tests.security.urls import all_rows, all_urls

pytestmark = pytest.mark.django_db

NAME = settings.SESSION_COOKIE_NAME
WHO = "/compare/who/"
LOGIN = "/accounts/login/"
NEW_PASSWORD = "a quite different passphrase"


def who(*cookies, **headers):
    """Returns the id of the user that the cookies authenticate, or None."""
    header = "; ".join(f"{NAME}={key}" for key in cookies)
    response = Browser().get(WHO, headers={"cookie": header, **headers})
    assert response.status_code in (200, 401)
    return response.json().get("id")


def key_of(browser):
    return browser.cookies[NAME].value


def sign_in(user, password, **cookies):
    browser = Browser()
    for name, value in cookies.items():
        browser.cookies[name] = value
    assert browser.post(LOGIN, {"username": user.username, "password": password}).status_code == 302
    return browser


# WSTG-SESS-01: unknown keys

UNGIVEN = [
    "",
    " ",
    "x",
    "a" * 31,
    "a" * 32,
    "a" * 33,
    "0" * 32,
    "A" * 32,
    "x" * 8192,
    "\x00",
    "a" * 31 + "\x00",
    "\x00" + "a" * 32,
    "null",
    "None",
    "undefined",
    "../../../etc/passwd",
    "' OR '1'='1",
    "%00",
    "%27",
    "é" * 32,
    "１" * 32,
    '"' + "a" * 32 + '"',
    "a" * 32 + "; path=/",
    "*",
    "$where",
    "{}",
    "[]",
]


def test_an_unknown_session_key_is_refused_and_stores_nothing(browser_of, ann):
    real = key_of(browser_of(ann))
    stored = Session.objects.get().pk
    near = [real[:-1], real + "a", real[::-1], real.upper(), real[:-1] + ("a" if real[-1] != "a" else "b"), f" {real}x"]
    forged = [stored, digest(stored), stored[:32], str(SignIn.objects.get().pk), dumps({"_auth_user_id": str(ann.pk)})]
    before = all_rows()
    for key in [*UNGIVEN, *near, *forged]:
        # UTF-8 bytes as WSGI passes them on.
        sent = key.encode().decode("latin-1")
        for path in (WHO, "/", "/accounts/profile/", LOGIN, "/api/me/", "/admin/"):
            response = Browser().get(path, headers={"cookie": f"{NAME}={sent}"})
            assert response.status_code in (200, 302, 401), (key, path)
            assert NAME not in response.cookies or not response.cookies[NAME].value
            assert "ann" not in response.content.decode()
    assert all_rows() == before
    assert who(real) == ann.pk


def test_a_similar_digest_does_not_find_the_row_of_another_key(ann, browser_of):
    """Stored digests are not accepted as keys, neither as they are nor hashed again."""
    browser_of(ann)
    for session in Session.objects.all():
        assert who(session.pk) is None
        assert who(session.pk[:32]) is None
        assert who(session.session_data) is None


# WSTG-SESS-03: fixation


@pytest.mark.parametrize("door", [LOGIN, "/admin/login/", "/accounts/signup/"])
def test_a_session_key_from_before_a_sign_in_is_refused(door, ann, staff, bob, password, browser_of):
    victims, form = staff, {"username": staff.username, "password": password}
    if door == "/accounts/signup/":
        form = {"username": "carol", "email": "carol@example.org", "password1": NEW_PASSWORD}
    # Chosen by the attacker; of the attacker's own sign-in; of another live sign-in of the victim.
    for planted in ("a" * 32, key_of(browser_of(ann)), key_of(browser_of(victims))):
        browser = Browser()
        browser.cookies[NAME] = planted
        if door == "/accounts/signup/":
            form["username"] = f"carol{planted[:4].lower()}"
            form["email"] = f"{form['username']}@example.org"
        assert browser.post(door, form).status_code == 302
        assert key_of(browser) != planted
        assert who(planted) is None
        assert who(key_of(browser)) == User.objects.get(username=form["username"]).pk


def test_the_next_user_of_a_browser_gets_no_data_of_the_last(ann, bob, password, browser_of):
    browser = browser_of(ann)
    browser.post("/accounts/profile/", {"first_name": "Ann's", "last_name": "secret"})
    browser.post(LOGIN, {"username": bob.username, "password": password})
    page = browser.get("/accounts/profile/")
    assert b"Ann" not in page.content
    assert b"Saved" not in page.content
    assert SignIn.objects.get(user=ann).ended_at


# WSTG-SESS-06, F16: replay


def change_password(browser, password):
    form = {"old_password": password, "new_password1": NEW_PASSWORD}
    return browser.post("/accounts/password_change/", form)


def swap_secret_key(settings):
    settings.SECRET_KEY = "another-secret-key-that-is-long-enough-0123456789-abcdefghij"


# Ways to end a sign-in: in that browser, in another browser of Ann, or on the server.
WAYS_OUT = {
    "signed out": lambda here, elsewhere, **_: here.post("/accounts/logout/"),
    "ended from the list": lambda here, elsewhere, sid, **_: elsewhere.post(f"/accounts/sign-ins/{sid}/end/"),
    "signed out everywhere": lambda here, elsewhere, **_: elsewhere.post("/accounts/sign-ins/end-all/"),
    "the others ended": lambda here, elsewhere, **_: elsewhere.post("/accounts/sign-ins/end-others/"),
    "password changed": lambda here, elsewhere, password, **_: change_password(here, password),
    "password changed elsewhere": lambda here, elsewhere, password, **_: change_password(elsewhere, password),
    "deleted": lambda here, elsewhere, password, **_: elsewhere.post("/accounts/delete/", {"password": password}),
    "signed in anew": lambda here, password, **_: here.post(LOGIN, {"username": "ann", "password": password}),
    "secret key swapped": lambda settings, **_: swap_secret_key(settings),
}


@pytest.mark.parametrize("way", WAYS_OUT.values(), ids=WAYS_OUT)
def test_a_cookie_replayed_after_its_end_is_refused_everywhere(way, ann, password, settings):
    here, elsewhere = sign_in(ann, password), sign_in(ann, password)
    key = key_of(here)
    sid = Browser().get(WHO, headers={"cookie": f"{NAME}={key}"}).json()["sid"]
    way(here=here, elsewhere=elsewhere, sid=sid, password=password, settings=settings)
    sessions = Session.objects.count()
    for place in all_urls():
        if not place.is_admin:
            response = Browser().get(place.path(), headers={"cookie": f"{NAME}={key}"})
            assert response.status_code < 500
            assert b"ann@example.org" not in response.content
    assert who(key) is None
    assert Session.objects.count() == sessions


def test_a_request_that_finishes_after_the_end_revives_nothing(ann, password):
    """SES-3: for every change of its session, however late."""
    browser = sign_in(ann, password)
    key = key_of(browser)
    slow = [SessionStore(key) for _ in range(5)]
    for session in slow:
        assert session.sign_in
        session["late"] = True
    browser.post("/accounts/logout/")
    left = Session.objects.count()
    for act in ("save", "cycle_key", "remember_me"):
        session = slow.pop()
        try:
            getattr(session, act)()
            if act != "save":
                session.save()
        except UpdateError:
            pass
        assert who(key) is None
        assert session.session_key is None or who(session.session_key) is None
    slow.pop().flush()
    assert SignIn.objects.filter(ended_at=None).count() == 0
    assert Session.objects.count() <= left + 1


def test_a_key_in_rotation_during_a_wholesale_end_is_refused(ann, password):
    """From the first step of the end, before the row of the sign-in is updated."""
    late = SessionStore(key_of(sign_in(ann, password)))
    assert late.sign_in
    next(ending.end_everything(SignIn.Reason.ENDED_BY_STAFF))
    late.cycle_key()
    with pytest.raises(UpdateError):
        late.save()
    assert who(late.session_key) is None


# Two cookies


def test_two_cookies_with_one_name_are_never_two_users(ann, bob, password):
    """Cookie tossing: a sibling domain sets another cookie. Only one of the two is used throughout a request."""
    hers, his = key_of(sign_in(ann, password)), key_of(sign_in(bob, password))
    for first, second, owners in ((hers, his, (ann, bob)), (his, hers, (bob, ann))):
        got = who(first, second)
        assert got in {owner.pk for owner in owners}
        assert got == who(first, second)
    # Neither user is signed out or confused with the other.
    assert (who(hers), who(his)) == (ann.pk, bob.pk)
    assert who("x" * 32, hers) in (ann.pk, None)


def test_a_cookie_that_a_sibling_domain_can_set_is_ignored():
    """Only this host can set a cookie with that name (RFC 6265bis, section 4.1.3.2)."""
    for name in (NAME, settings.CSRF_COOKIE_NAME, settings.DEVICE_COOKIE_NAME, settings.LANGUAGE_COOKIE_NAME):
        assert name.startswith("__Host-")


@pytest.mark.parametrize(
    "name", ["sessionid", "__host-sessionid", "__Secure-sessionid", "__Host-SessionId", " __Host-x"]
)
def test_a_cookie_with_another_name_is_ignored(name, ann, password):
    key = key_of(sign_in(ann, password))
    assert Browser().get(WHO, headers={"cookie": f"{name}={key}"}).status_code == 401


# Session puzzling (WSTG-SESS-08): data of one flow used in another


def proofs_are_old():
    SignIn.objects.update(authenticated_at=timezone.now() - timedelta(minutes=16))


def test_a_reauthentication_counts_for_one_sign_in_and_one_user(ann, bob, password):
    hers, elsewhere, his = sign_in(ann, password), sign_in(ann, password), sign_in(bob, password)
    proofs_are_old()
    assert hers.get("/accounts/email/").status_code == 302
    hers.post("/accounts/confirm/", {"password": password})
    assert hers.get("/accounts/email/").status_code == 200
    for other in (elsewhere, his):
        assert other.get("/accounts/email/").status_code == 302
    # The cookie of one session with the reauthentication of another, in either order.
    for cookies in ((elsewhere, hers), (hers, elsewhere)):
        header = "; ".join(f"{NAME}={key_of(each)}" for each in cookies)
        counts = who(*map(key_of, cookies)) and Browser().get(WHO, headers={"cookie": header}).json()["sid"]
        opened = Browser().get("/accounts/email/", headers={"cookie": header}).status_code == 200
        assert opened is (counts == Browser().get(WHO, headers={"cookie": f"{NAME}={key_of(hers)}"}).json()["sid"])


def test_the_password_of_one_user_does_not_confirm_another(ann, bob, password):
    bob.set_password(NEW_PASSWORD)
    bob.save()
    his = sign_in(bob, NEW_PASSWORD)
    proofs_are_old()
    for form in ({"password": password}, {"password": password, "username": ann.username}):
        assert his.post("/accounts/confirm/", form).status_code == 200
        assert his.get("/accounts/email/").status_code == 302


def test_no_public_page_starts_a_users_session(ann):
    """Neither a reset request, nor a wrong password, nor the page of a link."""
    browser = Browser()
    browser.post("/accounts/password_reset/", {"email": ann.email})
    browser.post(LOGIN, {"username": ann.username, "password": "wrong"})
    browser.post("/admin/login/", {"username": ann.username, "password": "wrong"})
    for place in all_urls():
        browser.get(place.path())
    assert browser.get(WHO).status_code == 401
    assert not SignIn.objects.exists()
    assert not any(User.objects.filter(pk=ann.pk).values_list("last_login", flat=True))


def test_session_data_does_not_choose_the_user(ann, bob, password):
    """The row decides the user: an `_auth_user_id`, `sid` or hash in the session data is ignored."""
    his = sign_in(bob, password)
    session = SessionStore(key_of(his))
    session.update({"_auth_user_id": str(ann.pk), "_auth_user_hash": ann.get_session_auth_hash(), "sid_of": "x"})
    session.save()
    assert who(key_of(his)) == bob.pk
    anonymous = SessionStore()
    anonymous.update({"_auth_user_id": str(ann.pk), "_auth_user_hash": ann.get_session_auth_hash()})
    anonymous["_auth_user_backend"] = "accounts.backends.PasswordBackend"
    anonymous.create()
    assert who(anonymous.session_key) is None
