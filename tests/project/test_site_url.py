"""Hosts of links: SITE_URL or the host of the request, never another value of the request."""

import os
import re
import subprocess
import sys

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.urls import get_script_prefix, set_script_prefix

from accounts import passwords, registration
from accounts.models import User
from project.environment import Environment
from tests import servers

pytestmark = pytest.mark.django_db

NEW_PASSWORD = "a quite different passphrase"
SITE = "https://www.example.org:8443"
FORGED = {"host": "testserver:1337"}
URL = re.compile(r"https?://[^\s\"'<]+")


def links_in(mails):
    return {link for each in mails for text in (each.body, each.alternatives[0][0]) for link in URL.findall(text)}


@pytest.fixture
def everything(browser, browser_of, anonymous, client_of, ann, password, mails_of):
    """Returns a function that returns all absolute links of mails and pages, requested with these headers."""

    def send_requests(headers):
        page, client = browser_of(ann), client_of(ann)
        stolen = client.refresh
        client.renew()
        client.renew()
        passwords = {"old_password": password, "new_password1": NEW_PASSWORD}
        sign_up = {"username": "carol", "email": "carol@example.org", "password1": password}
        shown = []

        def work():
            browser().post("/accounts/password_reset/", {"email": ann.email}, headers=headers)
            anonymous.post("/api/password/reset/", {"email": ann.email}, headers=headers)
            browser().post("/accounts/signup/", sign_up, headers=headers)
            page.post("/accounts/email/", {"new_email": "ann@new.example.org"}, headers=headers)
            shown.append(page.post("/accounts/clients/new/", {"name": "script"}, headers=headers).content.decode())
            anonymous.post("/api/token/refresh/", {"refresh": stolen}, headers=headers)
            page.post("/accounts/password_change/", passwords, headers=headers)

        mails = mails_of(work)
        # The new password has cancelled the change of the address, whose link is not sent any more.
        assert len(mails) >= 7
        return links_in(mails) | set(URL.findall(shown[0]))

    return send_requests


@pytest.mark.parametrize("host", ["testserver:1337", "testserver:443", "TESTSERVER:80", "testserver"])
def test_no_link_contains_the_port_of_the_request(everything, host):
    found = everything({"host": host})
    assert {link.split("/")[2].lower() for link in found} == {"testserver"}


def test_every_link_points_to_the_configured_site(everything, settings):
    settings.SITE_URL = SITE
    found = everything(FORGED)
    assert {link[: len(SITE)] for link in found} == {SITE}


def test_in_debug_links_contain_the_port(rf, settings, browser, ann, mails_of):
    settings.DEBUG = True
    answer = mails_of(
        lambda: browser().post("/accounts/password_reset/", {"email": ann.email}, headers={"host": "testserver:8000"})
    )
    assert all(link.startswith("https://testserver:8000/") for link in links_in(answer))


def test_links_contain_the_script_name(browser_of, ann, mails_of):
    page, prefix = browser_of(ann), get_script_prefix()
    # A server sets it before each request.
    set_script_prefix("/app/")
    try:
        mails = mails_of(lambda: page.post("/accounts/clients/new/", {"name": "script"}))
    finally:
        set_script_prefix(prefix)
    assert links_in(mails) == {"https://testserver/app/accounts/sign-ins/"}


# Mails of commands


def test_a_reset_mail_from_a_command_requires_site_url(ann, mails_of):
    def send_requests():
        with pytest.raises(ImproperlyConfigured, match="SITE_URL"):
            passwords.mail_reset_link(ann)

    assert mails_of(send_requests) == []


def test_a_sign_up_without_site_url_leaves_no_account(db, password):
    with pytest.raises(ImproperlyConfigured, match="SITE_URL"):
        registration.sign_up("carol", "carol@example.org", password)
    assert not User.objects.filter(username="carol").exists()


def test_a_reset_mail_from_a_command_links_to_the_site(ann, mails_of, settings):
    settings.SITE_URL = SITE
    [link] = links_in(mails_of(lambda: passwords.send_reset(ann)))
    assert link.startswith(f"{SITE}/accounts/reset/")


def test_in_debug_a_mail_from_a_command_links_to_localhost(ann, mails_of, settings):
    settings.DEBUG = True
    [link] = links_in(mails_of(lambda: passwords.send_reset(ann)))
    assert link.startswith("http://127.0.0.1:8000/accounts/reset/")


def test_a_notice_from_a_command_links_to_the_site(ann, mails_of, settings):
    settings.SITE_URL = SITE
    ann.set_password(NEW_PASSWORD)
    assert links_in(mails_of(ann.save)) == {f"{SITE}/accounts/password_reset/"}


def test_a_notice_without_site_url_has_no_link(ann, mails_of):
    ann.set_password(NEW_PASSWORD)
    mails = mails_of(ann.save)
    assert (len(mails), links_in(mails)) == (1, set())


# Values of SITE_URL


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("", ""),
        ("  ", ""),
        ("https://www.example.org", "https://www.example.org"),
        ("https://www.example.org/", "https://www.example.org"),
        (" https://WWW.Example.org:443 ", "https://www.example.org"),
        ("HTTPS://example.org:8443/", "https://example.org:8443"),
        ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
        ("https://10.0.0.5", "https://10.0.0.5"),
    ],
)
def test_site_url_is_normalised(monkeypatch, given, taken):
    monkeypatch.setenv("SITE_URL", given)
    env = Environment()
    assert env.site_url("SITE_URL", schemes=["https"]) == taken
    env.stop_if_refused()


@pytest.mark.parametrize(
    "bad",
    [
        "www.example.org",
        "//www.example.org",
        "http://www.example.org",
        "ftp://www.example.org",
        "https://",
        "https://www.example.org/app",
        "https://www.example.org?x",
        "https://www.example.org/#x",
        "https://www.example.org:port",
        "https://www.example.org:99999",
        "https://www.example.org:0",
        "https://ann:the-password@www.example.org",
        "https://www.exa mple.org",
        "https://www.example.org\\@evil.example",
        "https://.example.org",
        "https://[::1",
        "https://bücher.example",
        "https://a.example.org,https://b.example.org",
    ],
)
def test_an_invalid_site_url_stops_the_start(monkeypatch, bad):
    monkeypatch.setenv("SITE_URL", bad)
    env = Environment()
    assert env.site_url("SITE_URL", schemes=["https"]) == ""
    with pytest.raises(ImproperlyConfigured, match=r"SITE_URL is .*Expected: https://") as refusal:
        env.stop_if_refused()
    assert "the-password" not in str(refusal.value)


@pytest.mark.parametrize(("debug", "taken"), [("true", "http://127.0.0.1:9000"), ("", "SITE_URL is")])
def test_http_is_accepted_in_debug_only(debug, taken):
    environment = {"SITE_URL": "http://127.0.0.1:9000", "DEBUG": debug}
    shown = subprocess.run(
        [sys.executable, "-c", "from project import settings; print(settings.SITE_URL)"],
        cwd=servers.ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ).stdout
    assert taken in shown
