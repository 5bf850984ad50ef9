"""Registration, password change and password reset over the API."""

from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from accounts.models import SignIn, User
from tests.conftest import newest_link, send_mails

pytestmark = pytest.mark.django_db

NEW_PASSWORD = "a quite different passphrase"
COMMON = ["1q2w3e4r5t6y7u8i", "manchesterunited", "qwerty123456789", "12345678901234567890"]
WELCOME = {
    "just long enough": "kp7 vz2 mq9 wx4",
    "128 characters": "kp7-vz2-mq9-wx4-" * 8,
    "emoji": "🐙🦔🪁🧶🥁🎏🪗🧭🌵🛶🥨🪐🧿🎐🦩",
    "Greek": "Μῆνιν ἄειδε θεὰ Πηληϊάδεω",
    "inner blanks": "walk   to    the     sea",
    "outer blanks": "  blanks before and after  ",
    "tabs and line ends": "one\ttwo\nthree\r\nfour",
    "decomposed accents": "cafe\u0301 cre\u0300me bru\u0302le\u0301e",
    "contains a common one": "my password is a long walk",
    "quotes and markup": "<b>'\"&amp;</b> %00 \\u0000 {{ 7 }}",
    "mixed case": "MiXeD cAsE pAsSpHrAsE",
}


@pytest.fixture
def register(anonymous):
    """Registers Carol with a password and returns the response."""

    def register(password, **fields):
        return anonymous.post(
            "/api/register/", {"username": "carol", "email": "carol@example.com", "password": password} | fields
        )

    return register


@pytest.fixture
def sign_in(anonymous):
    """Signs in with a name and a password and returns the status."""
    return lambda username, password: (
        anonymous.post("/api/token/", {"username": username, "password": password}).status_code
    )


@pytest.fixture
def request_reset(anonymous, mailoutbox, django_capture_on_commit_callbacks):
    """Requests a reset mail and returns the response and all mails in the outbox."""

    def ask(email):
        with django_capture_on_commit_callbacks(execute=True):
            response = anonymous.post("/api/password/reset/", {"email": email})
        send_mails()
        return response

    return ask


@pytest.fixture
def reset_link(request_reset, mailoutbox):
    """Returns the uid and token of a reset mail to a user."""

    def read(user):
        request_reset(user.email)
        uid, token = newest_link(mailoutbox, r"/reset/([^/\s]+)/([^/\s]+)/").groups()
        return {"uid": uid, "token": token}

    return read


# Registration


def test_registration_is_201(register):
    assert register(NEW_PASSWORD).status_code == 201


def test_a_registered_user_can_sign_in(register, sign_in):
    register(NEW_PASSWORD)
    assert sign_in("carol", NEW_PASSWORD) == 200


def test_the_registration_response_omits_the_password(register):
    assert NEW_PASSWORD not in register(NEW_PASSWORD).content.decode()


def test_the_password_is_not_stored_in_plain_text(register):
    register(NEW_PASSWORD)
    assert NEW_PASSWORD not in User.objects.get(username="carol").password


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("is_staff", True),
        ("is_superuser", True),
        ("is_active", False),
        ("date_joined", "2001-01-01T00:00:00Z"),
        ("last_login", "2001-01-01T00:00:00Z"),
        ("id", 999_999),
        ("pk", 999_999),
        ("groups", [1]),
        ("user_permissions", [1]),
    ],
)
def test_registration_ignores_unknown_fields(register, field, value):
    assert register(NEW_PASSWORD, **{field: value}).status_code == 201


@pytest.mark.parametrize("flag", ["is_staff", "is_superuser"])
def test_registration_cannot_set_is_staff(register, flag):
    register(NEW_PASSWORD, **{flag: True})
    assert getattr(User.objects.get(username="carol"), flag) is False


@pytest.mark.parametrize("field", ["id", "pk"])
def test_registration_cannot_set_the_id(register, field):
    register(NEW_PASSWORD, **{field: 999_999})
    assert User.objects.get(username="carol").pk != 999_999


def test_registration_cannot_take_over_an_existing_id(register, ann):
    register(NEW_PASSWORD, id=ann.pk)
    assert User.objects.get(pk=ann.pk).username == ann.username


@pytest.mark.parametrize("respell", [str, str.upper, str.title], ids=["same", "upper", "title"])
def test_a_username_is_unique_in_any_letter_case(register, ann, respell):
    response = register(NEW_PASSWORD, username=respell(ann.username))
    assert response.status_code == 400
    assert response.json().keys() >= {"detail", "code", "username"}


@pytest.mark.parametrize("respell", [str, str.upper, str.title], ids=["same", "upper", "title"])
def test_an_address_is_unique_in_any_letter_case(register, ann, respell):
    response = register(NEW_PASSWORD, email=respell(ann.email))
    assert response.status_code == 400
    assert response.json().keys() >= {"detail", "code", "email"}


