"""manage.py createsuperuser: taken or invalid names and addresses are errors without a traceback."""

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from accounts.models import User

pytestmark = pytest.mark.django_db

NAME_TAKEN = "username.* already"
ADDRESS_TAKEN = "e-mail address already"


@pytest.mark.parametrize(
    ("name", "email", "refusal"),
    [
        ("ann", "new@example.org", NAME_TAKEN),
        ("ANN", "new@example.org", NAME_TAKEN),
        ("new", "ann@example.org", ADDRESS_TAKEN),
        ("new", "Ann@EXAMPLE.org", ADDRESS_TAKEN),
        ("new", "not an address", "valid email"),
        ("nëw", "new@example.org", "valid username"),
    ],
)
@pytest.mark.parametrize("given_by", ["option", "environment"])
def test_invalid_values_without_questions_are_an_error(
    ann: User, monkeypatch: pytest.MonkeyPatch, given_by: str, name: str, email: str, refusal: str
) -> None:
    options = {"username": name, "email": email}
    if given_by == "environment":
        for field, value in options.items():
            monkeypatch.setenv(f"DJANGO_SUPERUSER_{field.upper()}", value)
        options = {}
    with pytest.raises(CommandError, match=refusal):
        call_command("createsuperuser", interactive=False, **options)
    assert User.objects.count() == 1


def test_the_command_asks_again_after_an_invalid_value(
    ann: User, monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    answers = iter(["Ann", "new", "ANN@example.org", "new@example.org"])
    monkeypatch.setattr("builtins.input", lambda _prompt: next(answers))
    monkeypatch.setattr("getpass.getpass", lambda *_prompt: password)
    err = StringIO()

    class Terminal:
        def isatty(self) -> bool:
            return True

    call_command("createsuperuser", stdin=Terminal(), stdout=StringIO(), stderr=err)
    made = User.objects.get(username="new")
    assert (made.email, made.is_superuser) == ("new@example.org", True)
    assert ("username is already taken" in err.getvalue(), "address already exists" in err.getvalue()) == (True, True)


def test_a_name_taken_meanwhile_is_an_error_without_traceback(ann: User, monkeypatch: pytest.MonkeyPatch) -> None:
    manager: Any = User.objects
    create = manager.create_superuser

    def late(**values: Any) -> User:
        User.objects.create_user("quick", values["email"])
        made: User = create(**values)
        return made

    monkeypatch.setattr(type(manager), "create_superuser", lambda self, **values: late(**values))
    with pytest.raises(CommandError, match="already exists"):
        call_command("createsuperuser", interactive=False, username="slow", email="both@example.org")
