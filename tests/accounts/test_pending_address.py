"""Pending changes of the address: how they are dropped, announced, shown and cancelled."""

import re
from datetime import timedelta

import pytest
from django.urls import reverse

from accounts import ending, passwords
from accounts.models import AccountChanged, SecurityEvent, SignIn, User

pytestmark = pytest.mark.django_db

NEW_PASSWORD = "a quite different passphrase"
THEIRS = "mallory@elsewhere.example"
EMAIL_LINK = re.compile(r"/accounts/email/[^/\s]+/[^/\s]+/")
RESET_LINK = re.compile(r"/accounts/reset/([^/\s]+)/([^/\s]+)/")


def request_change(page, new=THEIRS):
    assert page.post("/accounts/email/", {"new_email": new}).status_code == 302


@pytest.fixture
def link(browser_of, ann, mails_of):
    """The link in the mail to the address that a thief of Ann's password requested."""
    mails = mails_of(lambda: request_change(browser_of(ann)))
    [text] = [each.body for each in mails if each.to == [THEIRS]]
    return EMAIL_LINK.search(text).group()


def is_pending(user):
    return bool(User.objects.get(pk=user.pk).new_email)


# What drops a pending change


def change_on_the_page(ann, browser_of, **_):
    form = {
        "old_password": "violet anchor hums at dawn",
        "new_password1": NEW_PASSWORD,
    }
    assert browser_of(ann).post("/accounts/password_change/", form).status_code == 302


def change_over_the_api(ann, client_of, **_):
    body = {"old_password": "violet anchor hums at dawn", "new_password": NEW_PASSWORD}
    assert client_of(ann).post("/api/password/change/", body).status_code == 204


def request_reset(ann, browser, mails_of):
    mails = mails_of(lambda: browser().post("/accounts/password_reset/", {"email": ann.email}))
    [found] = [RESET_LINK.search(each.body) for each in mails]
    return found


def reset_on_the_page(ann, browser, mails_of, **_):
    form = {"new_password1": NEW_PASSWORD}
    assert browser().post(request_reset(ann, browser, mails_of).group(), form).status_code == 302


def reset_over_the_api(ann, browser, anonymous, mails_of, **_):
    uid, token = request_reset(ann, browser, mails_of).groups()
    body = {"uid": uid, "token": token, "new_password": NEW_PASSWORD}
    assert anonymous.post("/api/password/reset/confirm/", body).status_code == 204


def set_password_and_save(ann, **_):
    ann.set_password(NEW_PASSWORD)
    ann.save()


def save_the_password_alone(ann, **_):
    ann.set_password(NEW_PASSWORD)
    ann.save(update_fields=["password"])


def update_the_hash(ann, **_):
    ann.set_password(NEW_PASSWORD)
    User.objects.filter(pk=ann.pk).update(password=ann.password)


def bulk_update_the_hash(ann, **_):
    ann.set_password(NEW_PASSWORD)
    User.objects.bulk_update([ann], ["password"])


def deactivate_and_reactivate(ann, **_):
    User.objects.filter(pk=ann.pk).update(is_active=False)
    User.objects.filter(pk=ann.pk).update(is_active=True)


def sign_out_everywhere(ann, browser_of, **_):
    assert browser_of(ann).post("/accounts/sign-ins/end-all/").status_code == 200


def sign_out_everywhere_over_the_api(ann, client_of, **_):
    assert client_of(ann).post("/api/sign-ins/end-all/").status_code == 200


def end_the_others(ann, browser_of, **_):
    assert browser_of(ann).post("/accounts/sign-ins/end-others/").status_code == 302


def staff_sign_the_user_out(ann, staff, browser_of, **_):
    form = {"action": "end_all_sign_ins", "_selected_action": [ann.pk], "confirmed": "yes", "why": "It leaked."}
    assert browser_of(staff).post(reverse("admin:accounts_user_changelist"), form).status_code == 302


def end_everyone(**_):
    list(ending.end_everything(SignIn.Reason.ENDED_BY_STAFF))


