"""/compare/ is installed only with DEMO, and production code does not import tests."""

import ast
import json
import os
import subprocess
import sys

import pytest
from django.conf import settings

pytestmark = pytest.mark.django_db


def test_production_code_does_not_import_tests():
    """Only `start --fleet` imports from tests, when it runs."""
    found = {
        (path.relative_to(settings.BASE_DIR).as_posix(), node.module or "")
        for app in ("accounts", "api", "project")
        for path in (settings.BASE_DIR / app).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "tests"
    }
    assert {path for path, _module in found} == {"project/management/commands/start.py"}


INSTALLED = """
import json, sys
import django
django.setup()
from django.conf import settings
from django.core.cache import caches
from django.template import engines
from django.test import Client
from django.urls import NoReverseMatch, reverse

def url():
    try:
        return reverse("compare")
    except NoReverseMatch:
        return None

page = Client().get("/health/live", secure=True)
options = settings.CACHES["default"].get("OPTIONS", {})
print(json.dumps({
    "status": page.status_code,
    "url": url(),
    "app": "api.compare" in settings.INSTALLED_APPS,
    "middleware": [each for each in settings.MIDDLEWARE if "compare" in each],
    "pool": caches["default"].client.get_client().connection_pool.__class__.__module__,
    "tags": "compare" in engines["django"].engine.libraries,
    "modules": sorted(each for each in sys.modules if each.startswith("api.compare")) != [],
}))
"""


@pytest.mark.parametrize("cache", ["redis://127.0.0.1:1/0", "redis://master/0"], ids=["Redis", "Sentinel"])
@pytest.mark.parametrize("demo", [True, False])
def test_the_comparison_is_installed_only_with_demo(demo, cache):
    env = {"DEMO": str(demo), "REDIS_URL": cache, "DJANGO_SETTINGS_MODULE": "project.settings"}
    env["REDIS_SENTINELS"] = "redis://127.0.0.1:1" if "master" in cache else ""
    made = subprocess.run(
        [sys.executable, "-c", INSTALLED],
        env=os.environ | env,
        cwd=settings.BASE_DIR,
        stdout=subprocess.PIPE,
        check=True,
    )
    installed = json.loads(made.stdout)
    assert installed.pop("status") == 200
    redis_pool = "redis.sentinel" if env["REDIS_SENTINELS"] else "redis.connection"
    assert installed == {
        "url": "/compare/" if demo else None,
        "app": demo,
        "middleware": ["api.compare.costs.CostMiddleware"] if demo else [],
        "pool": "api.compare.costs" if demo else redis_pool,
        "tags": demo,
        "modules": demo,
    }


@pytest.mark.parametrize("demo", [True, False])
def test_pages_link_to_the_comparison_only_with_demo(browser, settings, urls_without_demo, demo):
    if not demo:
        settings.ROOT_URLCONF = urls_without_demo
    page = browser().get("/")
    assert page.status_code == 200
    assert ("/compare/" in page.content.decode()) is demo
    assert browser(raise_request_exception=False).get("/compare/").status_code == (200 if demo else 404)


def test_without_the_demo_the_first_button_creates_an_account(browser, settings, urls_without_demo):
    settings.ROOT_URLCONF = urls_without_demo
    page = browser().get("/").content.decode()
    assert "Try it, one click" not in page
    assert "wristband or passport" not in page.lower()
    assert '<a class="button large" href="/accounts/signup/">Create an account</a>' in page
