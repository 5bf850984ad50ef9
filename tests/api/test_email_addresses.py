"""E-mail addresses over the API: change, cancel, confirm, and the link again."""

import re
from datetime import timedelta

import pytest

from accounts.models import SecurityEvent, User
from accounts.rate_limits import LIMITS, Kind
from tests.conftest import ApiClient
from tests.second_factors import add_app

pytestmark = pytest.mark.django_db

CHANGE, CONFIRM, RESEND = "/api/email/change/", "/api/email/confirm/", "/api/email/resend/"
NEW = "ann@new.example.org"
LINK = re.compile(r"/accounts/email/([^/\s]+)/([^/\s]+)/")
CAROL = {"username": "carol", "email": "carol@example.com", "password": "a quite different passphrase"}


def link_in(mails, to):
    """Returns the body that confirms the address."""
    [text] = [mail.body for mail in mails if mail.to == [to]]
    uid, token = LINK.search(text).groups()
    return {"uid": uid, "token": token}


@pytest.fixture
def link(hers, mails_of):
    """The link to the new address that Ann's client has requested."""
    return link_in(mails_of(lambda: hers.post(CHANGE, {"new_email": NEW})), NEW)


@pytest.fixture
def carol(anonymous, mails_of):
    """A client of a user who has not confirmed the address, with the link in her first mail."""
    carol = ApiClient()
    mails = mails_of(lambda: anonymous.post("/api/register/", CAROL))
    carol.link = link_in(mails, CAROL["email"])
    assert carol.sign_in("carol", CAROL["password"]).status_code == 200
    return carol


@pytest.fixture(params=["token", "cookie"])
def anns_door(request, ann, client_of, browser_of):
    """Returns a function that sends JSON as Ann, by token and by cookie."""
    if request.param == "token":
        return client_of(ann).request
    browser = browser_of(ann)
    return lambda method, path, data=None: browser.generic(
        method, path, "" if data is None else f'{{"new_email": "{data["new_email"]}"}}', "application/json"
    )


def events_of(user):
    return list(SecurityEvent.objects.filter(user=user, type__startswith="email").values_list("type", flat=True))


# Change


def test_a_requested_change_is_202_with_an_empty_body(anns_door):
    response = anns_door("POST", CHANGE, {"new_email": NEW})
    assert (response.status_code, response.json()) == (202, {})


def test_a_requested_change_is_pending_in_me(anns_door):
    anns_door("POST", CHANGE, {"new_email": NEW})
    me = anns_door("GET", "/api/me/").json()
    assert (me["email"], me["new_email"], me["email_confirmed"]) == ("ann@example.org", NEW, True)


def test_the_old_address_gets_a_notice(hers, ann, mails_of):
    mails = mails_of(lambda: hers.post(CHANGE, {"new_email": NEW}))
    assert {mail.to[0]: mail.subject for mail in mails} == {
        NEW: "Confirm your e-mail address",
        ann.email: "A change of your e-mail address was requested",
    }


def test_a_requested_change_is_the_event_of_the_page(link, ann):
    assert events_of(ann) == ["email_change_asked"]


def test_the_link_changes_the_address(link, anonymous, ann):
    assert anonymous.post(CONFIRM, link).status_code == 204
    user = User.objects.get(pk=ann.pk)
    assert (user.email, user.new_email) == (NEW, "")
    assert events_of(ann) == ["email_changed", "email_change_asked"]


def test_the_link_signs_no_one_in(link, anonymous):
    response = anonymous.post(CONFIRM, link)
    assert (response.content, dict(response.cookies)) == (b"", {})


def test_the_old_address_is_mailed_after_the_change(link, anonymous, mails_of):
    [mail] = mails_of(lambda: anonymous.post(CONFIRM, link))
    assert (mail.to, mail.subject) == (["ann@example.org"], "Your e-mail address was changed")


