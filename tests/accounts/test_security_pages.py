"""Pages of second factors: list, add, rename, remove, new recovery codes, and the offer to add a passkey."""

import base64
import json
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.factors import recovery_codes
from accounts.models import AuthenticatorApp, Passkey, SecurityEvent, SignIn, User
from tests.accounts.second_step_pages import leads_to
from tests.authenticator import USER_PRESENT, Authenticator
from tests.conftest import sign_in_of
from tests.second_factors import App, add_app, add_passkey

pytestmark = pytest.mark.django_db

SECURITY = "/accounts/security/"
NEW_PASSKEY = f"{SECURITY}passkeys/new/"
BITWARDEN = "d548826e-79b4-db40-a3d8-11116f7e8349"


@pytest.fixture
def here(browser_of, ann):
    """A browser in which Ann, who has no second factor, is signed in."""
    return browser_of(ann)


@pytest.fixture
def with_app(hers, ann, browser, password):
    """A browser in which Ann has signed in with her app."""
    app, _codes = add_app(hers)
    browser = browser()
    browser.post("/accounts/login/", {"username": ann.username, "password": password})
    browser.post("/accounts/second-step/", {"code": app.code()})
    return browser


def text_of(response):
    assert response.status_code == 200
    return response.content.decode()


def send_new_passkey(browser, authenticator=None, query="", name="", **changes):
    options = browser.get(f"{NEW_PASSKEY}options/{query}").json()
    credential = (authenticator or Authenticator()).create(options["publicKey"], **changes)
    return browser.post(NEW_PASSKEY, {"step": options["step"], "credential": json.dumps(credential), "name": name})


def start_app(browser):
    """Returns a new app, by the secret on its page."""
    page = browser.get(browser.post(f"{SECURITY}app/new/").headers["Location"])
    secret = page.context["secret"]
    assert secret in text_of(page)
    return App(base64.b32decode(secret + "=" * (-len(secret) % 8)))


def factor_of(user):
    return (Passkey.objects.of(user).first() or AuthenticatorApp.objects.of(user).first()).pk


# The list


def test_the_page_is_in_the_navigation(here):
    assert f'href="{SECURITY}"' in text_of(here.get("/"))


def test_without_factors_the_page_offers_them(here):
    page = text_of(here.get(SECURITY))
    assert "You have no passkey" in page
    assert "You have no authenticator app" in page


@pytest.mark.parametrize("type", ["password_changed", "password_reset"])
def test_the_page_shows_when_the_password_was_set(clock, here, ann, type):
    assert "Your password was set just now." in text_of(here.get(SECURITY))
    SecurityEvent.objects.record(type, ann)
    ann.refresh_from_db()
    clock.shift(timedelta(days=3))
    here.post("/accounts/login/", {"username": ann.username, "password": "violet anchor hums at dawn"})
    assert "Your password was set 3 days ago." in text_of(here.get(SECURITY))


def test_a_password_older_than_the_events_has_no_date(here, ann):
    User.objects.update(date_joined=ann.date_joined - timedelta(days=400))
    assert "Your password was set more than 365 days ago." in text_of(here.get(SECURITY))


def test_the_page_names_the_protection_of_the_account(here, with_app, hers):
    assert "Your account is protected by a second factor" in text_of(with_app.get(SECURITY))
    add_passkey(hers)
    assert "Your account is well protected" in text_of(with_app.get(SECURITY))


def test_without_factors_the_page_warns(here):
    assert "Your password alone is enough to sign in." in text_of(here.get(SECURITY))


def test_each_change_is_reachable_from_the_page(with_app, ann):
    page = text_of(with_app.get(SECURITY))
    factor = f"{SECURITY}{factor_of(ann)}"
    for path in ("/accounts/password_change/", NEW_PASSKEY, f"{SECURITY}app/new/", f"{SECURITY}recovery-codes/"):
        assert f'"{path}"' in page
    assert all(f'"{factor}/{action}/"' in page for action in ("name", "remove"))


def test_the_list_has_factors_with_names_and_recovery_codes(with_app, hers):
    add_passkey(hers)
    Passkey.objects.update(aaguid=BITWARDEN)
    page = text_of(with_app.get(SECURITY))
    assert "Bitwarden" in page
    assert "<strong>authenticator app</strong>" in page
    assert "10 codes are left." in page


