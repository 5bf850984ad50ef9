"""Groups and permissions of the site before, by their names: ids of permissions differ between sites."""

from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import Group, Permission
from django.db import transaction

from accounts.models import User
from accounts.moving_in import old_users
from accounts.moving_in.collisions import Collision
from accounts.moving_in.sources import Source

# App, model and codename.
Right = tuple[str, str, str]
# The user's model has another name here.
RENAMED = {("auth", "user"): ("accounts", "user")}


class Rights:
    """The groups and permissions of the imported users. Permissions of models that do not exist here are left out."""

    def __init__(self, source: Source) -> None:
        kinds = {row["id"]: (row["app_label"], row["model"]) for row in source.rows("django_content_type")}
        self._rights_there: dict[Any, Right] = {}
        for row in source.rows("auth_permission"):
            kind = row["content_type_id"]
            app_and_model = tuple(kind) if isinstance(kind, list) else kinds.get(kind)
            if app_and_model:
                self._rights_there[row["id"]] = (*app_and_model, row["codename"])
        self.by_group: dict[str, set[Right]] = {}
        names: dict[Any, str] = {}
        for row in source.rows("auth_group"):
            names[row["id"]] = row["name"]
            self.by_group[row["name"]] = set(self._rights(row.get("permissions") or []))
        for group_id, permission_id in source.group_permissions():
            if group_id in names:
                self.by_group[names[group_id]].update(self._rights([permission_id]))
        self.groups_of: dict[str, set[str]] = {}
        for user_id, group in source.links("group"):
            # A dump with natural keys names the group.
            name = group[0] if isinstance(group, tuple) else names.get(group)
            if name in self.by_group:
                self.groups_of.setdefault(old_users.id_text(user_id), set()).add(name)
        self.rights_of: dict[str, set[Right]] = {}
        for user_id, permission in source.links("permission"):
            self.rights_of.setdefault(old_users.id_text(user_id), set()).update(self._rights([permission]))
        self._here = {
            (each.content_type.app_label, each.content_type.model, each.codename): each.pk
            for each in Permission.objects.select_related("content_type")
        }
        self._left_out: set[str] = set()
        self._group_ids: dict[str, int] = {}

    def _rights(self, references: Iterable[Any]) -> Iterable[Right]:
        for each in references:
            if isinstance(each, list | tuple):
                # The natural key of a permission: codename, app, model.
                codename, app, model = each
                found: Right | None = (app, model, codename)
            else:
                found = self._rights_there.get(each)
            if found:
                app, model = RENAMED.get(found[:2], found[:2])
                yield (app, model, found[2])

    def collisions(self) -> list[Collision]:
        """Returns the groups here with the name of an imported one, and permissions that this one does not have."""
        groups = Group.objects.filter(name__in=self.by_group).prefetch_related("permissions__content_type")
        found = []
        for group in groups:
            here = {(p.content_type.app_label, p.content_type.model, p.codename) for p in group.permissions.all()}
            if here - self.by_group[group.name]:
                self._left_out.add(group.name)
                found.append(Collision("group-taken", f"group {group.name!a}", "its members are not added to it"))
        return found

    @transaction.atomic
    def prepare(self) -> None:
        """
        Creates the groups that do not exist here, with their permissions: all, or none, since a later run does not
        change a group that exists.
        """
        self.collisions()
        for name in self.by_group.keys() - self._left_out:
            group, is_new = Group.objects.get_or_create(name=name)
            if is_new:
                group.permissions.set([self._here[each] for each in self.by_group[name] if each in self._here])
            self._group_ids[name] = group.pk

    def give(self, users: list[User], old_ids: list[str]) -> int:
        """Adds the users to their groups, and gives them their permissions. Returns how many of both."""
        memberships, permissions = [], []
        for user, old_id in zip(users, old_ids, strict=True):
            for name in self.groups_of.get(old_id, set()) - self._left_out:
                memberships.append(User.groups.through(user_id=user.pk, group_id=self._group_ids[name]))
            for right in self.rights_of.get(old_id, set()):
                if right in self._here:
                    permissions.append(User.user_permissions.through(user_id=user.pk, permission_id=self._here[right]))
        User.groups.through.objects.bulk_create(memberships)
        User.user_permissions.through.objects.bulk_create(permissions)
        return len(memberships) + len(permissions)
