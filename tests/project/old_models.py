"""The models of an earlier release, as its migrations describe them, and rows like those that its code writes."""

import os
import uuid
from datetime import timedelta
from pathlib import Path

from django.db import connection, models, transaction
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone

APPS = ("accounts", "api", "blocklist")
# In this order, each model exists before the next one refers to it. Others come last.
MODELS = ("user", "signin", "session", "securityevent", "lock", "entry", "statusindex", "usedproof", "recoverycodeset")


def models_at(migrations):
    """Returns the models in the state after these migrations, by name."""
    state = MigrationLoader(connection).project_state(migrations)
    return {model._meta.model_name: model for model in state.apps.get_models() if model._meta.app_label in APPS}


def value_of(field, number):
    """Returns a valid value of the field, a different one for each number."""
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
    if isinstance(field, models.IntegerField):
        return 1000 + number
    if isinstance(field, models.CharField | models.TextField):
        return f"value-{number}"
    if isinstance(field, models.BinaryField):
        return number.to_bytes(16, "big")
    if isinstance(field, models.BooleanField):
        return False
    if isinstance(field, models.JSONField):
        return {}
    raise NotImplementedError(f"{field}: say here what that code writes")


def row_of(model, number, **given):
    """Inserts a row like the code of that release, with the same defaults of Django."""
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
    """Returns the fields of one entry of each kind of that release."""
    wholesale = {"sub": uuid.UUID(int=1), "all": uuid.UUID(int=0)}
    kinds = [kind for kind, _label in model._meta.get_field("kind").choices]
    return [
        {"kind": kind, "token_id": wholesale[kind], "before": timezone.now()} if kind in wholesale else {"kind": kind}
        for kind in kinds
    ]


def unchanged(row):
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields if not field.primary_key}


def write_until(stop, migrations):
    """
    Writes rows of a user who signs in, calls and leaves, until the file exists, with the time limit of a node for each
    statement. Prints how many. Every error of the database ends it.
    """
    known = models_at(migrations)
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = '5s'")
    number = 0
    while not Path(stop).exists():
        number += 1
        name = f"{os.getpid()}-{number}"
        user = row_of(known["user"], number, username=name, username_key=name, email=f"{name}@example.org")
        with transaction.atomic():
            # In the order of the code: it locks the user first.
            models.QuerySet(known["user"]).select_for_update().get(pk=user.pk)
            sign_in = row_of(known["signin"], number, user=user)
            row_of(known["session"], number, session_key=f"{uuid.uuid4().hex:0<64}", user=user, sign_in=sign_in)
            row_of(known["securityevent"], number, user=user, sign_in=sign_in)
        models.QuerySet(known["signin"]).filter(pk=sign_in.pk).update(**unchanged(sign_in))
        row_of(known["entry"], number, kind="sid", token_id=sign_in.pk)
        user.save(force_update=True)
        models.QuerySet(known["session"]).filter(sign_in_id=sign_in.pk).delete()
        models.QuerySet(known["signin"]).filter(pk=sign_in.pk).delete()
        print(number, flush=True)  # noqa: T201
