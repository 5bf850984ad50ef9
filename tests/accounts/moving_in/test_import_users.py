"""import_users takes users as they are, names each collision first, and imports no user twice."""

# ruff: noqa: S608 (tables of statements are constants)

import io
import sqlite3
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import override_settings
from django.utils import timezone

from accounts.models import AuthenticatorApp, MovedInUser, Passkey, SecurityEvent, SignIn, User
from tests import old_site
from tests.authenticator import Authenticator
from tests.conftest import ApiClient
from tests.old_site import HASH, PASSWORD, USER, import_users, write_csv, write_dump

pytestmark = [pytest.mark.django_db, pytest.mark.long]

DAVE = {"id": 8, "username": "dave", "email": "dave@old.example", "password": HASH}


def users(**changes):
    """Carol and dave, with changes to dave."""
    return [USER, DAVE | changes]


@pytest.fixture
def run(tmp_path):
    """Imports a dump of users and other rows. Returns the output."""

    def run(rows, *options, **tables):
        return import_users(write_dump(tmp_path, rows, **tables), *options)

    return run


# Sources


def test_a_dump_is_imported_with_ids_and_hashes(run):
    full = USER | {
        "first_name": "Carol",
        "last_name": "Danvers",
        "is_staff": True,
        "is_superuser": True,
        "is_active": False,
        "date_joined": "2020-02-03T04:05:06Z",
        "last_login": "2026-01-02T03:04:05.678Z",
    }
    assert "users: 1\nids kept: 1\n" in run([full])
    carol = User.objects.get()
    assert (carol.pk, carol.password, carol.date_joined.year, carol.last_login.year) == (7, HASH, 2020, 2026)
    assert (carol.first_name, carol.last_name) == ("Carol", "Danvers")
    assert (carol.is_staff, carol.is_superuser, carol.is_active) == (True, True, False)
    assert carol.email_confirmed_at is None
    assert carol.unused_since is None


def test_a_csv_file_is_imported(tmp_path):
    row = USER | {"is_active": "f", "is_staff": "TRUE", "date_joined": "2020-02-03 04:05:06", "email_confirmed": "1"}
    import_users(write_csv(tmp_path, [row]))
    carol = User.objects.get()
    assert (carol.pk, carol.is_active, carol.is_staff, carol.date_joined.hour) == (7, False, True, 4)
    assert carol.email_confirmed_at


