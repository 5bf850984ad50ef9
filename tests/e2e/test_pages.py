"""The pages of an account in a real browser."""

import re
import subprocess
import sys

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import assert_fits
from tests.e2e.site import account_menu, sign_in, sign_out

# How a browser renders pages does not depend on the stores; test_harness runs on both.
pytestmark = pytest.mark.once

NEW_PASSWORD = "a quite different passphrase"
MORE_THAN_RECENT = (
    "from accounts.models import SignIn; from datetime import timedelta; from django.db.models import F; "
)
MORE_THAN_RECENT += (
    "SignIn.objects.filter(user__username={name!r}).update(authenticated_at=F('authenticated_at') - timedelta(hours=1))"
)


def link_in(mail):
    return re.search(r"^http\S+$", mail.get_body(("plain",)).get_content(), re.MULTILINE).group()


def main(page):
    return page.get_by_role("main")


def confirm_address(page, site, person):
    """Confirms the address of a user, since notices go to confirmed addresses only."""
    page.goto(link_in(site.next_mail(person, "Confirm your e-mail address")))
    main(page).get_by_role("button", name="Confirm this e-mail address").click()
    expect(main(page)).to_contain_text("is confirmed")


def test_a_user_signs_up_confirms_the_address_and_sees_the_account(page, site, look_at):
    person = site.new_person("zoe")
    page.goto("/")
    look_at(page, "home-visitor")
    main(page).get_by_role("link", name="Create an account").click()
    look_at(page, "signup")
    main(page).get_by_label("Username").fill(person.username)
    main(page).get_by_label("E-mail address").fill(person.email)
    main(page).get_by_label("Password", exact=False).first.fill(person.password)
    main(page).get_by_role("button", name="Sign up").click()
    expect(main(page)).to_contain_text("Confirm your e-mail address")
    look_at(page, "home-account")

    page.goto(link_in(site.next_mail(person, "Confirm your e-mail address")))
    look_at(page, "email-confirm")
    main(page).get_by_role("button", name="Confirm this e-mail address").click()
    expect(main(page)).to_contain_text("is confirmed")
    look_at(page, "email-confirmed")
    page.goto("/")
    expect(main(page)).not_to_contain_text("Confirm your e-mail address")


@pytest.mark.long
def test_a_wrong_password_is_reported_beside_the_form(page, ann, look_at):
    page.goto("/accounts/login/")
    look_at(page, "login")
    main(page).get_by_label("Username").fill(ann.username)
    main(page).get_by_label("Password").fill("not the right passphrase")
    main(page).get_by_role("button", name="Sign in", exact=True).click()
    expect(main(page)).to_contain_text("username, e-mail address or password is wrong")
    look_at(page, "login-refused")


@pytest.mark.long
def test_a_password_shown_by_its_button_is_sent_as_a_password(page, ann, look_at):
    page.goto("/accounts/login/")
    field, button = main(page).get_by_label("Password"), main(page).get_by_role("button", name="Show Password")
    field.fill(ann.password)
    expect(button).to_have_attribute("aria-pressed", "false")
    field.press("Tab")
    expect(button).to_be_focused()
    button.press("Enter")
    expect(button).to_have_attribute("aria-pressed", "true")
    assert (field.get_attribute("type"), field.input_value()) == ("text", ann.password)
    look_at(page, "login-shown")
    button.click()
    assert field.get_attribute("type") == "password"
    button.click()
    main(page).get_by_label("Username").fill(ann.username)
    # As it is when the form is sent, which is when the browser offers to store it.
    page.evaluate("addEventListener('submit', () => { name = document.querySelector('[name=password]').type })")
    main(page).get_by_role("button", name="Sign in", exact=True).click()
    expect(account_menu(page)).to_be_visible()
    assert page.evaluate("name") == "password"


def test_after_signing_out_the_back_button_shows_nothing_private(anns_page, ann):
    page = anns_page
    page.goto("/accounts/profile/")
    expect(main(page)).to_contain_text(ann.email)
    sign_out(page)
    expect(main(page)).to_contain_text("You are signed out")
    page.go_back()
    expect(main(page).get_by_role("button", name="Sign in", exact=True)).to_be_visible()
    assert ann.email not in page.content()


@pytest.mark.long
def test_without_javascript_only_working_buttons_are_shown(new_page, ann):
    page = new_page(java_script_enabled=False)
    page.goto("/accounts/login/")
    expect(main(page).get_by_role("button")).to_have_text(["Sign in"])
    sign_in(page, ann)


@pytest.mark.long
def test_a_password_can_be_pasted_and_filled_by_managers(anns_page):
    anns_page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    anns_page.goto("/accounts/password_change/")
    new = main(anns_page).get_by_label("New password", exact=False).first
    anns_page.evaluate("navigator.clipboard.writeText('pasted from a manager of passwords')")
    new.press("Control+v")
    expect(new).to_have_value("pasted from a manager of passwords")
    kinds = anns_page.eval_on_selector_all("main input:not([type=hidden])", "all => all.map(each => each.autocomplete)")
    assert kinds == ["username", "current-password", "new-password"]


