"""Security events: which are recorded, for which user, without secrets, and append-only."""

from contextlib import suppress

import pytest
from django.apps import apps
from django.conf import settings
from django.db import transaction
from django.urls import reverse

from accounts.models import SecurityEvent, SignIn, User
from tests import second_factors
from tests.conftest import ApiClient, claims_of

pytestmark = pytest.mark.django_db

NEW_PASSWORD = "a quite different passphrase"
WRONG_PASSWORD = "not the right passphrase at all"


def types_of(user):
    return list(SecurityEvent.objects.filter(user=user).values_list("type", flat=True))


def sid_of(client):
    return claims_of(client.access)["sid"]


# Sign-up and sign-in


def test_each_event_type_has_a_sentence():
    assert set(SecurityEvent.SENTENCES) == set(SecurityEvent.Type)


def test_registering_is_an_event(anonymous):
    anonymous.post("/api/register/", {"username": "carol", "email": "carol@example.com", "password": NEW_PASSWORD})
    assert types_of(User.objects.get(username="carol")).count("signed_up") == 1


def test_signing_up_on_the_page_is_an_event(browser):
    passwords = dict.fromkeys(["password", "password1"], NEW_PASSWORD)
    browser().post("/accounts/signup/", {"username": "carol", "email": "carol@example.com"} | passwords)
    assert types_of(User.objects.get(username="carol")).count("signed_up") == 1


def test_a_client_signing_in_is_an_event_of_its_sign_in(client_of, ann):
    client = client_of(ann)
    event = SecurityEvent.objects.get(type="signed_in")
    assert (event.user, str(event.sid)) == (ann, sid_of(client))


def test_a_browser_signing_in_is_an_event_of_its_sign_in(browser_of, ann):
    browser_of(ann)
    event = SecurityEvent.objects.get(type="signed_in")
    assert (event.user, event.sid) == (ann, SignIn.objects.get().pk)


def test_a_sign_in_is_recorded_with_its_methods(client_of, ann, password):
    client = client_of(ann)
    assert SecurityEvent.objects.get(type="signed_in").details["methods"] == "password"
    app, _codes = second_factors.add_app(client)
    answer = ApiClient().post("/api/token/", {"username": "ann", "password": password, "code": app.code()})
    assert answer.status_code == 200
    assert SecurityEvent.objects.filter(type="signed_in").first().details["methods"] == "password totp"


def test_staff_signing_in_to_the_admin_is_an_event(browser, staff, password):
    browser().post("/admin/login/?next=/admin/", {"username": staff.username, "password": password, "next": "/admin/"})
    assert types_of(staff).count("signed_in") == 1


def test_a_refresh_is_no_event(client_of, ann):
    client = client_of(ann)
    before = SecurityEvent.objects.count()
    client.renew()
    assert SecurityEvent.objects.count() == before


@pytest.mark.parametrize("path", ["/accounts/login/", "/admin/login/"])
def test_a_failed_sign_in_on_a_page_is_an_event(browser, ann, path):
    browser().post(path, {"username": ann.username, "password": WRONG_PASSWORD})
    assert types_of(ann) == ["sign_in_failed"]


def test_a_failed_sign_in_over_the_api_is_an_event(anonymous, ann):
    anonymous.sign_in(ann.username, WRONG_PASSWORD)
    assert types_of(ann) == ["sign_in_failed"]


def test_a_failed_sign_in_of_a_deactivated_user_is_an_event(anonymous, ann, password):
    User.objects.filter(pk=ann.pk).update(is_active=False)
    anonymous.sign_in(ann.username, password)
    assert types_of(ann).count("sign_in_failed") == 1


def test_a_failed_sign_in_with_an_unknown_name_is_an_event(anonymous, db):
    anonymous.sign_in("nobody-here", WRONG_PASSWORD)
    assert SecurityEvent.objects.get(type="sign_in_failed").user is None


def test_an_event_has_the_address_and_the_user_agent(anonymous, ann, password):
    anonymous.post(
        "/api/token/",
        {"username": ann.username, "password": password},
        headers={"user-agent": "curl/8.9.1"},
        REMOTE_ADDR="192.0.2.7",
    )
    event = SecurityEvent.objects.get(type="signed_in")
    assert (event.user_agent, event.ip_address) == ("curl/8.9.1", "192.0.2.7")


# Sign-out and ends


def test_signing_out_is_an_event_of_that_sign_in(browser_of, ann):
    browser = browser_of(ann)
    browser.post("/accounts/logout/")
    event = SecurityEvent.objects.get(type="signed_out")
    assert (event.user, event.sid) == (ann, SignIn.objects.get().pk)


