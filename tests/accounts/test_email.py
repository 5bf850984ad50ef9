"""E-mail addresses: confirmed by a link from a mail, and changed only by one."""

import re
from datetime import timedelta

import pytest
from django.conf import settings

from accounts.models import AttemptCounter, SecurityEvent, Session, User

pytestmark = pytest.mark.django_db

NEW_PASSWORD = "a quite different passphrase"
NEW = "ann@new.example.org"
SIGN_UP = {"username": "carol", "email": "carol@example.com", "password1": NEW_PASSWORD, "password2": NEW_PASSWORD}


LINK = re.compile(r"/accounts/email/[^/\s]+/[^/\s]+/")


def with_link(mails):
    """Without the note to the present address."""
    return [each for each in mails if LINK.search(each.body)]


def link_in(mails):
    [mail] = with_link(mails)
    return LINK.search(mail.body).group()


@pytest.fixture
def ask(browser_of, ann, mails_of):
    """Ann asks for another address; the mails that go out."""

    def ask(new=NEW):
        return mails_of(lambda: browser_of(ann).post("/accounts/email/", {"new_email": new}))

    return ask


def address_of(user):
    return User.objects.get(pk=user.pk).email


# After signing up


def test_who_signs_up_on_the_page_is_asked_to_confirm(browser, mails_of):
    [mail] = mails_of(lambda: browser().post("/accounts/signup/", SIGN_UP))
    assert (mail.to, mail.subject) == (["carol@example.com"], "Confirm your e-mail address")


def test_who_registers_over_the_api_is_asked_to_confirm(anonymous, mails_of):
    body = {"username": "carol", "email": "carol@example.com", "password": NEW_PASSWORD}
    [mail] = mails_of(lambda: anonymous.post("/api/register/", body))
    assert (mail.to, mail.subject) == (["carol@example.com"], "Confirm your e-mail address")


def test_the_link_confirms_the_address(browser, mails_of):
    browser().post(link_in(mails_of(lambda: browser().post("/accounts/signup/", SIGN_UP))))
    assert User.objects.get(username="carol").email_confirmed_at is not None


def test_a_confirmation_is_an_event(browser, mails_of):
    browser().post(link_in(mails_of(lambda: browser().post("/accounts/signup/", SIGN_UP))))
    assert SecurityEvent.objects.filter(user__username="carol", type="email_confirmed").count() == 1


def test_the_link_can_be_asked_for_again(browser, mails_of):
    carols = browser()
    carols.post("/accounts/signup/", SIGN_UP)
    browser().post(link_in(mails_of(lambda: carols.post("/accounts/email/ask/"))))
    assert User.objects.get(username="carol").email_confirmed_at is not None


def test_nothing_is_sent_again_once_it_is_confirmed(browser, mails_of):
    carols = browser()
    browser().post(link_in(mails_of(lambda: carols.post("/accounts/signup/", SIGN_UP))))
    assert mails_of(lambda: carols.post("/accounts/email/ask/")) == []


def test_a_reset_link_followed_confirms_the_address_too(browser, ann, mails_of):
    [mail] = mails_of(lambda: browser().post("/accounts/password_reset/", {"email": ann.email}))
    link = re.search(r"/accounts/reset/[^/\s]+/[^/\s]+/", mail.body).group()
    browser().post(link, {"new_password1": NEW_PASSWORD, "new_password2": NEW_PASSWORD})
    assert User.objects.get(pk=ann.pk).email_confirmed_at is not None


# Changing it


def test_the_link_goes_to_the_new_address(ask):
    [mail] = with_link(ask())
    assert mail.to == [NEW]


def test_asking_changes_nothing_yet(ask, ann):
    ask()
    assert address_of(ann) == "ann@example.org"


@pytest.mark.parametrize("method", ["get", "head"])
def test_a_mail_scanner_changes_nothing(ask, browser, ann, method):
    link = link_in(ask())
    getattr(browser(), method)(link)
    assert address_of(ann) == "ann@example.org"


def test_the_page_behind_the_link_asks(ask, browser):
    response = browser().get(link_in(ask()))
    assert response.status_code == 200
    assert NEW in response.content.decode()