def test_a_change_needs_a_recent_proof(clock, hers, ann, password):
    clock.shift(timedelta(minutes=16))
    hers.renew()
    refused = hers.post(CHANGE, {"new_email": NEW})
    assert (refused.status_code, refused.json()["code"]) == (403, "recent_sign_in_required")
    assert User.objects.get(pk=ann.pk).new_email == ""
    hers.post("/api/reauthenticate/", {"password": password})
    assert hers.post(CHANGE, {"new_email": NEW}).status_code == 202


def test_with_a_second_factor_a_sign_in_of_level_1_is_not_enough(browser_of, client_of, ann):
    old, owner = client_of(ann), client_of(ann)
    add_app(owner)
    assert old.post(CHANGE, {"new_email": NEW}).json()["methods"] == ["totp", "recovery_code"]
    assert owner.post(CHANGE, {"new_email": NEW}).status_code == 202


@pytest.mark.parametrize(
    "new", ["no address", "änn@example.org", "ann@example.org", '"ann"@example.org', "a@" + "b" * 260]
)
def test_an_invalid_address_is_refused_and_named(hers, ann, new):
    response = hers.post(CHANGE, {"new_email": new})
    assert (response.status_code, response.json().keys()) == (400, {"detail", "code", "new_email"})
    assert User.objects.get(pk=ann.pk).new_email == ""


def test_a_malformed_address_counts_as_no_attempt(hers):
    for _ in range(LIMITS[Kind.CHANGING].max_attempts):
        hers.post(CHANGE, {"new_email": "no address"})
    assert hers.post(CHANGE, {"new_email": NEW}).status_code == 202


def test_an_account_without_a_mailbox_cannot_change_its_address(hers, ann):
    User.objects.filter(pk=ann.pk).update(delete_after=ann.date_joined + timedelta(days=30))
    assert hers.post(CHANGE, {"new_email": NEW}).json()["new_email"] == [
        "The e-mail address of this account cannot be changed."
    ]


def test_a_change_needs_a_sign_in(anonymous):
    assert [anonymous.request(method, CHANGE, {}).status_code for method in ("POST", "DELETE")] == [401, 401]


def test_a_change_takes_a_stated_number_of_statements(hers, ann, django_assert_num_queries):
    # Blocklist, sign-in, level, user; the count (4); in a transaction (2): lock, UPDATE, event, notice, look-up, count
    # (4), link.
    with django_assert_num_queries(20):
        hers.post(CHANGE, {"new_email": NEW})


# An address of another account


def test_the_owner_of_a_taken_address_gets_a_mail_without_a_link(hers, bob, mails_of):
    mails = mails_of(lambda: hers.post(CHANGE, {"new_email": "Bob@example.org"}))
    [mail] = [each for each in mails if each.to == ["Bob@example.org"]]
    assert mail.subject == "This e-mail address already has an account"
    assert "Hello ann," in mail.body
    assert "http" not in mail.body


def test_a_taken_address_is_not_changed_by_a_link(hers, ann, bob):
    hers.post(CHANGE, {"new_email": bob.email})
    assert User.objects.get(pk=ann.pk).email == "ann@example.org"


def test_a_taken_address_gets_three_mails_an_hour(hers, bob, mails_of):
    def request_change():
        assert hers.post(CHANGE, {"new_email": bob.email}).status_code == 202

    sent = [[mail.to for mail in mails_of(request_change)].count([bob.email]) for _ in range(5)]
    assert sent == [1, 1, 1, 0, 0]


def test_mails_about_a_taken_address_leave_its_owner_the_quota(carol, hers, mails_of):
    for _ in range(5):
        hers.post(CHANGE, {"new_email": CAROL["email"]})
    assert len(mails_of(lambda: carol.post(RESEND))) == 1


# Cancel


def test_cancelling_is_204_and_invalidates_the_link(link, hers, anonymous, ann):
    assert hers.delete(CHANGE).status_code == 204
    assert hers.get("/api/me/").json()["new_email"] == ""
    assert anonymous.post(CONFIRM, link).status_code == 400
    assert events_of(ann) == ["email_change_cancelled", "email_change_asked"]


