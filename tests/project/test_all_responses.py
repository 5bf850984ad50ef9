"""Requirements of all responses: headers, cookies, methods, files, pages and scripts; the log and the start."""

import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from accounts.models import User
from project.logs import Formatter

pytestmark = pytest.mark.django_db

ROOT = Path(__file__).resolve().parent.parent.parent
PUBLIC = ["/", "/accounts/login/", "/accounts/signup/", "/accounts/password_reset/", "/compare/", "/api/docs/"]
PRIVATE = [
    "/accounts/profile/",
    "/accounts/sign-ins/",
    "/accounts/activity/",
    "/accounts/password_change/",
    "/accounts/email/",
    "/accounts/delete/",
    "/accounts/clients/new/",
]
STAFF = ["/admin/", "/admin/accounts/user/"]
API = ["/api/me/", "/api/sign-ins/", "/api/events/", "/api/token/", "/api/schema/", "/health/live"]
NOWHERE = ["/nowhere/", "/api/nowhere/"]
# Responses that caches may store for minutes.
KEPT = {"/.well-known/jwks.json"}
PASSWORD_PAGES = {
    "/accounts/login/": {"username", "password", "keep"},
    "/accounts/signup/": {"username", "email", "password1"},
    "/accounts/password_change/": {"old_password", "new_password1"},
    "/accounts/delete/": {"password"},
    "/accounts/confirm/": {"password"},
    "/accounts/password_reset/": {"email"},
}


def is_html(response):
    return response.headers["Content-Type"].startswith("text/html")


# Headers


@pytest.mark.parametrize("path", [*PUBLIC, *PRIVATE, *STAFF, *API, *NOWHERE, *KEPT])
def test_every_response_has_a_content_type_and_security_headers(browser_of, staff, path):
    response = browser_of(staff).get(path)
    assert response.status_code in {200, 404, 405}
    headers = response.headers
    assert headers["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert {"object-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"} <= set(
        headers["Content-Security-Policy"].split("; ")
    )
    assert is_html(response) == (not path.startswith(("/api/", "/health/", "/.well-known/")) or path == "/api/docs/")
    if is_html(response):
        assert headers["Content-Type"] == "text/html; charset=utf-8"
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    if "Content-Length" in headers:
        assert int(headers["Content-Length"]) == len(response.content)
    assert ("no-store" in headers["Cache-Control"]) == (path not in KEPT)
    assert not {"Server", "X-Powered-By"} & headers.keys()
    assert not re.search(r"django|python|gunicorn|\d+\.\d+\.\d+", str(headers), re.IGNORECASE)


@pytest.mark.parametrize("path", ["/", "/accounts/login/", "/admin/login/", "/compare/"])
def test_a_page_over_http_redirects_to_https(client, settings, path):
    settings.SECURE_SSL_REDIRECT = True
    response = client.get(path)
    assert (response.status_code, response.headers["Location"]) == (301, f"https://testserver{path}")


@pytest.mark.parametrize(
    ("subdomains", "preload", "header"),
    [
        (False, False, "max-age=31536000"),
        (True, False, "max-age=31536000; includeSubDomains"),
        (True, True, "max-age=31536000; includeSubDomains; preload"),
    ],
)
def test_settings_decide_on_subdomains_and_preloading(browser, settings, subdomains, preload, header):
    settings.SECURE_HSTS_INCLUDE_SUBDOMAINS, settings.SECURE_HSTS_PRELOAD = subdomains, preload
    assert browser().get("/accounts/login/").headers["Strict-Transport-Security"] == header


@pytest.mark.parametrize("path", ["/api/me/", "/api/token/", "/api/docs/"])
def test_the_api_refuses_http_without_a_redirect(client, client_of, ann, settings, path):
    settings.SECURE_SSL_REDIRECT = True
    response = client.get(path, headers={"authorization": f"Bearer {client_of(ann).access}"})
    assert (response.status_code, response.json()["code"]) == (403, "https_required")
    assert "Location" not in response.headers


def test_the_api_answers_json_for_any_accept_header(browser_of, ann):
    # Neither the browsable API, which is for development, nor JavaScript.
    response = browser_of(ann).get("/api/me/?callback=steal", headers={"accept": "text/html,*/*"})
    assert response.headers["Content-Type"] == "application/json"
    assert response.json()["username"] == ann.username


# Cookies


