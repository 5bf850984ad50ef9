"""Fixed addresses for browsers, crawlers and password managers."""

import re
import struct
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders
from django.utils import timezone

pytestmark = pytest.mark.django_db


def test_change_password_redirects_to_the_form(browser_of, ann):
    anns = browser_of(ann)
    response = anns.get("/.well-known/change-password")
    assert (response.status_code, response.headers["Location"]) == (302, "/accounts/password_change/")
    assert anns.get(response.headers["Location"]).status_code == 200


def test_an_unknown_well_known_address_is_not_found(browser):
    path = "/.well-known/resource-that-should-not-exist-whose-status-code-should-not-be-200"
    assert browser().get(path).status_code == 404


def test_the_icon_is_at_its_fixed_address(browser):
    response = browser().get("/favicon.ico")
    assert (response.status_code, response.headers["Location"]) == (302, "/static/accounts/favicon.ico")


def test_robots_txt_excludes_private_paths(browser):
    response = browser().get("/robots.txt")
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/plain")
    lines = response.content.decode().splitlines()
    assert {"User-agent: *", "Disallow: /accounts/", "Disallow: /admin/"} <= set(lines)
    assert "Disallow: /" not in lines


@pytest.mark.parametrize("contact", ["mailto:security@example.org", "https://example.org/report", "tel:+49-30-1234"])
def test_security_txt_has_the_contact_and_a_date_within_a_year(browser, settings, contact):
    settings.SECURITY_CONTACT = contact
    settings.SITE_URL = "https://www.example.org"
    response = browser().get("/.well-known/security.txt")
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    fields = dict(line.split(": ", 1) for line in response.content.decode().splitlines())
    assert fields["Contact"] == contact
    assert timedelta() < datetime.fromisoformat(fields["Expires"]) - timezone.now() < timedelta(days=365)
    assert fields["Canonical"] == "https://www.example.org/.well-known/security.txt"


def test_security_txt_is_not_found_without_a_contact(browser):
    assert browser().get("/.well-known/security.txt").status_code == 404


def test_the_footer_has_the_links_that_settings_name(browser, settings):
    assert "Source code" not in browser().get("/").content.decode()
    settings.SOURCE_URL, settings.SECURITY_CONTACT = "https://git.example.org/wristband", "mailto:security@example.org"
    page = browser().get("/").content.decode()
    assert '<a href="https://git.example.org/wristband">Source code</a>' in page
    assert '<a href="/.well-known/security.txt">Report a vulnerability</a>' in page


def test_the_manifest_names_icons_that_exist(browser):
    response = browser().get("/site.webmanifest")
    assert response.headers["Content-Type"] == "application/manifest+json"
    for icon in response.json()["icons"]:
        width, height = png_size(icon["src"])
        assert icon["sizes"] == f"{width}x{height}"


@pytest.mark.parametrize("address", ["/", "/accounts/login/", "/compare/"])
def test_a_link_preview_has_a_picture_at_an_absolute_url(browser, settings, address):
    settings.SITE_URL = "https://www.example.org"
    page = browser().get(address).content.decode()
    properties = dict(re.findall(r'<meta [^>]*?(?:property|name)="([^"]+)" content="([^"]*)"', page))
    assert properties["twitter:card"] == "summary_large_image"
    assert all(properties[name] for name in ("og:title", "og:description"))
    assert '<meta name="description"' in page
    picture = properties["og:image"].removeprefix("https://www.example.org")
    assert png_size(picture) == (1200, 630)
    assert (properties["og:image:width"], properties["og:image:height"]) == ("1200", "630")


def test_a_link_preview_does_not_contain_the_token_of_a_link(browser):
    page = browser().get("/accounts/reset/MQ/c1u2v3-0123456789abcdef/").content.decode()
    head = page.partition("</head>")[0]
    assert "og:image" in head
    assert "c1u2v3" not in head


def test_the_icons_of_a_page_exist(browser):
    head = browser().get("/").content.decode().partition("</head>")[0]
    icons = re.findall(r'<link rel="(?:icon|apple-touch-icon)" href="/static/([^"]+)"', head)
    assert len(icons) == 2
    assert all(finders.find(icon) for icon in icons)


def png_size(url):
    """Returns the width and height of a static PNG file in pixels (PNG specification, section 11.2.2)."""
    path = finders.find(url.removeprefix("/static/"))
    header = Path(path).read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", header[16:])
