"""The client that /compare/ signs in, and the throw-away user whose sign-in it is."""

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import SecurityEvent, SignIn, User
from api.compare import alarm
from tests.api.dbsc_client import bound_browser
from tests.conftest import ApiClient, claims_of
from tests.second_factors import add_app

pytestmark = pytest.mark.django_db


def client_by(browser):
    """Returns the client that the page starts."""
    response = browser.post("/compare/client/")
    assert response.status_code == 201, response.content.decode()
    return ApiClient(response.json()["access"], response.json()["refresh"])


def steal(client):
    """Uses the first refresh token after two renewals."""
    stolen = client.refresh
    client.renew()
    client.renew()
    return ApiClient().post("/api/token/refresh/", {"refresh": stolen})


@pytest.fixture
def throw_away():
    """Returns the only throw-away user."""
    return lambda: User.objects.get(delete_after__isnull=False)


def test_the_client_of_a_throw_away_user_is_on_its_list(guest):
    response = guest.post("/compare/client/")
    assert response.status_code == 201
    assert response["Cache-Control"] == "no-store"
    kinds = [each["kind"] for each in guest.get("/api/sign-ins/").json()["results"]]
    assert sorted(kinds) == ["browser", "client"]


def test_the_clients_tokens_work_and_end_with_it(guest, anonymous, throw_away):
    tokens = guest.post("/compare/client/").json()
    anonymous.access = tokens["access"]
    assert anonymous.get("/api/me/").json()["username"] == throw_away().username
    assert anonymous.post("/api/token/blacklist/", {"refresh": tokens["refresh"]}).status_code == 200
    assert anonymous.get("/api/me/").status_code == 401
    assert guest.get("/api/me/").status_code == 200


def test_an_abandoned_client_expires_within_the_hour(guest, clock):
    guest.post("/compare/client/")
    clock.shift(timedelta(hours=1))
    assert not SignIn.objects.filter(kind=SignIn.Kind.CLIENT).live().exists()


def test_a_client_inherits_the_authentication_time(guest, clock):
    clock.shift(timedelta(minutes=20))
    client_by(guest)
    times = {each.authenticated_at for each in SignIn.objects.all()}
    assert len(times) == 1


def test_an_anonymous_user_gets_no_client(browser):
    assert browser().post("/compare/client/").status_code in (401, 403)
    assert not SignIn.objects.exists()


def test_a_token_cannot_create_a_client(client_of, ann):
    assert client_of(ann).post("/compare/client/").status_code in (401, 403)
    assert SignIn.objects.count() == 1


def test_another_site_gets_no_client(guest):
    guest.handler.enforce_csrf_checks = True
    assert guest.post("/compare/client/", headers={"Sec-Fetch-Site": "cross-site"}).status_code in (401, 403)
    assert not SignIn.objects.filter(kind=SignIn.Kind.CLIENT).exists()


# For an ordinary user the acts use a throw-away user


def test_the_client_of_an_ordinary_user_is_another_users(browser_of, ann, throw_away):
    browser = browser_of(ann)
    client = client_by(browser)
    assert client.get("/api/me/").json()["username"] == throw_away().username
    assert list(SignIn.objects.filter(user=ann).values_list("kind", flat=True)) == ["browser"]
    assert browser.get("/api/me/").json()["username"] == "ann"


def test_an_ordinary_user_needs_no_proof_for_it(browser_of, ann, hers, clock, throw_away):
    """Its tokens are of no account that has something to protect."""
    browser = browser_of(ann)
    add_app(hers)
    clock.shift(timedelta(hours=2))
    assert client_by(browser).get("/api/me/").json()["username"] == throw_away().username


def test_one_throw_away_user_serves_a_session(browser_of, ann):
    browser = browser_of(ann)
    sids = {claims_of(client_by(browser).access)["sid"] for _ in range(3)}
    assert len(sids) == 3
    assert User.objects.count() == 2


def test_an_expired_throw_away_user_is_replaced(browser_of, ann, throw_away):
    browser = browser_of(ann)
    client_by(browser)
    before = throw_away()
    User.objects.filter(pk=before.pk).update(delete_after=timezone.now())
    client_by(browser)
    assert throw_away() != before


@pytest.mark.parametrize("act", ["start", "sign out", "theft"])
def test_an_act_of_an_ordinary_user_raises_no_alarm(browser_of, ann, mails_of, act):
    browser = browser_of(ann)
    before = list(SecurityEvent.objects.filter(user=ann).values_list("type", flat=True))

    def play():
        client = client_by(browser)
        if act == "sign out":
            assert ApiClient().post("/api/token/blacklist/", {"refresh": client.refresh}).status_code == 200
        if act == "theft":
            assert steal(client).status_code == 401

    assert mails_of(play) == []
    assert list(SecurityEvent.objects.filter(user=ann).values_list("type", flat=True)) == before
    assert browser.get("/api/me/").status_code == 200


# The alarm


def test_a_theft_is_an_event_of_the_throw_away_user(browser_of, ann, throw_away):
    client = client_by(browser_of(ann))
    assert steal(client).status_code == 401
    assert client.get("/api/me/").status_code == 401
    theft = SecurityEvent.objects.get(type="token_reused")
    assert (theft.user, str(theft.sid)) == (throw_away(), claims_of(client.access)["sid"])


@pytest.mark.parametrize("ordinary", [True, False])
def test_the_page_shows_the_mail_about_the_theft(browser_of, ann, guest, ordinary):
    browser = browser_of(ann) if ordinary else guest
    steal(client_by(browser))
    mail = browser.get("/compare/alarm/").json()
    assert mail["subject"] == "We signed out one of your apps"
    assert 'A refresh token of your app "Compare page" was used a second time' in mail["text"]
    assert "IP address: 127.0.0.1" in mail["text"]


def test_the_text_is_that_of_the_mail_to_an_ordinary_user(hers, ann, mails_of):
    (mail,) = mails_of(lambda: steal(hers))
    shown = alarm.latest(ann)
    assert mail.subject == shown.subject
    without_link = shown.text.rpartition(":\n")[0]
    assert without_link in mail.body


def test_without_a_theft_there_is_no_mail(guest, browser_of, ann):
    for browser in (guest, browser_of(ann)):
        client_by(browser)
        assert browser.get("/compare/alarm/").status_code == 404


def test_a_visitor_sees_no_mail(browser):
    assert browser().get("/compare/alarm/").status_code in (401, 403)


def copied(browser):
    return browser.get("/compare/copied/", headers={"Sec-Fetch-Site": "same-origin"}).json()


def test_copies_of_an_unbound_session_show_pages(guest):
    assert copied(guest) == {"bound": False, "page_after_the_term": 200}


def test_copies_of_a_bound_session_show_no_pages(ann, password, settings):
    settings.DBSC = "offered"
    assert copied(bound_browser(ann, password)) == {"bound": True, "page_after_the_term": 401}