def test_a_username_in_full_width_letters_is_the_same_username(register, ann):
    full_width = "".join(chr(ord(letter) + 0xFEE0) for letter in ann.username)
    assert register(NEW_PASSWORD, username=full_width).status_code == 400


@pytest.mark.parametrize("username", ["", " ", "two words", "new\nline", "\u202ennac", "a" * 151, "a/b", "<b>"])
def test_an_invalid_username_is_refused(register, username):
    assert register(NEW_PASSWORD, username=username).status_code == 400


@pytest.mark.parametrize("email", ["", " ", "carol", "carol@", "@example.com", "a@b@c.example", "a\n@b.example"])
def test_an_invalid_address_is_refused(register, email):
    assert register(NEW_PASSWORD, email=email).status_code == 400


def test_a_refused_registration_creates_no_user(register):
    register("too short")
    assert not User.objects.filter(username="carol").exists()


# Password rules


@pytest.mark.parametrize("chosen", WELCOME.values(), ids=WELCOME)
def test_a_strong_password_is_accepted(register, chosen):
    assert register(chosen).status_code == 201


@pytest.mark.parametrize("chosen", WELCOME.values(), ids=WELCOME)
def test_exactly_the_same_password_signs_in(register, sign_in, chosen):
    register(chosen)
    assert sign_in("carol", chosen) == 200


@pytest.mark.parametrize("chosen", WELCOME.values(), ids=WELCOME)
def test_exactly_the_same_password_signs_in_on_the_page(register, browser, chosen):
    register(chosen)
    response = browser().post("/accounts/login/", {"username": "carol", "password": chosen})
    assert response.status_code == 302


SPOIL = {
    "cut at the end": lambda text: text[:-1],
    "cut at the start": lambda text: text[1:],
    "longer": lambda text: text + "x",
    "stripped": lambda text: text.strip(),
    "blanks added": lambda text: f" {text} ",
    "lower case": lambda text: text.lower(),
    "upper case": lambda text: text.upper(),
    "its first 72 bytes": lambda text: text.encode()[:72].decode(errors="ignore"),
}


NEARLY = [
    pytest.param(password, spoil(password), id=f"{kind}, {change}")
    for kind, password in WELCOME.items()
    for change, spoil in SPOIL.items()
    if spoil(password) != password
]


@pytest.mark.parametrize(("chosen", "nearly"), NEARLY)
def test_a_similar_password_does_not_sign_in(register, sign_in, chosen, nearly):
    register(chosen)
    assert sign_in("carol", nearly) in {400, 401}


BAD_PASSWORDS = {
    "empty": "",
    "7 characters": "kp7 vz2",
    "14 characters": "kp7 vz2 mq9 wx",
    "14 characters in 56 bytes": "🐙🦔🪁🧶🥁🎏🪗🧭🌵🛶🥨🪐🧿🎐",
    "129 characters": "kp7-vz2-mq9-wx4-" * 8 + "x",
    "1 MB": "kp7-vz2-mq9-wx4-" * 65_536,
} | {f"common: {password}": password for password in COMMON}


@pytest.mark.parametrize("chosen", BAD_PASSWORDS.values(), ids=BAD_PASSWORDS)
def test_a_bad_password_is_refused_at_registration(register, chosen):
    response = register(chosen)
    assert response.status_code == 400
    assert response.json().keys() >= {"detail", "code", "password"}


@pytest.mark.parametrize("new", BAD_PASSWORDS.values(), ids=BAD_PASSWORDS)
def test_a_bad_new_password_is_refused_at_a_change(client_of, ann, password, new):
    response = client_of(ann).post("/api/password/change/", {"old_password": password, "new_password": new})
    assert response.status_code == 400
    assert response.json().keys() >= {"detail", "code", "new_password"}


@pytest.mark.parametrize("new", BAD_PASSWORDS.values(), ids=BAD_PASSWORDS)
def test_a_bad_password_is_refused_at_a_reset(anonymous, reset_link, ann, new):
    response = anonymous.post("/api/password/reset/confirm/", reset_link(ann) | {"new_password": new})
    assert response.status_code == 400
    assert response.json().keys() >= {"detail", "code", "new_password"}


def test_a_password_of_1_mb_is_refused_at_sign_in(anonymous, ann):
    response = anonymous.post("/api/token/", {"username": ann.username, "password": "x" * 1_048_576})
    assert response.status_code in {400, 401}


def test_the_username_is_refused_as_password(register):
    assert register("margaret-thompson", username="margaret-thompson").status_code == 400


# Password change


