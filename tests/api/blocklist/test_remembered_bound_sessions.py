"""Bound sessions without a statement: what a process remembers of them, and with the database away."""

from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.urls import include, path

from accounts.models import SignIn
from api.blocklist import mirror as mirrors
from api.blocklist.mirror import mirror
from api.blocklist.sessions import remembered_sessions
from project.urls import handler404 as handler404
from project.urls import handler500 as handler500
from tests.api.blocklist.test_remembered_sessions import NameEndpoint
from tests.api.dbsc_client import BOUND, BoundBrowser, bound_browser
from tests.conftest import sign_in_of

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.urls(__name__),
    pytest.mark.usefixtures("current_mirror"),
]

API = "/api/name/"
urlpatterns = [path("api/name/", NameEndpoint.as_view()), path("", include("project.urls"))]


@pytest.fixture(autouse=True)
def offered(settings: Any) -> None:
    settings.DBSC = "offered"


@pytest.fixture
def bound(ann, password):
    """Ann's browser, which was bound a minute ago: the grace after a registration is over."""
    browser = bound_browser(ann, password)
    bound_at = sign_in_of(ann).bound_at
    SignIn.objects.filter(user=ann).update(bound_at=bound_at - timedelta(minutes=1))
    return browser


def of_sessions(browser, status=200):
    """Sends a request, and returns its statements that read a session."""
    with CaptureQueriesContext(connection) as queries:
        response = browser.get(API)
    assert response.status_code == status, response.content
    return [each["sql"] for each in queries if "accounts_session" in each["sql"]]


def test_a_proved_session_needs_no_statement(bound):
    assert len(of_sessions(bound)) == 1
    assert sum(len(of_sessions(bound)) for _ in range(20)) == 0


def test_a_new_bound_cookie_needs_no_statement(bound):
    of_sessions(bound)
    bound.renew()
    assert of_sessions(bound) == []


def test_a_remembered_session_needs_its_bound_cookie(bound):
    of_sessions(bound)
    thief = bound.copy()
    thief.cookies.pop(BOUND)
    assert of_sessions(thief, 401) == []


def test_a_session_that_may_yet_be_bound_is_not_remembered(ann, password):
    browser = BoundBrowser()
    browser.sign_in(ann, password)
    thief = browser.copy()
    assert len(of_sessions(thief)) == 1
    browser.register()
    SignIn.objects.filter(user=ann).update(bound_at=sign_in_of(ann).bound_at - timedelta(minutes=1))
    assert len(of_sessions(thief, 401)) == 1


def test_an_unbound_session_is_remembered_later(ann, password):
    browser = BoundBrowser()
    browser.sign_in(ann, password)
    SignIn.objects.filter(user=ann).update(authenticated_at=sign_in_of(ann).authenticated_at - timedelta(minutes=2))
    of_sessions(browser)
    assert of_sessions(browser) == []


def test_a_session_without_a_proof_is_not_remembered(bound):
    thief = bound.copy()
    thief.cookies.pop(BOUND)
    of_sessions(thief, 401)
    assert len(remembered_sessions) == 0


@contextmanager
def database_away():
    """The database refuses the reads of the mirror, and the statements of requests."""

    def refuse(*args):
        raise OperationalError("the database is away")

    with pytest.MonkeyPatch.context() as patch, connection.execute_wrapper(refuse):
        patch.setattr(mirror._cursor, "read", refuse)
        mirror._last_read -= 3 * mirrors.FRESH_FOR_SECONDS
        mirror._next_read = 0.0
        yield
    mirror._next_read = 0.0


def test_while_the_database_is_away_the_last_proof_counts(bound):
    of_sessions(bound)
    bound.cookies.pop(BOUND)
    with database_away():
        assert bound.get(API).status_code == 200
    assert bound.get(API).status_code == 401


def test_a_refresh_while_the_database_is_away_keeps_the_binding(bound):
    challenge = bound.challenge()
    bound.raise_request_exception = False
    with database_away():
        assert bound.refresh(bound.proof(challenge)).status_code == 503
        assert bound.refresh().status_code == 503
    assert bound.renew().status_code == 200
