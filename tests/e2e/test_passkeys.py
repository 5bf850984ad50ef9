"""Passkeys, authenticator apps and recovery codes on the pages, in a real browser with a virtual authenticator."""

import base64
import re
import time

import pytest
from playwright.sync_api import expect

from tests import databases
from tests.e2e.site import running, sign_in
from tests.e2e.site import sign_out as use_sign_out_button
from tests.second_factors import App

# How a browser renders pages does not depend on the stores; test_harness runs on both.
pytestmark = [pytest.mark.once, pytest.mark.long]

SIGNED_IN = re.compile("^Hello, ")


def main(page):
    return page.get_by_role("main")


class VirtualAuthenticator:
    """The authenticator of a page, by the Chrome DevTools Protocol (WebAuthn domain)."""

    def __init__(self, page, **options):
        self.devtools = page.context.new_cdp_session(page)
        self.devtools.send("WebAuthn.enable", {"enableUI": False})
        defaults = {
            "protocol": "ctap2",
            "ctap2Version": "ctap2_1",
            "transport": "internal",
            "hasResidentKey": True,
            "hasUserVerification": True,
            "isUserVerified": True,
            "automaticPresenceSimulation": True,
            "defaultBackupEligibility": True,
            "defaultBackupState": True,
        }
        answer = self.devtools.send("WebAuthn.addVirtualAuthenticator", {"options": defaults | options})
        self.id = answer["authenticatorId"]

    def send(self, command, **arguments):
        return self.devtools.send(f"WebAuthn.{command}", {"authenticatorId": self.id, **arguments})

    @property
    def credentials(self):
        return self.send("getCredentials")["credentials"]


@pytest.fixture
def local_page(new_page, site):
    """Returns a function that opens a page on localhost: an IP address can have no passkeys."""

    def open_page(**options):
        return new_page(base_url=site.url.replace("127.0.0.1", "localhost"), **options)

    return open_page


@pytest.fixture
def page(local_page):
    return local_page()


@pytest.fixture
def authenticator(page):
    return VirtualAuthenticator(page)


def add_passkey(page, name=""):
    """Adds the first passkey by the page. Returns the recovery codes."""
    page.goto("/accounts/security/passkeys/new/")
    main(page).get_by_label("Name").fill(name)
    main(page).get_by_role("button", name="Create a passkey").click()
    expect_codes(page)
    return main(page).locator(".codes").inner_text().split()


def expect_codes(page):
    """Waits for new recovery codes. Ten hashes take seconds on a busy machine."""
    expect(main(page)).to_contain_text("These codes are shown only once", timeout=20_000)


def add_app(page):
    """Adds an app by the page. Returns it and the recovery codes."""
    page.goto("/accounts/security/")
    main(page).get_by_role("button", name="Add an authenticator app").click()
    return confirm_app(page)


def confirm_app(page):
    secret = main(page).get_by_role("textbox", name="Secret").inner_text()
    app = App(base64.b32decode(secret + "=" * (-len(secret) % 8)))
    main(page).get_by_label("Code that the app shows").fill(app.code(-1))
    main(page).get_by_role("button", name="Add the app").click()
    expect_codes(page)
    return app, main(page).locator(".codes").inner_text().split()


def sign_out(page):
    use_sign_out_button(page)
    expect(main(page)).to_contain_text("You are signed out")


def enter_password(page, person):
    main(page).get_by_label("Username").fill(person.username)
    main(page).get_by_label("Password").fill(person.password)
    main(page).get_by_role("button", name="Sign in", exact=True).click()


@pytest.fixture
def anns_page(page, ann):
    sign_in(page, ann)
    return page


