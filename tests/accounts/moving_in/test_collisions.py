"""import_users names each collision by its rule first, and changes nothing before it is resolved."""

import pytest
from django.core.management import CommandError

from accounts.models import MovedInUser, User
from tests.conftest import ApiClient
from tests.old_site import DAVE, HASH, PASSWORD, USER, users

pytestmark = [pytest.mark.django_db, pytest.mark.long]

# By rule, the change to dave, and the outcome
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


@pytest.mark.parametrize("id", [7, " 7", "7"])
def test_users_with_the_same_id_are_left_out(id, run):
    assert "duplicate-id: 2 (" in run(users(id=id), "--dry-run")
    with pytest.raises(CommandError, match="Nothing was imported"):
        run(users(id=id))
    assert "3 users: 0 imported before, 2 left out, 1 to import" in run(
        [*users(id=id), DAVE | {"id": 9, "username": "erin", "email": ""}], "--resolve"
    )
    assert [user.username for user in User.objects.all()] == ["erin"]


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