def test_a_password_change_is_204(client_of, ann, password):
    response = client_of(ann).post("/api/password/change/", {"old_password": password, "new_password": NEW_PASSWORD})
    assert (response.status_code, response.content) == (204, b"")


def test_after_a_change_the_new_password_signs_in(client_of, ann, password, sign_in):
    client_of(ann).post("/api/password/change/", {"old_password": password, "new_password": NEW_PASSWORD})
    assert sign_in(ann.username, NEW_PASSWORD) == 200


def test_after_a_change_the_old_password_does_not(client_of, ann, password, sign_in):
    client_of(ann).post("/api/password/change/", {"old_password": password, "new_password": NEW_PASSWORD})
    assert sign_in(ann.username, password) == 401


def test_a_password_change_from_a_browser_is_204(browser_of, ann, password):
    response = browser_of(ann).post(
        "/api/password/change/",
        {"old_password": password, "new_password": NEW_PASSWORD},
        content_type="application/json",
    )
    assert response.status_code == 204


def test_a_change_needs_the_old_password(client_of, ann):
    response = client_of(ann).post(
        "/api/password/change/", {"old_password": "not the right passphrase", "new_password": NEW_PASSWORD}
    )
    assert response.status_code == 400
    assert response.json().keys() >= {"detail", "code", "old_password"}


def test_a_change_with_the_wrong_old_password_changes_nothing(client_of, ann, password, sign_in):
    client_of(ann).post(
        "/api/password/change/", {"old_password": "not the right passphrase", "new_password": NEW_PASSWORD}
    )
    assert sign_in(ann.username, password) == 200


@pytest.mark.parametrize("spoil", [str.strip, str.upper, str.lower, lambda text: text[:-1]])
def test_the_old_password_is_not_trimmed(register, anonymous, spoil):
    old = "  Old Passphrase With Blanks Around It  "
    register(old)
    anonymous.sign_in("carol", old)
    response = anonymous.post("/api/password/change/", {"old_password": spoil(old), "new_password": NEW_PASSWORD})
    assert response.status_code == 400


def test_a_change_needs_a_sign_in(anonymous, password):
    response = anonymous.post("/api/password/change/", {"old_password": password, "new_password": NEW_PASSWORD})
    assert response.status_code == 401


# Password reset


def test_a_reset_request_is_202(request_reset, ann):
    assert request_reset(ann.email).status_code == 202


def test_an_unknown_address_gets_the_same_response(request_reset, ann):
    known, unknown = request_reset(ann.email), request_reset("nobody@example.org")
    assert (known.status_code, known.content) == (unknown.status_code, unknown.content)


def test_an_unknown_address_gets_the_same_headers(request_reset, ann):
    known, unknown = request_reset(ann.email), request_reset("nobody@example.org")
    assert sorted(known.headers) == sorted(unknown.headers)


def test_a_deactivated_user_gets_the_same_response(request_reset, ann, bob):
    User.objects.filter(pk=bob.pk).update(is_active=False)
    known, inactive = request_reset(ann.email), request_reset(bob.email)
    assert (known.status_code, known.content) == (inactive.status_code, inactive.content)


def test_a_known_address_gets_one_mail(request_reset, ann, mailoutbox):
    request_reset(ann.email)
    assert [message.to for message in mailoutbox] == [[ann.email]]


def test_an_address_in_another_letter_case_gets_mail_as_stored(request_reset, ann, mailoutbox):
    request_reset(ann.email.upper())
    assert [message.to for message in mailoutbox] == [[ann.email]]


def test_an_unknown_address_gets_no_mail(request_reset, ann, mailoutbox):
    request_reset("nobody@example.org")
    assert not mailoutbox


def test_a_deactivated_user_gets_no_mail(request_reset, ann, mailoutbox):
    User.objects.filter(pk=ann.pk).update(is_active=False)
    request_reset(ann.email)
    assert not mailoutbox


def test_a_look_alike_address_gets_no_mail(request_reset, password, mailoutbox):
    User.objects.create_user(username="mike", email="mike@icloud.example", password=password)
    request_reset("mıke@ıcloud.example")
    assert {address for message in mailoutbox for address in message.to} <= {"mike@icloud.example"}


