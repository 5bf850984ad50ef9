"""Forms of the account: errors, autocomplete values for password managers, accounts without a mailbox."""

import re

import pytest
from django.utils.http import urlsafe_base64_encode

from accounts import links
from accounts.models import User

pytestmark = pytest.mark.django_db

WEAK = "passwordpassword1"
GOOD = "a quite different passphrase"


def reset_path_of(user):
    return f"/accounts/reset/{urlsafe_base64_encode(str(user.pk).encode())}/{links.password_reset.make_token(user)}/"


def inputs(response):
    """The attributes of each input, by its name."""
    found = {}
    for tag in re.findall(r"<input[^>]*>", response.content.decode()):
        attributes = dict(re.findall(r'([\w-]+)(?:="([^"]*)")?', tag))
        found[attributes.get("name")] = attributes
    return found


# Errors


@pytest.mark.parametrize(
    ("kind", "first", "second"),
    [
        ("signup", "password1", "password2"),
        ("change", "new_password1", "new_password2"),
        ("reset", "new_password1", "new_password2"),
    ],
)
@pytest.mark.parametrize(("word", "again"), [(WEAK, WEAK), ("short", "short"), (WEAK, "something else entirely")])
def test_a_password_error_is_shown_at_its_own_field(
    browser, browser_of, ann, password, kind, first, second, word, again
):
    if kind == "signup":
        send, address, rest = browser(), "/accounts/signup/", {"username": "zoe", "email": "zoe@example.org"}
    elif kind == "change":
        send, address, rest = browser_of(ann), "/accounts/password_change/", {"old_password": password}
    else:
        send, address, rest = browser(), reset_path_of(ann), {}
    errors = send.post(address, rest | {first: word, second: again}).context["form"].errors.as_data()
    assert [error.code for error in errors[first]] != []
    assert {error.code for error in errors.get(second, [])} <= {"password_mismatch"}
    assert (second in errors) == (word != again)


# Autocomplete values


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("/accounts/profile/", {"first_name": "given-name", "last_name": "family-name"}),
        ("/accounts/email/", {"new_email": "email"}),
        ("/accounts/clients/new/", {"name": "off"}),
        ("/accounts/password_change/", {"username": "username", "old_password": "current-password"}),
        ("/accounts/delete/", {"username": "username", "password": "current-password"}),
    ],
)
def test_each_field_has_an_autocomplete_value(browser_of, ann, address, expected):
    found = inputs(browser_of(ann).get(address))
    assert {name: found[name].get("autocomplete") for name in expected} == expected


def test_sign_up_fields_have_autocomplete_values(browser):
    found = inputs(browser().get("/accounts/signup/"))
    kinds = {name: found[name].get("autocomplete") for name in ("username", "email", "password1", "password2")}
    assert kinds == {"username": "username", "email": "email", "password1": "new-password", "password2": "new-password"}


def test_the_reset_form_contains_the_username(browser, ann, bob):
    page = browser().get(reset_path_of(bob))
    name = inputs(page)["username"]
    assert (name["value"], name["autocomplete"]) == ("bob", "username")
    assert "readonly" in name


def test_an_invalid_link_does_not_show_the_username(browser, ann):
    link = reset_path_of(ann)
    page = browser().get(link[:-2] + "x/")
    assert page.status_code == 400
    assert "ann" not in re.findall(r"<main.*</main>", page.content.decode(), re.DOTALL)[0].split()
    assert "username" not in inputs(page)


# Accounts without a mailbox


@pytest.fixture
def guest(browser):
    guest = browser()
    guest.post("/compare/throw-away/")
    return guest


@pytest.mark.parametrize("address", ["/", "/accounts/profile/"])
def test_an_account_without_a_mailbox_is_not_asked_to_confirm(guest, address):
    page = guest.get(address).content.decode()
    assert "Confirm your e-mail address" not in page
    assert "Send the link again" not in page
    assert "not confirmed" not in page


def test_an_account_without_a_mailbox_is_promised_no_mail(guest, mailoutbox):
    assert "on its way" not in guest.post("/accounts/email/ask/", follow=True).content.decode()
    response = guest.post("/accounts/email/", {"new_email": "guest@example.org"})
    assert "cannot be changed" in response.content.decode()
    assert User.objects.get(delete_after__isnull=False).new_email == ""
    assert 'href="/accounts/email/"' not in guest.get("/accounts/profile/").content.decode()
    assert mailoutbox == []


def test_an_account_without_a_mailbox_gets_no_reset_mail(guest):
    assert not User.objects.get(delete_after__isnull=False).may_reset_password
