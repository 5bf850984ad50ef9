"""During an upgrade, nodes of earlier releases run on the migrated database."""

import hashlib
import os
import re
import uuid
from pathlib import Path

import httpx
import pytest
from django.db import connection, models
from django.db.migrations.loader import MigrationLoader

from tests import servers
from tests.project import releases
from tests.project.old_models import APPS, MODELS, entries_of, models_at, row_of, unchanged

PASSWORD = "violet anchor hums at dawn"
NEW_PASSWORD = "copper lantern drifts past noon"
MIGRATIONS = sorted(key for key in MigrationLoader(None).disk_migrations if key[0] in APPS)


def leaves_of(migration):
    """Returns the last migration of each app in the release of that migration."""
    graph = MigrationLoader(connection).graph
    plan = graph.forwards_plan(migration)
    plans = [graph.forwards_plan(leaf) for app in APPS for leaf in graph.leaf_nodes(app)]
    known = [[key for key in each if key in plan and key[0] == each[-1][0]] for each in plans]
    return [keys[-1] for keys in known if keys] or [migration]


@pytest.mark.django_db
@pytest.mark.parametrize("migration", MIGRATIONS, ids=lambda key: ".".join(key))
def test_models_of_each_migration_write_to_the_migrated_database(migration):
    known = models_at(leaves_of(migration))
    rows = {}
    for name in sorted(known, key=lambda name: (MODELS.index(name) if name in MODELS else len(MODELS), name)):
        for number, given in enumerate(entries_of(known[name]) if name == "entry" else [{}]):
            related = {"user": rows.get("user"), "actor": rows.get("user"), "sign_in": rows.get("signin")}
            related |= {"code_set": rows.get("recoverycodeset")}
            rows[name] = row_of(known[name], number, **related | given)
    for name in rows.keys() - {"securityevent"}:
        rows[name].save(force_update=True)
        models.QuerySet(known[name]).filter(pk=rows[name].pk).update(**unchanged(rows[name]))
    connection.check_constraints()
    # The user first, as in that code: its cascades delete related rows.
    for row in rows.values():
        row.delete()
    connection.check_constraints()


# Nodes of the first release


@pytest.fixture(scope="module")
def first_code(tmp_path_factory):
    """A folder with the code of the first release, which all migrations since then leave working."""
    return releases.extract(releases.FIRST, tmp_path_factory.mktemp("first"))


@pytest.fixture(params=["postgresql", pytest.param("sqlite", marks=pytest.mark.named)])
def migrated(request, tmp_path):
    """The environment of nodes on a database that this release has migrated."""
    if request.param == "sqlite":
        stores = {"DATABASE_URL": f"sqlite:///{tmp_path / 'db.sqlite3'}", "REDIS_URL": ""}
    else:
        name = f"upgrade_{uuid.uuid4().hex}"
        stores = {"DATABASE_URL": servers.create_database(os.environ["DATABASE_URL"], name)}
    env = {"DEBUG": "true", "TOKEN_RATE": "", "ACCOUNT_RATE": ""} | stores
    servers.manage(env, "migrate", "--verbosity=0")
    return env


@pytest.mark.long
@pytest.mark.once
@pytest.mark.timeout(300)
def test_the_first_release_runs_on_the_migrated_database(first_code, migrated):
    assert not (Path(first_code) / "tests/project/test_upgrades.py").exists()
    with servers.node(migrated, 1, root=first_code) as old, servers.node(migrated, 1) as new:
        go_through_everything(old, new, status_after_change=200 if "postgres" in migrated["DATABASE_URL"] else 401)


def go_through_everything(old, new, status_after_change):
    """
    Uses the API of the old node. The new node accepts its tokens, and refuses them after their end. On SQLite, which
    has no deferred triggers, a change of the password by the old node also ends the sign-in that makes it.
    """
    with httpx.Client(base_url=old.url, timeout=30) as http:
        form = {"username": "ann", "email": "ann@example.org", "password": PASSWORD}
        ok(http.post("/api/register/", json=form), 201)
        first, second = (ok(http.post("/api/token/", json=credentials(PASSWORD)), 200) for _ in range(2))
        second = ok(http.post("/api/token/refresh/", json={"refresh": second["refresh"]}), 200)
        assert [me(node, each) for node in (old, new) for each in (first, second)] == [200] * 4
        ok(http.patch("/api/me/", json={"first_name": "Ann"}, headers=bearer(first)), 200)
        ok(http.post("/api/token/blacklist/", json={"refresh": second["refresh"]}), 200)
        assert [me(node, each) for node in (old, new) for each in (first, second)] == [200, 401] * 2
        change = {"old_password": PASSWORD, "new_password": NEW_PASSWORD}
        ok(http.post("/api/password/change/", json=change, headers=bearer(first)), 204)
        assert [me(node, first) for node in (old, new)] == [status_after_change] * 2
        ok(http.post("/api/token/", json=credentials(PASSWORD)), 401)
        third = ok(http.post("/api/token/", json=credentials(NEW_PASSWORD)), 200)
        ok(http.post("/api/password/reset/", json={"email": "ann@example.org"}), 202)
        assert ok(http.post("/api/sign-ins/end-all/", headers=bearer(third)), 200)["ended"] >= 1
        assert [me(node, third) for node in (old, new)] == [401, 401]
    go_through_the_pages(old, new)