def make_database(folder, table="auth_user"):
    database = sqlite3.connect(folder / "old.sqlite3")
    database.executescript(f"""
        CREATE TABLE {table} (id integer PRIMARY KEY, password varchar, last_login datetime, is_superuser bool,
            username varchar, first_name varchar, last_name varchar, email varchar, is_staff bool, is_active bool,
            date_joined datetime);
        CREATE TABLE {table}_groups (id integer PRIMARY KEY, user_id integer, group_id integer);
        CREATE TABLE auth_group (id integer PRIMARY KEY, name varchar);
        CREATE TABLE account_emailaddress (id integer, email varchar, verified bool, "primary" bool, user_id integer);
        INSERT INTO auth_group VALUES (3, 'Editors');
        INSERT INTO {table}_groups VALUES (1, 7, 3);
        INSERT INTO account_emailaddress VALUES (1, 'Carol@Old.example', 1, 1, 7);
    """)
    row = (7, HASH, None, 0, "carol", "", "", "carol@old.example", 0, 1, "2020-02-03 04:05:06")
    database.execute(f"INSERT INTO {table} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    database.commit()
    database.close()
    return f"sqlite:///{folder / 'old.sqlite3'}"


@pytest.mark.parametrize("table", ["auth_user", "people_person"])
def test_a_database_is_imported(table, tmp_path, monkeypatch):
    monkeypatch.setenv("OLD_DATABASE", make_database(tmp_path, table))
    import_users("env:OLD_DATABASE", "--table", table)
    carol = User.objects.get()
    assert (carol.pk, carol.password, [each.name for each in carol.groups.all()]) == (7, HASH, ["Editors"])
    assert carol.email_confirmed_at


def test_a_user_model_without_usernames_gets_addresses(run):
    row = {name: value for name, value in USER.items() if name != "username"}
    run([row])
    assert User.objects.get().username == USER["email"]
    assert ApiClient().sign_in(USER["email"], PASSWORD).status_code == 200


def test_ids_that_are_no_numbers_are_known_by_their_user(run):
    old_id = "0d6f7a3e-0f6b-4f0e-9d0c-6b1f0d8f5a11"
    assert "new-id: 1" in run([USER | {"id": old_id.replace("-", "")}])
    assert MovedInUser.objects.get().old_id == old_id


WRONG_SOURCES = {
    "users.txt": "a file that ends with .json or .csv",
    "missing.json": "cannot be read as JSON",
    "missing.csv": "cannot be read as CSV",
    "sqlite:////no/such/file.sqlite3": "no database file",
    "postgres://user:hunter2hunter2@127.0.0.1:1/none": "cannot be read",
    "no-such-scheme://user:hunter2hunter2@host/none": "not valid",
    "env:NOT_SET": "NOT_SET is not set",
}


@pytest.mark.parametrize("source", WRONG_SOURCES)
def test_a_source_that_cannot_be_read_is_named_without_secrets(source, tmp_path):
    with pytest.raises(CommandError, match=WRONG_SOURCES[source]) as error:
        import_users(source)
    assert "hunter2" not in str(error.value)


def test_a_dump_without_ids_is_refused(run):
    with pytest.raises(CommandError, match="natural-primary"):
        run([{name: value for name, value in USER.items() if name != "id"}])


# Collisions: by rule, the change to dave, and the outcome

COLLISIONS = {
    "case": ({"username": "CAROL"}, "named user-8, and signs in with the e-mail address"),
    "case without an address": ({"username": "CAROL", "email": ""}, "left out"),
    "look-alike": ({"username": "dаve"}, "named user-8"),
    "look-alike of another script": ({"username": "сарасо"}, "named user-8"),
    "invalid-name": ({"username": "dave smith"}, "named user-8"),
    "name-is-address": ({"username": "Carol@old.example"}, "named user-8"),
    "invalid-address": ({"email": '"dave"@old.example'}, "taken without an address"),
    "duplicate-address": ({"email": "CAROL@old.example"}, "taken without an address"),
    "blank-address": ({"email": ""}, "cannot reset the password by mail"),
    "unknown-hash": ({"password": "crypt$$abcdef"}, "must reset the password by mail"),
    "unknown-hash in clear text": ({"password": "hunter2hunter2"}, "must reset the password by mail"),
    "id-taken": ({}, "gets a new id"),
    "new-id": ({"id": "d-8"}, "gets a new id"),
    "unreadable": ({"is_active": "perhaps"}, "left out: column is_active"),
    "unreadable text": ({"first_name": "\ud800"}, "left out: column first_name"),
    "unreadable time": ({"date_joined": "yesterday"}, "left out: column date_joined"),
}
NOTES = ("blank-address", "new-id")


@pytest.mark.parametrize("case", COLLISIONS)
def test_a_dry_run_names_each_collision_by_its_rule(case, run):
    change, outcome = COLLISIONS[case]
    rule = case.split(" ")[0]
    if rule == "id-taken":
        User.objects.create_user("another", "another@example.org", PASSWORD, pk=8)
    before = User.objects.count()
    output = run(users(**change), "--dry-run")
    assert f"{rule}: 1 (" in output
    assert outcome in output
    assert "hunter2" not in output
    assert "crypt$" not in output
    assert User.objects.count() == before


@pytest.mark.parametrize("case", COLLISIONS)
def test_an_import_stops_before_a_collision_or_resolves_it(case, run):
    change, outcome = COLLISIONS[case]
    rule = case.split(" ")[0]
    if rule == "id-taken":
        User.objects.create_user("another", "another@example.org", PASSWORD, pk=8)
    if rule not in NOTES:
        with pytest.raises(CommandError, match="Nothing was imported"):
            run(users(**change))
        assert not MovedInUser.objects.exists()
    run(users(**change), "--resolve")
    dave = MovedInUser.objects.exclude(old_id="7").select_related("user").first()
    assert (dave is None) == outcome.startswith("left out")
    if dave is not None:
        dave.user.full_clean(exclude=["password"])
        assert ("user-8" in outcome) == (dave.user.username == "user-8")
        assert ("without an address" in outcome or rule == "blank-address") == (dave.user.email == "")
        assert ("reset the password by mail" in outcome and rule == "unknown-hash") == (dave.user.password != HASH)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"username": "ANN"}, "case"),
        ({"email": "Ann@Example.org"}, "duplicate-address"),
        ({"username": "ann@example.org"}, "name-is-address"),
    ],
)
def test_names_of_accounts_here_collide_too(change, rule, run, ann):
    assert f"{rule}: 1 (" in run(users(**change), "--dry-run")