def test_the_list_is_used_to_rename_and_end_sign_ins(anns_page, site, ann, look_at):
    page = anns_page
    for agent in ["curl/8.9.1", "your-app/2.1 (iPhone; iOS 17.2)", "python-httpx/0.28.1"]:
        site.start_client(ann, agent)
    page.goto("/accounts/sign-ins/")
    expect(main(page).get_by_role("navigation", name="Filter")).to_contain_text(
        re.compile(r"All\s+4\s+Browsers\s+1\s+Apps\s+3")
    )
    main(page).locator("summary").filter(has_text="curl").click()
    main(page).get_by_role("link", name="Rename curl").click()
    look_at(page, "sign-in-name")
    main(page).get_by_label("Name").fill("backup script")
    main(page).get_by_role("button", name="Save").click()
    expect(main(page).get_by_role("status")).to_contain_text("Saved: backup script.")
    main(page).locator("summary").first.click()
    expect(main(page)).to_contain_text("Mozilla/5.0")
    look_at(page, "sign-ins-open")

    main(page).get_by_role("button", name="Sign out: backup script").click()
    expect(main(page).get_by_role("status")).to_contain_text("Signed out: backup script.")
    main(page).get_by_role("link", name="Ended").click()
    expect(main(page)).to_contain_text("ended by the user")
    look_at(page, "sign-ins-ended")
    main(page).get_by_role("link", name="Apps").click()
    expect(main(page).get_by_role("button", name="Sign out")).to_have_count(2)

    main(page).get_by_role("link", name="Sign out all others").click()
    expect(main(page)).to_contain_text("2 other browsers and apps are signed out at once. You stay signed in here.")
    look_at(page, "sign-ins-end-others")
    main(page).get_by_role("button", name="Sign out all others").click()
    expect(main(page).get_by_role("status")).to_contain_text("2 others were signed out.")
    expect(main(page)).to_contain_text("You are signed in only here.")

    main(page).get_by_role("link", name="Sign out everywhere").click()
    look_at(page, "sign-ins-end-all")
    main(page).get_by_role("button", name="Sign out everywhere").click()
    expect(main(page)).to_contain_text("You are signed out")
    look_at(page, "logged-out")


@pytest.mark.long
def test_reauthentication_returns_to_the_page(anns_page, site, ann, look_at):
    page = anns_page
    site.start_client(ann)
    site.shell(MORE_THAN_RECENT.format(name=ann.username))
    page.goto("/accounts/sign-ins/")
    main(page).get_by_role("button", name="Sign out: curl").click()
    expect(main(page)).to_contain_text("Confirm your password")
    look_at(page, "confirm")
    main(page).get_by_label("Your password").fill("not the right passphrase")
    main(page).get_by_role("button", name="Confirm password").click()
    expect(main(page)).to_contain_text("The password is wrong.")
    main(page).get_by_label("Your password").fill(ann.password)
    main(page).get_by_role("button", name="Confirm password").click()
    expect(main(page)).to_contain_text("Sign out “curl”?")
    look_at(page, "sign-in-end")
    main(page).get_by_role("button", name="Sign out").click()
    expect(main(page).get_by_role("status")).to_contain_text("Signed out: curl.")


@pytest.mark.long
def test_a_client_is_connected_used_and_ended(anns_page, ann, look_at, tmp_path):
    page = anns_page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto("/accounts/clients/new/")
    look_at(page, "client-new")
    main(page).get_by_label("Name").fill("backup script")
    main(page).get_by_role("button", name="Create tokens").click()
    expect(main(page)).to_contain_text("backup script is connected")
    main(page).get_by_role("button", name="Copy").first.click()
    expect(main(page).get_by_role("button", name="Copied")).to_have_count(1)
    refresh = main(page).get_by_role("textbox", name="Refresh token").inner_text()
    assert page.evaluate("navigator.clipboard.readText()") == refresh
    look_at(page, "client-connected")

    # Repeatedly, in one folder with another client of the same name.
    first = lines_of(page)
    page.goto("/accounts/clients/new/")
    main(page).get_by_label("Name").fill("backup script")
    main(page).get_by_role("button", name="Create tokens").click()
    expect(main(page)).to_contain_text("backup script is connected")
    for lines in (first, lines_of(page), first):
        for program in (
            ["bash", "-c", lines["curl"]],
            [sys.executable, "-c", lines["Python"]],
            ["bash", "-c", lines["curl"]],
        ):
            ran = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=True)
            assert re.search(f"""["']username["']: ?["']{ann.username}""", ran.stdout), ran.stdout + ran.stderr
    assert len(list(tmp_path.iterdir())) == 2
    assert all(file.stat().st_mode & 0o077 == 0 for file in tmp_path.iterdir())

    main(page).get_by_role("link", name="I have saved the tokens").click()
    expect(main(page).get_by_role("heading", name="Developer")).to_be_visible()
    expect(main(page)).to_contain_text("backup script")
    look_at(page, "developer")
    main(page).get_by_role("link", name="All 2 apps").click()
    main(page).get_by_role("button", name="Sign out: backup script").first.click()
    expect(main(page).get_by_role("status")).to_contain_text("Signed out: backup script.")


