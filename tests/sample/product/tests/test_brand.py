"""A walk over pages, mails, answers of the API and the admin: none of them has the name of the project."""

import base64
import json
import re
from email.utils import parseaddr
from urllib.parse import quote

import pytest
from django.conf import settings
from django.urls import NoReverseMatch, get_resolver, reverse
from django.utils.html import escape

from accounts.models import QueuedMail
from accounts.notices import NOTICES
from tests.conftest import claims_of, send_mails

OLD_NAME = re.compile("wristband|passport|Festivalbändchen|Reisepass", re.IGNORECASE)
# Links and forms of pages, as far as they lead to other pages of this site.
LINK = re.compile(r'<(?:a|form)[^>]* (?:href|action)="(/[^"#]*)', re.IGNORECASE)
# Where a visit would change something, or end the walk.
LEFT_OUT = re.compile(r"/(logout|jsi18n|r)/|/static/")
PAGES = 150
# What the sign-up of the product requires. A form without the field ignores it.
COMPANY = {"company": "Example Ltd"}
# What the notices of some events contain.
CONTEXT = {
    "account_connected": {"provider": "Example"},
    "account_disconnected": {"provider": "Example"},
    "api_key_made": {"client": "Script", "scopes": "read"},
    "device_proof_failed": {"client": "Browser"},
    "email_change_asked": {"new_address": "ann@example.net"},
    "email_changed": {"new_address": "ann@example.net"},
    "factor_added": {"factor": "passkey"},
    "factor_removed": {"factor": "passkey"},
    "new_device": {"client": "Script", "kind": "client"},
    "recovery_code_used": {"left": 7},
    "token_reused": {"client": "Script"},
}

pytestmark = pytest.mark.django_db(transaction=True)


def old_names_in(response):
    text = response.content.decode(errors="replace") + json.dumps(dict(response.headers))
    return [text[max(0, found.start() - 60) : found.end() + 40] for found in OLD_NAME.finditer(text)]


def walk(browser, *starts):
    """Yields the address and the response of each page that can be reached by links."""
    waiting, known = list(starts), set(starts)
    while waiting and len(known) < PAGES:
        address = waiting.pop(0)
        response = browser.get(address, follow=True)
        yield address, response
        if response.headers["Content-Type"].startswith("text/html"):
            found = {link.replace("&amp;", "&") for link in LINK.findall(response.content.decode())}
            new = sorted(link for link in found - known if not LEFT_OUT.search(link))
            known.update(new)
            waiting += new


def urls_without_arguments():
    names = {name for name in get_resolver().reverse_dict if isinstance(name, str)}
    for name in sorted(names - {"logout"}):
        try:
            yield reverse(name)
        except NoReverseMatch:
            continue


def test_the_settings_are_those_of_the_product():
    assert not OLD_NAME.search(settings.SITE_NAME)
    assert settings.DEMO is False
    assert parseaddr(settings.DEFAULT_FROM_EMAIL)[0] == settings.SITE_NAME


def test_no_page_of_a_visitor_has_the_old_name(browser):
    seen = 0
    for address, response in walk(browser(), "/", *urls_without_arguments(), "/nowhere/", "/admin/"):
        assert old_names_in(response) == [], address
        seen += 1
    assert seen > 20


@pytest.mark.parametrize("language", ["en", "de"])
def test_no_page_of_a_user_or_of_staff_has_the_old_name(browser_of, client_of, staff, ann, language):
    client_of(ann)
    client_of(staff)
    browser = browser_of(staff)
    browser.post("/accounts/language/", {"language": language})
    pages = dict(walk(browser, "/", "/admin/", *urls_without_arguments()))
    assert len(pages) > 60
    assert {address: found for address, page in pages.items() if (found := old_names_in(page))} == {}
    assert f"{escape(settings.SITE_NAME)}:" in pages["/admin/"].content.decode()


def test_without_the_demo_its_page_and_links_are_gone(browser):
    assert browser().get("/compare/").status_code == 404
    assert not any("compare" in each for each in (*settings.INSTALLED_APPS, *settings.MIDDLEWARE))


def test_no_answer_of_the_api_has_the_old_name(hers, ann, browser, password):
    paths = list(hers.get("/api/schema/", headers={"accept": "application/json"}).json()["paths"])
    assert len(paths) > 30
    for path in ["/api/schema/", "/api/docs/", "/.well-known/jwks.json", "/site.webmanifest", "/robots.txt", *paths]:
        for client in (hers, type(hers)()):
            if "sign-ins/{id}" not in path:
                assert old_names_in(client.get(path.replace("{id}", "1"))) == [], path
    tokens = type(hers)().post("/api/token/", {"username": "ann", "password": password})
    assert old_names_in(tokens) == []
    for token in (tokens.json()["access"], tokens.json()["refresh"]):
        assert not OLD_NAME.search(json.dumps(claims_of(token)))
        assert not OLD_NAME.search(base64.b64decode(token.partition(".")[0] + "==").decode())


def test_apps_and_passkeys_show_the_name(hers):
    app = hers.post("/api/factors/totp/").json()
    assert f"issuer={quote(settings.SITE_NAME)}" in app["uri"]
    assert hers.post("/api/factors/passkey/options/").json()["publicKey"]["rp"]["name"] == settings.SITE_NAME


def test_a_password_does_not_consist_of_the_name(anonymous):
    body = COMPANY | {"username": "carol", "email": "carol@example.org"}
    answer = anonymous.post("/api/register/", body | {"password": " ".join([settings.SITE_NAME.lower()] * 2)})
    assert answer.json().keys() >= {"password"}


def test_no_mail_has_the_old_name(ann, password, browser_of, mailoutbox):
    browser = browser_of(ann)
    browser.post("/accounts/password_reset/", {"email": ann.email})
    browser.post("/accounts/email/", {"new_email": "ann@example.net"})
    # Before the change of the password cancels it.
    send_mails()
    form = {"username": "carol", "email": ann.email, "password1": "quiet copper lantern drifts"}
    type(browser)().post("/accounts/signup/", COMPANY | form)
    new = {"old_password": password, "new_password1": "amber kettle sings by noon"}
    browser.post("/accounts/password_change/", new)
    for name in NOTICES:
        ann.notify(name, **CONTEXT.get(name, {}))
        send_mails()
    assert not QueuedMail.objects.exists()
    assert len(mailoutbox) > len(NOTICES)
    for mail in mailoutbox:
        assert not OLD_NAME.search(str(mail.message())), mail.subject
        [(html, _type)] = mail.alternatives
        assert not OLD_NAME.search(html)
        assert escape(settings.SITE_NAME) in html
        assert settings.BRAND_COLORS[0] in html
        assert settings.SITE_NAME in mail.body


def test_pages_have_the_logo_and_the_style_sheet_of_the_product(browser):
    page = browser().get("/accounts/login/").content.decode()
    assert f'href="/static/{settings.BRAND_CSS}"' in page
    assert page.count(f"/static/{settings.BRAND_LOGO}") == 2
    assert not re.search(r"favicon\.svg|apple-touch-icon|card\.png", page)
    icons = browser().get("/site.webmanifest").json()["icons"]
    assert [icon["src"] for icon in icons] == [f"/static/{settings.BRAND_LOGO}"]