def test_blacklisting_is_an_event_of_that_sign_in(client_of, anonymous, ann):
    client = client_of(ann)
    anonymous.post("/api/token/blacklist/", {"refresh": client.refresh})
    event = SecurityEvent.objects.get(type__in=["signed_out", "sign_in_ended"])
    assert (event.user, str(event.sid)) == (ann, sid_of(client))


def test_ending_another_sign_in_is_an_event_with_its_actor(client_of, ann):
    phone, laptop = client_of(ann), client_of(ann)
    laptop.delete(f"/api/sign-ins/{sid_of(phone)}/")
    event = SecurityEvent.objects.get(type="sign_in_ended")
    assert (event.user, event.actor, str(event.sid)) == (ann, ann, sid_of(phone))


def test_the_event_of_an_ended_sign_in_has_the_reason(client_of, ann):
    phone, laptop = client_of(ann), client_of(ann)
    laptop.delete(f"/api/sign-ins/{sid_of(phone)}/")
    reason = SignIn.objects.get(pk=sid_of(phone)).end_reason
    assert reason
    assert reason in SecurityEvent.objects.get(type="sign_in_ended").details.values()


def test_ending_the_others_is_an_event_for_each(client_of, browser_of, ann):
    client = client_of(ann)
    client_of(ann)
    browser_of(ann)
    client.post("/api/sign-ins/end-others/", {})
    assert types_of(ann).count("sign_in_ended") == 2


def test_staff_ending_a_sign_in_is_an_event_with_its_actor(client_of, browser_of, ann, staff):
    client = client_of(ann)
    page, url = browser_of(staff), reverse("admin:accounts_signin_changelist")
    page.post(
        url,
        {
            "action": "end_selected",
            "_selected_action": [sid_of(client)],
            "confirmed": "yes",
            "why": "The phone was stolen.",
        },
    )
    event = SecurityEvent.objects.get(type="sign_in_ended")
    assert (event.user, event.actor, str(event.sid)) == (ann, staff, sid_of(client))


def test_token_reuse_is_an_event_of_its_sign_in(client_of, anonymous, ann):
    client = client_of(ann)
    first = client.refresh
    client.renew()
    client.renew()
    anonymous.post("/api/token/refresh/", {"refresh": first})
    event = SecurityEvent.objects.get(type="token_reused")
    assert (event.user, str(event.sid)) == (ann, sid_of(client))


# Passwords


def test_a_password_change_over_the_api_is_an_event(client_of, ann, password):
    client_of(ann).post("/api/password/change/", {"old_password": password, "new_password": NEW_PASSWORD})
    assert types_of(ann).count("password_changed") == 1


def test_a_password_change_on_the_page_is_an_event(browser_of, ann, password):
    form = {"old_password": password, "new_password1": NEW_PASSWORD}
    browser_of(ann).post("/accounts/password_change/", form)
    assert types_of(ann).count("password_changed") == 1


def test_a_refused_password_change_is_no_event(client_of, ann):
    client_of(ann).post("/api/password/change/", {"old_password": WRONG_PASSWORD, "new_password": NEW_PASSWORD})
    assert "password_changed" not in types_of(ann)


def test_requesting_a_reset_over_the_api_is_an_event(anonymous, ann):
    anonymous.post("/api/password/reset/", {"email": ann.email})
    assert types_of(ann) == ["password_reset_asked"]


def test_requesting_a_reset_on_the_page_is_an_event(browser, ann):
    browser().post("/accounts/password_reset/", {"email": ann.email})
    assert types_of(ann) == ["password_reset_asked"]


def test_a_reset_over_the_api_is_an_event(anonymous, reset_link, ann):
    uid, token = reset_link(ann)
    anonymous.post("/api/password/reset/confirm/", {"uid": uid, "token": token, "new_password": NEW_PASSWORD})
    assert types_of(ann).count("password_reset") == 1


def test_a_reset_on_the_page_is_an_event(browser, reset_link, ann):
    uid, token = reset_link(ann)
    form = {"new_password1": NEW_PASSWORD}
    browser().post(f"/accounts/reset/{uid}/{token}/", form)
    assert types_of(ann).count("password_reset") == 1


# Deactivation


def save(user):
    user.is_active = False
    user.save()


def update(user):
    User.objects.filter(pk=user.pk).update(is_active=False)


def update_by_the_base_manager(user):
    User._base_manager.filter(pk=user.pk).update(is_active=False)


