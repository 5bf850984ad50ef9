"""Rules for migrations: each is one transaction, can be undone, and leaves the code of the previous release working."""

import pytest
from django.db import migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.models import CASCADE

from tests.project import releases
from tests.project.old_models import APPS

LOADER = MigrationLoader(None)
OURS = sorted(key for key in LOADER.disk_migrations if key[0] in APPS)
RELEASED = [key for leaf in releases.PREVIOUS_MIGRATIONS.items() for key in LOADER.graph.forwards_plan(leaf)]
# They change rows, or what Django does not know.
CODE = (migrations.RunPython, migrations.RunSQL)


def test_each_migration_is_one_transaction_or_one_operation():
    halves = [key for key, each in LOADER.disk_migrations.items() if not each.atomic and len(each.operations) > 1]
    assert halves == []


def test_each_migration_can_be_undone():
    final = [key for key in OURS for each in LOADER.disk_migrations[key].operations if not each.reversible]
    assert final == []


def columns_of(state):
    """Returns the columns of each table: whether code that does not know one can insert a row."""
    return {
        model._meta.db_table: {
            field.column: field.null or field.has_db_default() for field in model._meta.local_concrete_fields
        }
        for model in state.apps.get_models(include_auto_created=True)
    }


def references_of(state):
    """Returns the table to which each column refers by a constraint, by table and column."""
    return {
        (model._meta.db_table, field.column): field.related_model._meta.db_table
        for model in state.apps.get_models(include_auto_created=True)
        for field in model._meta.local_concrete_fields
        if model._meta.app_label in APPS and field.is_relation and field.db_constraint
    }


def breaks(released, after):
    """Yields what code that knows the first state cannot do with a database in the second one."""
    known, references = references_of(released), references_of(after)
    tables = columns_of(released)
    for table, column in references.keys() - known.keys():
        if references[table, column] in tables:
            yield f"{table}.{column} keeps rows of {references[table, column]} from deletion"
    after = columns_of(after)
    for table, columns in columns_of(released).items():
        if table not in after:
            yield f"{table} is missing"
            continue
        for column, may_be_omitted in columns.items():
            if column not in after[table]:
                yield f"{table}.{column} is missing"
            elif may_be_omitted and not after[table][column]:
                yield f"{table}.{column} needs a value"
        for column in after[table].keys() - columns.keys():
            if not after[table][column]:
                yield f"{table}.{column} has no db_default"


def test_the_recorded_migrations_are_those_of_the_release(tmp_path):
    code = releases.extract(releases.PREVIOUS, tmp_path)
    folders = {"accounts": "accounts", "api": "api", "blocklist": "api/blocklist"}
    newest = {
        app: max(each.stem for each in (code / folder / "migrations").glob("0*.py")) for app, folder in folders.items()
    }
    assert newest == releases.PREVIOUS_MIGRATIONS


def released_state():
    return LOADER.project_state(list(releases.PREVIOUS_MIGRATIONS.items()))


def test_migrations_since_the_release_leave_its_code_working():
    assert list(breaks(released_state(), LOADER.project_state())) == []


@pytest.mark.parametrize(
    ("operation", "problem"),
    [
        (migrations.RemoveField("signin", "name"), "accounts_signin.name is missing"),
        (migrations.RenameField("signin", "name", "label"), "accounts_signin.name is missing"),
        (migrations.DeleteModel("UsedStep"), "accounts_usedstep is missing"),
        (migrations.AlterModelTable("UsedStep", "steps"), "accounts_usedstep is missing"),
        (
            migrations.CreateModel(
                "Place", [("user", models.OneToOneField("accounts.User", CASCADE, primary_key=True))]
            ),
            "accounts_place.user_id keeps rows of accounts_user from deletion",
        ),
        (
            migrations.AddField("signin", "place", models.CharField(max_length=9, default="")),
            "accounts_signin.place has no db_default",
        ),
        (
            migrations.AlterField("signin", "ended_at", models.DateTimeField()),
            "accounts_signin.ended_at needs a value",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Operation) else "",
)
def test_a_migration_that_breaks_the_release_is_found(operation, problem):
    after = released_state()
    operation.state_forwards("accounts", after)
    assert problem in breaks(released_state(), after)


@pytest.mark.parametrize(
    "operation",
    [
        migrations.AddField("signin", "place", models.CharField(max_length=9, db_default="")),
        migrations.AddField("signin", "left_at", models.DateTimeField(null=True)),
        migrations.CreateModel("Place", [("id", models.BigAutoField(primary_key=True)), ("name", models.TextField())]),
        migrations.AddField(
            "signin", "friend", models.ForeignKey("accounts.User", CASCADE, null=True, db_constraint=False)
        ),
    ],
    ids=lambda operation: operation.migration_name_fragment,
)
def test_new_columns_with_a_default_and_new_tables_are_allowed(operation):
    after = released_state()
    operation.state_forwards("accounts", after)
    assert list(breaks(released_state(), after)) == []


def locks_while_it_changes_rows(operations):
    """Whether a transaction changes a table that exists, which keeps requests out, and then runs code."""
    created = {each.name_lower for each in operations if isinstance(each, migrations.CreateModel)}
    changed = [
        each
        for each in operations
        if isinstance(each, migrations.AddField | migrations.AlterField | migrations.AddConstraint)
        and each.model_name_lower not in created
    ]
    return bool(changed) and any(isinstance(each, CODE) for each in operations)


def test_no_migration_keeps_a_table_locked_while_code_runs():
    since = [LOADER.disk_migrations[key] for key in OURS if key not in RELEASED]
    assert [each for each in since if locks_while_it_changes_rows(each.operations)] == []


def test_a_migration_that_locks_while_code_runs_is_found():
    change = migrations.AddField("signin", "place", models.CharField(max_length=9, db_default=""))
    assert locks_while_it_changes_rows([change, migrations.RunPython(migrations.RunPython.noop)])
    assert not locks_while_it_changes_rows([change])
