"""Sign-ins in two steps by the pages: paths, and what a browser does."""

import json
from urllib.parse import urlsplit

from tests.conftest import Browser

LOGIN, SECOND_STEP, ENROL = "/accounts/login/", "/accounts/second-step/", "/accounts/second-step/add/"
PRIVATE = [
    "/accounts/profile/",
    "/accounts/security/",
    "/accounts/security/passkeys/new/",
    "/accounts/security/app/",
    "/accounts/security/recovery-codes/",
    "/accounts/sign-ins/",
    "/accounts/clients/new/",
    "/accounts/password_change/",
    "/accounts/email/",
    "/accounts/delete/",
    "/accounts/confirm/",
    "/admin/",
]


def enter_password(user, password, browser=None, **fields):
    """Returns the browser, and the response to the right password."""
    browser = browser or Browser()
    return browser, browser.post(LOGIN, {"username": user.username, "password": password, **fields})


def is_signed_in(browser):
    return browser.get("/accounts/profile/").status_code == 200


def leads_to(response, path):
    assert response.status_code == 302, response.content.decode()
    assert urlsplit(response.headers["Location"]).path == path
    return True


def options_of(browser, path):
    """Returns the options of a passkey that the script of a page reads."""
    response = browser.get(path)
    assert response.status_code == 200, response.content
    return response.json()


def second_step_options(browser):
    return options_of(browser, f"{SECOND_STEP}passkey/")


def sign_in_with(passkey, browser, credential=None, **fields):
    """Returns the response to a sign-in by passkey alone."""
    options = options_of(browser, f"{LOGIN}passkey/")
    credential = credential or passkey.get(options["publicKey"])
    return browser.post(LOGIN, {"step": options["step"], "credential": json.dumps(credential), **fields})
