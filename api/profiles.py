"""Profile fields in the API: for the serializers of the account."""

from typing import Any

from django.db import models
from rest_framework import serializers

from accounts import profiles
from accounts.models import User
from accounts.models.profiles import profile_model
from api.fields import NameField, StrictBooleanField, TextField

TEXTS = {models.CharField: NameField, models.TextField: TextField, models.BooleanField: StrictBooleanField}


class ProfileFieldsSerializer(serializers.ModelSerializer):
    """Builds fields as strict as those of the other serializers. Choices and other types are those of DRF."""

    serializer_field_mapping = serializers.ModelSerializer.serializer_field_mapping | TEXTS


def fields_of(names: tuple[str, ...], **options: Any) -> dict[str, serializers.Field]:
    """Returns new serializer fields for these profile fields, in this order."""
    of_product = profiles.of_product(names)
    of_user = [name for name in names if name not in of_product]
    found = _built(User, of_user) | _built(profile_model(), of_product)
    return {name: found[name] for name in names}


def _built(model: Any, names: list[str]) -> dict[str, serializers.Field]:
    if not names:
        return {}
    meta = type("Meta", (), {"model": model, "fields": names})
    builder = type("Serializer", (ProfileFieldsSerializer,), {"Meta": meta})
    return dict(builder().get_fields())


# For a serializer of User: adds the profile fields after the address. (The schema would quote a docstring.)
class ProfileFieldsMixin:
    # The method of User that returns the row, as the source of fields.
    ROW = "get_profile"

    def get_fields(self) -> dict[str, serializers.Field]:
        fields = list(super().get_fields().items())  # type: ignore[misc]
        names = profiles.names()
        added = fields_of(names)
        for name in profiles.of_product(names):
            added[name].source = f"{self.ROW}.{name}"
        place = 1 + [name for name, _field in fields].index("email")
        return dict([*fields[:place], *added.items(), *fields[place:]])

    def update(self, user: User, validated_data: dict[str, Any]) -> User:
        """Saves what changed. Without fields of PROFILE_MODEL, at most one statement."""
        profiles.save(user, validated_data.pop(self.ROW, {}))
        updated: User = super().update(user, validated_data)  # type: ignore[misc]
        return updated
