"""Accounts at providers that users sign in with: the rules, without a provider."""

import json
import subprocess
import sys
from datetime import timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone

# Before a test sets OPENID_PROVIDERS, with which it would need allauth.
import project.urls  # noqa: F401
from accounts import connections, passwords, registration, starting
from accounts.factors import requirements
from accounts.models import (
    AccountChanged,
    AuthenticatorApp,
    ConnectedAccount,
    Identity,
    SecondStepRequired,
    SecurityEvent,
    SignIn,
    SignInRefused,
    User,
)
from project import openid_providers
from project.admin_site import StaffSite
from project.environment import Environment
from tests import servers

pytestmark = pytest.mark.django_db

ACME = {"id": "acme", "name": "Acme", "server_url": "https://login.acme.example", "client_id": "c", "secret": "s3cret"}
CAROL = Identity("acme", "42", "carol@example.org", True, "carol")


@pytest.fixture(autouse=True)
def providers(settings):
    settings.OPENID_PROVIDERS = {"acme": ACME}
    settings.SITE_URL = "https://www.example.org"


@pytest.fixture
def carol():
    """A user who signed up at the provider, and has no password."""
    return registration.create_connected_account("carol", "carol@example.org", CAROL)


def test_a_verified_address_is_confirmed(carol):
    assert carol.email_confirmed_at
    assert not carol.has_usable_password()
    assert carol.connected_accounts.get().subject == "42"


@pytest.mark.parametrize("identity", [CAROL._replace(is_verified=False), CAROL._replace(email="c@example.org")])
def test_any_other_address_is_not_confirmed(identity):
    user = registration.create_connected_account("carol", "carol@example.org", identity)
    assert user.email_confirmed_at is None


def test_an_account_signs_up_once(carol):
    with pytest.raises(connections.ConnectionRefused):
        registration.create_connected_account("carla", "carla@example.org", CAROL)
    assert not User.objects.filter(username="carla").exists()


def test_a_sign_in_has_the_time_of_the_proof(carol):
    carol.proved_at = timezone.now() - timedelta(hours=3)
    sign_in = starting.start(carol, SignIn.Kind.BROWSER)
    assert (sign_in.methods, sign_in.level, sign_in.authenticated_at) == ("openid", 1, carol.proved_at)


def test_a_second_factor_is_asked_for(carol):
    AuthenticatorApp.objects.create(user=carol, secret=b"", confirmed_at=timezone.now())
    with pytest.raises(SecondStepRequired):
        starting.start(carol, SignIn.Kind.BROWSER)


def test_a_connection_is_recorded_and_mailed(ann, mails_of):
    mails = mails_of(lambda: connections.connect(ann, CAROL))
    assert [each.to for each in mails] == [["ann@example.org"]]
    assert "An account of Acme was connected to your account." in mails[0].body
    event = SecurityEvent.objects.get(type=SecurityEvent.Type.ACCOUNT_CONNECTED)
    assert (event.user, event.details) == (ann, {"provider": "acme"})


def test_to_connect_twice_changes_nothing(ann):
    assert connections.connect(ann, CAROL) == connections.connect(ann, CAROL)
    assert SecurityEvent.objects.filter(type=SecurityEvent.Type.ACCOUNT_CONNECTED).count() == 1


def test_an_account_of_another_user_is_not_connected(carol, ann):
    with pytest.raises(connections.ConnectionRefused):
        connections.connect(ann, CAROL)
    assert not ann.connected_accounts.exists()


def test_a_deactivated_user_connects_nothing(ann):
    User.objects.filter(pk=ann.pk).update(is_active=False)
    with pytest.raises(AccountChanged):
        connections.connect(ann, CAROL)


def test_a_user_has_a_limited_number_of_connections(ann, monkeypatch):
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 1)
    connections.connect(ann, CAROL)
    with pytest.raises(connections.ConnectionRefused):
        connections.connect(ann, CAROL._replace(subject="43"))


def test_a_disconnection_signs_out_everywhere_else(ann, browser_of, mails_of):
    account = connections.connect(ann, CAROL)
    here, there = browser_of(ann), browser_of(ann)
    keep = SignIn.objects.filter(user=ann).earliest("created_at")
    mails = mails_of(lambda: connections.disconnect(ann, account.pk, keep))
    assert "An account of Acme was disconnected from your account." in mails[0].body
    assert not ann.connected_accounts.exists()
    assert here.get("/accounts/profile/").status_code == 200
    assert there.get("/accounts/profile/").status_code == 302


def test_a_sign_in_under_way_is_refused_after_a_disconnection(ann):
    account = connections.connect(ann, CAROL)
    arriving = ConnectedAccount.objects.get_by_identity(CAROL).user
    connections.disconnect(ann, account.pk, keep=None)
    with pytest.raises(SignInRefused):
        starting.start(arriving, SignIn.Kind.BROWSER, methods=["openid"])


