"""Mails: which sign-ins send one, and their contents as text and HTML."""

import re
from datetime import timedelta
from html import unescape

import pytest
from django.db import transaction

from accounts import starting
from accounts.models import SignIn, User

pytestmark = pytest.mark.django_db

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:125.0) Gecko/20100101 Firefox/125.0"
NEWER_FIREFOX = FIREFOX.replace("125", "126")
SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.2 Mobile/15E148 Safari/604.1"
)
NEW_PASSWORD = "a quite different passphrase"


@pytest.fixture
def sign_in(browser, ann, password):
    def on_page(user_agent, address="192.0.2.7"):
        form = {"username": ann.username, "password": password}
        browser().post("/accounts/login/", form, headers={"user-agent": user_agent}, REMOTE_ADDR=address)

    return on_page


@pytest.fixture
def sign_in_client(anonymous, ann, password):
    def on_api(user_agent):
        body = {"username": ann.username, "password": password}
        anonymous.post("/api/token/", body, headers={"user-agent": user_agent})

    return on_api


# A new device


def test_the_first_sign_in_sends_no_mail(sign_in, mails_of):
    assert mails_of(lambda: sign_in(FIREFOX)) == []


def test_a_new_device_sends_a_mail_with_device_address_and_time(sign_in, mails_of):
    sign_in(FIREFOX)
    [mail] = mails_of(lambda: sign_in(SAFARI))
    assert mail.subject == "A new device signed in to your account"
    assert "Safari on iOS" in mail.body
    assert "192.0.2.7" in mail.body
    assert re.search(r"Time: .+ UTC", mail.body)
    assert "https://testserver/accounts/sign-ins/" in mail.body


@pytest.mark.parametrize("again", [FIREFOX, NEWER_FIREFOX])
def test_a_known_device_in_a_newer_version_sends_no_mail(sign_in, mails_of, again):
    sign_in(FIREFOX)
    sign_in(SAFARI)
    assert mails_of(lambda: sign_in(again)) == []


def test_a_device_stays_known_after_its_sign_in_ended(sign_in, mails_of):
    sign_in(FIREFOX)
    sign_in(SAFARI)
    SignIn.objects.end(SignIn.Reason.ENDED_BY_USER)
    assert mails_of(lambda: sign_in(SAFARI)) == []


def test_a_client_with_the_user_agent_of_a_browser_sends_a_mail(sign_in, sign_in_client, mails_of):
    sign_in(FIREFOX)
    assert len(mails_of(lambda: sign_in_client(FIREFOX))) == 1


def test_a_device_known_to_another_user_sends_a_mail(sign_in, browser, bob, password, mails_of):
    sign_in(FIREFOX)
    form = {"username": bob.username, "password": password}
    browser().post("/accounts/login/", form, headers={"user-agent": SAFARI})
    assert len(mails_of(lambda: sign_in(SAFARI))) == 1


def test_without_stored_sign_ins_any_device_sends_a_mail(sign_in, mails_of):
    sign_in(FIREFOX)
    SignIn.objects.all().delete()
    assert len(mails_of(lambda: sign_in(FIREFOX))) == 1


def test_a_connected_client_sends_a_mail_with_its_name(browser_of, ann, mails_of):
    browser = browser_of(ann)
    for name in ["backup script", "another script"]:
        [mail] = mails_of(lambda name=name: browser.post("/accounts/clients/new/", {"name": name}))
        assert mail.subject == "A new app was connected to your account"
        assert name in mail.body


def test_starting_a_sign_in_takes_four_statements(ann, django_assert_num_queries):
    def start():
        return starting.start(User.objects.get(pk=ann.pk), SignIn.Kind.CLIENT, idle_timeout=timedelta(days=1))

    for _ in range(30):
        start()
    # One more statement reads the user, and two are the savepoint.
    with django_assert_num_queries(4 + 1 + 2):
        start()


# A deleted account


def delete_by_page(ann, browser_of, password, **_):
    assert browser_of(ann).post("/accounts/delete/", {"password": password}).status_code == 200


def delete_by_staff(ann, browser_of, staff, **_):
    assert browser_of(staff).post(f"/admin/accounts/user/{ann.pk}/delete/", {"post": "yes"}).status_code == 302


def delete_by_query_set(ann, **_):
    User.objects.filter(pk=ann.pk).delete()


DELETIONS = [delete_by_page, delete_by_staff, delete_by_query_set]


@pytest.fixture
def delete(ann, browser_of, password, staff, mails_of):
    def work(deletion):
        mails = mails_of(lambda: deletion(ann=ann, browser_of=browser_of, password=password, staff=staff))
        assert not User.objects.filter(username="ann").exists()
        return mails

    return work


@pytest.mark.parametrize("deletion", DELETIONS)
def test_a_deleted_account_gets_a_last_mail(delete, deletion):
    [mail] = delete(deletion)
    assert (mail.subject, mail.to) == ("Your account was deleted", ["ann@example.org"])
    assert "This is the last e-mail about it." in mail.body
    assert "Hello ann," in mail.body
    assert "/accounts/" not in mail.body


def test_the_mail_shows_neither_device_nor_address_of_staff(delete):
    [mail] = delete(delete_by_staff)
    assert "Our staff deleted your account." in mail.body
    assert "IP address" not in mail.body
    assert "sue" not in mail.body


@pytest.mark.parametrize("deletion", DELETIONS)
@pytest.mark.parametrize("change", [{"email_confirmed_at": None}, {"delete_after": "2999-01-01T00:00Z"}])
def test_the_deletion_of_other_accounts_sends_no_mail(ann, delete, deletion, change):
    User.objects.filter(pk=ann.pk).update(**change)
    assert delete(deletion) == []