def test_every_cookie_is_host_only_secure_and_small(browser, ann, password):
    visitor = browser()
    for path in ["/accounts/login/", "/admin/login/"]:
        visitor.get(path)
    visitor.post("/accounts/language/", {"language": "en"})
    visitor.post("/accounts/theme/", {"theme": "dark"})
    visitor.post("/accounts/login/", {"username": "ann", "password": password, "keep": "on"})
    assert len(visitor.cookies) == 6
    for name, morsel in visitor.cookies.items():
        assert name.startswith("__Host-")
        assert (morsel["secure"], morsel["samesite"], morsel["path"], morsel["domain"]) == (True, "Lax", "/", ""), name
        # Pages of the project read the CSRF cookie by script, and no other cookie.
        assert bool(morsel["httponly"]) == (name != settings.CSRF_COOKIE_NAME), name
        assert len(name) + len(morsel.value) < 4096, name


# Methods


@pytest.mark.parametrize("method", ["TRACE", "OPTIONS", "PUT", "PATCH", "DELETE", "FOO"])
@pytest.mark.parametrize(
    "path", ["/", "/accounts/login/", "/accounts/profile/", "/admin/", "/compare/", "/health/live"]
)
def test_a_page_refuses_unsupported_methods(browser_of, staff, path, method):
    response = browser_of(staff).generic(method, path)
    assert response.status_code == 405
    assert set(response.headers["Allow"].split(", ")) <= {"GET", "HEAD", "POST"}


@pytest.mark.parametrize("path", ["/", "/accounts/profile/", "/admin/", "/api/me/", "/.well-known/jwks.json"])
def test_a_trace_request_is_not_echoed(browser_of, staff, path):
    response = browser_of(staff).trace(path, headers={"x-marker": "echo-me"})
    assert response.status_code == 405
    assert "echo-me" not in response.content.decode() + str(response.headers)


# Files


@pytest.mark.parametrize(
    "path",
    [
        "/.git/config",
        "/.git/HEAD",
        "/.env",
        "/manage.py",
        "/project/settings.py",
        "/requirements.txt",
        "/var/secret_key",
        "/static/",
        "/static/accounts/",
        "/static/../project/settings.py",
        "/static/%2e%2e/%2e%2e/manage.py",
        "/static/..%2f..%2fmanage.py",
        # Private pages under names of files that caches store.
        "/accounts/profile/style.css",
        "/accounts/profile.css",
        "/api/me/x.js",
        "/api/me.json",
    ],
)
def test_only_static_files_are_served(browser_of, ann, path):
    response = browser_of(ann).get(path)
    assert response.status_code == 404
    assert response.headers["Cache-Control"] == "no-store"
    assert ann.email not in response.content.decode()


# Pages


@pytest.mark.parametrize(("path", "asked"), PASSWORD_PAGES.items())
def test_password_fields_are_masked_and_allow_password_managers(browser, browser_of, ann, path, asked):
    page = (browser() if asked & {"username", "email"} else browser_of(ann)).get(path).content.decode()
    form = re.search(r"<main.*</main>", page, re.DOTALL)[0]
    inputs = {re.search(r'name="(\w+)"', tag)[1]: tag for tag in re.findall(r"<input[^>]*name=[^>]*>", form)}
    # No hint and no secret question. The hidden username is for password managers.
    assert inputs.keys() - {"csrfmiddlewaretoken", "next"} in (asked, asked | {"username"})
    for name, tag in inputs.items():
        if "password" in name:
            assert 'type="password"' in tag
            wanted = "new-password" if name[-1] in "12" else "current-password"
            assert f'autocomplete="{wanted}"' in tag
    assert not re.search(r"\son(paste|copy|keydown|drop)=", page)


@pytest.mark.parametrize("path", [*PRIVATE, "/", *STAFF])
def test_every_private_page_has_a_sign_out_button(browser_of, staff, path):
    page = browser_of(staff).get(path).content.decode()
    assert re.search(r'<form[^>]*action="/(accounts|admin)/logout/"|formaction="/(accounts|admin)/logout/"', page)


def test_the_project_creates_no_account():
    assert not User.objects.exists()


# Scripts