def test_the_last_way_in_is_kept(carol, settings):
    account = connections.connect(carol, CAROL)
    # Of a provider that is no longer configured: no way in.
    connections.connect(carol, CAROL._replace(provider="gone"))
    with pytest.raises(connections.ConnectionRefused):
        connections.disconnect(carol, account.pk, keep=None)
    connections.connect(carol, CAROL._replace(subject="43"))
    connections.disconnect(carol, account.pk, keep=None)


def test_no_user_disconnects_an_account_of_another(carol, ann):
    connections.disconnect(ann, carol.connected_accounts.get().pk, keep=None)
    assert carol.connected_accounts.exists()


def test_a_user_without_a_password_confirms_at_the_provider(carol, ann):
    assert requirements.methods_of(carol) == ["openid"]
    assert requirements.methods_of(ann) == ["password"]


def test_a_user_without_a_password_can_get_one_by_mail(carol, ann):
    ann.set_unusable_password()
    ann.save()
    assert (carol.may_reset_password, ann.may_reset_password) == (True, False)
    assert list(User.objects.with_resettable_password()) == [carol]


def test_a_reset_disconnects_who_used_the_address_of_another():
    """A person who signed up with the address of another one keeps no way in when its owner takes the account."""
    user = registration.create_connected_account("carol", "victim@example.org", CAROL)
    passwords.reset(user, "amber kettle sings by noon")
    assert not user.connected_accounts.exists()


def test_a_reset_of_a_confirmed_address_keeps_connections(carol):
    passwords.reset(carol, "amber kettle sings by noon")
    assert carol.connected_accounts.exists()


def test_a_user_without_a_password_sets_one(carol, browser):
    here = browser()
    here.force_login(carol)
    here.post("/accounts/password_change/", {"new_password1": "amber kettle sings by noon"})
    assert User.objects.get(pk=carol.pk).check_password("amber kettle sings by noon")
    assert here.get("/accounts/profile/").status_code == 200


@pytest.mark.parametrize("path", ["/accounts/password_change/", "/accounts/delete/"])
def test_without_a_password_a_recent_proof_is_needed(carol, browser, path):
    here = browser()
    here.force_login(carol)
    SignIn.objects.update(authenticated_at=timezone.now() - timedelta(hours=2))
    response = here.post(path, {"new_password1": "amber kettle sings by noon"})
    assert response.headers["Location"].startswith("/accounts/confirm/")
    assert not User.objects.get(pk=carol.pk).has_usable_password()


def test_the_api_names_the_provider_as_method(carol, browser):
    here = browser()
    here.force_login(carol)
    SignIn.objects.update(authenticated_at=timezone.now() - timedelta(hours=2))
    response = here.post("/api/factors/totp/", {}, "application/json", headers={"Sec-Fetch-Site": "same-origin"})
    assert response.status_code == 403
    assert response.json()["methods"] == ["openid"]


def test_without_the_setting_no_code_of_allauth_is_loaded():
    # In a process of its own: tests with the setting load it into this one.
    code = "import sys; print([name for name in sys.modules if name.startswith('allauth')])"
    command = [sys.executable, "-c", f"import django; django.setup(); import project.urls; {code}"]
    assert subprocess.run(command, cwd=servers.ROOT, capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_admin_has_no_models_of_allauth():
    site = StaffSite()
    site.register([type("EmailAddress", (), {"__module__": "allauth.account.models"})])
    assert site._registry == {}


# The setting


def read(monkeypatch, *entries):
    """Returns the providers of the setting. Raises ImproperlyConfigured."""
    monkeypatch.setenv("OPENID_PROVIDERS", json.dumps(entries))
    env = Environment()
    found = openid_providers.read(env, "OPENID_PROVIDERS", ["https"])
    env.stop_if_refused()
    return found


def test_known_providers_need_no_address(monkeypatch):
    google = {"id": "google", "client_id": "c", "secret": "s"}
    found = read(monkeypatch, google, ACME)
    assert list(found) == ["google", "acme"]
    assert found["google"]["server_url"] == "https://accounts.google.com"
    assert (found["google"]["auth_time"], found["acme"]["auth_time"]) == (False, True)


@pytest.mark.parametrize(
    "entry",
    [
        {},
        "acme",
        ACME | {"id": "Acme"},
        ACME | {"id": 1},
        ACME | {"server_url": "http://login.acme.example"},
        ACME | {"server_url": "login.acme.example"},
        ACME | {"name": ""},
        ACME | {"name": "two\nlines"},
        ACME | {"auth_time": "no"},
        ACME | {"client": "misspelt"},
        {"id": "acme", "client_id": "c", "secret": "s3cret"},
    ],
)
def test_a_provider_that_cannot_work_stops_the_start(monkeypatch, entry):
    with pytest.raises(ImproperlyConfigured) as error:
        read(monkeypatch, entry)
    assert "OPENID_PROVIDERS is not valid" in str(error.value)
    assert "s3cret" not in str(error.value)


def test_two_providers_of_one_id_stop_the_start(monkeypatch):
    with pytest.raises(ImproperlyConfigured):
        read(monkeypatch, ACME, ACME)
