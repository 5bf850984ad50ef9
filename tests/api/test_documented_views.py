"""The views that accounts/README.md shows to adopters, run unchanged."""

import re
import sys
import types

import pytest
from django.conf import settings
from django.test import override_settings
from django.urls import path

from project.urls import urlpatterns as project_urls
from tests import servers
from tests.conftest import Browser
from tests.second_factors import add_app

pytestmark = pytest.mark.django_db

URLS = "documented_urls"
TEXT = (servers.ROOT / "accounts" / "README.md").read_text()
MODULES = {
    name.split("/")[0]: code for name, code in re.findall(r"^```python\n# (\S+)\n(.*?)^```", TEXT, re.DOTALL | re.M)
}


@pytest.fixture(autouse=True)
def adopter(monkeypatch, tmp_path):
    """The URL conf of a project with these views, and a template."""
    (tmp_path / "payments").mkdir()
    (tmp_path / "payments" / "payment.html").write_text("Pay")
    [engine] = settings.TEMPLATES
    views = {}
    for name, code in MODULES.items():
        module = types.ModuleType(f"documented_{name}")
        exec(compile(code, name, "exec"), module.__dict__)  # noqa: S102
        views |= vars(module)
    urls = types.ModuleType(URLS)
    urls.urlpatterns = [
        path("payments/", views["PaymentPage"].as_view()),
        path("api/payments/", views["PaymentView"].as_view()),
        path("partners/", views["partner_sign_in"]),
        *project_urls,
    ]
    monkeypatch.setitem(sys.modules, URLS, urls)
    templates = [engine | {"DIRS": [tmp_path, *engine["DIRS"]]}]
    with override_settings(ROOT_URLCONF=URLS, TEMPLATES=templates):
        yield


def at_partner(user, password):
    browser = Browser()
    return browser, browser.post("/partners/", {"name": user.username, "password": password})


def test_the_document_has_two_modules():
    assert MODULES.keys() == {"payments", "partners"}


def test_the_permission_asks_for_a_second_factor(hers):
    response = hers.post("/api/payments/")
    assert (response.status_code, response.json()["code"]) == (403, "recent_sign_in_required")


def test_the_permission_accepts_a_second_factor(hers):
    app, _codes = add_app(hers)
    assert hers.post("/api/reauthenticate/", {"code": app.code()}).status_code == 204
    assert hers.post("/api/payments/").json() == {"paid": True}


def test_the_page_leads_a_user_without_a_second_factor_to_add_one(browser_of, ann):
    assert browser_of(ann).get("/payments/").headers["Location"] == "/accounts/security/"


def test_the_page_asks_for_a_second_factor(hers, browser_of, ann):
    browser = browser_of(ann)
    app, _codes = add_app(hers)
    assert browser.get("/payments/").headers["Location"] == "/accounts/confirm/?next=/payments/"
    browser.post("/accounts/confirm/", {"code": app.code(), "next": "/payments/"})
    assert browser.get("/payments/").status_code == 200


def test_the_view_signs_in_a_user_without_a_second_factor(ann, password):
    browser, response = at_partner(ann, password)
    assert response.headers["Location"] == "/accounts/profile/"
    assert browser.get("/accounts/profile/").status_code == 200


def test_the_view_leads_to_the_second_step(hers, ann, password):
    app, _codes = add_app(hers)
    browser, response = at_partner(ann, password)
    assert response.headers["Location"].startswith("/accounts/second-step/")
    assert browser.get("/accounts/profile/").status_code == 302
    browser.post(response.headers["Location"], {"code": app.code()})
    assert browser.get("/accounts/profile/").status_code == 200


def test_the_view_refuses_a_wrong_password(ann):
    assert at_partner(ann, "not the right passphrase")[1].status_code == 403