def test_a_deletion_that_is_rolled_back_sends_no_mail(ann, mails_of):
    def work():
        with transaction.atomic():
            User.objects.get(pk=ann.pk).delete()
            transaction.set_rollback(True)

    assert mails_of(work) == []
    assert User.objects.filter(pk=ann.pk).exists()


# Every mail

MAILS = ["confirm", "reset", "changed", "email", "asked", "device", "reuse", "more"]


@pytest.fixture
def letters(sign_in, browser, browser_of, client_of, anonymous, ann, password, mails_of):
    """One mail of each kind, by its template."""

    def asked(path, data):
        return lambda: browser().post(path, data)

    def link(mail):
        return re.search(r"https://testserver(/accounts/\S+/\S+/)", mail.body).group(1)

    def more(page):
        def connect():
            for number in range(12):
                page.post("/accounts/clients/new/", {"name": f"script {number}"})

        return [mail for mail in mails_of(connect) if "last hour" in mail.subject]

    client = client_of(ann)
    used_up = client.refresh
    client.renew()
    client.renew()
    ask_email = {"new_email": "ann@new.example.org"}
    page = browser_of(ann)
    [confirm, note] = sorted(
        mails_of(lambda: page.post("/accounts/email/", ask_email)), key=lambda mail: mail.to[0], reverse=True
    )
    assert (confirm.to, note.to) == (["ann@new.example.org"], ["ann@example.org"])
    return {
        "reuse": mails_of(lambda: anonymous.post("/api/token/refresh/", {"refresh": used_up})),
        "device": mails_of(lambda: sign_in(SAFARI)),
        "confirm": [confirm],
        "asked": [note],
        "email": mails_of(lambda: browser().post(link(confirm))),
        "reset": mails_of(asked("/accounts/password_reset/", {"email": "ann@new.example.org"})),
        "changed": mails_of(
            lambda: page.post(
                "/accounts/password_change/",
                {"old_password": password, "new_password1": NEW_PASSWORD},
            )
        ),
        "more": more(page),
    }


@pytest.mark.parametrize("kind", MAILS)
def test_every_mail_is_text_and_html(letters, kind):
    [mail] = letters[kind]
    [(html, mimetype)] = mail.alternatives
    assert mimetype == "text/html"
    assert "<script" not in html
    assert mail.subject in html
    assert "Hello ann," in mail.body
    assert "Hello ann," in html


@pytest.mark.parametrize("kind", MAILS)
def test_every_mail_has_its_own_link(letters, kind):
    [mail] = letters[kind]
    [link] = re.findall(r"^https://testserver/\S+$", mail.body, re.MULTILINE)
    assert f'href="{link}"' in mail.alternatives[0][0]


@pytest.mark.parametrize("kind", MAILS)
def test_no_mail_contains_a_gap_or_a_template_tag(letters, kind):
    [mail] = letters[kind]
    assert "\n\n\n" not in mail.body
    assert not re.search(r"[{}%]", mail.body)


@pytest.mark.parametrize("kind", MAILS)
def test_no_mail_server_replies_to_a_mail(letters, kind):
    [mail] = letters[kind]
    assert mail.message()["Auto-Submitted"] == "auto-generated"
    assert mail.message()["From"] == "Wristband & Passport <noreply@localhost>"


@pytest.mark.parametrize("kind", MAILS)
def test_the_first_line_of_a_mail_says_what_happened(letters, kind):
    [mail] = letters[kind]
    html = mail.alternatives[0][0]
    preheader = unescape(re.search(r"<body[^>]*>\s*<div style=\"display: none[^>]*>(.*?)</div>", html, re.DOTALL)[1])
    assert preheader.split(" · ")[0] in mail.body
    assert len(preheader) > 40
    assert "://" not in preheader


@pytest.mark.parametrize("kind", MAILS)
def test_the_footer_of_a_mail_has_reason_account_and_site(letters, kind):
    [mail] = letters[kind]
    footer = mail.body.partition("\n-- \n")[2]
    assert footer.startswith("You receive this e-mail because")
    assert footer.endswith("Account: ann\nWristband & Passport · testserver\n")
    assert "/accounts/" not in footer
    for line in footer.splitlines():
        assert line in unescape(mail.alternatives[0][0])


@pytest.mark.parametrize("kind", MAILS)
def test_the_link_is_also_text_in_the_html_of_a_mail(letters, kind):
    html = letters[kind][0].alternatives[0][0]
    [button, as_text] = re.findall(r'<a class="\w+" href="([^"]+)"', html)
    assert button == as_text
    assert f">{as_text}</a>" in html


@pytest.mark.parametrize("kind", MAILS)
def test_a_mail_loads_nothing(letters, kind):
    html = letters[kind][0].alternatives[0][0]
    assert not re.search(r"<img|<link|url\(|src=|@import", html)


def test_the_user_agent_is_escaped_in_a_mail(sign_in, mails_of):
    sign_in(FIREFOX)
    [mail] = mails_of(lambda: sign_in("<b>bold</b>"))
    assert "<b>bold" not in mail.alternatives[0][0]


def test_a_mail_is_in_the_language_of_the_request(browser, ann, mails_of):
    form = {"email": ann.email}
    [mail] = mails_of(lambda: browser().post("/accounts/password_reset/", form, headers={"accept-language": "de"}))
    assert '<html lang="de">' in mail.alternatives[0][0]


def test_a_mail_from_a_command_has_no_link_without_a_host(ann, mails_of):
    def change():
        ann.set_password(NEW_PASSWORD)
        ann.save()

    [mail] = mails_of(change)
    assert "/accounts/" not in mail.body