def test_the_link_does_not_point_to_a_foreign_host(browser, ann, mailoutbox, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        browser().post(
            "/api/password/reset/",
            {"email": ann.email},
            content_type="application/json",
            headers={"host": "evil.example"},
        )
    send_mails()
    assert not [message for message in mailoutbox if "evil.example" in str(message.message())]


def test_a_reset_request_ends_no_sign_in(request_reset, client_of, ann):
    client = client_of(ann)
    request_reset(ann.email)
    assert client.get("/api/me/").status_code == 200


def test_a_reset_is_204(anonymous, reset_link, ann):
    response = anonymous.post("/api/password/reset/confirm/", reset_link(ann) | {"new_password": NEW_PASSWORD})
    assert (response.status_code, response.content) == (204, b"")


def test_after_a_reset_the_new_password_signs_in(anonymous, reset_link, ann, sign_in):
    anonymous.post("/api/password/reset/confirm/", reset_link(ann) | {"new_password": NEW_PASSWORD})
    assert sign_in(ann.username, NEW_PASSWORD) == 200


def test_after_a_reset_the_old_password_does_not(anonymous, reset_link, ann, password, sign_in):
    anonymous.post("/api/password/reset/confirm/", reset_link(ann) | {"new_password": NEW_PASSWORD})
    assert sign_in(ann.username, password) == 401


def test_a_reset_does_not_sign_the_user_in(anonymous, reset_link, ann):
    response = anonymous.post("/api/password/reset/confirm/", reset_link(ann) | {"new_password": NEW_PASSWORD})
    assert not response.cookies
    assert not SignIn.objects.exists()


def test_a_reset_is_mailed_to_the_user(anonymous, reset_link, ann, mailoutbox, django_capture_on_commit_callbacks):
    link = reset_link(ann)
    mailoutbox.clear()
    with django_capture_on_commit_callbacks(execute=True):
        anonymous.post("/api/password/reset/confirm/", link | {"new_password": NEW_PASSWORD})
    send_mails()
    assert [message.to for message in mailoutbox] == [[ann.email]]


def refused(response):
    answer = response.json()
    return response.status_code == 400 and isinstance(answer["detail"], str) and isinstance(answer["code"], str)


def test_a_link_works_once(anonymous, reset_link, ann):
    link = reset_link(ann)
    anonymous.post("/api/password/reset/confirm/", link | {"new_password": NEW_PASSWORD})
    assert refused(anonymous.post("/api/password/reset/confirm/", link | {"new_password": "yet another passphrase"}))


def test_a_link_stays_valid_after_a_refused_password(anonymous, reset_link, ann):
    link = reset_link(ann)
    anonymous.post("/api/password/reset/confirm/", link | {"new_password": "too short"})
    response = anonymous.post("/api/password/reset/confirm/", link | {"new_password": NEW_PASSWORD})
    assert response.status_code == 204


def test_a_link_is_invalid_after_a_change_of_the_password(anonymous, client_of, reset_link, ann, password):
    link = reset_link(ann)
    client_of(ann).post("/api/password/change/", {"old_password": password, "new_password": NEW_PASSWORD})
    assert refused(anonymous.post("/api/password/reset/confirm/", link | {"new_password": "yet another passphrase"}))


def test_a_link_is_invalid_after_a_change_of_the_address(anonymous, reset_link, ann):
    link = reset_link(ann)
    User.objects.filter(pk=ann.pk).update(email="ann@elsewhere.example")
    assert refused(anonymous.post("/api/password/reset/confirm/", link | {"new_password": NEW_PASSWORD}))


def test_a_link_of_a_deleted_user_is_invalid(anonymous, reset_link, ann):
    link = reset_link(ann)
    ann.delete()
    assert refused(anonymous.post("/api/password/reset/confirm/", link | {"new_password": NEW_PASSWORD}))


def test_a_link_of_a_deactivated_user_is_invalid(anonymous, reset_link, ann):
    link = reset_link(ann)
    User.objects.filter(pk=ann.pk).update(is_active=False)
    assert refused(anonymous.post("/api/password/reset/confirm/", link | {"new_password": NEW_PASSWORD}))


def test_a_link_expires_after_an_hour(anonymous, reset_link, ann):
    link = reset_link(ann)
    with time_machine.travel(timezone.now() + timedelta(hours=1, minutes=1), tick=False):
        response = anonymous.post("/api/password/reset/confirm/", link | {"new_password": NEW_PASSWORD})
    assert refused(response)


def test_a_link_resets_only_the_password_of_its_user(anonymous, reset_link, ann, bob):
    mixed = {"uid": reset_link(bob)["uid"], "token": reset_link(ann)["token"], "new_password": NEW_PASSWORD}
    assert refused(anonymous.post("/api/password/reset/confirm/", mixed))


@pytest.mark.parametrize("field", ["uid", "token"])
@pytest.mark.parametrize("value", ["", "x", "-", "LTE", "AA", "....", "é", "9" * 400, "x" * 100_000, "../../etc"])
def test_an_invalid_link_is_refused(anonymous, reset_link, ann, field, value):
    body = reset_link(ann) | {"new_password": NEW_PASSWORD, field: value}
    assert refused(anonymous.post("/api/password/reset/confirm/", body))
