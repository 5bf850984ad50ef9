"""Notices by mail: their recipients, their limits, and the text of clients in them."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts import email_addresses, notices, passwords, plain_words
from accounts.models import AttemptCounter, SecurityEvent, SignIn, User
from accounts.rate_limits import LIMITS, Kind
from tests.conftest import ApiClient, Browser

pytestmark = pytest.mark.django_db

MOST = LIMITS[Kind.NOTIFYING].free_attempts
FLOOD = MOST + 5
SUMMARY = "Many events in your account in the last hour"
AGENT = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_2 like Mac OS X) AppleWebKit/605.1.15 Version/17.2 Mobile Safari/604.1"
# What mail programs turn into links: a scheme, www, a name with a dot before letters, an @, many digits.
LINKS = re.compile(r"\w+://|www\.|\w\.[^\W\d]|\w@\w|(?:\d[ /().+-]?){7}")


def subjects(mails):
    return [mail.subject for mail in mails]


def own_words(mail):
    """Returns the body without the link of the project, and without time and address of the request."""
    return re.sub(r"^(https://testserver/\S+|(Time|IP address): .*)$", "", mail.body, flags=re.MULTILINE)


def connect(page, name):
    assert page.post("/accounts/clients/new/", {"name": name}).status_code == 200


# Floods of each kind


def connect_clients(ann, browser_of, **_):
    page = browser_of(ann)
    for number in range(FLOOD):
        connect(page, f"script {number}")


def sign_in_on_new_devices(ann, password, **_):
    for number in range(FLOOD + 1):
        agent = {"user-agent": f"app-{number}/1.0"}
        ApiClient().post("/api/token/", {"username": ann.username, "password": password}, headers=agent)


def use_tokens_twice(ann, client_of, **_):
    for _number in range(FLOOD):
        client = client_of(ann)
        stolen = client.refresh
        client.renew()
        client.renew()
        assert ApiClient().post("/api/token/refresh/", {"refresh": stolen}).status_code == 401


def change_the_password(ann, client_of, password, **_):
    client, old = client_of(ann), password
    for number in range(FLOOD):
        new = f"a quite different passphrase {number}"
        body = {"old_password": old, "new_password": new}
        assert client.post("/api/password/change/", body).status_code == 204
        old = new


def reset_the_password(ann, **_):
    for number in range(FLOOD):
        passwords.reset(User.objects.get(pk=ann.pk), f"a quite different passphrase {number}")


def ask_for_addresses(ann, browser_of, **_):
    page = browser_of(ann)
    for number in range(FLOOD):
        # The limit of requested changes would stop this flood first.
        AttemptCounter.objects.filter(kind=Kind.CHANGING).delete()
        assert page.post("/accounts/email/", {"new_email": f"ann{number}@new.example.org"}).status_code == 302


def change_the_address(ann, **_):
    for number in range(FLOOD):
        # As if the mails of all these mailboxes were read by an attacker.
        user = User.objects.get(pk=ann.pk)
        user.new_email = f"ann{number}@new.example.org"
        email_addresses.set_confirmed_address(user)


def notify_of(notice, **context):
    """Returns a flood of this notice."""

    def work(ann, **_):
        for _number in range(FLOOD):
            ann.notify(notice, **context)

    work.__name__ = notice
    return work


FLOODS = {
    connect_clients: "A new app was connected to your account",
    sign_in_on_new_devices: "A new device signed in to your account",
    use_tokens_twice: "We signed out one of your apps",
    change_the_password: "Your password was changed",
    reset_the_password: "Your password was changed",
    ask_for_addresses: "A change of your e-mail address was requested",
    change_the_address: "Your e-mail address was changed",
    notify_of("api_key_made", client="report", scopes="read"): "An API key was created for your account",
    notify_of("factor_added", factor="passkey"): "A second factor was added to your account",
    notify_of("factor_removed", factor="passkey"): "A second factor was removed from your account",
    notify_of("factor_disabled"): "A second factor of your account was disabled",
    notify_of("recovery_codes_made"): "New recovery codes were created",
    notify_of("recovery_code_used", left=3): "A recovery code was used",
    notify_of("password_known"): "Someone knows your password",
    notify_of("passkey_counter"): "Check the passkeys of your account",
    notify_of("device_proof_failed", client="Firefox"): "Someone may have copied the cookies of your browser",
    notify_of("username_changed"): "Your username was changed",
    notify_of("signed_in_as", is_read_only=True): "A staff member signed in to your account",
    notify_of("account_connected", provider="Acme"): "An account of another site was connected to yours",
    notify_of("account_disconnected", provider="Acme"): "An account of another site was disconnected from yours",
    notify_of("account_deleted", is_by_another=False): "Your account was deleted",
}


@pytest.fixture
def flood(ann, browser_of, client_of, password, mails_of, settings):
    settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {"DEFAULT_THROTTLE_RATES": {"tokens": None, "accounts": None}}

    def run(work):
        user = User.objects.get(pk=ann.pk)
        return mails_of(lambda: work(ann=user, browser_of=browser_of, client_of=client_of, password=password))

    return run


@pytest.mark.parametrize(("work", "subject"), FLOODS.items())
def test_a_flood_sends_some_notices_and_one_summary(clock, flood, work, subject):
    sent = subjects(flood(work))
    assert MOST <= sent.count(subject) <= MOST + 1
    assert sent.count(SUMMARY) == 1


@pytest.mark.parametrize(("work", "subject"), FLOODS.items())
def test_an_unconfirmed_address_gets_no_notices(ann, flood, work, subject):
    User.objects.filter(pk=ann.pk).update(email_confirmed_at=None)
    sent = subjects(flood(work))
    if work is reset_the_password:
        # The link of a reset confirms the address.
        assert sent.count(subject) <= MOST + 1
        return
    if work is change_the_address:
        # From the second change on, the old address is a confirmed one.
        sent.remove(subject)
        assert sent.count(subject) <= MOST
        return
    assert set(sent) <= {"Confirm your e-mail address"}


def test_every_notice_has_a_flood_test():
    said = {notice.template for notice in notices.NOTICES.values()}
    floods = {work.__name__ for work in FLOODS}
    assert said - floods == {"new_device", "token_reused", "password_changed", "email_change_asked", "email_changed"}


def test_an_unconfirmed_account_sends_no_notices(browser, mails_of, password):
    page = browser()
    sign_up = {"username": "carol", "email": "victim@example.org", "password1": password}
    [confirm] = mails_of(lambda: page.post("/accounts/signup/", sign_up))
    assert confirm.subject == "Confirm your e-mail address"
    assert mails_of(lambda: [connect(page, f"win at evil.example/{number}") for number in range(30)]) == []


# Paused sign-in

PAUSED = "Sign-in to your account is paused"
# With 11 wrong passwords the next guess from an address waits for a minute.
GUESSES_OF_A_MINUTE = 11


def guess(clock, name="ann", number=GUESSES_OF_A_MINUTE, client=None, **headers):
    """Guesses passwords, and waits before each as long as it has to. Returns the answer to the last guess."""
    client = client or ApiClient()
    for _number in range(number):
        answer = client.post("/api/token/", {"username": name, "password": "a wrong password"}, **headers)
        assert answer.status_code == 401
        clock.shift(timedelta(minutes=2))
    return answer


def test_the_owner_is_mailed_that_sign_in_is_paused(clock, ann, mails_of):
    [mail] = mails_of(lambda: guess(clock, REMOTE_ADDR="192.0.2.7", headers={"user-agent": "curl/8.9.1"}))
    assert (mail.subject, mail.to) == (PAUSED, ["ann@example.org"])
    assert "IP address: 192.0.2.7" in mail.body
    assert "Device: curl" in mail.body
    assert "where you signed in before, you can still sign in" in mail.body
    assert "https://testserver/accounts/password_reset/" in mail.body


def test_a_few_typing_errors_send_no_mail(clock, ann, mails_of):
    assert mails_of(lambda: guess(clock, number=GUESSES_OF_A_MINUTE - 1)) == []


def test_guesses_from_many_addresses_send_one_mail(clock, ann, mails_of):
    def work():
        for number in range(26):
            guess(clock, number=1, REMOTE_ADDR=f"192.0.2.{number}")

    assert subjects(mails_of(work)) == [PAUSED]


def test_a_paused_sign_in_is_mailed_once_a_day(clock, ann, mails_of):
    assert subjects(mails_of(lambda: guess(clock))) == [PAUSED]
    assert mails_of(lambda: guess(clock, REMOTE_ADDR="192.0.2.9")) == []
    clock.shift(timedelta(days=1))
    assert subjects(mails_of(lambda: guess(clock))) == [PAUSED]


@pytest.mark.parametrize(
    "change",
    [{"email_confirmed_at": None}, {"is_active": False}, {"is_service": True}, {"delete_after": "2999-01-01T00:00Z"}],
)
def test_a_pause_is_not_mailed_to_other_accounts(clock, ann, mails_of, change):
    User.objects.filter(pk=ann.pk).update(**change)
    assert mails_of(lambda: guess(clock)) == []


def test_a_pause_shows_no_difference_to_the_guesser(clock, ann, django_capture_on_commit_callbacks):
    """The statements, and the answers, for an account and for a name without one."""

    def last_guess(name):
        guess(clock, name, GUESSES_OF_A_MINUTE - 1)
        with CaptureQueriesContext(connection) as captured, django_capture_on_commit_callbacks(execute=True):
            answer = guess(clock, name, 1)
        return [each["sql"].split()[0] for each in captured], answer.json()

    assert last_guess("ann") == last_guess("nobody")


def test_a_mail_about_a_pause_counts_as_a_notice(clock, ann, flood, mails_of):
    flood(connect_clients)
    assert mails_of(lambda: guess(clock, number=5)) == []


def test_wrong_passwords_of_the_signed_in_user_are_mailed(clock, ann, browser_of, mails_of):
    page = browser_of(ann)

    def work():
        for _number in range(GUESSES_OF_A_MINUTE):
            page.post("/accounts/confirm/", {"password": "a wrong password"})
            clock.shift(timedelta(minutes=2))

    [mail] = mails_of(work)
    assert mail.subject == PAUSED
    assert "where you signed in before" not in mail.body


# Limits by kind, account and mailbox


def test_a_flood_of_clients_does_not_suppress_other_notices(ann, flood, client_of, password, mails_of):
    flood(connect_clients)

    def theft():
        client = client_of(ann)
        stolen = client.refresh
        client.renew()
        client.renew()
        ApiClient().post("/api/token/refresh/", {"refresh": stolen})

    assert "We signed out one of your apps" in subjects(mails_of(theft))
    user = User.objects.get(pk=ann.pk)
    assert "Your password was changed" in subjects(
        mails_of(lambda: passwords.change(user, "another passphrase at dawn"))
    )


def test_the_count_restarts_after_an_hour(clock, flood):
    flood(connect_clients)
    clock.shift(timedelta(minutes=30))
    assert flood(connect_clients) == []
    clock.shift(timedelta(minutes=31))
    sent = subjects(flood(connect_clients))
    assert (len(sent) - sent.count(SUMMARY), sent.count(SUMMARY)) == (MOST, 1)


def test_the_summary_counts_the_events(flood):
    [summary] = [mail for mail in flood(connect_clients) if mail.subject == SUMMARY]
    signed_in = re.search(r"^Signed in: (\d+)$", summary.body, re.MULTILINE)
    assert int(signed_in.group(1)) > MOST
    assert "https://testserver/accounts/activity/" in summary.body
    assert "script" not in summary.body


def test_two_accounts_do_not_share_their_counts(ann, bob, browser_of, mails_of, flood):
    flood(connect_clients)
    assert len(mails_of(lambda: connect(browser_of(bob), "script"))) == 1


def test_accounts_of_one_mailbox_share_a_count(ann, bob, flood, browser_of, mails_of):
    """Two accounts whose addresses are the same mailbox."""
    flood(connect_clients)
    AttemptCounter.objects.filter(kind__in=[Kind.NOTIFYING, Kind.SUMMARY]).delete()
    User.objects.filter(pk=ann.pk).update(email="annabel@example.org")
    User.objects.filter(pk=bob.pk).update(email="Ann@Example.org")
    assert "A new app was connected to your account" not in subjects(
        mails_of(lambda: connect(browser_of(User.objects.get(pk=bob.pk)), "script"))
    )


def test_a_rolled_back_notice_is_not_counted(ann, client_of, mails_of):
    client_of(ann)
    assert not AttemptCounter.objects.filter(kind=Kind.NOTIFYING).exists()


def test_unsent_notices_do_not_lock_out_the_user(ann, flood, browser_of):
    flood(connect_clients)
    assert browser_of(ann).get("/accounts/profile/").status_code == 200
    assert not AttemptCounter.objects.of(ann).locked_out().exists()


def test_events_without_a_mail_are_on_the_activity_page(ann, flood, browser_of):
    flood(connect_clients)
    clients = SecurityEvent.objects.filter(user=ann, type="signed_in", details__kind=SignIn.Kind.CLIENT)
    assert clients.count() == FLOOD


# Text from clients

BAIT = [
    "https://evil.example/win",
    "evil.example.org",
    "www.evil.example",
    "Visit evil.example now",
    "bücher.example",
    "mallory@evil.example",
    "evil。example",
    "call 0800 123 456 78",
    "tel:+49301234567",
    "javascript:alert(1)",
    "x\u200bhttps\u200b://evil.example",
    "\u200fexample.live",
    "evil\u2024example",
    "[click](evil.example)",
    "//evil.example",
    "evil.example:8000",
    "a.co",
]


@pytest.mark.parametrize("bait", BAIT)
def test_a_client_name_that_becomes_a_link_is_not_mailed(browser_of, ann, mails_of, bait):
    page = browser_of(ann)
    mails = mails_of(lambda: page.post("/accounts/clients/new/", {"name": bait}))
    for mail in mails:
        assert not LINKS.search(own_words(mail)), mail.body
        assert "evil" not in mail.body
        assert "evil" not in mail.alternatives[0][0]


@pytest.mark.parametrize(
    "bait", ["https://evil.example/win", "evil.example/2", "www.evil.example", "call-08001234567/1"]
)
def test_a_device_name_that_becomes_a_link_is_not_mailed(ann, mails_of, password, bait):
    body = {"username": ann.username, "password": password}
    ApiClient().post("/api/token/", body, headers={"user-agent": AGENT})
    [mail] = mails_of(lambda: ApiClient().post("/api/token/", body, headers={"user-agent": bait}))
    assert not LINKS.search(own_words(mail)), mail.body


@pytest.mark.parametrize(
    "bait", ["evil.example.org", "mallory@evil.example", "www.evil.example", "0800-123-456-78", "v" * 150]
)
@pytest.mark.parametrize("path", ["/accounts/signup/", "/accounts/password_reset/"])
def test_a_username_that_becomes_a_link_is_not_mailed(mails_of, password, bait, path):
    # A username that looks like an address must be the account's own address.
    email = bait if "@" in bait else "victim@example.org"
    sign_up = {"username": bait, "email": email, "password1": password}
    page = Browser()
    mails = mails_of(lambda: page.post("/accounts/signup/", sign_up))
    if path != "/accounts/signup/":
        mails = mails_of(lambda: Browser().post(path, {"email": email}))
    [mail] = mails
    assert bait not in mail.body
    assert mail.body.splitlines()[0] == "Hello,"
    assert not LINKS.search(own_words(mail)), mail.body


@pytest.mark.parametrize("new", ['"https://evil.example/x"@new.example.org', "www.evil.example/x@new.example.org"])
def test_a_new_address_that_reads_as_a_link_is_not_mailed(browser_of, ann, mails_of, new):
    mails = mails_of(lambda: browser_of(ann).post("/accounts/email/", {"new_email": new}))
    for mail in mails:
        assert "evil" not in mail.body


@pytest.mark.parametrize(
    "name", ["backup script", "Ann's phone", "web-1", "Büro (oben)", "your-app/2.1", "CI, nightly"]
)
def test_a_plain_client_name_is_mailed(browser_of, ann, mails_of, name):
    [mail] = mails_of(lambda: browser_of(ann).post("/accounts/clients/new/", {"name": name}))
    assert f'"{name}"' in mail.body


@pytest.mark.parametrize("device", ["Firefox on Windows", "Safari on iOS", "curl", "your-app/2.1 on iOS", "curl/8.9.1"])
def test_a_plain_device_name_is_mailed(device):
    assert plain_words.words(device) == device


@pytest.mark.parametrize("bad", ["a\u200fb", "a\u061cb", "a\u2060b", "a\ufeffb", "a\u206ab", "a\u00adb", "a\u200bb"])
def test_a_name_with_invisible_characters_is_refused(browser_of, ann, bad):
    answer = browser_of(ann).post("/accounts/clients/new/", {"name": bad})
    assert "Control characters are not allowed." in answer.content.decode()
    assert not SignIn.objects.filter(kind=SignIn.Kind.CLIENT).exists()


@pytest.mark.parametrize("fine", ["👩‍💻 laptop", "نامه‌ها"])
def test_a_joiner_inside_of_words_and_emoji_is_accepted(browser_of, ann, fine):
    assert browser_of(ann).post("/accounts/clients/new/", {"name": fine}).status_code == 200
    assert SignIn.objects.filter(name=fine).exists()