def test_the_confirmed_user_keeps_an_address_of_two(run):
    emails = [{"id": 1, "user": 8, "email": USER["email"], "verified": True, "primary": True}]
    run(users(email=USER["email"]), "--resolve", account__emailaddress=emails)
    assert [user.email for user in User.objects.order_by("pk")] == ["", USER["email"]]


def test_a_user_with_an_unknown_hash_sets_a_password_by_mail(run, mails_of):
    run(users(password="crypt$$abcdef"), "--resolve")
    assert ApiClient().sign_in("dave", "crypt$$abcdef").status_code == 401
    [mail] = mails_of(lambda: ApiClient().post("/api/password/reset/", {"email": "dave@old.example"}))
    assert mail.to == ["dave@old.example"]


def test_many_collisions_are_counted_and_some_named(run):
    rows = [USER | {"id": 100 + number, "username": f"u{number}", "email": ""} for number in range(30)]
    output = run(rows, "--dry-run")
    assert "blank-address: 30" in output
    assert "and 10 more: --all names them" in output
    assert output.count("cannot reset") == 20


# Names and addresses as Django takes them

NAMES = ["jürgen", "Renée", "иван", "γιώργος", "山田太郎", "김철수", "אורי", "أحمد", "weiß", "o'", "a+b@c_d-e.f"]


@pytest.mark.parametrize("name", NAMES[:-2] + NAMES[-1:])
def test_a_user_signs_in_with_a_name_outside_ascii(name, run):
    run(users(username=name))
    for spelling in (name, name.upper()):
        if len(spelling) == len(name):
            assert ApiClient().sign_in(spelling, PASSWORD).status_code == 200, spelling


def test_a_sign_up_takes_ascii_names_only(anonymous, browser, password):
    form = {"username": "jürgen", "email": "j@example.org", "password": password, "password1": password}
    assert "username" in anonymous.post("/api/register/", form).json()
    assert "username" in browser().post("/accounts/signup/", form).context["form"].errors
    assert "email" in browser().post("/accounts/signup/", form | {"email": ""}).context["form"].errors


def test_several_users_have_no_address(run):
    run([USER | {"email": ""}, DAVE | {"email": ""}])
    assert User.objects.filter(email="").count() == 2
    assert User.objects.get_by_email("") is None
    assert User.objects.get_by_login("") is None


def test_a_user_without_an_address_adds_one(run, browser, mails_of):
    run([USER | {"email": ""}])
    here = browser()
    here.post("/accounts/login/", {"username": "carol", "password": PASSWORD})
    assert "This account has no e-mail address" in here.get("/accounts/profile/").content.decode()
    assert "Add an e-mail address" in here.get("/accounts/profile/").content.decode()
    [mail] = mails_of(lambda: here.post("/accounts/email/", {"new_email": "carol@new.example"}))
    link = next(word for word in mail.body.split() if "://" in word)
    here.post(link.partition("testserver")[2])
    carol = User.objects.get()
    assert (carol.email, carol.email_confirmed_at is not None) == ("carol@new.example", True)


