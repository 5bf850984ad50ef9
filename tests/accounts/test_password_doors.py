"""A password is all that was chosen and nothing else, at every door (ASVS 6.2.8, 6.2.9; NIST SP 800-63B-4, 3.1.1.2)."""

import pytest
from django.contrib.auth.hashers import get_hashers_by_algorithm, make_password
from django.test import override_settings

from accounts.models import User
from project import settings as production

pytestmark = pytest.mark.django_db

PASSWORDS = {
    "64 characters": "violet anchor hums at dawn, a lantern drifts, Quiet copper bells",
    "128 characters": "violet anchor hums at dawn " * 4 + "Copper bells roll on",
    "emoji": "🦊 violet anchor hums 🌅 🎷",
    "combining characters": "Vio\N{LATIN SMALL LETTER E}\N{COMBINING ACUTE ACCENT}t anchor hums at dawn",
    "blanks around": "  violet Anchor  hums at dawn  ",
}
# What a system that cuts, trims or folds would take for the same.
LOOK_ALIKES = {
    "one character less": lambda password: password[:-1],
    "one character more": lambda password: password + "x",
    "the other case": str.swapcase,
    "no blanks around, or some": lambda password: password.strip() if password[0] == " " else f" {password} ",
}


def api_lets_in(anonymous, browser, password):
    return anonymous.post("/api/token/", {"username": "ann", "password": password}).status_code == 200


def page_lets_in(anonymous, browser, password):
    return browser().post("/accounts/login/", {"username": "ann", "password": password}).status_code == 302


def admin_lets_in(anonymous, browser, password):
    return browser().post("/admin/login/", {"username": "ann", "password": password}).status_code == 302


DOORS = [api_lets_in, page_lets_in, admin_lets_in]


def register_over_the_api(anonymous, browser, password):
    form = {"username": "ann", "email": "ann@example.org", "password": password}
    return anonymous.post("/api/register/", form).status_code == 201


def sign_up_on_the_page(anonymous, browser, password):
    form = {"username": "ann", "email": "ann@example.org", "password1": password, "password2": password}
    return browser().post("/accounts/signup/", form).status_code == 302


@pytest.mark.parametrize("password", PASSWORDS.values(), ids=PASSWORDS)
@pytest.mark.parametrize("join", [register_over_the_api, sign_up_on_the_page])
def test_every_door_takes_the_password_whole_and_only_that(anonymous, browser, join, password):
    assert join(anonymous, browser, password)
    User.objects.filter(username="ann").update(is_staff=True)
    for lets_in in DOORS:
        for name, look_alike in LOOK_ALIKES.items():
            assert not lets_in(anonymous, browser, look_alike(password)), (lets_in.__name__, name)
        assert lets_in(anonymous, browser, password), lets_in.__name__


class Counting:
    """How much was hashed."""

    def __init__(self, monkeypatch):
        self.characters = 0
        for hasher in get_hashers_by_algorithm().values():
            monkeypatch.setattr(hasher, "encode", self._counted(hasher.encode))

    def _counted(self, encode):
        def counted(password, *rest, **options):
            self.characters += len(password)
            return encode(password, *rest, **options)

        return counted


@pytest.mark.parametrize("lets_in", DOORS)
def test_a_megabyte_is_never_hashed(anonymous, browser, staff, lets_in, monkeypatch):
    User.objects.filter(pk=staff.pk).update(username="ann")
    hashed = Counting(monkeypatch)
    assert not lets_in(anonymous, browser, "a" * 1_000_000)
    assert hashed.characters < 1000


def test_what_is_stored_costs_a_thief_what_owasp_asks():
    with override_settings(PASSWORD_HASHERS=production.PASSWORD_HASHERS):
        stored = make_password("violet anchor hums at dawn")
        [argon2, pbkdf2] = get_hashers_by_algorithm().values()
    kind, _version, cost = stored.split("$")[1:4]
    memory, time, _threads = (int(each.partition("=")[2]) for each in cost.split(","))
    assert (kind, argon2.algorithm) == ("argon2id", "argon2")
    assert memory >= 19 * 1024
    assert time >= 2
    assert pbkdf2.iterations >= 600_000