def bulk_update(user):
    user.is_active = False
    User.objects.bulk_update([user], ["is_active"])


@pytest.mark.parametrize("deactivate", [save, update, update_by_the_base_manager, bulk_update])
def test_a_deactivation_is_an_event(ann, deactivate):
    deactivate(ann)
    assert types_of(ann) == ["user_deactivated"]


@pytest.mark.parametrize("deactivate", [save, update])
def test_a_second_deactivation_is_no_event(ann, deactivate):
    deactivate(ann)
    deactivate(ann)
    assert types_of(ann) == ["user_deactivated"]


# Secrets


@pytest.fixture
def secrets(browser, browser_of, client_of, anonymous, reset_link, ann, password):
    """Runs a scenario of all actions and returns every secret that was used."""
    page, client = browser_of(ann), client_of(ann)
    seen = {"the session key": page.cookies[settings.SESSION_COOKIE_NAME].value}
    seen |= {"the first access token": client.access, "the first refresh token": client.refresh}
    anonymous.sign_in(ann.username, WRONG_PASSWORD)
    browser().post("/accounts/login/", {"username": ann.username, "password": WRONG_PASSWORD})
    client.renew()
    client.renew()
    seen |= {"an access token": client.access, "a refresh token": client.refresh}
    anonymous.post("/api/token/refresh/", {"refresh": seen["the first refresh token"]})
    form = {"old_password": password, "new_password1": NEW_PASSWORD}
    page.post("/accounts/password_change/", form)
    seen |= {"the next session key": page.cookies[settings.SESSION_COOKIE_NAME].value}
    page.post("/accounts/logout/")
    uid, token = reset_link(ann)
    anonymous.post("/api/password/reset/confirm/", {"uid": uid, "token": token, "new_password": password})
    seen |= {"the reset token": token}
    anonymous.post(
        "/api/register/", {"username": "carol", "email": "carol@example.com", "password": "the words of carol"}
    )
    seen |= {"a wrong password": WRONG_PASSWORD, "the password": password, "the new password": NEW_PASSWORD}
    return seen | {"the password of a new user": "the words of carol"}


def pieces(secrets):
    """Returns the secrets, and the signature of each token."""
    return secrets | {
        f"{name}, signature": text.rsplit(".", 1)[1] for name, text in secrets.items() if text.count(".") == 2
    }


def test_no_event_holds_a_secret(secrets):
    events = str(list(SecurityEvent.objects.values()))
    assert not [name for name, text in pieces(secrets).items() if text in events]


def test_nothing_in_the_database_holds_a_secret(secrets):
    dump = str([list(model._base_manager.values()) for model in apps.get_models()])
    assert not [name for name, text in pieces(secrets).items() if text in dump]


def test_every_step_of_the_scenario_is_an_event(secrets, ann):
    assert set(types_of(ann)) >= {
        "signed_in",
        "sign_in_failed",
        "signed_out",
        "token_reused",
        "password_changed",
        "password_reset_asked",
        "password_reset",
    }


# Append-only


def save_changed(event):
    event.type = "signed_out"
    event.save()


def save_one_field(event):
    event.details = {"edited": True}
    event.save(update_fields=["details"])


def update_all(event):
    SecurityEvent.objects.all().update(type="signed_out", details={"edited": True})


def bulk_update_it(event):
    event.type = "signed_out"
    SecurityEvent.objects.bulk_update([event], ["type"])


def delete_it(event):
    event.delete()


def delete_all(event):
    SecurityEvent.objects.all().delete()


TAMPERING = [
    save_changed,
    save_one_field,
    update_all,
    bulk_update_it,
    delete_it,
    delete_all,
]


@pytest.mark.parametrize("tamper", TAMPERING)
def test_an_event_cannot_be_changed(client_of, ann, tamper):
    client_of(ann)
    before = list(SecurityEvent.objects.values())
    with suppress(Exception), transaction.atomic():
        tamper(SecurityEvent.objects.get())
    assert list(SecurityEvent.objects.values()) == before


@pytest.mark.parametrize("tamper", TAMPERING)
def test_changing_an_event_raises_an_error(client_of, ann, tamper):
    client_of(ann)
    event = SecurityEvent.objects.get()
    with pytest.raises(Exception, match=r".+"), transaction.atomic():
        tamper(event)


def test_the_events_of_a_deleted_user_stay(client_of, ann):
    client_of(ann)
    ann.delete()
    assert SecurityEvent.objects.filter(type="signed_in").count() == 1
