"""Links in mails that lead to a browser app (EMAIL_CONFIRM_URL, PASSWORD_RESET_URL), in text and HTML."""

import re
from html import unescape

import pytest

from accounts import passwords
from accounts.models import User

pytestmark = pytest.mark.django_db

APP = "https://app.example.org"
NEW_PASSWORD = "a quite different passphrase"
CAROL = {"username": "carol", "email": "carol@example.com", "password": NEW_PASSWORD}


def html_of(mail):
    [(html, _type)] = mail.alternatives
    return html


@pytest.fixture
def confirmation(settings, anonymous, mails_of):
    """Returns the mail of a sign-up with this EMAIL_CONFIRM_URL."""

    def confirmation(url):
        settings.EMAIL_CONFIRM_URL = url
        [mail] = mails_of(lambda: anonymous.post("/api/register/", CAROL))
        return mail

    return confirmation


def test_a_confirmation_link_leads_to_the_app(confirmation, anonymous):
    mail = confirmation(f"{APP}/#/confirm/{{uid}}/{{token}}")
    uid, token = re.search(rf"^{APP}/#/confirm/([^/\s]+)/([^/\s]+)$", mail.body, re.M).groups()
    assert anonymous.post("/api/email/confirm/", {"uid": uid, "token": token}).status_code == 204
    assert User.objects.get(username="carol").email_confirmed_at is not None


def test_no_link_of_the_mail_leads_to_our_page(confirmation):
    mail = confirmation(f"{APP}/#/confirm/{{uid}}/{{token}}")
    assert "/accounts/email/" not in mail.body + html_of(mail)


def test_a_reset_link_leads_to_the_app(settings, anonymous, ann, mails_of):
    settings.PASSWORD_RESET_URL = f"{APP}/reset?token={{token}}&uid={{uid}}"
    [mail] = mails_of(lambda: anonymous.post("/api/password/reset/", {"email": ann.email}))
    token, uid = re.search(rf"^{APP}/reset\?token=([^&\s]+)&uid=(\S+)$", mail.body, re.M).groups()
    body = {"uid": uid, "token": token, "new_password": NEW_PASSWORD}
    assert anonymous.post("/api/password/reset/confirm/", body).status_code == 204


def test_the_html_of_the_mail_escapes_the_link(confirmation):
    mail = confirmation(f"{APP}/confirm?uid={{uid}}&token={{token}}")
    [href] = set(re.findall(r'href="([^"]+)"', html_of(mail)))
    assert "&amp;token=" in href
    assert unescape(href) in mail.body.splitlines()


def test_a_quote_in_the_url_does_not_end_the_attribute(confirmation):
    mail = confirmation(f"{APP}/'onclick='x'/{{uid}}/{{token}}")
    assert "'onclick" not in html_of(mail)


def test_each_setting_affects_its_own_link_only(settings, anonymous, ann, mails_of):
    settings.EMAIL_CONFIRM_URL = f"{APP}/#/confirm/{{uid}}/{{token}}"
    [mail] = mails_of(lambda: anonymous.post("/api/password/reset/", {"email": ann.email}))
    assert "https://testserver/accounts/reset/" in mail.body


def test_a_command_needs_no_site_url_for_an_app_link(settings, ann, mails_of):
    settings.PASSWORD_RESET_URL = f"{APP}/#/reset/{{uid}}/{{token}}"
    [mail] = mails_of(lambda: passwords.send_reset(ann))
    assert f"{APP}/#/reset/" in mail.body
