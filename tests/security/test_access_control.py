"""Mass assignment, rows of other users, and manipulated URLs, methods and hosts."""

import datetime
import itertools
import re
import uuid

import pytest
from django.conf import settings
from django.db import models

from accounts.models import AuthenticatorApp, RecoveryCodeSet, SecurityEvent, SignIn, User
from tests.conftest import Browser, bearer
from tests.second_factors import add_app
from tests.security.urls import all_rows, all_urls

pytestmark = pytest.mark.django_db

NEW_PASSWORD = "a quite different passphrase"
EVIL = "evil.example"


# Mass assignment


def a_value_for(field):
    """Returns a value of the right type that differs from the stored one."""
    values = {
        models.BooleanField: True,
        models.DateTimeField: "2001-01-01T00:00:00Z",
        models.DurationField: "P999D",
        models.UUIDField: str(uuid.uuid4()),
        models.EmailField: "eve@evil.example",
        models.ForeignKey: 1,
        models.ManyToManyField: [1],
        models.GenericIPAddressField: "192.0.2.66",
        models.JSONField: {},
    }
    for kind, value in values.items():
        if isinstance(field, kind):
            return value
    return 1 if isinstance(field, models.IntegerField) else "evil"


def everything(*models_of):
    """Returns a value for every field, by its name and by its column; new fields are included."""
    fields = [field for model in models_of for field in (*model._meta.fields, *model._meta.many_to_many)]
    made = {name: a_value_for(field) for field in fields for name in (field.name, field.attname)}
    return made | {
        "pk": 1,
        "user": 1,
        "sid": str(uuid.uuid4()),
        "is_active": False,
        "kind": "browser",
        "raw_password": "x",
    }


def changes_of(before, after):
    """Returns by model the changed columns of rows that existed before."""
    changed = {}
    for model, rows in after.items():
        old = {row.get("id", row.get("session_key")): row for row in before[model]}
        for row in rows:
            was = old.get(row.get("id", row.get("session_key")))
            changed.setdefault(model, set()).update(name for name in row if was and row[name] != was[name])
    return {model: names for model, names in changed.items() if names}


def json_of(client, method, path, **wanted):
    return client.request(method, path, everything(User, SignIn) | wanted)


def test_a_profile_form_changes_only_names(hers, browser_of, ann):
    browser = browser_of(ann)
    before = all_rows()
    assert json_of(hers, "PATCH", "/api/me/", first_name="Zoe", last_name="Lee").status_code == 200
    assert changes_of(before, all_rows()) == {"accounts.User": {"first_name", "last_name"}}
    before = all_rows()
    form = everything(User, SignIn) | {"first_name": "Eve", "last_name": "Day"}
    assert browser.post("/accounts/profile/", form).status_code == 302
    changed = changes_of(before, all_rows())
    assert changed["accounts.User"] == {"first_name", "last_name"}
    assert changed.keys() <= {"accounts.User", "accounts.Session"}


def test_a_connect_form_sets_only_the_name_of_the_client(hers, browser_of, ann):
    browser = browser_of(ann)
    client, before = SignIn.objects.get(kind="client"), all_rows()
    form = everything(SignIn) | {"name": "phone"}
    assert browser.post(f"/accounts/sign-ins/{client.pk}/name/", form).status_code == 302
    assert changes_of(before, all_rows())["accounts.SignIn"] == {"name"}
    assert browser.post("/accounts/clients/new/", form).status_code == 200
    made = SignIn.objects.exclude(pk__in=[row["id"] for row in before["accounts.SignIn"]]).get()
    assert (made.user, made.kind, made.name, made.ended_at) == (ann, "client", "phone", None)
    assert made.idle_timeout == settings.REFRESH_TOKEN
    assert made.audience == made.key_thumbprint == ""
    assert made.expires_at - made.created_at <= settings.REFRESH_TOKEN