def staff_give_another_address(ann, staff, browser_of, **_):
    form = {"username": ann.username, "email": "ann@third.example.org", "is_active": "on"}
    answer = browser_of(staff).post(reverse("admin:accounts_user_change", args=[ann.pk]), form)
    assert answer.status_code == 302, answer.content.decode()


ENDS = [
    change_on_the_page,
    change_over_the_api,
    reset_on_the_page,
    reset_over_the_api,
    set_password_and_save,
    save_the_password_alone,
    update_the_hash,
    bulk_update_the_hash,
    deactivate_and_reactivate,
    sign_out_everywhere,
    sign_out_everywhere_over_the_api,
    end_the_others,
    staff_sign_the_user_out,
    end_everyone,
    staff_give_another_address,
]


@pytest.mark.parametrize("end", ENDS)
def test_a_pending_change_is_dropped_when_access_is_revoked(
    end, link, ann, staff, browser, browser_of, client_of, anonymous, mails_of
):
    end(
        ann=User.objects.get(pk=ann.pk),
        staff=staff,
        browser=browser,
        browser_of=browser_of,
        client_of=client_of,
        anonymous=anonymous,
        mails_of=mails_of,
    )
    assert not is_pending(ann)
    assert browser().post(link).status_code == 400
    assert User.objects.get(pk=ann.pk).email != THEIRS


@pytest.mark.parametrize("end", [reset_on_the_page, sign_out_everywhere, deactivate_and_reactivate])
def test_a_dropped_change_of_the_address_is_an_event(end, link, ann, browser, browser_of, mails_of):
    end(ann=User.objects.get(pk=ann.pk), browser=browser, browser_of=browser_of, mails_of=mails_of)
    assert SecurityEvent.objects.filter(user=ann, type="email_change_cancelled").count() == 1


def test_a_password_change_without_a_pending_change_drops_none(ann):
    set_password_and_save(ann)
    assert not SecurityEvent.objects.filter(type="email_change_cancelled").exists()


def test_after_a_reset_the_attackers_address_is_not_shown(browser, mails_of, password):
    attacker = browser()
    sign_up = {"username": "carol", "email": "victim@example.org", "password1": password}
    attacker.post("/accounts/signup/", sign_up)
    request_change(attacker)
    victim_account = User.objects.get(username="carol")
    reset_on_the_page(victim_account, browser, mails_of)
    victim = browser()
    form = {"username": "carol", "password": NEW_PASSWORD}
    page = victim.post("/accounts/login/", form, follow=True).content.decode()
    assert "Hello, carol" in page
    assert THEIRS not in page + victim.get("/accounts/profile/").content.decode()
    assert mails_of(lambda: victim.post("/accounts/email/ask/")) == []


def test_the_changed_instance_has_no_pending_address(link, ann):
    ann = User.objects.get(pk=ann.pk)
    passwords.change(ann, NEW_PASSWORD)
    assert ann.new_email == ""


def test_a_hash_upgrade_keeps_the_pending_change(link, ann, password):
    ann = User.objects.get(pk=ann.pk)
    ann._upgrade_password_hash(password)
    assert is_pending(ann)


def test_ending_one_sign_in_keeps_the_pending_change(link, ann, browser_of, client_of):
    client_of(ann)
    client = SignIn.objects.get(user=ann, kind=SignIn.Kind.CLIENT)
    browser_of(ann).post(f"/accounts/sign-ins/{client.pk}/end/")
    assert is_pending(ann)


# Mails, events and pages


def test_a_requested_change_sends_a_mail_to_the_old_address(browser_of, ann, mails_of):
    [notice] = [mail for mail in mails_of(lambda: request_change(browser_of(ann))) if mail.to == [ann.email]]
    assert notice.subject == "A change of your e-mail address was requested"
    assert THEIRS in notice.body
    assert "https://testserver/accounts/profile/" in notice.body