def test_a_passkey_is_added_renamed_and_removed(anns_page, authenticator, look_at):
    page = anns_page
    page.goto("/accounts/security/")
    look_at(page, "security-empty")
    main(page).get_by_role("link", name="Add a passkey").click()
    look_at(page, "passkey-new")
    main(page).get_by_label("Name").fill("Laptop")
    main(page).get_by_role("button", name="Create a passkey").click()
    expect_codes(page)
    look_at(page, "recovery-codes")
    main(page).get_by_role("link", name="I have saved the codes").click()
    expect(main(page)).to_contain_text("Laptop")
    assert len(authenticator.credentials) == 1

    main(page).get_by_role("link", name="Rename Laptop").click()
    look_at(page, "factor-name")
    main(page).get_by_label("Name").fill("Old laptop")
    main(page).get_by_role("button", name="Save").click()
    expect(main(page).get_by_role("status")).to_contain_text("Saved: Old laptop.")
    look_at(page, "security-passkey")

    main(page).get_by_role("link", name="Remove Old laptop").click()
    expect(main(page)).to_contain_text("It is your last second factor")
    look_at(page, "factor-remove")
    main(page).get_by_role("button", name="Remove").click()
    expect(main(page)).to_contain_text("You have no passkey")


# The virtual authenticator answers at once, so that a test of the button must switch off the suggestions.
NO_AUTOFILL = "PublicKeyCredential.isConditionalMediationAvailable = async () => false;"


def test_the_button_signs_in_by_passkey(anns_page, authenticator, look_at):
    page = anns_page
    add_passkey(page)
    sign_out(page)
    page.add_init_script(NO_AUTOFILL)
    page.goto("/accounts/login/?next=/accounts/activity/")
    look_at(page, "login-passkey")
    main(page).get_by_role("button", name="Sign in with a passkey").click()
    expect(main(page).get_by_role("heading", level=1)).to_have_text("Activity")


def test_autofill_signs_in_by_passkey(anns_page, authenticator):
    page = anns_page
    add_passkey(page)
    sign_out(page)
    # The virtual authenticator chooses the passkey that the browser suggests.
    page.goto("/accounts/login/")
    expect(main(page).get_by_role("heading", level=1)).to_have_text(SIGNED_IN)


def test_a_passkey_is_the_second_step_of_a_password(anns_page, authenticator, ann, look_at):
    page = anns_page
    add_passkey(page)
    sign_out(page)
    page.add_init_script(NO_AUTOFILL)
    page.goto("/accounts/login/")
    enter_password(page, ann)
    expect(main(page)).to_contain_text("Your account also needs a second factor")
    look_at(page, "second-step-passkey")
    main(page).get_by_role("button", name="Use your passkey").click()
    expect(main(page).get_by_role("heading", level=1)).to_have_text(SIGNED_IN)


def test_a_cancelled_passkey_is_explained(anns_page, authenticator, ann, look_at):
    page = anns_page
    add_passkey(page)
    sign_out(page)
    page.add_init_script(NO_AUTOFILL)
    page.goto("/accounts/login/")
    enter_password(page, ann)
    authenticator.send("removeCredential", credentialId=authenticator.credentials[0]["credentialId"])
    main(page).get_by_role("button", name="Use your passkey").click()
    expect(main(page).get_by_role("alert")).to_contain_text("No passkey was used")
    look_at(page, "second-step-cancelled")


def test_a_second_passkey_on_one_device_is_explained(anns_page, authenticator):
    page = anns_page
    add_passkey(page)
    page.goto("/accounts/security/passkeys/new/")
    main(page).get_by_role("button", name="Create a passkey").click()
    expect(main(page).get_by_role("alert")).to_contain_text("already has a passkey of your account")


# Chromium creates a passkey quietly only after a sign-in with a password that its password manager has saved, which a
# test cannot bring about: this script takes the place of the password manager.
PASSWORD_MANAGER = """
const create = navigator.credentials.create.bind(navigator.credentials);
navigator.credentials.create = ({ mediation, ...options }) => {
  document.documentElement.dataset.mediation = mediation;
  return create(options);
};
"""


def test_after_a_password_the_browser_creates_a_passkey(page, ann, authenticator):
    page.add_init_script(PASSWORD_MANAGER)
    page.goto("/accounts/login/")
    enter_password(page, ann)
    expect_codes(page)
    assert len(authenticator.credentials) == 1
    main(page).get_by_role("link", name="I have saved the codes").click()
    expect(main(page).get_by_role("heading", level=1)).to_have_text("Security")