@pytest.mark.parametrize("door", ["/api/token/", "/accounts/login/", "/admin/login/"])
def test_extra_fields_do_not_change_a_sign_in(door, browser, anonymous, staff, password):
    given = everything(User, SignIn) | {"username": staff.username, "password": password}
    for name in ("audience", "keep"):
        given.pop(name, None)
    if door == "/api/token/":
        assert anonymous.post(door, given).status_code == 200
    else:
        assert browser().post(door, given).status_code == 302
    made = SignIn.objects.get()
    assert (made.user, made.name, made.key_thumbprint, made.audience, made.ended_at) == (staff, "", "", "", None)
    assert made.idle_timeout == (settings.REFRESH_TOKEN if door == "/api/token/" else settings.BROWSER_IDLE_TIMEOUT)
    assert abs(made.created_at - made.authenticated_at) < datetime.timedelta(seconds=1)


@pytest.mark.parametrize("door", ["/api/register/", "/accounts/signup/"])
def test_a_sign_up_creates_an_ordinary_user(door, browser, anonymous, ann):
    before = all_rows()
    given = everything(User, SignIn) | {"username": "carol", "email": "carol@example.org", "password": NEW_PASSWORD}
    given |= {"id": ann.pk, "password1": NEW_PASSWORD}
    if door == "/api/register/":
        assert anonymous.post(door, given).status_code == 201
    else:
        assert browser().post(door, given).status_code == 302
    made = User.objects.get(username="carol")
    plain = User(username="carol", email="carol@example.org")
    assert made.pk != ann.pk
    of_making = {"id", "password", "last_login", "date_joined", "unused_since"}
    for field in User._meta.fields:
        if field.name not in of_making:
            assert getattr(made, field.name) == getattr(plain, field.name), field.name
    assert made.date_joined.year > 2020
    assert made.unused_since.year > 2020
    assert not made.groups.exists()
    assert not made.user_permissions.exists()
    assert changes_of(before, all_rows()) == {}


def test_a_password_form_changes_only_the_password(hers, ann, password):
    before = all_rows()
    wanted = {"old_password": password, "new_password": NEW_PASSWORD}
    assert json_of(hers, "POST", "/api/password/change/", **wanted).status_code == 204
    changed = changes_of(before, all_rows())
    assert changed.pop("accounts.AttemptCounter", set()) <= {"count", "until", "since"}
    assert changed == {
        "accounts.User": {"password", "generation"},
        "accounts.SignIn": {"auth_hash", "authenticated_at"},
    }


def test_a_requested_address_is_not_set_before_confirmation(browser_of, ann):
    browser, before = browser_of(ann), all_rows()
    form = everything(User) | {"new_email": "ann@example.net"}
    assert browser.post("/accounts/email/", form).status_code == 302
    assert changes_of(before, all_rows())["accounts.User"] == {"new_email"}


# Rows of other users


