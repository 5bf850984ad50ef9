"""Staff accounts, addresses and actions of the admin, for its tests."""

import re
from html import unescape
from typing import Any

from django.contrib.auth.models import Group, Permission

from accounts.models import User

USERS = "/admin/accounts/user/"
SIGN_INS = "/admin/accounts/signin/"
EVENTS = "/admin/accounts/securityevent/"
BLOCKLIST = "/admin/blocklist/entry/"
LEAKED = f"{BLOCKLIST}leaked/"


def make_staff(username: str, password: str, *permissions: str) -> User:
    """Creates a staff member with these permissions, each as app.codename."""
    user = User.objects.create_user(username, f"{username}@example.org", password, is_staff=True)
    for each in permissions:
        app, codename = each.split(".")
        user.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
    return user


def make_support(username: str, password: str) -> User:
    user = make_staff(username, password)
    user.groups.add(Group.objects.get(name="Support"))
    return user


def act(browser: Any, url: str, action: str, *chosen: Any, agree: bool = True, **fields: str) -> Any:
    """Runs an action on these rows, with the confirmation unless agree is false."""
    form = {"action": action, "_selected_action": [str(each.pk) for each in chosen], **fields}
    if agree:
        form = {"why": "The phone was stolen.", **form, "confirmed": "yes"}
    return browser.post(url, form)


def text_of(answer: Any) -> str:
    """Returns the visible text of a page."""
    body = answer.content.decode().partition('id="content"')[2]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())
