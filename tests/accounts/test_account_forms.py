"""Forms of the account: errors, autocomplete values for password managers, accounts without a mailbox."""

import re

import pytest
from django.conf import settings
from django.contrib.auth.password_validation import get_default_password_validators
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


@pytest.fixture(params=["signup", "change", "reset"])
def new_password_form(request, browser, browser_of, ann, password):
    """A browser, the address of a form for a new password, the name of its field, and the values of the others."""
    if request.param == "signup":
        return browser(), "/accounts/signup/", "password1", {"username": "zoe", "email": "zoe@example.org"}
    if request.param == "change":
        return browser_of(ann), "/accounts/password_change/", "new_password1", {"old_password": password}
    return browser(), reset_path_of(ann), "new_password1", {}


@pytest.mark.parametrize("word", [WEAK, "short"])
def test_a_password_error_is_shown_at_its_own_field(new_password_form, word):
    visitor, address, name, rest = new_password_form
    response = visitor.post(address, rest | {name: word})
    assert response.context["form"].errors.keys() == {name}
    field = inputs(response)[name]
    assert field["aria-invalid"] == "true"
    assert field["aria-describedby"].split() == [f"id_{name}_helptext", f"id_{name}_error"]
    assert f'id="id_{name}_error"' in response.content.decode()
    assert "autofocus" in field


def test_there_is_one_field_for_a_new_password_and_its_rules(new_password_form):
    visitor, address, name, _rest = new_password_form
    page = visitor.get(address)
    assert [each for each, field in inputs(page).items() if field.get("autocomplete") == "new-password"] == [name]
    rules = re.search(rf'<ul class="rules" data-for="id_{name}".*?</ul>', page.content.decode(), re.DOTALL)[0]
    assert '<li data-check="least" data-length="15">At least 15 characters</li>' in rules
    assert '<li data-check="most" data-length="128">At most 128 characters</li>' in rules
    assert rules.count("<li") == len(settings.AUTH_PASSWORD_VALIDATORS)


def test_the_first_invalid_field_has_the_focus_and_all_are_named(browser):
    form = {"username": "zoe", "email": "no address", "password1": "short"}
    response = browser().post("/accounts/signup/", form)
    assert [name for name, field in inputs(response).items() if "autofocus" in field] == ["email"]
    summary = re.search(r'<div class="wrong" role="alert">.*?</div>', response.content.decode(), re.DOTALL)[0]
    assert re.findall(r'href="#(\w+)"', summary) == ["id_email", "id_password1"]


def test_one_wrong_field_needs_no_summary(browser):
    form = {"username": "zoe", "email": "zoe@example.org", "password1": "short"}
    assert 'class="wrong"' not in browser().post("/accounts/signup/", form).content.decode()


def test_a_new_form_has_the_focus_on_its_first_field(browser):
    found = inputs(browser().get("/accounts/signup/"))
    assert [name for name, field in found.items() if "autofocus" in field] == ["username"]


def test_a_rule_of_another_validator_is_listed(browser, settings):
    name = "django.contrib.auth.password_validation.NumericPasswordValidator"
    settings.AUTH_PASSWORD_VALIDATORS = [{"NAME": name}]
    get_default_password_validators.cache_clear()
    page = browser().get("/accounts/signup/").content.decode()
    get_default_password_validators.cache_clear()
    assert "<li>Your password can’t be entirely numeric.</li>" in page


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
    kinds = {name: found[name].get("autocomplete") for name in ("username", "email", "password1")}
    assert kinds == {"username": "username", "email": "email", "password1": "new-password"}


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
