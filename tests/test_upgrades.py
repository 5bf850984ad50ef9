"""While a new release is rolled out, nodes of earlier ones serve on the database that it migrated."""

import uuid
from datetime import timedelta

import pytest
from django.db import connection, models
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone

APPS = ("accounts", "api", "blocklist")
# In this order, each has what the next one refers to.
MODELS = ("user", "signin", "session", "securityevent", "lock", "entry", "statusindex", "usedproof")
MIGRATIONS = sorted(key for key in MigrationLoader(None).disk_migrations if key[0] in APPS)


def models_of(migration):
    """As the code of that migration's time has them, by their names; with whatever else was there just before it."""
    loader = MigrationLoader(connection)
    known = {}
    for app in APPS:
        for leaf in loader.graph.leaf_nodes(app):
            plan = loader.graph.forwards_plan(leaf)
            known[app] = [key for key in plan if key in loader.graph.forwards_plan(migration)]
    nodes = [keys[-1] for keys in known.values() if keys]
    state = loader.project_state(nodes or migration)
    return {model._meta.model_name: model for model in state.apps.get_models() if model._meta.app_label in APPS}


def value_of(field, number):
    """Something that the field takes; another one for another number."""
    if field.choices:
        return field.flatchoices[0][0]
    if isinstance(field, models.UUIDField):
        return uuid.uuid4()
    if isinstance(field, models.DateTimeField):
        return timezone.now()
    if isinstance(field, models.DurationField):
        return timedelta(days=1)
    if isinstance(field, models.EmailField):
        return f"user-{number}@example.org"
    if isinstance(field, models.CharField | models.TextField):
        return f"value-{number}"
    raise NotImplementedError(f"{field}: say here what that code writes")


def row_of(model, number, **given):
    """A row as that code inserts it: what it leaves to Django's defaults is left to them here, too."""
    values = {
        field.name: value_of(field, number)
        for field in model._meta.concrete_fields
        if not (field.has_default() or field.has_db_default() or field.null or field.blank)
        and not (field.auto_created or field.is_relation)
    }
    named = {field.name for field in model._meta.concrete_fields}
    known = {name: value for name, value in given.items() if name in named}
    return models.QuerySet(model).create(**values | known)


def entries_of(model):
    """One entry of each kind that there was."""
    of_many = {"sub": uuid.UUID(int=1), "all": uuid.UUID(int=0)}
    kinds = [kind for kind, _label in model._meta.get_field("kind").choices]
    return [
        {"kind": kind, "token_id": of_many[kind], "before": timezone.now()} if kind in of_many else {"kind": kind}
        for kind in kinds
    ]


@pytest.mark.django_db
@pytest.mark.parametrize("migration", MIGRATIONS, ids=lambda key: ".".join(key))
def test_code_of_each_migration_writes_to_the_migrated_database(migration):
    known = models_of(migration)
    assert set(known) <= set(MODELS), "say in which order it is written"
    rows = {}
    for name in filter(known.__contains__, MODELS):
        for number, given in enumerate(entries_of(known[name]) if name == "entry" else [{}]):
            related = {"user": rows.get("user"), "actor": rows.get("user"), "sign_in": rows.get("signin")}
            rows[name] = row_of(known[name], number, **related | given)
    for name in rows.keys() - {"securityevent"}:
        rows[name].save(force_update=True)
        models.QuerySet(known[name]).filter(pk=rows[name].pk).update(**unchanged(rows[name]))
    connection.check_constraints()
    # The user first, as that code does: what it knows goes along.
    for row in rows.values():
        row.delete()
    connection.check_constraints()


def unchanged(row):
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields if not field.primary_key}