def test_a_name_given_by_the_user_replaces_the_authenticators(with_app, hers, ann):
    add_passkey(hers)
    Passkey.objects.of(ann).update(aaguid=BITWARDEN, name="My vault")
    page = text_of(with_app.get(SECURITY))
    assert "My vault" in page
    assert "Bitwarden" not in page


def test_the_page_has_no_secret(with_app, hers, ann):
    add_passkey(hers)
    page = text_of(with_app.get(SECURITY))
    app = AuthenticatorApp.objects.of(ann).get()
    for secret in (app.secret, Passkey.objects.of(ann).get().public_key):
        assert base64.b64encode(bytes(secret)).decode() not in page


def test_the_page_takes_seven_statements(with_app, django_assert_num_queries):
    with django_assert_num_queries(7):
        with_app.get(SECURITY)


def test_factors_of_others_are_not_found(here, bob, client_of):
    add_app(client_of(bob))
    for action in ("name", "remove"):
        assert here.get(f"{SECURITY}{factor_of(bob)}/{action}/").status_code == 404
        assert here.post(f"{SECURITY}{factor_of(bob)}/{action}/", {"name": "x"}).status_code == 404
    assert AuthenticatorApp.objects.of(bob).count() == 1


def test_an_account_that_can_have_none_is_told_so(settings, here):
    settings.SECOND_FACTOR = "off"
    assert "This account cannot have a second factor" in text_of(here.get(SECURITY))
    for path in (NEW_PASSKEY, f"{SECURITY}app/", f"{SECURITY}recovery-codes/"):
        assert leads_to(here.get(path), SECURITY)
    assert leads_to(here.post(f"{SECURITY}app/new/"), SECURITY)


@pytest.mark.parametrize(
    "path", [NEW_PASSKEY, f"{NEW_PASSKEY}options/", f"{SECURITY}app/", f"{SECURITY}recovery-codes/"]
)
def test_changes_ask_for_a_recent_proof(clock, browser_of, ann, path):
    here = browser_of(ann)
    clock.shift(timedelta(minutes=16))
    assert leads_to(here.get(path), "/accounts/confirm/")


def test_renaming_and_removing_ask_for_a_recent_proof(clock, with_app, ann):
    clock.shift(timedelta(minutes=16))
    for action in ("name", "remove"):
        assert leads_to(with_app.post(f"{SECURITY}{factor_of(ann)}/{action}/", {"name": "x"}), "/accounts/confirm/")
    assert AuthenticatorApp.objects.of(ann).get().name == ""


def test_a_sign_in_without_the_second_factor_changes_none(here, hers, ann):
    add_app(hers)
    assert leads_to(here.post(f"{SECURITY}{factor_of(ann)}/remove/"), "/accounts/confirm/")
    assert leads_to(here.get(NEW_PASSKEY), "/accounts/confirm/")
    assert AuthenticatorApp.objects.of(ann).count() == 1


# Add


def test_the_first_passkey_shows_recovery_codes_once(here, ann):
    response = send_new_passkey(here, name="Laptop")
    codes = response.context["codes"]
    assert len(codes) == 10
    assert all(code in text_of(response) for code in codes)
    assert Passkey.objects.of(ann).get().name == "Laptop"
    assert codes[0] not in text_of(here.get(SECURITY))


def test_adding_a_factor_raises_the_level_of_this_sign_in(here, ann):
    send_new_passkey(here)
    assert sign_in_of(ann).level == 2
    assert here.get("/accounts/email/").status_code == 200


def test_adding_a_factor_replaces_the_session_key(here, browser):
    replay = browser()
    replay.cookies.update(here.cookies)
    send_new_passkey(here)
    assert leads_to(replay.get(SECURITY), "/accounts/login/")


def test_a_second_passkey_shows_no_codes(here, hers, ann):
    send_new_passkey(here)
    response = send_new_passkey(here)
    assert response.headers["Location"] == f"{SECURITY}?changed"
    assert "1 other browser or app stays signed in" in text_of(here.get(response.headers["Location"]))
    assert Passkey.objects.of(ann).count() == 2


def test_a_passkey_of_another_origin_is_refused(here, ann):
    response = send_new_passkey(here, origin="https://evil.example.org")
    assert "The passkey could not be verified" in text_of(response)
    assert not Passkey.objects.of(ann).exists()