def test_cancelling_without_a_pending_change_is_204(anns_door, ann):
    assert anns_door("DELETE", CHANGE).status_code == 204
    assert events_of(ann) == []


def test_cancelling_needs_no_recent_proof(clock, link, hers):
    clock.shift(timedelta(minutes=16))
    hers.renew()
    assert hers.delete(CHANGE).status_code == 204


# Confirm


def test_the_first_link_confirms_the_address(carol, anonymous):
    assert carol.get("/api/me/").json()["email_confirmed"] is False
    assert anonymous.post(CONFIRM, carol.link).status_code == 204
    assert carol.get("/api/me/").json()["email_confirmed"] is True


def test_a_link_that_was_used_is_204_and_changes_nothing(carol, anonymous):
    anonymous.post(CONFIRM, carol.link)
    confirmed_at = User.objects.get(username="carol").email_confirmed_at
    assert anonymous.post(CONFIRM, carol.link).status_code == 204
    user = User.objects.get(username="carol")
    assert (user.email_confirmed_at, events_of(user)) == (confirmed_at, ["email_confirmed"])


def test_a_link_expires_after_an_hour(clock, link, anonymous):
    clock.shift(timedelta(minutes=61))
    response = anonymous.post(CONFIRM, link)
    assert (response.status_code, response.json().keys()) == (400, {"detail", "code", "token"})


def test_a_link_of_an_address_taken_meanwhile_is_refused(link, anonymous, ann, bob):
    User.objects.filter(pk=bob.pk).update(email=NEW)
    assert anonymous.post(CONFIRM, link).status_code == 400
    assert User.objects.get(pk=ann.pk).email == "ann@example.org"


def test_a_reset_link_confirms_no_address(link, anonymous, ann, mails_of):
    [mail] = mails_of(lambda: anonymous.post("/api/password/reset/", {"email": ann.email}))
    uid, token = re.search(r"/reset/([^/\s]+)/([^/\s]+)/", mail.body).groups()
    assert anonymous.post(CONFIRM, {"uid": uid, "token": token}).status_code == 400


@pytest.mark.parametrize("field", ["uid", "token"])
@pytest.mark.parametrize("value", ["", "x", "-", "LTE", "....", "é", "9" * 400, "x" * 100_000, "../../etc"])
def test_an_invalid_link_is_refused(link, anonymous, field, value):
    assert anonymous.post(CONFIRM, link | {field: value}).status_code == 400


def test_confirmations_are_rate_limited_with_other_account_calls(anonymous, settings):
    rates = settings.REST_FRAMEWORK["DEFAULT_THROTTLE_RATES"]
    most = int(rates["accounts"].partition("/")[0])
    answers = [anonymous.post(CONFIRM, {"uid": "MQ", "token": "x-y"}).status_code for _ in range(most + 1)]
    assert answers == [400] * most + [429]


# Resend


def test_the_link_is_mailed_again(carol, anonymous, mails_of):
    mails = mails_of(lambda: carol.post(RESEND))
    assert anonymous.post(CONFIRM, link_in(mails, CAROL["email"])).status_code == 204


def test_the_answer_does_not_say_whether_a_mail_was_sent(carol, anonymous, mails_of):
    answers = []
    sent = [len(mails_of(lambda: answers.append(carol.post(RESEND)))) for _ in range(4)]
    anonymous.post(CONFIRM, carol.link)
    sent.append(len(mails_of(lambda: answers.append(carol.post(RESEND)))))
    assert sent == [1, 1, 0, 0, 0]
    assert {(answer.status_code, answer.content) for answer in answers} == {(202, b"{}")}


def test_a_resend_needs_a_sign_in(anonymous):
    assert anonymous.post(RESEND).status_code == 401
