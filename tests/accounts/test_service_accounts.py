"""Service accounts: they sign in by token only. Pages refuse them like a wrong password."""

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.hashers import get_hasher
from django.core import mail as outbox
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command

from accounts import passwords, registration
from accounts.models import SecurityEvent, SignIn, SignInRefused, User
from tests.conftest import send_mails

pytestmark = pytest.mark.django_db

WRONG = "not the right passphrase at all"


@pytest.fixture
def service():
    """A service account and its password."""
    return registration.create_service("gate", ["introspect"])


def test_a_service_account_signs_in_by_token(service, anonymous):
    user, password = service
    assert anonymous.sign_in(user.username, password).status_code == 200
    assert anonymous.get("/api/me/").json()["username"] == "gate"
    assert anonymous.renew().status_code == 200


def form_of(response):
    """Returns the page without the parts that differ between two responses."""
    text = response.content.decode()
    return [line for line in text.splitlines() if "csrfmiddlewaretoken" not in line]


@pytest.mark.parametrize("path", ["/accounts/login/", "/admin/login/"])
@pytest.mark.parametrize("rank", [{}, {"is_staff": True, "is_superuser": True}])
def test_a_page_refuses_a_service_account_like_a_wrong_password(service, browser, path, rank):
    user, password = service
    User.objects.filter(pk=user.pk).update(**rank)
    right = browser().post(path, {"username": user.username, "password": password})
    wrong = browser().post(path, {"username": user.username, "password": WRONG})
    assert right.status_code == wrong.status_code == 200
    assert form_of(right) == form_of(wrong)
    assert not right.cookies.get("sessionid")
    assert not SignIn.objects.exists()
    assert SecurityEvent.objects.filter(type="sign_in_failed").count() == 2


def test_a_page_refuses_a_service_account_with_equal_hashes(service, monkeypatch):
    user, password = service
    hashed = []
    hasher = type(get_hasher())
    encode = hasher.encode
    monkeypatch.setattr(hasher, "encode", lambda *args: hashed.append(args[1]) or encode(*args))
    for tried in [password, WRONG]:
        assert authenticate(None, username=user.username, password=tried) is None
    assert hashed == [password, WRONG]


def test_no_code_starts_a_browser_sign_in_of_a_service_account(service, client):
    with pytest.raises(SignInRefused):
        client.force_login(service[0])
    assert not SignIn.objects.exists()


def test_becoming_a_service_account_ends_the_browser_at_once(browser_of, ann):
    browser = browser_of(ann)
    User.objects.filter(pk=ann.pk).update(is_service=True)
    assert browser.get("/accounts/profile/").status_code == 302


def test_a_service_account_gets_no_reset_mail(service, anonymous):
    answer = anonymous.post("/api/password/reset/", {"email": "gate@service.invalid"})
    send_mails()
    assert answer.status_code == 202
    assert not outbox.outbox


def test_becoming_a_service_account_invalidates_reset_links(ann, anonymous, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        anonymous.post("/api/password/reset/", {"email": ann.email})
    send_mails()
    uid, token = outbox.outbox[0].body.split("/accounts/password_reset/", 1)[-1].split("/")[-3:-1]
    User.objects.filter(pk=ann.pk).update(is_service=True)
    assert passwords.get_by_reset_token(uid, token) is None


def test_a_new_password_of_a_service_account_sends_no_mail(service, django_capture_on_commit_callbacks):
    user, _password = service
    with django_capture_on_commit_callbacks(execute=True):
        user.set_password("quiet copper lantern drifts")
        user.save()
    send_mails()
    assert not outbox.outbox


def test_a_registration_creates_no_service_account(anonymous, password):
    body = {
        "username": "eve",
        "email": "eve@example.org",
        "password": password,
        "is_service": True,
        "scopes": "introspect",
    }
    anonymous.post("/api/register/", body)
    user = User.objects.get(username="eve")
    assert (user.is_service, user.scopes) == (False, "")


def test_a_patch_creates_no_service_account(client_of, ann):
    client_of(ann).patch("/api/me/", {"is_service": True, "scopes": "introspect"})
    ann.refresh_from_db()
    assert (ann.is_service, ann.scopes) == (False, "")


def test_a_service_account_confirms_and_changes_its_password(service, anonymous):
    name, secret = service[0].username, service[1]
    assert anonymous.sign_in(name, secret).status_code == 200
    assert anonymous.post("/api/password/confirm/", {"password": "not this one"}).status_code == 400
    assert anonymous.post("/api/password/confirm/", {"password": secret}).status_code == 204
    change = {"old_password": secret, "new_password": "quiet copper lantern drifts"}
    assert anonymous.post("/api/password/change/", change).status_code == 204
    assert anonymous.sign_in(name, "quiet copper lantern drifts").status_code == 200


# make_service


def test_the_command_prints_a_password_that_works(anonymous, capsys):
    call_command("make_service", "gate", "--scope", "introspect")
    assert anonymous.sign_in("gate", capsys.readouterr().out.strip()).status_code == 200
    assert User.objects.get().has_scope("introspect")


def test_a_service_account_has_no_default_scope(capsys):
    call_command("make_service", "gate")
    assert not User.objects.get().has_scope("introspect")


def test_the_command_creates_several_service_accounts(capsys):
    for name in ["gate", "printer"]:
        call_command("make_service", name)
    assert User.objects.filter(is_service=True).count() == 2


def test_the_command_refuses_an_unknown_scope():
    with pytest.raises(CommandError):
        call_command("make_service", "gate", "--scope", "everything")


@pytest.mark.parametrize("name", ["ann", "ANN", "two words", "", "x" * 200])
def test_the_command_refuses_an_invalid_name(ann, name):
    with pytest.raises(CommandError):
        call_command("make_service", name)
    assert User.objects.count() == 1


def test_an_unknown_scope_is_a_validation_error():
    with pytest.raises(ValidationError, match="everything"):
        registration.create_service("gate", ["introspect", "everything"])
