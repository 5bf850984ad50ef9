"""The costs of a request that /compare/ shows."""

from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone

pytestmark = pytest.mark.django_db


FROM_THE_PAGE = {"X-Compare": "1", "Sec-Fetch-Site": "same-origin"}


def costs_of(response):
    """Returns the numbers of the Server-Timing header by name."""
    metrics = {}
    for metric in response["Server-Timing"].split(", "):
        name, *parameters = metric.split(";")
        metrics[name] = {key: float(value.strip('"')) for key, value in (each.split("=") for each in parameters)}
    return metrics


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Compare": "1"},
        {"Sec-Fetch-Site": "same-origin"},
        {"X-Compare": "1", "Sec-Fetch-Site": "same-site"},
        {"X-Compare": "1", "Sec-Fetch-Site": "cross-site"},
        {"X-Compare": "1", "Sec-Fetch-Site": "none"},
    ],
)
def test_costs_are_sent_only_to_the_compare_page(client_of, ann, headers):
    assert "Server-Timing" not in client_of(ann).get("/compare/who/", headers=headers)


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("/api/token/", {"username": "ann", "password": "a wrong one, quite wrong"}),
        ("/api/password/reset/", {"email": "ann@example.org"}),
        ("/api/register/", {"username": "ann", "email": "ann@example.org", "password": "x"}),
        ("/api/token/verify/", {"token": "x"}),
        ("/accounts/login/", {}),
        ("/api/session/", {"username": "ann", "password": "a wrong one, quite wrong"}),
    ],
)
def test_costs_are_not_sent_where_they_reveal_an_account(anonymous, ann, path, data):
    assert "Server-Timing" not in anonymous.post(path, data, headers=FROM_THE_PAGE)


def test_the_calls_of_a_browser_app_are_measured(browser_of, ann):
    browser = browser_of(ann)
    assert "Server-Timing" in browser.get("/api/session/", headers=FROM_THE_PAGE)
    assert "Server-Timing" in browser.post("/api/session/token/", headers=FROM_THE_PAGE)


def test_a_browser_costs_one_statement(browser_of, ann):
    response = browser_of(ann).get("/compare/who/", headers=FROM_THE_PAGE)
    assert response.json()["mode"] == "wristband"
    assert costs_of(response)["sql"]["desc"] == 1
    assert costs_of(response)["redis"]["desc"] == 0


@pytest.mark.django_db(transaction=True)
def test_a_token_costs_nothing_with_redis_and_one_statement_without(client_of, ann):
    client = client_of(ann)

    def statements():
        response = client.get("/compare/who/", headers=FROM_THE_PAGE)
        assert response.status_code == 200, response.content
        assert response.json()["mode"] == "passport"
        assert costs_of(response)["redis"]["desc"] == 0
        return costs_of(response)["sql"]["desc"]

    if not settings.REDIS_URL:
        assert statements() == 1
        return
    # The mirror needs a moment to load.
    deadline = timezone.now() + timedelta(seconds=10)
    while statements() and timezone.now() < deadline:
        pass
    assert statements() == 0


def test_a_refresh_costs_two_statements(client_of, ann, anonymous):
    response = anonymous.post("/api/token/refresh/", {"refresh": client_of(ann).refresh}, headers=FROM_THE_PAGE)
    assert costs_of(response)["sql"]["desc"] == 2


@pytest.mark.django_db(transaction=True)
def test_an_end_costs_four_redis_round_trips_two_for_the_broadcast(client_of, ann, anonymous):
    response = anonymous.post("/api/token/blacklist/", {"refresh": client_of(ann).refresh}, headers=FROM_THE_PAGE)
    # The throttle reads and writes its count; PUBLISH, and a PING that returns after delivery.
    assert costs_of(response)["redis"]["desc"] == (4 if settings.REDIS_URL else 0)


def test_the_bytes_are_those_of_request_and_response(client_of, ann):
    client = client_of(ann)
    response = client.get("/compare/who/", headers=FROM_THE_PAGE)
    costs = costs_of(response)
    assert costs["credential"]["desc"] == len(f"Authorization: Bearer {client.access}\r\n")
    assert costs["sent"]["desc"] > costs["credential"]["desc"]
    assert costs["answered"]["desc"] > len(response.content)
    longer = costs_of(client.get("/compare/who/?ten=letters", headers=FROM_THE_PAGE))
    assert longer["sent"]["desc"] == costs["sent"]["desc"] + len("?ten=letters")


def test_the_response_is_the_same_with_and_without_costs(client_of, ann):
    client = client_of(ann)
    plain, measured = client.get("/compare/who/"), client.get("/compare/who/", headers=FROM_THE_PAGE)
    assert plain.json() == measured.json()
    of_its_own = {name: measured[name] for name in ("Server-Timing", "X-Request-ID")}
    assert dict(measured.headers) == dict(plain.headers) | of_its_own


def test_a_refusal_has_costs_too(anonymous):
    anonymous.access = "e30.e30.e30"
    response = anonymous.get("/compare/who/", headers=FROM_THE_PAGE)
    assert response.status_code == 401
    assert costs_of(response)["sql"]["desc"] == 0