# Again


def test_another_run_imports_nobody_twice(run):
    run(users())
    User.objects.filter(pk=8).update(username="dave-renamed")
    assert "2 users: 2 imported before, 0 left out, 0 to import" in run(users())
    run([*users(), USER | {"id": 9, "username": "erin", "email": "erin@old.example"}])
    assert sorted(User.objects.values_list("username", flat=True)) == ["carol", "dave-renamed", "erin"]


def test_new_accounts_get_ids_after_the_imported_ones(run, password):
    run(users(id=5000))
    assert User.objects.create_user("new", "new@example.org", password).pk > 5000


def test_a_later_run_continues_sign_ins_of_unchanged_users(run):
    run(users())
    User.objects.get(pk=8).set_password("x")
    User.objects.filter(pk=8).update(password="md5$other$hash")
    with override_settings(LEGACY_JWT_KEY=old_site.JWT_KEY, LEGACY_JWT_UNTIL=timezone.now() + timedelta(days=9)):
        run(users())
        run(users())
    assert [each.user_id for each in SignIn.objects.all()] == [7]
    assert MovedInUser.objects.get(pk=7).sign_in_id == SignIn.objects.get().pk


def test_nobody_who_moved_in_is_pruned(run, clock):
    rows = [USER | {"id": 100 + n, "username": f"u{n}", "email": f"u{n}@old.example"} for n in range(20)]
    run(rows)
    clock.shift(timedelta(days=400))
    call_command("prune", stdout=io.StringIO())
    assert User.objects.count() == 20


def test_an_import_needs_few_statements(run, django_assert_max_num_queries):
    rows = [USER | {"id": 100 + n, "username": f"u{n}", "email": f"u{n}@old.example"} for n in range(400)]
    with django_assert_max_num_queries(40):
        run(rows)


# Rights


def rights(**group):
    return {
        "contenttypes__contenttype": [{"id": 1, "app_label": "auth", "model": "user"}],
        "auth__permission": [
            {"id": 11, "content_type": 1, "codename": "view_user", "name": ""},
            {"id": 12, "content_type": 1, "codename": "change_user", "name": ""},
        ],
        "auth__group": [{"id": 3, "name": "Editors", "permissions": [11]} | group],
    }


def test_groups_and_permissions_come_along(run):
    run([USER | {"groups": [3], "user_permissions": [12]}], **rights())
    carol = User.objects.get()
    assert carol.has_perms(["accounts.view_user", "accounts.change_user"])
    assert not carol.has_perm("accounts.delete_user")


def test_natural_keys_name_groups_and_permissions(run):
    group = {"id": 3, "name": "Editors", "permissions": [["view_user", "auth", "user"]]}
    run([USER | {"groups": [["Editors"]], "user_permissions": [["change_user", "auth", "user"]]}], auth__group=[group])
    assert User.objects.get().has_perms(["accounts.view_user", "accounts.change_user"])


def test_no_member_gets_permissions_of_a_group_here(run):
    group = Group.objects.create(name="Editors")
    group.permissions.set(Permission.objects.filter(codename__in=["view_user", "delete_user"]))
    with pytest.raises(CommandError):
        run([USER | {"groups": [3]}], **rights())
    assert "group-taken: 1" in run([USER | {"groups": [3]}], "--dry-run", **rights())
    run([USER | {"groups": [3]}], "--resolve", **rights())
    assert not User.objects.get().groups.exists()


def test_a_group_of_an_earlier_run_is_no_collision(run):
    run([USER | {"groups": [3]}], **rights())
    run(users(groups=[3]), **rights())
    assert Group.objects.get(name="Editors").user_set.count() == 2


# Addresses and factors of allauth