def lines_of(page):
    """Returns the commands to copy by the name of their program."""
    return {each.get_attribute("aria-label"): each.text_content() for each in page.locator("main pre").all()}


@pytest.mark.long
def test_a_user_ends_an_unknown_sign_in_and_changes_the_password(anns_page, site, ann, look_at):
    page = anns_page
    confirm_address(page, site, ann)
    site.start_client(ann, "thief/1.0")
    page.goto("/accounts/activity/")
    look_at(page, "activity")
    main(page).get_by_role("link", name="This wasn't me").first.click()
    expect(main(page)).to_contain_text("This wasn't you?")
    look_at(page, "not-me")
    main(page).get_by_role("button", name="Sign out device and change password").click()
    look_at(page, "password-change")
    main(page).get_by_label("Old password").fill(ann.password)
    main(page).get_by_label("New password", exact=False).first.fill(NEW_PASSWORD)
    main(page).get_by_role("button", name="Change password").click()
    expect(main(page)).to_contain_text("Password changed")
    look_at(page, "password-change-done")
    assert "changed" in site.next_mail(ann, "Your password was changed")["Subject"]


@pytest.mark.long
def test_a_forgotten_password_is_reset(page, site, ann, look_at):
    page.goto("/accounts/login/")
    main(page).get_by_role("link", name="Forgot your password?").click()
    look_at(page, "password-reset")
    main(page).get_by_label("E-mail address").fill(ann.email)
    main(page).get_by_role("button", name="Send the link").click()
    look_at(page, "password-reset-done")
    link = link_in(site.next_mail(ann, "Set a new password"))
    page.goto(link)
    look_at(page, "password-reset-confirm")
    main(page).get_by_label("New password", exact=False).first.fill(NEW_PASSWORD)
    main(page).get_by_role("button", name="Set password").click()
    look_at(page, "password-reset-complete")


@pytest.mark.long
def test_a_spent_link_is_explained(page, site, ann, page_errors, look_at):
    link = link_in(site.next_mail(ann, "Confirm your e-mail address"))
    page.goto(link)
    main(page).get_by_role("button", name="Confirm this e-mail address").click()
    page.goto(link)
    expect(main(page)).to_contain_text("This e-mail address is already confirmed")
    look_at(page, "link-used-again")
    page_errors.expect("status of 400")
    page.goto(f"{link[:-2]}x/")
    expect(main(page)).to_contain_text("This link is not valid")
    look_at(page, "link-not-valid")


@pytest.mark.long
def test_the_address_is_changed_by_a_link_to_the_new_one(anns_page, site, ann, look_at):
    page = anns_page
    there = ann.__class__(ann.username, f"new-{ann.email}", ann.password)
    confirm_address(page, site, ann)
    page.goto("/accounts/profile/")
    main(page).get_by_label("First name").fill("Ann")
    main(page).get_by_role("button", name="Save").click()
    expect(main(page).get_by_role("status")).to_contain_text("Saved.")
    main(page).get_by_role("link", name="Change e-mail address").click()
    look_at(page, "email-change")
    main(page).get_by_label("New e-mail address").fill(there.email)
    main(page).get_by_role("button", name="Send the link").click()
    expect(main(page).get_by_role("status")).to_contain_text(there.email)
    expect(main(page).get_by_role("button", name="Cancel the change")).to_be_visible()
    look_at(page, "profile")
    site.next_mail(ann, "A change of your e-mail address was requested")
    page.goto(link_in(site.next_mail(there, "Confirm your e-mail address")))
    main(page).get_by_role("button", name="Confirm this e-mail address").click()
    expect(main(page)).to_contain_text(there.email)
    site.next_mail(ann, "Your e-mail address was changed")


@pytest.mark.long
def test_an_account_is_deleted(anns_page, ann, look_at):
    page = anns_page
    page.goto("/accounts/profile/")
    main(page).get_by_role("link", name="Delete my account").click()
    look_at(page, "delete")
    main(page).get_by_label("Your password").fill(ann.password)
    main(page).get_by_role("button", name="Delete my account").click()
    expect(main(page)).to_contain_text("Your account was deleted")
    look_at(page, "deleted")


