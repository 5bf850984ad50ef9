"""The page for developers: clients of the user, examples that work, and links to the documentation."""

import re
from html import unescape

import pytest

from accounts.models import SignIn
from tests.conftest import claims_of

pytestmark = pytest.mark.django_db

PAGE = "/accounts/developer/"


@pytest.fixture
def here(browser_of, ann):
    return browser_of(ann)


def content(browser):
    return browser.get(PAGE).content.decode()


def test_a_visitor_signs_in_first(browser):
    assert browser().get(PAGE).headers["Location"] == f"/accounts/login/?next={PAGE}"


def test_without_a_client_the_page_offers_to_connect_one(here):
    page = content(here)
    assert "No app uses your account." in page
    assert '<a class="button" href="/accounts/clients/new/">' in page


def test_the_clients_that_were_used_last_are_listed(here, client_of, ann, bob):
    for number in range(6):
        client = client_of(ann)
        SignIn.objects.filter(pk=claims_of(client.access)["sid"]).update(name=f"script {number}")
    client_of(bob)
    page = content(here)
    assert re.findall(r"script \d", page) == [f"script {number}" for number in (5, 4, 3, 2, 1)]
    assert '<a href="/accounts/sign-ins/?kind=client">All 6 apps</a>' in page


def test_ended_clients_are_not_listed(here, hers):
    SignIn.objects.filter(kind="client").update(name="old script")
    SignIn.objects.get(kind="client").end(SignIn.Reason.ENDED_BY_USER)
    assert "old script" not in content(here)


@pytest.mark.parametrize("path", ["/api/me/", "/api/token/refresh/", "/api/token/blacklist/"])
def test_the_examples_call_endpoints_of_this_site(here, hers, path):
    examples = [unescape(each) for each in re.findall(r"<code>(curl .*?)</code>", content(here), re.DOTALL)]
    assert len([each for each in examples if each.startswith(f"curl https://testserver{path} ")]) == 1
    data = None if path == "/api/me/" else {"refresh": hers.refresh}
    assert (hers.get(path) if data is None else hers.post(path, data)).status_code == 200


def test_the_page_links_to_the_documentation(here):
    page = content(here)
    assert '<a href="/api/docs/">' in page
    assert '<a href="/api/schema/">' in page


def test_the_page_names_the_readme_of_the_source(settings, here):
    assert "api/README.md" not in content(here)
    settings.SOURCE_URL = "https://git.example.org/wristband"
    assert '<a href="https://git.example.org/wristband">Source code</a>, <code>api/README.md</code>' in content(here)


def test_the_page_takes_four_statements(here, client_of, ann, django_assert_num_queries):
    for _ in range(3):
        client_of(ann)
    # The session, the clients, the keys, their numbers.
    with django_assert_num_queries(4):
        here.get(PAGE)
