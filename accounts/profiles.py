"""The fields of a user's profile, from the lists of PROFILE_MODEL, and the rows that they are stored in."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django import forms
from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.db import IntegrityError, models, transaction

from accounts.models import User
from accounts.models.profiles import UserProfile, profile_model

# How browsers fill in a field (HTML Standard, autofill detail tokens).
AUTOCOMPLETE = {"first_name": "given-name", "last_name": "family-name"}


def names() -> tuple[str, ...]:
    """Returns the names of the fields that users read and change."""
    return tuple((profile_model() or UserProfile).PROFILE_FIELDS)


def sign_up_names() -> tuple[str, ...]:
    """Returns the names of the fields that the sign-up asks for."""
    return tuple((profile_model() or UserProfile).SIGN_UP_FIELDS)


def is_of_user(name: str) -> bool:
    """Returns whether a field is stored in the row of the user. The others are in the row of PROFILE_MODEL."""
    return name in {field.name for field in User._meta.concrete_fields}


def of_product(names: Iterable[str]) -> list[str]:
    """Returns the names that PROFILE_MODEL stores."""
    return [name for name in names if not is_of_user(name)]


def form_field(name: str) -> forms.Field:
    """Returns the form field of a profile field."""
    owner: Any = User if is_of_user(name) else profile_model()
    field: forms.Field = owner._meta.get_field(name).formfield()
    if name in AUTOCOMPLETE:
        field.widget.attrs["autocomplete"] = AUTOCOMPLETE[name]
    return field


def values_of(user: User, names: Iterable[str]) -> dict[str, Any]:
    """Returns the values that PROFILE_MODEL stores, as forms show them. At most one statement."""
    wanted = of_product(names)
    return forms.model_to_dict(user.get_profile(), wanted) if wanted else {}


def save(user: User, values: Mapping[str, Any]) -> None:
    """
    Saves fields of PROFILE_MODEL, and only those that changed. The first time, it creates the row. Without values, no
    statement.
    """
    if not values:
        return
    try:
        with transaction.atomic():
            _write(user, values)
    except IntegrityError:
        # Another request has created the row meanwhile.
        user._state.fields_cache.pop("profile", None)
        _write(user, values)


def _write(user: User, values: Mapping[str, Any]) -> None:
    profile = user.get_profile()
    for name, value in values.items():
        setattr(profile, name, value)
    profile.save()


@register
def check_profile_model(**kwargs: Any) -> list[CheckMessage]:
    """Checks that the lists of PROFILE_MODEL name fields that forms and the API can show and store."""
    return [Error(text, obj=settings.PROFILE_MODEL, id="accounts.E001") for text in _problems()]


def _problems() -> Iterator[str]:
    try:
        profile = profile_model()
    except (LookupError, ValueError):
        yield "PROFILE_MODEL is not a model of an installed app, such as product.Profile."
        return
    if profile is None:
        return
    if not issubclass(profile, UserProfile):
        yield "PROFILE_MODEL must be a subclass of accounts.models.UserProfile."
        return
    fields = {field.name: field for field in profile._meta.concrete_fields if not field.primary_key}
    if clashes := sorted(fields.keys() & {field.name for field in User._meta.get_fields()}):
        yield f"User has these fields, too: {', '.join(clashes)}."
    yield from (
        _problem_of(name, fields.get(name)) for name in profile.PROFILE_FIELDS if not _is_possible(name, fields)
    )
    if missing := sorted(set(profile.SIGN_UP_FIELDS) - set(profile.PROFILE_FIELDS)):
        yield f"SIGN_UP_FIELDS that are not in PROFILE_FIELDS: {', '.join(missing)}."


def _is_possible(name: str, fields: Mapping[str, models.Field]) -> bool:
    field = fields.get(name)
    return name in AUTOCOMPLETE or bool(field and field.editable and not field.unique and not field.is_relation)


def _problem_of(name: str, field: models.Field | None) -> str:
    if field is None:
        return f"PROFILE_FIELDS has {name}, which is neither first_name, last_name nor a field of the model."
    return f"PROFILE_FIELDS has {name}, which is unique, a relation, or not editable. Make a page of its own for it."
