"""Refusal of guessable passwords, by every form that sets one, and upgrades of password hashes."""

import re

import pytest
from django.contrib.auth.hashers import Argon2PasswordHasher
from django.contrib.auth.password_validation import (
    get_default_password_validators,
    password_validators_help_texts,
    validate_password,
)
from django.core.exceptions import ValidationError

from accounts.http import request_context
from accounts.models import SecurityEvent, User
from tests.conftest import ApiClient

COMMON = "one or two common words"
PERSONAL = "little more than your name"
REPEATS = "repeats the same characters"

REFUSED = {
    COMMON: [
        "passwordpassword1",
        "password12345678",
        "Password-Password",
        "123456789012345",
        "987654321098765",
        "qwertyuiopasdfgh",
        "qwertzuiopasdfgh",
        "1qay2wsx3edc4rfv",
        "iloveyou princess",
        "PRINCESS & ILOVEYOU",
        "manchester2024united",
        "monkeymonkeydragon",
        "dragonmonkeymonkey!!!",
        "abcdefghijklmnopqrstuvwxyz",
        "summer vacation 01011990",
    ],
    REPEATS: [
        "aaaaaaaaaaaaaaa",
        "kp7kp7kp7kp7kp7",
        "abcdeabcdeabcdea",
        "P@ssw0rdP@ssw0rd",
        "🐙🦔🪁🐙🦔🪁🐙🦔🪁🐙🦔🪁🐙🦔🪁",
    ],
    PERSONAL: [
        "wristbandpassport",
        "Wristband & Passport 2026",
        "passport.wristband",
        "accounts.meadowbrook.example",
        "meadowbrook-meadowbrook2",
        "meadowbrook password",
        "margaret.thompson",
        "thompson1margaret2",
        "Mtho-thompson-1984",
        "margaret thompson 07 11 84",
        "mtho@willowmail.example",
        "willowmail password!",
    ],
}
WELCOME = [
    "margaret took the violet wristband",
    "my password is a long walk",
    "password princess dragonfly kettle",
    "correct horse battery staple",
    "kp7 vz2 mq9 wx4",
    "83519427745019283",
    "walk   to    the     sea",
    "xkqjzvbnwtrpmlk",
    "kp7-vz2-mq9-wx4-" * 8,
    "🐙🦔🪁🧶🥁🎏🪗🧭🌵🛶🥨🪐🧿🎐🦩",
]


@pytest.fixture
def margaret():
    return User(username="mtho", email="mtho@willowmail.example", first_name="Margaret", last_name="Thompson")


@pytest.fixture
def at_meadowbrook(rf, settings):
    settings.ALLOWED_HOSTS = ["accounts.meadowbrook.example"]
    with request_context.use_request(rf.get("/", headers={"host": "accounts.meadowbrook.example:8443"})):
        yield


@pytest.mark.parametrize(
    ("password", "reason"), [(password, reason) for reason, passwords in REFUSED.items() for password in passwords]
)
def test_a_guessable_password_is_refused_with_the_reason(at_meadowbrook, margaret, password, reason):
    with pytest.raises(ValidationError) as refusal:
        validate_password(password, margaret)
    assert any(reason in message for message in refusal.value.messages), refusal.value.messages


@pytest.mark.parametrize("password", WELCOME)
def test_a_passphrase_that_contains_a_word_is_accepted(at_meadowbrook, margaret, password):
    validate_password(password, margaret)


def test_common_passwords_are_refused_doubled_and_with_a_year():
    [words] = [each.passwords for each in get_default_password_validators() if hasattr(each, "passwords")]
    assert len(words) > 19_000
    # A sample of those that consist of letters.
    for word in list(filter(str.isalpha, words))[::400]:
        for password in (f"{word}-{word}", f"{word}2026", f"{word.title()}{word.upper()}99"):
            with pytest.raises(ValidationError):
                validate_password(password)


def test_the_help_text_contains_the_rules():
    assert any("Use three words." in text for text in password_validators_help_texts())


@pytest.mark.parametrize("password", ["a" * 129, "a" * 200_000, "password" * 25_000, "password1" * 14])
def test_a_huge_password_is_refused_quickly(password, margaret):
    with pytest.raises(ValidationError):
        validate_password(password, margaret)


