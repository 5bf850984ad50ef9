"""Users are found by username or address in any case, and no two accounts share a name."""

import io
import re

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models.functions import Lower

from accounts import email_addresses, names, rate_limits
from accounts.models import AccountChanged, AttemptCounter, SecurityEvent, SignIn, User

pytestmark = pytest.mark.django_db

WRONG = "not the right passphrase at all"
NAMES = ["sue", "SUE", "sUe", "sue@example.org", "Sue@Example.ORG"]
PATHS = ["/api/token/", "/accounts/login/", "/admin/login/"]
FREE = rate_limits.LIMITS[rate_limits.Kind.PAIR].free_attempts


def sign_in(path, name, password, anonymous, browser):
    data = {"username": name, "password": password}
    return anonymous.post(path, data) if path.startswith("/api/") else browser().post(path, data)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", NAMES)
def test_each_spelling_signs_in_at_every_sign_in_form(path, name, staff, password, anonymous, browser):
    assert sign_in(path, name, password, anonymous, browser).status_code in (200, 302)
    assert SignIn.objects.get().user == staff


def test_an_address_longer_than_a_username_signs_in(password, anonymous, browser):
    address = f"{'a' * 60}@{'b' * 60}.{'c' * 60}.example"
    User.objects.create_user("ann", address, password)
    for path in PATHS[:2]:
        assert sign_in(path, address, password, anonymous, browser).status_code in (200, 302)


@pytest.mark.parametrize("path", PATHS)
def test_guesses_with_all_spellings_count_together(path, staff, password, anonymous, browser):
    for name in NAMES:
        sign_in(path, name, WRONG, anonymous, browser)
    assert [sign_in(path, name, password, anonymous, browser).status_code for name in NAMES] == [429] * len(NAMES)
    events = SecurityEvent.objects.filter(user=staff)
    assert events.filter(type="sign_in_failed").count() == FREE
    assert events.filter(type="locked").count() == 1
    assert AttemptCounter.objects.of(staff).locked_out().exists()


def test_staff_find_attempt_counters_by_the_address(staff, anonymous, browser_of, ann):
    page = browser_of(staff)
    for _ in range(FREE):
        anonymous.sign_in("ann", WRONG)
    assert "127.0.0.1" in page.get("/admin/accounts/attemptcounter/", {"q": "Ann@example.org"}).content.decode()


def test_a_user_is_found_by_indexes_only(ann):
    found = User.objects.with_login("Ann@example.org")
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # PostgreSQL reads a table of few rows as a whole.
            cursor.execute("SET LOCAL enable_seqscan = off")
        plan = found.explain()
    assert "username_case_insensitive" in plan
    assert "email_unique_or_blank" in plan
    assert "SCAN accounts_user" not in plan
    assert "Seq Scan" not in plan


def test_the_previous_release_finds_an_address_by_index(ann):
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL enable_seqscan = off")
        plan = User.objects.alias(lower=Lower("email")).filter(lower="ann@example.org").explain()
    assert "email_of_before" in plan


def test_the_form_asks_for_username_or_address(browser):
    for path in PATHS[1:]:
        page = browser().get(path).content.decode()
        assert "Username or e-mail address" in page
        assert re.search(r'autocomplete="username( webauthn)?"', page)


# Names of other accounts


@pytest.mark.parametrize("username", ["bob@example.org", "BOB@example.org", "stranger@example.net"])
def test_the_address_of_another_user_is_refused_as_username(username, bob, anonymous, browser, password):
    form = {"username": username, "email": "mallory@example.net", "password": password}
    answer = anonymous.post("/api/register/", form)
    assert (answer.status_code, "username" in answer.json()) == (400, True)
    page = browser().post("/accounts/signup/", form | {"password1": password})
    assert "must be the account’s own e-mail address" in page.content.decode().replace("&#x27;", "’")
    with pytest.raises(CommandError, match="own e-mail address"):
        call_command("createsuperuser", interactive=False, username=username, email="mallory@example.net")
    assert not User.objects.filter(email="mallory@example.net").exists()


def test_the_own_address_is_accepted_as_username(anonymous, password):
    form = {"username": "Carol@example.org", "email": "carol@example.org", "password": password}
    assert anonymous.post("/api/register/", form).status_code == 201
    assert anonymous.sign_in("carol@EXAMPLE.org", password).status_code == 200


@pytest.fixture
def squatter(bob):
    """A user from before that rule, whose username is an address that no account has."""
    User.objects.filter(pk=bob.pk).update(username="Carol@example.org")
    return User.objects.get(pk=bob.pk)


def test_the_username_of_another_user_gets_no_confirmation_link(squatter, browser_of, ann, mails_of):
    mails = mails_of(lambda: browser_of(ann).post("/accounts/email/", {"new_email": "carol@Example.org"}))
    [mail] = [each for each in mails if each.to == ["carol@example.org"]]
    assert (mail.subject, "https://" in mail.body) == ("This e-mail address already has an account", False)