def go_through_the_pages(old, new):
    form = {"username": "bob", "email": "bob@example.org", "password1": PASSWORD, "password2": PASSWORD}
    with httpx.Client(base_url=old.url, timeout=30) as browser:
        send(browser, "/accounts/signup/", form)
        assert browser.get("/accounts/profile/").status_code == 200
        assert httpx.get(f"{new.url}/accounts/profile/", cookies=as_named_now(browser.cookies)).status_code == 200
        send(browser, "/accounts/logout/", {}, page="/")
        # The old node publishes no end of a browser: the new one reads it from the database.
        servers.wait_until(lambda: is_signed_out(new, browser), seconds=3)
        send(browser, "/accounts/login/", {"username": "bob", "password": PASSWORD})
        send(browser, "/accounts/delete/", {"password": PASSWORD})
        assert browser.get("/accounts/profile/").status_code == 302


def is_signed_out(node, browser):
    return httpx.get(f"{node.url}/accounts/profile/", cookies=as_named_now(browser.cookies)).status_code == 302


def as_named_now(cookies):
    """In DEBUG the names of cookies contain a digest of the folder."""
    digest = hashlib.sha256(str(servers.ROOT).encode()).hexdigest()[:8]
    return {
        re.sub("sessionid|device", lambda found: f"{found[0]}-{digest}", name, count=1): value
        for name, value in cookies.items()
    }


def send(browser, path, form, page=""):
    browser.get(page or path)
    answer = browser.post(path, data=form | {"csrfmiddlewaretoken": servers.csrf_token(browser.cookies)})
    assert answer.status_code in (200, 302), answer.text
    # A refused form is shown again with status 200.
    assert answer.status_code == 302 or path not in str(answer.request.url) or "errorlist" not in answer.text


def ok(answer, status):
    assert answer.status_code == status, (answer.request.url, answer.text)
    return answer.json() if answer.content else None


def credentials(password):
    return {"username": "ann", "password": password}


def bearer(tokens):
    return {"Authorization": f"Bearer {tokens['access']}"}


def me(node, tokens):
    return httpx.get(f"{node.url}/api/me/", headers=bearer(tokens)).status_code


LINKS = """
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode
from accounts import links
from accounts.models import User
user = User.objects.get(username="ann")
uid = urlsafe_base64_encode(force_bytes(user.pk))
print(f"/accounts/reset/{uid}/{links.password_reset.make_token(user)}/")
print(f"/accounts/email/{uid}/{links.email_confirmation.make_token(user)}/")
"""


@pytest.fixture(params=["postgresql", pytest.param("sqlite", marks=pytest.mark.named)])
def not_migrated(request, tmp_path):
    """The environment of nodes on an empty database. All clients have one address, and sign in often."""
    url = f"sqlite:///{tmp_path / 'db.sqlite3'}"
    if request.param == "postgresql":
        url = servers.create_database(os.environ["DATABASE_URL"], f"upgrade_{uuid.uuid4().hex}")
    rates = {"TOKEN_RATE": "", "ACCOUNT_RATE": ""}
    return {"DEBUG": "true", "SECRET_KEY": "k" * 25 + "7Lq4TzWc8NfHs3YbJd6PgAu5", "DATABASE_URL": url} | rates


@pytest.mark.long
@pytest.mark.once
@pytest.mark.timeout(300)
def test_data_of_the_first_release_stay_valid(first_code, not_migrated):
    env = not_migrated
    servers.manage(env, "migrate", "--verbosity=0", root=first_code)
    with servers.node(env, 1, root=first_code) as old, httpx.Client(base_url=old.url, timeout=30) as browser:
        form = {"username": "ann", "email": "ann@example.org", "password1": PASSWORD, "password2": PASSWORD}
        send(browser, "/accounts/signup/", form)
        tokens = ok(httpx.post(f"{old.url}/api/token/", json=credentials(PASSWORD)), 200)
        cookies = browser.cookies
        for _guess in range(4):
            ok(httpx.post(f"{old.url}/api/token/", json=credentials("a wrong passphrase it is")), 401)
    links = servers.manage(env, "shell", "--verbosity=0", "--command", LINKS, root=first_code).split()
    assert len(links) == 2
    servers.manage(env, "migrate", "--verbosity=0")
    with servers.node(env, 1) as new:
        assert httpx.get(f"{new.url}/accounts/profile/", cookies=as_named_now(cookies)).status_code == 200
        assert [httpx.get(f"{new.url}{link}").status_code for link in links] == [200, 200]
        ok(httpx.post(f"{new.url}/api/token/refresh/", json={"refresh": tokens["refresh"]}), 200)
        ok(httpx.post(f"{new.url}/api/token/", json=credentials("a wrong passphrase it is")), 401)
        # The fifth wrong guess: the next one has to wait, but not in the browser that is known. The first waits are
        # seconds, which a busy machine may exceed. Without the four guesses of before, none of these would wait.
        guesses = (httpx.post(f"{new.url}/api/token/", json=credentials("a wrong passphrase it is")) for _ in range(4))
        assert any(answer.status_code == 429 for answer in guesses)
        known = {name: value for name, value in as_named_now(cookies).items() if "device" in name}
        assert known
        with httpx.Client(base_url=new.url, cookies=known, timeout=30) as browser:
            send(browser, "/accounts/login/", credentials(PASSWORD))
            assert browser.get("/accounts/profile/").status_code == 200