BAD = "margaret thompson 07 11 84"


def test_every_password_form_refuses_a_guessable_password(
    browser, browser_of, client_of, anonymous, ann, password, mails_of
):
    User.objects.filter(pk=ann.pk).update(first_name="Margaret", last_name="Thompson")
    [mail] = mails_of(lambda: anonymous.post("/api/password/reset/", {"email": ann.email}))
    uid, token = re.search(r"/accounts/reset/([^/]+)/([^/]+)/", mail.body).groups()
    carol = {"username": "margaret", "email": "thompson@example.org"}
    new = {"new_password1": BAD}
    # Before the others, since a sign-in invalidates the link.
    pages = [browser().post(f"/accounts/reset/{uid}/{token}/", new)]
    answers = [
        anonymous.post("/api/password/reset/confirm/", {"uid": uid, "token": token, "new_password": BAD}),
        anonymous.post("/api/register/", carol | {"password": BAD}),
        client_of(ann).post("/api/password/change/", {"old_password": password, "new_password": BAD}),
    ]
    for answer in answers:
        assert (answer.status_code, PERSONAL in answer.content.decode()) == (400, True)
    pages += [
        browser().post("/accounts/signup/", carol | {"password1": BAD}),
        browser_of(ann).post("/accounts/password_change/", {"old_password": password, **new}),
    ]
    for page in pages:
        assert (page.status_code, PERSONAL in page.content.decode()) == (200, True)


# Upgrades of the hash


class Yesterdays(Argon2PasswordHasher):
    time_cost, memory_cost, parallelism = 1, 8, 1


class Todays(Yesterdays):
    time_cost = 2


def sign_in_on_page(browser, user, password):
    answer = browser().post("/accounts/login/", {"username": user.username, "password": password})
    assert answer.status_code == 302


def sign_in_to_admin(browser, user, password):
    answer = browser().post("/admin/login/?next=/admin/", {"username": user.username, "password": password})
    assert answer.status_code == 302


def sign_in_over_the_api(browser, user, password):
    assert ApiClient().sign_in(user.username, password).status_code == 200


@pytest.mark.parametrize("sign_in_at", [sign_in_on_page, sign_in_to_admin, sign_in_over_the_api])
def test_a_sign_in_upgrades_the_hash_and_ends_no_sign_in(
    browser, browser_of, client_of, staff, password, settings, mails_of, sign_in_at
):
    settings.PASSWORD_HASHERS = [f"{__name__}.Yesterdays"]
    staff.set_password(password)
    staff.save()
    there, client = browser_of(staff), client_of(staff)
    settings.PASSWORD_HASHERS = [f"{__name__}.Todays"]
    mails = mails_of(lambda: sign_in_at(browser, staff, password))
    staff.refresh_from_db()
    assert "$m=8,t=2,p=1$" in staff.password
    assert there.get("/accounts/profile/").status_code == 200
    assert client.get("/api/me/").status_code == client.renew().status_code == 200
    # An upgrade is not an event of a password change.
    assert not SecurityEvent.objects.filter(type="password_changed").exclude(created_at__lt=staff.last_login).exists()
    assert [mail.subject for mail in mails if "password" in mail.subject] == []


def change_on_page(browser_of, client_of, user, old, new):
    form = {"old_password": old, "new_password1": new}
    assert browser_of(user).post("/accounts/password_change/", form).status_code == 302


def change_over_the_api(browser_of, client_of, user, old, new):
    answer = client_of(user).post("/api/password/change/", {"old_password": old, "new_password": new})
    assert answer.status_code == 204


@pytest.mark.parametrize("change", [change_on_page, change_over_the_api])
def test_the_mail_of_a_change_contains_no_password(browser_of, client_of, ann, password, mails_of, change):
    new = "a quite different passphrase"
    mails = mails_of(lambda: change(browser_of, client_of, ann, password, new))
    [mail] = [mail for mail in mails if mail.subject == "Your password was changed"]
    assert mail.to == [ann.email]
    assert not [text for text in (password, new) if text in str(mail.message())]