@pytest.mark.long
def test_the_language_is_switched_and_kept(page):
    page.goto("/accounts/login/")
    page.get_by_role("contentinfo").get_by_role("button", name="Deutsch").click()
    expect(page.locator("html")).to_have_attribute("lang", "de")
    expect(page).to_have_url(re.compile("/accounts/login/"))
    page.goto("/")
    expect(page.locator("html")).to_have_attribute("lang", "de")


@pytest.mark.long
def test_the_pages_work_by_keyboard(page, ann):
    page.goto("/accounts/login/")
    expect(page.locator("#id_username")).to_be_focused()
    page.keyboard.type(ann.username)
    page.keyboard.press("Tab")
    page.keyboard.type(ann.password)
    page.keyboard.press("Enter")
    expect(main(page)).to_contain_text("Hello, ")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(main(page)).to_be_focused()


@pytest.mark.long
def test_a_form_without_csrf_token_is_explained(page, page_errors, look_at):
    page_errors.expect("status of 403")
    page.goto("/accounts/login/")
    page.context.clear_cookies()
    main(page).get_by_label("Username").fill("ann")
    main(page).get_by_label("Password").fill("whatever it is")
    main(page).get_by_role("button", name="Sign in", exact=True).click()
    expect(main(page)).to_contain_text("The form has expired")
    look_at(page, "error-csrf")


@pytest.mark.long
@pytest.mark.parametrize("path", ["/", "/accounts/login/", "/accounts/sign-ins/", "/accounts/activity/"])
def test_a_page_is_small_self_contained_and_works_without_scripts(new_page, site, ann, path):
    page = new_page(java_script_enabled=False)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    sign_in(page, ann)
    response = page.goto(path)
    assert len(response.body()) < 60_000
    assert not [url for url in asked if not url.startswith(site.url)]
    expect(page.get_by_role("main")).to_be_visible()


@pytest.mark.long
def test_in_german_no_text_is_cut_off_and_axe_finds_nothing(new_page, site, ann, look_at):
    page = new_page(locale="de-DE")
    page.goto("/accounts/login/")
    look_at(page, "german-login")
    main(page).locator("#id_username").fill(ann.username)
    main(page).locator("#id_password").fill(ann.password)
    main(page).get_by_role("button", name="Anmelden").click()
    site.start_client(ann)
    for path in ("/", "/accounts/sign-ins/", "/accounts/activity/", "/accounts/security/", "/compare/"):
        page.goto(path)
        expect(page.locator("html")).to_have_attribute("lang", "de")
        look_at(page, f"german-{path.strip('/').replace('/', '-') or 'home'}")


LONG_WORDS = """
from accounts import starting
from accounts.models import SignIn, User
user = User.objects.get(username={name!r})
user.username, user.first_name = "m" * 150, ""
user.email = "x" * 60 + "@" + ".".join(["y" * 55] * 3) + ".example.org"
user.new_email = "n" * 60 + "@" + ".".join(["w" * 55] * 3) + ".example.org"
user.save(update_fields=["username", "first_name", "email", "new_email"])
for end in (False, True):
    for name, agent in (("w" * 60, "curl/8"), ("", "z" * 400), ("", "Firefox/" + "9" * 300)):
        sign_in = starting.start(User.objects.get(pk=user.pk), "client", name=name)
        address = "2001:db8:1234:5678:9abc:def0:1234:5678"
        SignIn.objects.filter(pk=sign_in.pk).update(user_agent=agent, ip_address=address)
        if end:
            sign_in.end("ended_by_user")
"""


@pytest.mark.long
def test_long_words_do_not_widen_a_page(page, site, ann, album):
    sign_in(page, ann)
    site.shell(LONG_WORDS.format(name=ann.username))
    page.goto("/accounts/sign-ins/")
    paths = [main(page).locator("a[href$='/name/']").first.get_attribute("href")]
    ending = main(page).locator("form[action$='/end/']").first.get_attribute("action")
    page.goto("/accounts/activity/")
    paths += [ending, main(page).locator("a[href$='/not-me/']").first.get_attribute("href")]
    accounts = ["profile/", "sign-ins/", "activity/", "email/", "delete/", "confirm/", "password_change/"]
    accounts += ["clients/new/", "developer/", "sign-ins/ended/", "sign-ins/end-all/", "sign-ins/end-others/"]
    for path in ["/", "/compare/", *(f"/accounts/{each}" for each in accounts), *paths]:
        page.goto(path)
        page.evaluate("document.querySelectorAll('main details').forEach(each => { each.open = true; })")
        for width in (320, 360, 1280):
            page.set_viewport_size({"width": width, "height": 800})
            assert_fits(page, width)
        page.set_viewport_size({"width": 360, "height": 800})
        page.screenshot(path=album / f"long{path.replace('/', '-')}.png", full_page=True)
