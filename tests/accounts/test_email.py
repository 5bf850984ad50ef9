"""E-mail addresses: confirmation and change by a link in a mail, and the limits of these mails."""

import re
from datetime import timedelta

import pytest
from django.conf import settings

from accounts.models import AttemptCounter, SecurityEvent, Session, User

pytestmark = pytest.mark.django_db

NEW_PASSWORD = "a quite different passphrase"
NEW = "ann@new.example.org"
SIGN_UP = {"username": "carol", "email": "carol@example.com", "password1": NEW_PASSWORD}


LINK = re.compile(r"/accounts/email/[^/\s]+/[^/\s]+/")


def with_link(mails):
    """Returns the mails with a link, without the notice to the current address."""
    return [each for each in mails if LINK.search(each.body)]


def link_in(mails):
    [mail] = with_link(mails)
    return LINK.search(mail.body).group()


@pytest.fixture
def request_change(browser_of, ann, mails_of):
    """Returns a function that requests another address for Ann and returns the mails sent."""

    def request_change(new=NEW):
        return mails_of(lambda: browser_of(ann).post("/accounts/email/", {"new_email": new}))

    return request_change


def address_of(user):
    return User.objects.get(pk=user.pk).email


# After a sign-up


def test_a_sign_up_on_the_page_sends_a_confirmation_mail(browser, mails_of):
    [mail] = mails_of(lambda: browser().post("/accounts/signup/", SIGN_UP))
    assert (mail.to, mail.subject) == (["carol@example.com"], "Confirm your e-mail address")


def test_a_registration_over_the_api_sends_a_confirmation_mail(anonymous, mails_of):
    body = {"username": "carol", "email": "carol@example.com", "password": NEW_PASSWORD}
    [mail] = mails_of(lambda: anonymous.post("/api/register/", body))
    assert (mail.to, mail.subject) == (["carol@example.com"], "Confirm your e-mail address")


def test_the_link_confirms_the_address(browser, mails_of):
    browser().post(link_in(mails_of(lambda: browser().post("/accounts/signup/", SIGN_UP))))
    assert User.objects.get(username="carol").email_confirmed_at is not None


def test_a_confirmation_is_an_event(browser, mails_of):
    browser().post(link_in(mails_of(lambda: browser().post("/accounts/signup/", SIGN_UP))))
    assert SecurityEvent.objects.filter(user__username="carol", type="email_confirmed").count() == 1


def test_a_confirmation_link_can_be_requested_again(browser, mails_of):
    carols = browser()
    carols.post("/accounts/signup/", SIGN_UP)
    browser().post(link_in(mails_of(lambda: carols.post("/accounts/email/ask/"))))
    assert User.objects.get(username="carol").email_confirmed_at is not None


def test_a_confirmed_address_gets_no_further_mail(browser, mails_of):
    carols = browser()
    browser().post(link_in(mails_of(lambda: carols.post("/accounts/signup/", SIGN_UP))))
    assert mails_of(lambda: carols.post("/accounts/email/ask/")) == []


def test_a_used_reset_link_confirms_the_address(browser, ann, mails_of):
    [mail] = mails_of(lambda: browser().post("/accounts/password_reset/", {"email": ann.email}))
    link = re.search(r"/accounts/reset/[^/\s]+/[^/\s]+/", mail.body).group()
    browser().post(link, {"new_password1": NEW_PASSWORD})
    assert User.objects.get(pk=ann.pk).email_confirmed_at is not None


# Changes of the address


def test_the_link_is_sent_to_the_new_address(request_change):
    [mail] = with_link(request_change())
    assert mail.to == [NEW]


def test_a_request_does_not_change_the_address(request_change, ann):
    request_change()
    assert address_of(ann) == "ann@example.org"


@pytest.mark.parametrize("method", ["get", "head"])
def test_a_get_request_does_not_change_the_address(request_change, browser, ann, method):
    link = link_in(request_change())
    getattr(browser(), method)(link)
    assert address_of(ann) == "ann@example.org"


def test_the_page_of_the_link_asks_for_confirmation(request_change, browser):
    response = browser().get(link_in(request_change()))
    assert response.status_code == 200
    assert NEW in response.content.decode()


def test_the_button_on_the_page_changes_the_address(request_change, browser, ann):
    browser().post(link_in(request_change()))
    assert address_of(ann) == NEW