def test_where_the_browser_creates_none_the_offer_stays(page, ann, authenticator):
    sign_in(page, ann)
    main(page).get_by_role("link", name="Add a passkey").click()
    main(page).get_by_role("button", name="Create a passkey").click()
    expect_codes(page)


def test_a_declined_offer_is_not_repeated(page, ann, look_at):
    sign_in(page, ann)
    expect(main(page)).to_contain_text("Sign in faster and more safely next time")
    look_at(page, "home-offer")
    main(page).get_by_role("button", name="No, thanks").click()
    expect(main(page)).not_to_contain_text("Sign in faster")
    sign_out(page)
    sign_in(page, ann)
    expect(main(page).get_by_role("heading", level=1)).to_have_text(SIGNED_IN)
    expect(main(page)).not_to_contain_text("Sign in faster")


def test_the_browser_learns_that_a_passkey_was_removed(anns_page, authenticator):
    page = anns_page
    add_passkey(page)
    VirtualAuthenticator(page, transport="usb")
    page.goto("/accounts/security/")
    main(page).get_by_role("link", name="Remove").click()
    main(page).get_by_role("button", name="Remove").click()
    expect(main(page)).to_contain_text("You have no passkey")
    eventually(lambda: not authenticator.credentials)


def test_the_browser_learns_that_a_passkey_is_unknown(anns_page, authenticator, site, ann, page_errors, look_at):
    page = anns_page
    add_passkey(page)
    sign_out(page)
    code = f"from accounts.models import Passkey; Passkey.objects.filter(user__username={ann.username!r}).delete()"
    site.shell(code)
    page_errors.expect("status of 404")
    page.add_init_script(NO_AUTOFILL)
    page.goto("/accounts/login/")
    main(page).get_by_role("button", name="Sign in with a passkey").click()
    expect(main(page).get_by_role("alert").first).to_contain_text("No account has this passkey")
    eventually(lambda: not authenticator.credentials)
    look_at(page, "login-unknown-passkey")


SIGNAL_OTHER_NAME = """userId => PublicKeyCredential.signalCurrentUserDetails(
    {rpId: "localhost", userId, name: "other", displayName: "other"})"""


def test_the_browser_learns_the_name_of_the_user(anns_page, authenticator, ann):
    page = anns_page
    add_passkey(page)
    page.evaluate(SIGNAL_OTHER_NAME, handle_of(page))
    eventually(lambda: authenticator.credentials[0]["userName"] == "other")
    page.goto("/accounts/security/")
    eventually(lambda: authenticator.credentials[0]["userName"] == ann.username)


def handle_of(page):
    page.goto("/accounts/security/")
    text = page.locator("#passkey-signals").text_content()
    return re.search(r'"userId": "([^"]+)"', text).group(1)


def eventually(is_true, seconds=5):
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_proof_is_asked_for_by_passkey(anns_page, authenticator, site, ann, look_at):
    page = anns_page
    add_passkey(page)
    site.shell(
        "from accounts.models import SignIn; from datetime import timedelta; from django.db.models import F; "
        f"SignIn.objects.filter(user__username={ann.username!r})"
        ".update(authenticated_at=F('authenticated_at') - timedelta(hours=1))"
    )
    page.goto("/accounts/email/")
    expect(main(page)).to_contain_text("Use your second factor again")
    look_at(page, "confirm-passkey")
    main(page).get_by_role("button", name="Use your passkey").click()
    expect(main(page).get_by_role("heading", level=1)).to_have_text("Change your e-mail address")


# Without JavaScript