def test_the_same_passkey_for_two_accounts_is_refused(here, browser_of, bob):
    authenticator = Authenticator()
    send_new_passkey(here, authenticator)
    response = send_new_passkey(browser_of(bob), authenticator)
    assert "This passkey is already added" in text_of(response)


def test_a_conditional_create_needs_no_user_presence(here, ann):
    assert send_new_passkey(here, query="?conditional", flags=0).status_code == 200
    assert Passkey.objects.of(ann).count() == 1


def test_another_create_needs_user_presence_and_verification(here, ann):
    for flags in (0, USER_PRESENT):
        assert "could not be verified" in text_of(send_new_passkey(here, flags=flags))
    assert not Passkey.objects.of(ann).exists()


def test_a_step_of_another_sign_in_adds_no_passkey(here, browser_of, ann):
    options = browser_of(ann).get(f"{NEW_PASSKEY}options/").json()
    credential = Authenticator().create(options["publicKey"])
    response = here.post(NEW_PASSKEY, {"step": options["step"], "credential": json.dumps(credential)})
    assert "This step is not valid" in text_of(response)


def test_an_app_is_added_by_its_first_code(here, ann):
    app = start_app(here)
    assert "The code is wrong" in text_of(here.post(f"{SECURITY}app/", {"code": app.wrong_code()}))
    response = here.post(f"{SECURITY}app/", {"code": app.code()})
    assert len(response.context["codes"]) == 10
    assert AuthenticatorApp.objects.of(ann).get().confirmed_at
    assert sign_in_of(ann).methods == "password totp"


def test_the_qr_code_has_no_inline_style(here):
    page = text_of(here.get(here.post(f"{SECURITY}app/new/").headers["Location"]))
    assert "<svg" in page
    assert "style" not in page.partition("<svg")[2].partition("</svg>")[0]


def test_the_secret_is_not_shown_after_the_confirmation(here):
    app = start_app(here)
    here.post(f"{SECURITY}app/", {"code": app.code()})
    assert leads_to(here.get(f"{SECURITY}app/"), SECURITY)


def test_the_secret_is_not_shown_after_a_quarter_of_an_hour(clock, browser_of, ann):
    here = browser_of(ann)
    start_app(here)
    clock.shift(timedelta(minutes=14))
    here.post("/accounts/confirm/", {"password": "violet anchor hums at dawn"})
    clock.shift(timedelta(minutes=2))
    assert leads_to(here.get(f"{SECURITY}app/"), SECURITY)


def test_a_new_app_replaces_an_unconfirmed_one(here):
    first, _second = start_app(here), start_app(here)
    assert "The code is wrong" in text_of(here.post(f"{SECURITY}app/", {"code": first.code()}))


def test_an_added_factor_sends_a_mail(here, mails_of):
    mails = mails_of(lambda: send_new_passkey(here))
    assert "A second factor was added to your account" in [mail.subject for mail in mails]


# Rename and remove


def test_a_factor_is_renamed(with_app, ann):
    assert leads_to(with_app.post(f"{SECURITY}{factor_of(ann)}/name/", {"name": "Phone"}), SECURITY)
    assert "Phone" in text_of(with_app.get(SECURITY))
    assert SecurityEvent.objects.filter(user=ann, type="factor_renamed").count() == 1


@pytest.mark.parametrize("name", ["x" * 61, "a\x00b", "\u202ea"])
def test_invisible_and_long_names_are_refused(with_app, ann, name):
    assert with_app.post(f"{SECURITY}{factor_of(ann)}/name/", {"name": name}).status_code == 200
    assert AuthenticatorApp.objects.of(ann).get().name == ""


def test_the_last_factor_is_removed_after_a_warning(with_app, hers, ann):
    assert "It is your last second factor" in text_of(with_app.get(f"{SECURITY}{factor_of(ann)}/remove/"))
    assert leads_to(with_app.post(f"{SECURITY}{factor_of(ann)}/remove/"), SECURITY)
    assert "You have no authenticator app" in text_of(with_app.get(SECURITY))
    assert hers.get("/api/me/").status_code == 401
    assert SignIn.objects.filter(user=ann).live().count() == 1


