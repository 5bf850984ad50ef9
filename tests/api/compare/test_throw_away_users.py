"""Throw-away users of /compare/."""

from datetime import timedelta

import pytest

from accounts import passwords, registration
from accounts.models import User
from tests.conftest import send_mails

pytestmark = pytest.mark.django_db


def test_one_click_creates_and_signs_in_a_user(guest):
    user = User.objects.get()
    assert guest.page.status_code == 200
    assert guest.page["Cache-Control"] == "no-store"
    assert guest.get("/api/me/").json()["username"] == user.username
    assert user.is_throw_away


def test_the_password_is_shown_once_and_works(guest, client_of, anonymous):
    password = guest.page.context["password"]
    assert password in guest.page.content.decode()
    assert password not in guest.get("/compare/").content.decode()
    assert anonymous.sign_in(User.objects.get().username, password).status_code == 200


def test_a_throw_away_user_gets_no_mail(guest, mailoutbox, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        passwords.change(User.objects.get(), "a quite different passphrase")
    send_mails()
    assert not mailoutbox


def test_a_throw_away_user_and_its_sign_ins_end_after_a_day(guest, anonymous, clock, ann):
    anonymous.sign_in(User.objects.get(delete_after__isnull=False).username, guest.page.context["password"])
    clock.shift(timedelta(hours=23))
    assert registration.delete_expired_throw_away_users() == 0
    clock.shift(timedelta(hours=1, seconds=1))
    anonymous.renew()
    assert registration.delete_expired_throw_away_users() == 1
    assert list(User.objects.all()) == [ann]
    assert anonymous.get("/api/me/").status_code == 401
    assert guest.get("/api/me/").status_code == 401


def test_other_users_are_never_deleted(ann, clock):
    clock.shift(timedelta(days=10_000))
    assert registration.delete_expired_throw_away_users() == 0


def test_without_demo_there_are_no_throw_away_users(browser, settings, urls_without_demo):
    settings.ROOT_URLCONF = urls_without_demo
    visitor = browser(raise_request_exception=False)
    assert visitor.post("/compare/throw-away/").status_code == 404
    assert "throw-away" not in visitor.get("/").content.decode()
    assert not User.objects.exists()


def test_a_signed_in_user_stays_signed_in(browser_of, ann):
    browser = browser_of(ann)
    assert browser.post("/compare/throw-away/").status_code == 302
    assert browser.get("/api/me/").json()["username"] == ann.username
    assert User.objects.count() == 1


@pytest.mark.parametrize(("act", "opening"), [("out", "out"), ("", "who"), ("<script>", "who")])
def test_the_page_starts_with_the_act_of_the_form(browser, act, opening):
    page = browser().post("/compare/throw-away/", {"act": act})
    assert page.context["opening"] == opening
    assert f'data-opening="{opening}"' in page.content.decode()


def test_a_get_request_creates_no_throw_away_user(browser):
    assert browser().get("/compare/throw-away/").status_code == 302
    assert not User.objects.exists()