def test_the_button_behind_the_link_changes_it(ask, browser, ann):
    browser().post(link_in(ask()))
    assert address_of(ann) == NEW


def test_the_old_address_is_told(ask, browser, mails_of):
    link = link_in(ask())
    [mail] = mails_of(lambda: browser().post(link))
    assert (mail.to, mail.subject) == (["ann@example.org"], "Your e-mail address was changed")
    assert NEW in mail.body


def test_a_change_is_an_event(ask, browser, ann):
    browser().post(link_in(ask()))
    assert SecurityEvent.objects.filter(user=ann, type="email_changed").count() == 1


def test_a_change_ends_no_sign_in(ask, browser, browser_of, ann):
    here = browser_of(ann)
    browser().post(link_in(ask()))
    assert here.get("/accounts/profile/").status_code == 200


def test_the_link_signs_nobody_in(ask, browser):
    visitor = browser()
    visitor.post(link_in(ask()))
    assert visitor.get("/accounts/profile/").status_code == 302
    assert settings.SESSION_COOKIE_NAME not in visitor.cookies
    assert Session.objects.count() == 1


def test_the_link_is_good_once(ask, browser, ann):
    link = link_in(ask())
    browser().post(link)
    User.objects.filter(pk=ann.pk).update(email="ann@example.org")
    assert browser().post(link).status_code == 400
    assert address_of(ann) == "ann@example.org"


def test_the_link_is_good_for_an_hour(clock, ask, browser, ann):
    link = link_in(ask())
    clock.shift(timedelta(minutes=61))
    assert browser().post(link).status_code == 400
    assert address_of(ann) == "ann@example.org"


def test_the_link_dies_with_the_password(ask, browser, browser_of, ann, password):
    link = link_in(ask())
    form = {"old_password": password, "new_password1": NEW_PASSWORD, "new_password2": NEW_PASSWORD}
    browser_of(ann).post("/accounts/password_change/", form)
    assert browser().post(link).status_code == 400


def test_the_link_dies_with_the_address(ask, browser, ann):
    link = link_in(ask())
    User.objects.filter(pk=ann.pk).update(email="ann@third.example.org")
    assert browser().post(link).status_code == 400


def test_the_link_dies_when_another_address_is_asked_for(ask, browser, ann):
    first = link_in(ask())
    ask("ann@second.example.org")
    assert browser().post(first).status_code == 400


def test_a_reset_link_dies_with_the_address(ask, browser, ann, mails_of):
    [mail] = mails_of(lambda: browser().post("/accounts/password_reset/", {"email": ann.email}))
    reset = re.search(r"/accounts/reset/[^/\s]+/[^/\s]+/", mail.body).group()
    browser().post(link_in(ask()))
    assert browser().get(reset).status_code == 400


def test_neither_kind_of_link_passes_for_the_other(ask, browser, ann):
    uid, token = link_in(ask()).split("/")[3:5]
    assert browser().get(f"/accounts/reset/{uid}/{token}/").status_code == 400


def test_the_link_of_somebody_deactivated_is_dead(ask, browser, ann):
    link = link_in(ask())
    User.objects.filter(pk=ann.pk).update(is_active=False)
    assert browser().post(link).status_code == 400


def test_an_address_taken_meanwhile_stays_its_owners(ask, browser, ann, bob):
    link = link_in(ask())
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


def test_only_letter_case_may_change(ask, browser, ann):
    browser().post(link_in(ask("Ann@example.org")))
    assert address_of(ann) == "Ann@example.org"


