"""Every form compares the whole password exactly (ASVS 6.2.8, 6.2.9; NIST SP 800-63B-4, 3.1.1.2)."""

import io
import unicodedata
from unittest import mock

import pytest
from django.contrib.auth.hashers import get_hashers_by_algorithm, make_password
from django.core.management import call_command
from django.db.models import QuerySet
from django.test import override_settings
from django.utils.http import urlsafe_base64_encode

from accounts import links
from accounts.models import SecurityEvent, User
from project import settings as production
from tests.conftest import ApiClient

pytestmark = pytest.mark.django_db

PASSWORDS = {
    "64 characters": "violet anchor hums at dawn, a lantern drifts, Quiet copper bells",
    "128 characters": "violet anchor hums at dawn " * 4 + "Copper bells roll on",
    "emoji": "🦊 violet anchor hums 🌅 🎷",
    "combining characters": "Vio\N{LATIN SMALL LETTER E}\N{COMBINING ACUTE ACCENT}t anchor hums at dawn",
    "blanks around": "  violet Anchor  hums at dawn  ",
}
# Passwords that a system would accept if it cut, trimmed or folded.
LOOK_ALIKES = {
    "one character less": lambda password: password[:-1],
    "one character more": lambda password: password + "x",
    "the other case": str.swapcase,
    "no blanks around, or some": lambda password: password.strip() if password[0] == " " else f" {password} ",
}


def api_accepts(anonymous, browser, password):
    return anonymous.post("/api/token/", {"username": "ann", "password": password}).status_code == 200


def page_accepts(anonymous, browser, password):
    return browser().post("/accounts/login/", {"username": "ann", "password": password}).status_code == 302


def admin_accepts(anonymous, browser, password):
    return browser().post("/admin/login/", {"username": "ann", "password": password}).status_code == 302


FORMS = [api_accepts, page_accepts, admin_accepts]


def register_over_the_api(anonymous, browser, password):
    form = {"username": "ann", "email": "ann@example.org", "password": password}
    return anonymous.post("/api/register/", form).status_code == 201


def sign_up_on_the_page(anonymous, browser, password):
    form = {"username": "ann", "email": "ann@example.org", "password1": password}
    return browser().post("/accounts/signup/", form).status_code == 302


@pytest.mark.parametrize("password", PASSWORDS.values(), ids=PASSWORDS)
@pytest.mark.parametrize("join", [register_over_the_api, sign_up_on_the_page])
def test_every_form_compares_the_whole_password(anonymous, browser, join, password):
    assert join(anonymous, browser, password)
    User.objects.filter(username="ann").update(is_staff=True)
    for accepts in FORMS:
        for name, look_alike in LOOK_ALIKES.items():
            assert not accepts(anonymous, browser, look_alike(password)), (accepts.__name__, name)
        assert accepts(anonymous, browser, password), accepts.__name__


class Counting:
    """Counts the characters that were hashed."""

    def __init__(self, monkeypatch):
        self.characters = self.calls = 0
        for hasher in get_hashers_by_algorithm().values():
            monkeypatch.setattr(hasher, "encode", self._counted(hasher.encode))

    def _counted(self, encode):
        def counted(password, *rest, **options):
            self.characters += len(password)
            self.calls += 1
            return encode(password, *rest, **options)

        return counted


@pytest.mark.parametrize("accepts", FORMS)
def test_a_megabyte_is_never_hashed(anonymous, browser, staff, accepts, monkeypatch):
    User.objects.filter(pk=staff.pk).update(username="ann")
    hashed = Counting(monkeypatch)
    assert not accepts(anonymous, browser, "a" * 1_000_000)
    assert hashed.characters < 1000


def test_the_hash_parameters_meet_owasp():
    with override_settings(PASSWORD_HASHERS=production.PASSWORD_HASHERS):
        stored = make_password("violet anchor hums at dawn")
        argon2, pbkdf2, *_of_users_who_moved_in = get_hashers_by_algorithm().values()
    kind, _version, cost = stored.split("$")[1:4]
    memory, time, _threads = (int(each.partition("=")[2]) for each in cost.split(","))
    assert (kind, argon2.algorithm) == ("argon2id", "argon2")
    assert memory >= 19 * 1024
    assert time >= 2
    assert pbkdf2.iterations >= 600_000


# Unicode normalisation

COMPOSED = "Vi\N{LATIN SMALL LETTER U WITH DIAERESIS}let \N{HANGUL SYLLABLE HAN} anchor hums at dawn"
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)
# Compatibility characters, which are different.
COMPATIBLE = unicodedata.normalize("NFKC", "\N{SUPERSCRIPT TWO}") + COMPOSED