def test_the_username_of_another_user_is_refused_as_address(squatter, anonymous, browser_of, ann, staff, password):
    taken = "A user with that e-mail address already exists."
    form = {"username": "carol", "email": "carol@example.org", "password": password}
    assert anonymous.post("/api/register/", form).json()["email"] == [taken]
    fields = {"username": "ann", "email": "CAROL@example.org", "first_name": "", "last_name": "", "is_active": "on"}
    page = browser_of(staff).post(f"/admin/accounts/user/{ann.pk}/change/", fields)
    assert taken in page.content.decode()
    with pytest.raises(CommandError, match="already exists"):
        call_command("createsuperuser", interactive=False, username="carol", email="carol@example.org")


def test_an_address_that_became_a_username_is_not_confirmed(ann, bob):
    User.objects.filter(pk=ann.pk).update(new_email="carol@example.org")
    User.objects.filter(pk=bob.pk).update(username="carol@example.org")
    with pytest.raises(AccountChanged):
        email_addresses.set_confirmed_address(User.objects.get(pk=ann.pk))


def test_staff_cannot_set_the_address_of_another_as_username(ann, bob, staff, browser_of):
    fields = {"username": "Bob@example.org", "email": ann.email, "first_name": "", "last_name": "", "is_active": "on"}
    browser_of(staff).post(f"/admin/accounts/user/{ann.pk}/change/", fields)
    ann.refresh_from_db()
    assert ann.username == "ann"


def test_of_two_old_matches_the_confirmed_address_wins(ann, bob, anonymous, password):
    User.objects.filter(pk=ann.pk).update(username="Bob@Example.org")
    User.objects.filter(pk=bob.pk).update(email_confirmed_at=None)
    assert User.objects.get_by_login("bob@example.org") == ann
    User.objects.filter(pk=bob.pk).update(email_confirmed_at="2026-01-01T00:00Z")
    assert User.objects.get_by_login("bob@example.org") == bob


def test_an_old_ambiguous_name_does_not_block_confirmation(ann, bob, browser_of, password):
    User.objects.filter(pk=bob.pk).update(email_confirmed_at="2026-01-01T00:00Z")
    browser = browser_of(ann)
    User.objects.filter(pk=ann.pk).update(username="bob@example.org")
    assert browser.post("/accounts/confirm/", {"password": password}).status_code == 302


# Commands


def test_commands_find_names_in_any_case(ann, client_of, monkeypatch):
    client = client_of(ann)
    call_command("end_sign_ins", user="Ann@Example.org", stdout=io.StringIO())
    assert client.get("/api/me/").status_code == 401
    with pytest.raises(CommandError, match="already taken"):
        call_command("createsuperuser", interactive=False, username="ANN", email="other@example.org")
    with pytest.raises(CommandError):
        call_command("make_service", "ANN")


@pytest.mark.parametrize("name", ["ANN", "Ann@example.org"])
def test_changepassword_finds_names_in_any_case(name, ann, monkeypatch):
    monkeypatch.setattr("getpass.getpass", lambda prompt: "a quite different passphrase")
    call_command("changepassword", name, stdout=io.StringIO())
    assert User.objects.get(pk=ann.pk).check_password("a quite different passphrase")


# Mailboxes

SPELLINGS = [
    "victim@bücher.example",
    "VICTIM@Bücher.example",
    "victim@xn--bcher-kva.example",
    '"v\\ictim"@xn--bcher-kva.example',
    "victim+tag@xn--bcher-kva.example.",
    "vic(a comment)tim@xn--bcher-kva.example",
]


def test_all_spellings_are_one_mailbox():
    assert {names.mailbox(each) for each in SPELLINGS} == {"victim@xn--bcher-kva.example"}
    assert names.mailbox("victim@example.org") != names.mailbox("victin@example.org")


def test_mails_are_limited_by_mailbox(anonymous, password, mails_of):
    for number in range(5):
        User.objects.create_user(f"u{number}", f"victim+{number}@example.org", password)

    def ask():
        for number in range(5):
            data = {"email": f"Victim+{number}@example.org"}
            assert anonymous.post("/api/password/reset/", data).status_code == 202

    assert len(mails_of(ask)) == rate_limits.LIMITS[rate_limits.Kind.RESET].max_attempts


def test_an_address_is_found_by_its_international_host(anonymous, password, mails_of):
    User.objects.create_user("ann", "ann@xn--bcher-kva.example", password)
    [letter] = mails_of(lambda: anonymous.post("/api/password/reset/", {"email": "Ann@Bücher.example"}))
    assert letter.to == ["ann@xn--bcher-kva.example"]


@pytest.mark.parametrize("address", ['"v\\ictim"@example.org', '"victim"@example.org', "victim@[192.0.2.1]"])
def test_an_unusual_spelling_is_refused_as_address(address, anonymous, browser, browser_of, ann, password):
    form = {"username": "carol", "email": address, "password": password}
    assert "email" in anonymous.post("/api/register/", form).json()
    browser().post("/accounts/signup/", form | {"password1": password})
    browser_of(ann).post("/accounts/email/", {"new_email": address})
    assert not User.objects.filter(username="carol").exists()
    assert User.objects.get(pk=ann.pk).new_email == ""


def test_a_stored_unusual_address_is_still_found(password):
    user = User(username="odd", email='"odd"@example.org')
    with pytest.raises(ValidationError):
        user.full_clean()
    User.objects.create_user("odd", '"odd"@example.org', password)
    assert User.objects.get_by_email('"ODD"@example.org').username == "odd"
