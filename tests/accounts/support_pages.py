"""Staff members who sign in as users, for tests."""

from typing import Any

from accounts.models import User
from tests.accounts.admin_pages import USERS, act, make_staff
from tests.conftest import Browser

READ = "accounts.sign_in_as"
CHANGE = "accounts.change_as"
END = "/accounts/support/end/"
# What the action of the admin needs besides: to see the page of the user.
VIEW = ("accounts.view_user", "accounts.change_user")


def make_supporter(username: str, password: str, *permissions: str) -> User:
    return make_staff(username, password, *VIEW, *(permissions or (READ,)))


def sign_in_as(browser: Browser, user: Any, **fields: str) -> Any:
    """Signs the staff member of the browser in as the user, and returns the response."""
    return act(browser, USERS, "sign_in_as", user, agree=True, **fields)