@pytest.mark.parametrize(("verified", "email"), [(True, "CAROL@old.example"), (False, "carol@old.example")])
def test_confirmed_addresses_come_along(verified, email, run):
    run([USER], account__emailaddress=[{"id": 1, "user": 7, "email": email, "verified": verified, "primary": True}])
    assert (User.objects.get().email_confirmed_at is not None) == verified


def test_another_confirmed_address_confirms_nothing(run):
    other = {"id": 1, "user": 7, "email": "c@other.example", "verified": True, "primary": False}
    run([USER], account__emailaddress=[other])
    assert User.objects.get().email_confirmed_at is None


def test_all_addresses_are_confirmed_by_an_option(run):
    run([USER, DAVE | {"email": ""}], "--confirmed")
    assert [user.email_confirmed_at is not None for user in User.objects.order_by("pk")] == [True, False]


def test_an_authenticator_app_comes_along_encrypted(run):
    secret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
    output = run([USER], mfa__authenticator=[{"id": 1, "user": 7, "type": "totp", "data": {"secret": secret}}])
    assert "authenticator apps: 1" in output
    app = AuthenticatorApp.objects.get()
    assert app.confirmed_at
    assert secret.encode() not in bytes(app.secret)
    response = ApiClient().sign_in("carol", PASSWORD)
    assert response.json()["methods"] == ["totp"]


def passkey_row(authenticator, user_id=7):
    # allauth's user handle: the id in base 36.
    options = {"user": {"id": "Nw"}, "challenge": "AAAA"}
    return {
        "id": 2,
        "user": user_id,
        "type": "webauthn",
        "data": {"name": "My key", "credential": authenticator.create(options)},
    }


def test_a_passkey_comes_along_and_signs_in(run):
    authenticator = Authenticator()
    assert "passkeys: 1" in run([USER], mfa__authenticator=[passkey_row(authenticator)])
    passkey = Passkey.objects.get()
    assert (passkey.name, passkey.transports, passkey.is_backed_up) == ("My key", "internal", True)
    options = ApiClient().post("/api/token/passkey/options/", {}).json()
    answer = {"step": options["step"], "credential": authenticator.get(options["publicKey"])}
    assert ApiClient().post("/api/token/passkey/", answer).status_code == 200
    assert SecurityEvent.objects.get(type="signed_in").user_id == 7


def test_a_passkey_of_two_users_comes_along_once(run):
    authenticator = Authenticator()
    rows = [passkey_row(authenticator), passkey_row(authenticator, user_id=8) | {"id": 3}]
    run(users(), mfa__authenticator=rows)
    run([USER | {"id": 9, "username": "erin", "email": ""}], mfa__authenticator=[passkey_row(authenticator, user_id=9)])
    assert Passkey.objects.count() == 1


UNREADABLE = [
    {"type": "totp", "data": {"secret": "not base32!"}},
    {"type": "totp", "data": {"secret": "JBSWY3DP"}},
    {"type": "totp", "data": {}},
    {"type": "webauthn", "data": {"name": "x", "credential": {"response": {"attestationObject": "AAAA"}}}},
    {"type": "recovery_codes", "data": {"seed": "abc", "used_mask": 0}},
]


@pytest.mark.parametrize("row", UNREADABLE)
def test_other_factors_are_counted_and_left(row, run):
    output = run([USER], mfa__authenticator=[{"id": 1, "user": 7, **row}])
    assert "recovery codes and unreadable factors, not imported: 1" in output
    assert User.objects.without_second_factor().count() == 1


# Secrets


def test_nothing_printed_contains_a_hash(run, capsys):
    output = run(users(password="crypt$$abcdef"), "--resolve", "--all")
    printed = output + "".join(capsys.readouterr())
    assert HASH.split("$")[-1] not in printed
    assert "abcdef" not in printed


def test_the_source_gets_selects_only(tmp_path):
    url = make_database(tmp_path)
    before = (tmp_path / "old.sqlite3").read_bytes()
    import_users(url)
    assert (tmp_path / "old.sqlite3").read_bytes() == before
    assert connection.alias == "default"
