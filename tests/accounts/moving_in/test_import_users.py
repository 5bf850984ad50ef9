"""import_users takes users as they are, with their addresses and rights."""

# ruff: noqa: S608 (tables of statements are constants)

import sqlite3

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.management import CommandError
from django.db import connection
from django.db.models.signals import m2m_changed

from accounts.models import AuthenticatorApp, MovedInUser, User
from tests.conftest import ApiClient
from tests.old_site import DAVE, HASH, OTP_KEY, PASSWORD, USER, import_users, users, write_csv

pytestmark = [pytest.mark.django_db, pytest.mark.long]


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


def test_names_of_persons_lose_invisible_characters(run):
    run([USER | {"first_name": "Ca\u202erol\x07", "last_name": "Dan\u200dvers"}])
    carol = User.objects.get()
    carol.full_clean(exclude=["password"])
    assert (carol.first_name, carol.last_name) == ("Carol", "Dan\u200dvers")


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
        CREATE TABLE otp_totp_totpdevice (id integer PRIMARY KEY, user_id integer, confirmed bool, key varchar,
            step integer, t0 integer, digits integer, drift integer);
        INSERT INTO otp_totp_totpdevice VALUES (1, 7, 1, '{OTP_KEY}', 30, 0, 6, 0);
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
    assert AuthenticatorApp.objects.get().user_id == 7


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


# Rights


def test_a_group_is_created_with_its_permissions_or_not_at_all(run):
    def fail(**kwargs):
        raise RuntimeError

    m2m_changed.connect(fail, sender=Group.permissions.through)
    try:
        with pytest.raises(RuntimeError):
            run([USER | {"groups": [3]}], **rights())
    finally:
        m2m_changed.disconnect(fail, sender=Group.permissions.through)
    assert not Group.objects.filter(name="Editors").exists()


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


# Addresses of allauth


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