def test_an_unconfirmed_old_address_gets_no_mail(browser_of, ann, mails_of):
    User.objects.filter(pk=ann.pk).update(email_confirmed_at=None)
    assert [mail.to for mail in mails_of(lambda: request_change(browser_of(ann)))] == [[THEIRS]]


def test_requesting_the_same_change_again_sends_no_mail(link, browser_of, ann, mails_of):
    assert [mail.to for mail in mails_of(lambda: request_change(browser_of(ann)))] == [[THEIRS]]


def test_a_requested_change_is_an_event_that_can_be_disputed(link, browser_of, ann):
    event = SecurityEvent.objects.get(user=ann, type="email_change_asked")
    page = browser_of(ann).get("/accounts/activity/").content.decode()
    assert "A change of the e-mail address was requested." in page
    assert f"/accounts/activity/{event.pk}/not-me/" in page


@pytest.mark.parametrize("path", ["/", "/accounts/profile/"])
def test_a_pending_change_is_shown_and_can_be_cancelled(link, browser_of, ann, path):
    page = browser_of(ann).get(path).content.decode()
    assert THEIRS in page
    assert "Confirm your e-mail address" not in page
    assert 'href="/accounts/email/cancel/"' in page or 'action="/accounts/email/cancel/"' in page


def test_the_confirmation_of_the_old_address_is_still_requested(browser_of, ann):
    User.objects.filter(pk=ann.pk).update(email_confirmed_at=None)
    assert "Confirm your e-mail address ann@example.org" in browser_of(ann).get("/").content.decode()


# Cancelling


def test_cancelling_drops_the_change_and_its_link(link, browser_of, browser, ann):
    page = browser_of(ann).post("/accounts/email/cancel/", follow=True).content.decode()
    assert "The change was cancelled" in page
    assert not is_pending(ann)
    assert browser().post(link).status_code == 400
    assert SecurityEvent.objects.filter(user=ann, type="email_change_cancelled").count() == 1


def test_a_get_request_cancels_no_change(link, browser_of, ann):
    assert browser_of(ann).get("/accounts/email/cancel/").status_code == 200
    assert is_pending(ann)


def test_cancelling_without_a_pending_change_is_no_error(browser_of, ann):
    assert browser_of(ann).post("/accounts/email/cancel/").status_code == 302
    assert not SecurityEvent.objects.filter(type="email_change_cancelled").exists()


def test_a_visitor_cannot_cancel(link, browser, ann):
    assert browser().post("/accounts/email/cancel/").status_code == 302
    assert is_pending(ann)


def test_the_cancelled_address_can_be_requested_again(link, browser_of, browser, ann, mails_of):
    page = browser_of(ann)
    page.post("/accounts/email/cancel/")
    mails = mails_of(lambda: request_change(page))
    [text] = [each.body for each in mails if each.to == [THEIRS]]
    browser().post(EMAIL_LINK.search(text).group())
    assert User.objects.get(pk=ann.pk).email == THEIRS


# Addresses that staff set


def test_an_address_set_by_staff_is_not_confirmed(browser_of, ann, staff):
    staff_give_another_address(ann, staff, browser_of)
    assert User.objects.get(pk=ann.pk).email_confirmed_at is None


def test_a_name_edited_by_staff_keeps_the_address_confirmed(link, browser_of, ann, staff):
    form = {"username": "anna", "email": ann.email, "is_active": "on"}
    browser_of(staff).post(reverse("admin:accounts_user_change", args=[ann.pk]), form)
    assert User.objects.get(pk=ann.pk).email_confirmed_at is not None
    assert is_pending(ann)


def test_a_reset_link_sent_to_a_former_address_is_refused(ann):
    """Both links pass the check, and then the change of the address is first."""
    user = User.objects.get(pk=ann.pk)
    User.objects.filter(pk=ann.pk).update(email=THEIRS, email_confirmed_at=user.email_confirmed_at + timedelta(1))
    with pytest.raises(AccountChanged):
        passwords.reset(user, NEW_PASSWORD)
