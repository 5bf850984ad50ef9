"""Which passwords are refused as too easy to guess, at every door where one is chosen, and what is said of them."""

import re

import pytest
from django.contrib.auth.password_validation import (
    get_default_password_validators,
    password_validators_help_texts,
    validate_password,
)
from django.core.exceptions import ValidationError

from accounts import origin
from accounts.models import User

COMMON = "one or two common words"
PERSONAL = "little more than your name"
REPEATS = "repeats itself"

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
    REPEATS: ["aaaaaaaaaaaaaaa", "kp7kp7kp7kp7kp7", "abcdeabcdeabcdea", "P@ssw0rdP@ssw0rd", "🐙🦔🪁🐙🦔🪁🐙🦔🪁🐙🦔🪁🐙🦔🪁"],
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
    with origin.request_at_hand(rf.get("/", headers={"host": "accounts.meadowbrook.example:8443"})):
        yield


@pytest.mark.parametrize(
    ("password", "reason"), [(password, reason) for reason, passwords in REFUSED.items() for password in passwords]
)
def test_what_is_guessed_first_is_refused_and_the_refusal_says_why(at_meadowbrook, margaret, password, reason):
    with pytest.raises(ValidationError) as refusal:
        validate_password(password, margaret)
    assert any(reason in message for message in refusal.value.messages), refusal.value.messages


@pytest.mark.parametrize("password", WELCOME)
def test_a_passphrase_that_merely_contains_a_word_is_fine(at_meadowbrook, margaret, password):
    validate_password(password, margaret)


def test_each_of_the_20000_is_refused_twice_over_and_with_a_year():
    [words] = [each.passwords for each in get_default_password_validators() if hasattr(each, "passwords")]
    assert len(words) > 19_000
    # Some of those that are made of letters.
    for word in list(filter(str.isalpha, words))[::400]:
        for password in (f"{word}-{word}", f"{word}2026", f"{word.title()}{word.upper()}99"):
            with pytest.raises(ValidationError):
                validate_password(password)


def test_the_rules_are_told_before_they_are_broken():
    assert any("Three words will do." in text for text in password_validators_help_texts())


@pytest.mark.parametrize("password", ["a" * 129, "a" * 200_000, "password" * 25_000, "password1" * 14])
def test_a_huge_password_is_refused_without_work(password, margaret):
    with pytest.raises(ValidationError):
        validate_password(password, margaret)


BAD = "margaret thompson 07 11 84"


def test_every_door_refuses_it(browser, browser_of, client_of, anonymous, ann, password, mails_of):
    User.objects.filter(pk=ann.pk).update(first_name="Margaret", last_name="Thompson")
    [mail] = mails_of(lambda: anonymous.post("/api/password/reset/", {"email": ann.email}))
    uid, token = re.search(r"/accounts/reset/([^/]+)/([^/]+)/", mail.body).groups()
    carol = {"username": "margaret", "email": "thompson@example.org"}
    new = {"new_password1": BAD, "new_password2": BAD}
    # First of all, since a sign-in makes the link worthless.
    pages = [browser().post(f"/accounts/reset/{uid}/{token}/", new)]
    answers = [
        anonymous.post("/api/password/reset/confirm/", {"uid": uid, "token": token, "new_password": BAD}),
        anonymous.post("/api/register/", carol | {"password": BAD}),
        client_of(ann).post("/api/password/change/", {"old_password": password, "new_password": BAD}),
    ]
    for answer in answers:
        assert (answer.status_code, PERSONAL in answer.content.decode()) == (400, True)
    pages += [
        browser().post("/accounts/signup/", carol | {"password1": BAD, "password2": BAD}),
        browser_of(ann).post("/accounts/password_change/", {"old_password": password, **new}),
    ]
    for page in pages:
        assert (page.status_code, PERSONAL in page.content.decode()) == (200, True)