def test_the_old_address_gets_a_mail(request_change, browser, mails_of):
    link = link_in(request_change())
    [mail] = mails_of(lambda: browser().post(link))
    assert (mail.to, mail.subject) == (["ann@example.org"], "Your e-mail address was changed")
    assert NEW in mail.body


def test_a_change_of_the_address_is_an_event(request_change, browser, ann):
    browser().post(link_in(request_change()))
    assert SecurityEvent.objects.filter(user=ann, type="email_changed").count() == 1


def test_a_change_of_the_address_ends_no_sign_in(request_change, browser, browser_of, ann):
    here = browser_of(ann)
    browser().post(link_in(request_change()))
    assert here.get("/accounts/profile/").status_code == 200


def test_the_link_does_not_sign_in(request_change, browser):
    visitor = browser()
    visitor.post(link_in(request_change()))
    assert visitor.get("/accounts/profile/").status_code == 302
    assert settings.SESSION_COOKIE_NAME not in visitor.cookies
    assert Session.objects.count() == 1


def test_the_link_can_be_used_once(request_change, browser, ann):
    link = link_in(request_change())
    browser().post(link)
    User.objects.filter(pk=ann.pk).update(email="ann@example.org")
    assert browser().post(link).status_code == 400
    assert address_of(ann) == "ann@example.org"


def test_the_link_expires_after_an_hour(clock, request_change, browser, ann):
    link = link_in(request_change())
    clock.shift(timedelta(minutes=61))
    assert browser().post(link).status_code == 400
    assert address_of(ann) == "ann@example.org"


def test_a_password_change_invalidates_the_link(request_change, browser, browser_of, ann, password):
    link = link_in(request_change())
    form = {"old_password": password, "new_password1": NEW_PASSWORD}
    browser_of(ann).post("/accounts/password_change/", form)
    assert browser().post(link).status_code == 400


def test_an_address_change_invalidates_the_link(request_change, browser, ann):
    link = link_in(request_change())
    User.objects.filter(pk=ann.pk).update(email="ann@third.example.org")
    assert browser().post(link).status_code == 400


def test_a_newer_request_invalidates_the_link(request_change, browser, ann):
    first = link_in(request_change())
    request_change("ann@second.example.org")
    assert browser().post(first).status_code == 400


def test_an_address_change_invalidates_the_reset_link(request_change, browser, ann, mails_of):
    [mail] = mails_of(lambda: browser().post("/accounts/password_reset/", {"email": ann.email}))
    reset = re.search(r"/accounts/reset/[^/\s]+/[^/\s]+/", mail.body).group()
    browser().post(link_in(request_change()))
    assert browser().get(reset).status_code == 400


def test_confirmation_and_reset_links_are_not_interchangeable(request_change, browser, ann):
    uid, token = link_in(request_change()).split("/")[3:5]
    assert browser().get(f"/accounts/reset/{uid}/{token}/").status_code == 400


def test_the_link_of_a_deactivated_user_is_refused(request_change, browser, ann):
    link = link_in(request_change())
    User.objects.filter(pk=ann.pk).update(is_active=False)
    assert browser().post(link).status_code == 400


def test_an_address_taken_meanwhile_is_refused(request_change, browser, ann, bob):
    link = link_in(request_change())
    User.objects.filter(pk=bob.pk).update(email=NEW.upper())
    assert browser().post(link).status_code == 400
    assert address_of(ann) == "ann@example.org"


@pytest.mark.parametrize(
    "new", ["", "no address", "ann@example.org", "BOB@example.org", "änn@example.org", "a\x00@example.org", "x" * 300]
)
def test_a_bad_or_taken_address_is_refused(browser_of, ann, bob, mails_of, new):
    browser = browser_of(ann)
    assert mails_of(lambda: browser.post("/accounts/email/", {"new_email": new})) == []
    assert User.objects.get(pk=ann.pk).new_email == ""


def test_a_change_of_letter_case_is_possible(request_change, browser, ann):
    browser().post(link_in(request_change("Ann@example.org")))
    assert address_of(ann) == "Ann@example.org"