def reset(anonymous, browser, password):
    user = User.objects.create_user("ann", "ann@example.org", "a quite different passphrase")
    link = {"uid": urlsafe_base64_encode(str(user.pk).encode()), "token": links.password_reset.make_token(user)}
    return anonymous.post("/api/password/reset/confirm/", link | {"new_password": password}).status_code == 204


def change(anonymous, browser, password):
    old = "a quite different passphrase"
    User.objects.create_user("ann", "ann@example.org", old)
    page = browser()
    page.post("/accounts/login/", {"username": "ann", "password": old})
    form = {"old_password": old, "new_password1": password}
    return page.post("/accounts/password_change/", form).status_code == 302


def command(anonymous, browser, password):
    call_command("createsuperuser", interactive=False, username="ann", email="ann@example.org")
    with mock.patch("getpass.getpass", return_value=password):
        call_command("changepassword", "ann", stdout=io.StringIO())
    return True


@pytest.mark.parametrize("join", [register_over_the_api, sign_up_on_the_page, reset, change, command])
@pytest.mark.parametrize(("chosen", "typed"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)])
def test_composed_and_decomposed_letters_are_equal(anonymous, browser, join, chosen, typed):
    assert join(anonymous, browser, chosen)
    User.objects.filter(username="ann").update(is_staff=True)
    for accepts in FORMS:
        assert accepts(anonymous, browser, typed), accepts.__name__
        assert accepts(anonymous, browser, chosen), accepts.__name__
        assert not accepts(anonymous, browser, COMPATIBLE), accepts.__name__


def test_compatibility_characters_are_different(anonymous, browser):
    assert register_over_the_api(anonymous, browser, "violet anchor \N{SUPERSCRIPT TWO} hums at dawn")
    assert not api_accepts(anonymous, browser, "violet anchor 2 hums at dawn")


def test_a_confirmation_accepts_decomposed_letters(anonymous, browser, client_of):
    assert register_over_the_api(anonymous, browser, COMPOSED)
    anonymous.sign_in("ann", COMPOSED)
    assert anonymous.post("/api/password/confirm/", {"password": DECOMPOSED}).status_code == 204


@pytest.fixture
def old_hash():
    """A hash of a password that was not normalised."""
    user = User.objects.create_user("ann", "ann@example.org", is_staff=True)
    QuerySet.update(User.objects.filter(pk=user.pk), password=make_password(DECOMPOSED))
    return user


@pytest.mark.parametrize("accepts", FORMS)
def test_an_old_hash_works_and_is_upgraded_to_the_normal_form(anonymous, browser, old_hash, client_of, accepts):
    assert not accepts(anonymous, browser, COMPOSED)
    client = ApiClient()
    assert client.sign_in("ann", DECOMPOSED).status_code == 200
    assert accepts(anonymous, browser, COMPOSED)
    assert accepts(anonymous, browser, DECOMPOSED)
    # The password is the same, so the sign-ins stay valid.
    assert client.get("/api/me/").status_code == 200
    assert not SecurityEvent.objects.filter(type="password_changed").exists()


def test_an_unknown_name_takes_as_many_hashes(anonymous, browser, old_hash, monkeypatch):
    def hashes(name, password):
        counted = Counting(monkeypatch)
        anonymous.post("/api/token/", {"username": name, "password": password})
        return counted.calls

    for password in ("not the right passphrase at all", DECOMPOSED + "!", COMPOSED + "!"):
        known, unknown = hashes("ann", password), hashes("nobody", password)
        assert known == unknown == (2 if password.startswith(DECOMPOSED) else 1)


# U+FDFA is one code point, and eighteen in NFKC; U+1D160 three in NFC.
@pytest.mark.parametrize(
    "letter", ["\N{ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM}", "\N{MUSICAL SYMBOL EIGHTH NOTE}"]
)
def test_normalising_does_not_exceed_the_maximum_length(anonymous, browser, staff, letter, monkeypatch):
    hashed = Counting(monkeypatch)
    for accepts in FORMS:
        assert not accepts(anonymous, browser, letter * 100_000)
        assert not accepts(anonymous, browser, letter * 500)
    assert hashed.characters < 1000


def test_the_length_counts_composed_letters(anonymous, browser):
    assert len(unicodedata.normalize("NFD", "\N{HANGUL SYLLABLE HAN}")) == 3
    # 13 letters of 39 code points are too few, and 128 of 384 are not too many.
    letters = "한국어비밀번호는길어야한다그리고안전해야하지요"
    assert not register_over_the_api(anonymous, browser, unicodedata.normalize("NFD", letters[:13]))
    long = (letters * 6)[:110] + "abcdefghij klmnop"
    assert register_over_the_api(anonymous, browser, unicodedata.normalize("NFD", long))
    assert api_accepts(anonymous, browser, long)