def test_no_url_with_an_id_returns_another_users_data(browser_of, client_of, ann, bob, hers):
    """URLs come from the URL conf, so that new ones are included."""
    his = client_of(bob)
    add_app(his)
    uuids = [SignIn.objects.get(user=bob).pk, AuthenticatorApp.objects.get().pk, RecoveryCodeSet.objects.get().pk]
    ids = {"uuid": uuids, "int": [SecurityEvent.objects.filter(user=bob).first().pk]}
    browser, before, tried = browser_of(ann), all_rows(), 0
    for place in all_urls():
        if place.parameters.get("pk") not in ids or place.is_admin:
            continue
        tried += 1
        paths = [place.path(pk=pk) for pk in ids[place.parameters["pk"]]]
        for path, method in itertools.product(paths, ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")):
            answers = [browser.generic(method, path, "name=evil", "application/x-www-form-urlencoded")]
            if place.is_api:
                answers.append(hers.request(method, path, {"user": bob.pk}))
            for answer in answers:
                assert answer.status_code in (404, 405), (method, path)
    assert tried >= 7
    assert all_rows() == before
    assert his.get("/api/me/").status_code == 200


def test_the_admin_shows_nothing_to_users_who_are_not_staff(browser_of, hers, ann):
    browser = browser_of(ann)
    for place in all_urls():
        if not place.is_admin or place.route in ("/admin/login/", "/admin/logout/", "/admin/jsi18n/"):
            continue
        for method in ("GET", "POST"):
            for visitor in (browser, Browser()):
                answer = visitor.generic(method, place.path(object_id=ann.pk))
                assert answer.status_code == 302, (place, method)
            # The page accepts no token of any user.
            assert Browser().generic(method, place.path(), headers=bearer(hers.access)).status_code == 302


# URLs


TRICKS = [
    "//accounts/profile/",
    "/accounts//profile/",
    "/accounts/profile//",
    "/accounts/./profile/",
    "/accounts/../accounts/profile/",
    "/accounts/..;/accounts/profile/",
    "/accounts/profile/..;/",
    "/accounts;/profile/",
    "/accounts/profile;jsessionid=1/",
    "/accounts/profile/.css",
    "/accounts/profile/x.css",
    "/accounts/profile/%2e%2e/",
    "/accounts/profile%20/",
    "/accounts/profile%00/",
    "/accounts/profile%0a",
    "/accounts/profile/%0d%0aSet-Cookie:%20a=b",
    "/accounts/profile%ff/",
    "/accounts/%c0%ae%c0%ae/profile/",
    "/ACCOUNTS/PROFILE/",
    "/accounts/profile/%23",
    "/accounts/profile/%3fa",
    "\\accounts\\profile\\",
    "/api/me",
    "/api/me//",
    "/api/me/.json",
    "/api/me.json",
    "/api//me/",
    "/api/./me/",
    "/api/me/..;/me/",
    "/api/%6de/..%2f",
    "/API/me/",
    "https://evil.example/api/me/",
    "https://testserver/api/me/",
    "/static/../accounts/profile/",
    "/static/%2e%2e/manage.py",
    "/static/..%2f..%2fmanage.py",
    "/static/....//manage.py",
    "/.git/config",
    "/.env",
    "/manage.py",
    "/db.sqlite3",
    "/var/secret_key",
    "/health/live/../ready",
]


def test_an_unknown_url_shows_nothing(browser_of, ann):
    """It never redirects to another host, and the response does not echo it."""
    browser = browser_of(ann)
    for path in TRICKS:
        for method in ("GET", "POST", "DELETE"):
            # As a server passes it on, uninterpreted.
            answer = browser.generic(method, "/", headers={"accept": "text/html"}, PATH_INFO=wsgi_path(path))
            assert answer.status_code in (301, 400, 403, 404, 405), (method, path, answer.status_code)
            location = answer.headers.get("Location", "/")
            assert re.match(r"/(?![/\\])", location), (path, location)
            assert b"ann@example.org" not in answer.content
            assert not set(answer.cookies) & {"a"}


ENCODED = ["/accounts%2fprofile/", "/accounts/profile%2f", "/%61ccounts/profile/", "/api%2fme%2f"]


@pytest.mark.parametrize("path", ENCODED)
def test_an_encoded_letter_does_not_bypass_a_check(browser, path):
    answer = browser().generic("GET", "/", PATH_INFO=wsgi_path(path))
    assert answer.status_code == (401 if "api" in path else 302)


def wsgi_path(path):
    """Returns the path percent-decoded as latin-1 (PEP 3333)."""
    return re.sub("%([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), path)


@pytest.mark.parametrize(
    "where", ["//evil.example", "//evil.example/%2e%2e", "/\\evil.example", "/%2fevil.example", "/%5cevil.example"]
)
def test_the_slash_redirect_stays_on_this_host(browser, where):
    answer = browser().generic("GET", "/", PATH_INFO=wsgi_path(where))
    assert answer.status_code in (301, 400, 404)
    assert not answer.headers.get("Location", "/").startswith(("//", "/\\", "http"))


# Methods


def test_only_the_request_line_decides_the_method(browser_of, hers, ann):
    browser = browser_of(ann)
    before = all_rows()
    for header in ("x-http-method-override", "x-http-method", "x-method-override"):
        for method in ("DELETE", "PATCH", "POST", "PUT"):
            sid = SignIn.objects.first().pk
            for path in (
                f"/api/sign-ins/{sid}/",
                "/api/sign-ins/end-all/",
                "/accounts/logout/",
                "/accounts/sign-ins/end-all/",
            ):
                browser.get(f"{path}?_method={method}", headers={header: method})
                hers.get(f"{path}?_method={method}", headers={header: method})
    assert all_rows() == before


@pytest.mark.parametrize("method", ["TRACE", "TRACK", "CONNECT", "DEBUG", "PROPFIND", "FOO", "get", "GET\t"])
def test_no_unusual_method_echoes_the_request(method, browser_of, hers, ann):
    browser, before = browser_of(ann), all_rows()
    for place in all_urls():
        answer = browser.generic(method, place.path(), "secret=echo", headers={"x-secret": "echo-of-a-header"})
        assert answer.status_code < 500, place
        if not answer.streaming:
            assert b"echo-of-a-header" not in answer.content
    assert all_rows()["accounts.SignIn"] == before["accounts.SignIn"]
    assert all_rows()["accounts.User"] == before["accounts.User"]


# Hosts

FORWARDED = {
    "x-forwarded-host": EVIL,
    "x-forwarded-server": EVIL,
    "x-forwarded-for": "127.0.0.1",
    "x-forwarded-proto": "http",
    "x-forwarded-port": "8443",
    "x-forwarded-prefix": "/evil",
    "x-original-url": "/admin/",
    "x-rewrite-url": "/admin/",
    "x-original-host": EVIL,
    "x-host": EVIL,
    "x-real-ip": "127.0.0.1",
    "forwarded": f"for=127.0.0.1;host={EVIL};proto=http",
    "via": f"1.1 {EVIL}",
    "x-remote-user": "sue",
    "remote-user": "sue",
    "x-script-name": "/evil",
    "true-client-ip": "127.0.0.1",
    "x-user-id": "1",
}


def test_no_header_changes_host_address_or_user(browser_of, ann, anonymous, staff, password):
    browser = browser_of(ann)
    for name, value in {**FORWARDED, "all at once": None}.items():
        headers = {name: value} if value else FORWARDED
        plain, dressed = browser.get("/accounts/profile/"), browser.get("/accounts/profile/", headers=headers)
        assert plain.status_code == dressed.status_code == 200
        assert EVIL not in dressed.content.decode()
        assert "/evil" not in dressed.content.decode()
        assert Browser().get("/admin/", headers=headers).status_code == 302
        assert Browser().get("/api/me/", headers=headers).status_code == 401
        assert EVIL not in str(Browser().get("/accounts/profile/", headers=headers).headers)
        # WSGI maps underscores and dashes to the same character.
        for spelled in (name.replace("-", "_"), name.upper()):
            assert Browser().get("/api/me/", headers={spelled: value or "x"}).status_code == 401


HOSTS = [
    EVIL,
    f"testserver@{EVIL}",
    f"testserver:80@{EVIL}",
    f"testserver.{EVIL}",
    f"testserver, {EVIL}",
    f"testserver {EVIL}",
    "testserver:80:80",
    "testserver:evil",
    "testserver\x00",
    "testserver/",
    "testserver#",
    "testserver\\evil",
    "",
    " ",
    "[::1",
    "[::1]]",
    "tests\xe9rver",
    "x" * 8000,
]


@pytest.mark.parametrize("host", HOSTS, ids=lambda host: repr(host[:30]))
def test_another_host_is_refused_before_any_change(host, browser_of, ann, mailoutbox):
    browser = browser_of(ann)
    before = all_rows()
    for path in ("/accounts/password_reset/", "/api/password/reset/", "/accounts/logout/", "/api/sign-ins/end-all/"):
        content_type = "application/json" if path.startswith("/api/") else "application/x-www-form-urlencoded"
        body = '{"email": "ann@example.org"}' if path.startswith("/api/") else "email=ann@example.org"
        answer = browser.generic("POST", path, body, content_type, HTTP_HOST=host)
        assert answer.status_code == 400, path
        assert EVIL not in str(answer.headers)
    assert all_rows() == before
    assert not mailoutbox