@pytest.mark.parametrize("path", ["/accounts/email/MQ/x/", "/accounts/email/x/x/", "/accounts/email/%00/%ff/"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_an_invalid_link_is_no_server_error(browser, ann, path, method):
    assert getattr(browser(), method)(path).status_code in {400, 404}


def test_the_page_of_the_link_sends_no_path_as_referrer(request_change, browser):
    assert browser().get(link_in(request_change())).headers["Referrer-Policy"] == "strict-origin"


# Used links


def sign_up_link(browser, mails_of):
    return link_in(mails_of(lambda: browser().post("/accounts/signup/", SIGN_UP)))


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_used_link_shows_that_the_address_is_confirmed(browser, mails_of, method):
    link = sign_up_link(browser, mails_of)
    browser().post(link)
    confirmed_at = User.objects.get(username="carol").email_confirmed_at
    response = getattr(browser(), method)(link)
    assert response.status_code == 200
    assert "This e-mail address is already confirmed" in response.content.decode()
    assert "carol@example.com" in response.content.decode()
    assert User.objects.get(username="carol").email_confirmed_at == confirmed_at


def test_a_used_link_of_a_change_shows_that_it_is_confirmed(request_change, browser):
    link = link_in(request_change())
    browser().post(link)
    response = browser().get(link)
    assert "This e-mail address is already confirmed" in response.content.decode()
    assert NEW in response.content.decode()


def test_a_used_link_is_refused_after_an_hour(clock, browser, mails_of):
    link = sign_up_link(browser, mails_of)
    browser().post(link)
    clock.shift(timedelta(minutes=61))
    assert browser().get(link).status_code == 400


@pytest.mark.parametrize("end", ["", ".", ".x-y", ".0-" + 32 * "0"])
def test_a_forged_used_link_shows_no_address(browser, mails_of, end):
    link = sign_up_link(browser, mails_of)
    browser().post(link)
    forged = f"{link.rpartition('.')[0]}{end}/"
    response = browser().get(forged)
    assert response.status_code == 400
    assert "carol@example.com" not in response.content.decode()


def test_a_used_link_is_refused_after_another_address_change(request_change, browser, browser_of, ann):
    link = link_in(request_change())
    browser().post(link)
    User.objects.filter(pk=ann.pk).update(email="ann@third.example.org")
    response = browser().get(link)
    assert response.status_code == 400
    assert "third" not in response.content.decode()


def test_a_link_in_the_format_of_older_releases_confirms(browser, mails_of):
    link = sign_up_link(browser, mails_of)
    browser().post(f"{link.rpartition('.')[0]}/")
    assert User.objects.get(username="carol").email_confirmed_at is not None


# Limits


@pytest.fixture
def carols(browser):
    """A browser of a user who has just received the first mail."""
    carols = browser()
    carols.post("/accounts/signup/", SIGN_UP)
    return carols


def test_an_address_gets_three_mails_an_hour_with_the_same_answer(clock, carols, mails_of):
    def request_again():
        answers.append(carols.post("/accounts/email/ask/", follow=True))

    answers = []
    assert [len(mails_of(request_again)) for _ in range(5)] == [1, 1, 0, 0, 0]
    assert {answer.status_code for answer in answers} == {200}
    assert all("We are sending a link to carol@example.com." in answer.content.decode() for answer in answers)
    clock.shift(timedelta(minutes=61))
    assert len(mails_of(request_again)) == 1


def test_several_accounts_share_the_limit_of_one_address(request_change, carols, browser_of, bob, mails_of):
    bobs = browser_of(bob)
    assert [len(with_link(request_change())), len(with_link(request_change(NEW.upper())))] == [1, 1]
    for sender, mails in ((carols, 1), (bobs, 0), (carols, 0)):
        sent = mails_of(lambda sender=sender: sender.post("/accounts/email/", {"new_email": NEW}))
        assert len(with_link(sent)) == mails


def test_an_account_sends_six_mails_an_hour_to_any_addresses(browser_of, ann, mails_of):
    page = browser_of(ann)
    sent = [
        len(with_link(mails_of(lambda n=n: page.post("/accounts/email/", {"new_email": f"n{n}@example.org"}))))
        for n in range(8)
    ]
    assert sent == [1] * 6 + [0] * 2


def test_unsent_mails_do_not_lock_out_the_user(browser_of, ann, request_change):
    for number in range(8):
        request_change(f"n{number}@example.org")
    assert browser_of(ann).get("/accounts/profile/").status_code == 200
    assert not AttemptCounter.objects.of(ann).locked_out().exists()