def test_app_and_recovery_codes_work_without_javascript(local_page, ann, look_at):
    page = local_page(java_script_enabled=False)
    sign_in(page, ann)
    app, codes = add_app(page)
    assert len(codes) == 10
    sign_out(page)
    page.goto("/accounts/login/")
    enter_password(page, ann)
    main(page).get_by_label("Code of your authenticator app").fill(app.code())
    main(page).get_by_role("button", name="Continue").click()
    expect(main(page).get_by_role("heading", level=1)).to_have_text(SIGNED_IN)
    sign_out(page)
    page.goto("/accounts/login/")
    enter_password(page, ann)
    main(page).get_by_text("Use a recovery code").click()
    main(page).get_by_label("Recovery code").fill(codes[0])
    main(page).get_by_role("button", name="Use this code").click()
    expect(main(page).get_by_role("heading", level=1)).to_have_text(SIGNED_IN)


# Looks


def test_an_app_is_added_and_used(anns_page, ann, look_at, tmp_path):
    page = anns_page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto("/accounts/security/")
    main(page).get_by_role("button", name="Add an authenticator app").click()
    look_at(page, "app-new")
    app, codes = add_app(page)
    main(page).get_by_role("button", name="Copy").click()
    expect(main(page).get_by_role("button", name="Copied")).to_have_count(1)
    assert page.evaluate("navigator.clipboard.readText()").split() == codes
    with page.expect_download() as download:
        main(page).get_by_role("link", name="Download").click()
    download.value.save_as(tmp_path / "codes.txt")
    assert (tmp_path / "codes.txt").read_text().split()[1:] == codes
    assert download.value.suggested_filename == f"recovery-codes-{ann.username}.txt"
    page.evaluate("window.print = () => { document.title = 'printed' }")
    main(page).get_by_role("button", name="Print").click()
    assert page.title() == "printed"
    main(page).get_by_role("link", name="I have saved the codes").click()
    look_at(page, "security-app")
    main(page).get_by_role("link", name="Create new codes").click()
    look_at(page, "recovery-codes-new")
    sign_out(page)
    page.goto("/accounts/login/")
    enter_password(page, ann)
    look_at(page, "second-step")
    main(page).get_by_label("Code of your authenticator app").fill(app.wrong_code())
    main(page).get_by_role("button", name="Continue").click()
    expect(main(page)).to_contain_text("The code or passkey is wrong")
    look_at(page, "second-step-refused")
    main(page).get_by_label("Code of your authenticator app").fill(app.code())
    main(page).get_by_role("button", name="Continue").click()
    expect(main(page).get_by_role("heading", level=1)).to_have_text(SIGNED_IN)


def test_on_an_ip_address_no_passkey_is_offered(new_page, ann):
    page = new_page()
    page.goto("/accounts/login/")
    expect(main(page).get_by_role("button")).to_have_text(["Show Password", "Sign in"])


# Users who must have a second factor


@pytest.fixture(scope="module")
def strict_site(tmp_path_factory):
    """A site where all users must have a second factor."""
    folder = tmp_path_factory.mktemp("strict")
    with running(folder, databases.migrated(folder, "strict"), SECOND_FACTOR="all") as site:
        yield site


def test_a_user_adds_the_required_factor_to_sign_in(new_page, strict_site, look_at):
    page = new_page(base_url=strict_site.url.replace("127.0.0.1", "localhost"))
    authenticator = VirtualAuthenticator(page)
    page.goto("/accounts/login/?next=/accounts/activity/")
    enter_password(page, strict_site.sign_up())
    expect(main(page).get_by_role("heading", level=1)).to_have_text("Add a second factor")
    look_at(page, "enrol")
    main(page).get_by_role("button", name="Create a passkey").click()
    expect_codes(page)
    main(page).get_by_role("link", name="I have saved the codes").click()
    expect(main(page).get_by_role("heading", level=1)).to_have_text("Activity")
    assert len(authenticator.credentials) == 1


def test_the_app_is_added_to_sign_in_without_javascript(new_page, strict_site):
    page = new_page(base_url=strict_site.url, java_script_enabled=False)
    page.goto("/accounts/login/?next=/accounts/activity/")
    enter_password(page, strict_site.sign_up())
    main(page).get_by_role("button", name="Use an authenticator app").click()
    confirm_app(page)
    main(page).get_by_role("link", name="I have saved the codes").click()
    expect(main(page).get_by_role("heading", level=1)).to_have_text("Activity")