def test_scripts_use_no_unsafe_api_and_no_storage():
    scripts = [*ROOT.glob("accounts/static/**/*.js"), *ROOT.glob("api/static/**/*.js")]
    assert scripts
    unsafe = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|document\.cookie"
        r"|\bwindow\.\w+ =|\bvar "
    )
    storage = r"localStorage|sessionStorage|indexedDB|postMessage|onmessage"
    found = [(path.name, each) for path in scripts for each in re.findall(f"{unsafe}|{storage}", path.read_text())]
    # The client of browser apps keeps tokens in token mode, and announces sign-ins to tabs of the same origin.
    of_client = {"indexedDB", "postMessage", "onmessage"}
    assert not [(name, each) for name, each in found if name != "client.js" or each not in of_client]
    # Modules are strict, and ids of elements cannot replace their variables.
    templates = "".join(path.read_text() for path in (ROOT / "templates").glob("**/*.html"))
    ours = re.findall(r"<script[^>]*static '(?:accounts|api)[^>]*>", templates)
    assert ours
    assert all('type="module"' in tag for tag in ours)


# The log


def test_log_lines_cannot_be_forged(browser, caplog):
    visitor = browser()
    visitor.handler.enforce_csrf_checks = True
    visitor.post("/accounts/reset/a%0aforged%1b[2J/b%0dforged/")
    visitor.get("/", headers={"host": "evil\nforged"})
    assert caplog.records
    assert not [each for each in caplog.records if re.search(r"[\x00-\x1f\x7f]", each.getMessage())]


def test_the_log_contains_no_password_token_or_cookie(browser, client_of, browser_of, anonymous, ann, password, caplog):
    caplog.set_level(logging.DEBUG)
    client, page = client_of(ann), browser_of(ann)
    wrong = "not the right passphrase"
    browser().post("/accounts/login/", {"username": wrong, "password": wrong})
    anonymous.post("/api/token/", {"username": "ann", "password": wrong})
    anonymous.post("/api/token/verify/", {"token": client.access[:-4] + "AAAA"})
    browser().get("/api/me/", headers={"authorization": f"Bearer {client.refresh}"})
    page.get("/nowhere/")
    secrets = [password, wrong, client.access, client.refresh, page.cookies[settings.SESSION_COOKIE_NAME].value]
    assert not [secret for secret in secrets if secret in caplog.text]


def test_the_log_and_the_events_use_utc(client_of, ann):
    assert client_of(ann).get("/api/events/").json()["results"][0]["created_at"].endswith("Z")
    record = logging.LogRecord("x", logging.INFO, "", 0, "", (), None)
    record.created = 0.0
    assert json.loads(Formatter().format(record))["time"] == "1970-01-01T00:00:00.000+00:00"


def test_logs_go_to_the_console_only():
    assert {handler["class"] for handler in settings.LOGGING["handlers"].values()} == {"logging.StreamHandler"}


# The start


@pytest.mark.parametrize("key", ["", "secret", "a" * 60, "django-insecure-7Qm2xVr9Lk4TzWc8NfHs3YbJd6PgAu5EeKt1RoXi0"])
def test_a_weak_secret_key_stops_the_start(key):
    run = start(SECRET_KEY=key)
    assert run.returncode != 0
    assert "SECRET_KEY must be set" in run.stderr


def test_a_weak_fallback_key_stops_the_start():
    run = start(SECRET_KEY=settings.SECRET_KEY, SECRET_KEY_FALLBACKS=f"{settings.SECRET_KEY[::-1]},secret")
    assert run.returncode != 0
    assert "SECRET_KEY_FALLBACKS must be as strong" in run.stderr


def test_debug_is_off_by_default():
    assert start(SECRET_KEY=settings.SECRET_KEY).stdout.split() == ["False", "None"]


def test_atomic_requests_stop_the_start():
    code = "import django; from project import settings; {}; django.setup(); print('up')"
    runs = [
        run_alone(code.format(line)) for line in ("pass", "settings.DATABASES['default']['ATOMIC_REQUESTS'] = True")
    ]
    assert [(run.returncode, run.stdout) for run in runs] == [(0, "up\n"), (1, "")]
    assert "ATOMIC_REQUESTS would undo" in runs[1].stderr


def start(**env):
    """Reads the settings in a new process with a minimal environment."""
    return run_alone("from project import settings; print(settings.DEBUG, settings.SECURE_PROXY_SSL_HEADER)", **env)


def run_alone(code, **env):
    env = {
        "ENV_FILE": "",
        "PATH": os.environ["PATH"],
        "DATABASE_URL": "sqlite:///:memory:",
        "SECRET_KEY": settings.SECRET_KEY,
        "DJANGO_SETTINGS_MODULE": "project.settings",
    } | env
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True)