def test_another_factor_is_removed_without_ending_sign_ins(with_app, hers, ann):
    add_passkey(hers)
    assert "It is your last" not in text_of(with_app.get(f"{SECURITY}{factor_of(ann)}/remove/"))
    with_app.post(f"{SECURITY}{factor_of(ann)}/remove/")
    assert hers.get("/api/me/").status_code == 200


def test_recovery_codes_are_not_removed_alone(with_app, hers):
    codes = next(each for each in hers.get("/api/factors/").json()["results"] if each["kind"] == "recovery_codes")
    assert with_app.post(f"{SECURITY}{codes['id']}/remove/").status_code == 404


# Recovery codes


def test_new_recovery_codes_replace_the_old_ones(with_app, hers, ann):
    with_app.get(f"{SECURITY}recovery-codes/")
    assert recovery_codes.left(ann) == 10
    first = with_app.post(f"{SECURITY}recovery-codes/").context["codes"]
    second = with_app.post(f"{SECURITY}recovery-codes/").context["codes"]
    assert not set(first) & set(second)
    assert not recovery_codes.use(ann, first[0])
    assert recovery_codes.use(ann, second[0])


def test_without_a_second_factor_there_are_no_recovery_codes(here):
    assert leads_to(here.post(f"{SECURITY}recovery-codes/"), SECURITY)


# The offer after a sign-in by password


def test_after_a_password_a_passkey_is_offered(here):
    page = text_of(here.get("/"))
    assert "data-conditional-create" in page
    assert "No, thanks" in page


def test_the_offer_takes_no_statement(here, django_assert_num_queries):
    with CaptureQueriesContext(connection) as with_offer:
        here.get("/")
    statements = len(with_offer)
    here.post(f"{SECURITY}offer/")
    with django_assert_num_queries(statements):
        here.get("/")


def test_a_declined_offer_is_not_repeated(here, ann, password):
    assert leads_to(here.post(f"{SECURITY}offer/"), "/")
    assert "data-conditional-create" not in text_of(here.get("/"))
    here.post("/accounts/logout/")
    here.post("/accounts/login/", {"username": ann.username, "password": password})
    assert "data-conditional-create" not in text_of(here.get("/"))


def test_after_a_passkey_was_added_none_is_offered(here):
    send_new_passkey(here)
    assert "data-conditional-create" not in text_of(here.get("/"))


def test_after_a_code_a_passkey_is_offered(with_app):
    assert "data-conditional-create" in text_of(with_app.get("/"))


def test_after_a_second_step_a_user_with_a_passkey_gets_no_offer(hers, ann, browser, password):
    app, _codes = add_app(hers)
    add_passkey(hers)
    here = browser()
    here.post("/accounts/login/", {"username": ann.username, "password": password})
    here.post("/accounts/second-step/", {"code": app.code()})
    assert "data-conditional-create" not in text_of(here.get("/"))


def test_a_service_or_temporary_account_gets_no_offer(settings, browser_of, ann):
    settings.SECOND_FACTOR = "off"
    assert "data-conditional-create" not in text_of(browser_of(ann).get("/"))


# Signals


def signals_of(browser):
    return browser.get(SECURITY).context["signals"]


def test_the_browser_is_told_which_passkeys_exist(here, ann):
    send_new_passkey(here)
    passkey = send_new_passkey_of(here)
    signals = signals_of(here)
    assert len(signals["accepted"]["allAcceptedCredentialIds"]) == 2
    assert passkey in signals["accepted"]["allAcceptedCredentialIds"]
    assert signals["details"]["name"] == ann.username
    assert signals["details"]["userId"] == signals["accepted"]["userId"]


def send_new_passkey_of(browser):
    """Adds a passkey, and returns its id."""
    authenticator = Authenticator()
    send_new_passkey(browser, authenticator)
    return base64.urlsafe_b64encode(authenticator.credential_id).rstrip(b"=").decode()


def test_the_browser_is_told_once_that_the_last_passkey_is_gone(here, ann):
    send_new_passkey(here)
    user_handle = signals_of(here)["accepted"]["userId"]
    here.post(f"{SECURITY}{factor_of(ann)}/remove/")
    assert signals_of(here)["accepted"] == {
        "rpId": "testserver",
        "userId": user_handle,
        "allAcceptedCredentialIds": [],
    }
    assert signals_of(here) == {}


def test_without_passkeys_nothing_is_signalled(here):
    assert signals_of(here) == {}