@pytest.mark.parametrize("path", ["/accounts/email/MQ/x/", "/accounts/email/x/x/", "/accounts/email/%00/%ff/"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_a_link_that_is_none_is_an_answer(browser, ann, path, method):
    assert getattr(browser(), method)(path).status_code in {400, 404}


def test_the_page_behind_the_link_tells_its_address_to_nobody(ask, browser):
    assert browser().get(link_in(ask())).headers["Referrer-Policy"] == "strict-origin"


# The link once more


def sign_up_link(browser, mails_of):
    return link_in(mails_of(lambda: browser().post("/accounts/signup/", SIGN_UP)))


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_link_followed_again_says_that_the_address_is_confirmed(browser, mails_of, method):
    link = sign_up_link(browser, mails_of)
    browser().post(link)
    confirmed_at = User.objects.get(username="carol").email_confirmed_at
    response = getattr(browser(), method)(link)
    assert response.status_code == 200
    assert "This e-mail address is already confirmed" in response.content.decode()
    assert "carol@example.com" in response.content.decode()
    assert User.objects.get(username="carol").email_confirmed_at == confirmed_at


def test_the_link_of_a_change_followed_again_says_so_too(ask, browser):
    link = link_in(ask())
    browser().post(link)
    response = browser().get(link)
    assert "This e-mail address is already confirmed" in response.content.decode()
    assert NEW in response.content.decode()


def test_a_confirmed_link_says_nothing_after_an_hour(clock, browser, mails_of):
    link = sign_up_link(browser, mails_of)
    browser().post(link)
    clock.shift(timedelta(minutes=61))
    assert browser().get(link).status_code == 400


@pytest.mark.parametrize("end", ["", ".", ".x-y", ".0-" + 32 * "0"])
def test_only_a_genuine_link_tells_that_an_address_is_confirmed(browser, mails_of, end):
    link = sign_up_link(browser, mails_of)
    browser().post(link)
    forged = f"{link.rpartition('.')[0]}{end}/"
    response = browser().get(forged)
    assert response.status_code == 400
    assert "carol@example.com" not in response.content.decode()


def test_a_confirmed_link_says_nothing_once_the_address_is_another(ask, browser, browser_of, ann):
    link = link_in(ask())
    browser().post(link)
    User.objects.filter(pk=ann.pk).update(email="ann@third.example.org")
    response = browser().get(link)
    assert response.status_code == 400
    assert "third" not in response.content.decode()


def test_a_link_from_before_the_second_part_still_confirms(browser, mails_of):
    link = sign_up_link(browser, mails_of)
    browser().post(f"{link.rpartition('.')[0]}/")
    assert User.objects.get(username="carol").email_confirmed_at is not None


# Not too many


@pytest.fixture
def carols(browser):
    """Of somebody who was just mailed for the first time."""
    carols = browser()
    carols.post("/accounts/signup/", SIGN_UP)
    return carols


def test_an_address_gets_three_mails_an_hour_and_the_answer_is_the_same(clock, carols, mails_of):
    def ask_again():
        answers.append(carols.post("/accounts/email/ask/", follow=True))

    answers = []
    assert [len(mails_of(ask_again)) for _ in range(5)] == [1, 1, 0, 0, 0]
    assert {answer.status_code for answer in answers} == {200}
    assert all("We are sending a link to carol@example.com." in answer.content.decode() for answer in answers)
    clock.shift(timedelta(minutes=61))
    assert len(mails_of(ask_again)) == 1


def test_several_accounts_send_one_address_no_more(ask, carols, browser_of, bob, mails_of):
    bobs = browser_of(bob)
    assert [len(with_link(ask())), len(with_link(ask(NEW.upper())))] == [1, 1]
    for sender, mails in ((carols, 1), (bobs, 0), (carols, 0)):
        sent = mails_of(lambda sender=sender: sender.post("/accounts/email/", {"new_email": NEW}))
        assert len(with_link(sent)) == mails


def test_an_account_sends_six_mails_an_hour_to_whatever_addresses(browser_of, ann, mails_of):
    page = browser_of(ann)
    sent = [
        len(with_link(mails_of(lambda n=n: page.post("/accounts/email/", {"new_email": f"n{n}@example.org"}))))
        for n in range(8)
    ]
    assert sent == [1] * 6 + [0] * 2


def test_mails_that_were_not_sent_lock_nobody_out(browser_of, ann, ask):
    for number in range(8):
        ask(f"n{number}@example.org")
    assert browser_of(ann).get("/accounts/profile/").status_code == 200
    assert not AttemptCounter.objects.of(ann).locked_out().exists()
