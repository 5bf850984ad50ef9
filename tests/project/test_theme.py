"""The choice of the theme: the cookie, the attribute of the pages, and values that are no theme."""

import pytest
from django.conf import settings

pytestmark = pytest.mark.django_db

DARK = '<meta name="color-scheme" content="dark">'


def theme_in(response):
    content = response.content.decode()
    return content.partition('data-theme="')[2].partition('"')[0]


def choose(browser, theme, **data):
    return browser.post("/accounts/theme/", {"theme": theme, **data})


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("address", ["/", "/accounts/login/", "/nowhere/"])
def test_every_page_has_the_chosen_theme(browser, theme, address):
    visitor = browser()
    choose(visitor, theme)
    page = visitor.get(address)
    assert theme_in(page) == theme
    assert f'<meta name="color-scheme" content="{theme}">' in page.content.decode()
    assert "Cookie" in page.headers["Vary"]


def test_pages_follow_the_system_by_default_and_on_request(browser):
    visitor = browser()
    assert theme_in(visitor.get("/")) == ""
    choose(visitor, "dark")
    choose(visitor, "system")
    page = visitor.get("/")
    assert theme_in(page) == ""
    assert '<meta name="color-scheme" content="light dark">' in page.content.decode()


def test_the_page_of_a_server_error_has_the_chosen_theme(browser, settings):
    settings.ROOT_URLCONF = "tests.project.test_error_pages"
    visitor = browser(raise_request_exception=False)
    choose(visitor, "dark")
    page = visitor.get("/broken/")
    assert (page.status_code, theme_in(page)) == (500, "dark")
    assert "Cookie" in page.headers["Vary"]


@pytest.mark.parametrize("theme", ["", "Dark", "blue", '"><script>', "dark\n", "x" * 5000])
def test_an_unknown_theme_is_refused(browser, theme):
    visitor = browser()
    response = choose(visitor, theme)
    assert response.status_code == 400
    assert settings.THEME_COOKIE_NAME not in visitor.cookies


@pytest.mark.parametrize("value", ["", "blue", '"><script>alert(1)</script>'])
def test_a_cookie_that_is_no_theme_is_ignored(browser, value):
    visitor = browser()
    visitor.cookies[settings.THEME_COOKIE_NAME] = value
    page = visitor.get("/")
    assert (page.status_code, theme_in(page)) == (200, "")
    assert "alert(1)" not in page.content.decode()


@pytest.mark.parametrize(
    ("following", "location"),
    [
        ("/accounts/login/?next=/compare/", "/accounts/login/?next=/compare/"),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("/\\evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("", "/"),
        # Not the name of a URL.
        ("profile", "profile"),
    ],
)
def test_the_choice_returns_to_a_page_of_this_site(browser, following, location):
    response = choose(browser(), "dark", next=following)
    assert (response.status_code, response.headers["Location"]) == (302, location)


def test_the_choice_without_a_page_returns_to_the_referring_one(browser):
    form = {"theme": "dark"}
    response = browser().post("/accounts/theme/", form, headers={"referer": "https://testserver/accounts/login/"})
    assert response.headers["Location"] == "https://testserver/accounts/login/"


def test_only_a_form_of_this_site_changes_the_theme(browser):
    visitor = browser(enforce_csrf_checks=True)
    assert choose(visitor, "dark").status_code == 403
    assert visitor.get("/accounts/theme/?theme=dark").status_code == 405
    assert settings.THEME_COOKIE_NAME not in visitor.cookies
