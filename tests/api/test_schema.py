"""The OpenAPI document: its URLs, and that it describes everything."""

import re

import pytest
from django.contrib.auth.password_validation import validate_password
from django.test import override_settings

from accounts.models import User
from api.openapi.views import document
from tests.security.urls import all_urls

OPERATIONS = [
    pytest.param(operation, id=operation["operationId"])
    for path in document()["paths"].values()
    for operation in path.values()
]
OUR_PACKAGES = {"accounts", "api", "project", "rest_framework_simplejwt"}
# Their responses are not API responses.
PAGES_FOR_PEOPLE = {"/api/docs/", "/.well-known/change-password", "/.well-known/security.txt"}


def is_ours(place):
    return (place.view_class or place.view).__module__.partition(".")[0] in OUR_PACKAGES


def without_names(path):
    return re.sub(r"{\w+}", "{}", path)


OUR_PATHS = {place.path(**dict.fromkeys(place.parameters, "{}")) for place in all_urls() if is_ours(place)}
# Apps of adopters are excluded: their descriptions are their own matter.
OUR_OPERATIONS = [
    pytest.param(operation, id=operation["operationId"])
    for path, operations in document()["paths"].items()
    if without_names(path) in OUR_PATHS
    for operation in operations.values()
]


def test_the_document_is_json_unless_yaml_is_requested(browser):
    assert browser().get("/api/schema/").json()["openapi"].startswith("3.1")
    yaml = browser().get("/api/schema/", headers={"accept": "application/yaml"})
    assert yaml.content.startswith(b"openapi: 3.1")


@pytest.mark.parametrize("debug", [False, True])
def test_the_docs_are_served_with_and_without_debug(browser, debug):
    with override_settings(DEBUG=debug):
        assert browser().get("/api/docs/").status_code == 200


def test_document_and_docs_need_no_statement(browser, django_assert_num_queries, db):
    with django_assert_num_queries(0):
        browser().get("/api/schema/")
        browser().get("/api/docs/")


def test_the_docs_have_nothing_inline_and_no_other_host(browser):
    page = browser().get("/api/docs/").content.decode()
    assert "<style" not in page
    assert "<script>" not in page
    assert "https://" not in page


def test_the_document_is_in_one_language(browser):
    german = browser().get("/api/schema/", headers={"accept-language": "de"})
    assert german.content == browser().get("/api/schema/").content


def test_every_endpoint_is_described():
    known = {without_names(path) for path in document()["paths"]}
    paths = {place.path(**dict.fromkeys(place.parameters, "{}")): place for place in all_urls()}
    served = {path: place for path, place in paths.items() if path.startswith(("/api/", "/.well-known/", "/health/"))}
    # An app beside the project may leave endpoints out.
    assert {path for path, place in served.items() if place.is_ours} - PAGES_FOR_PEOPLE <= known
    assert known <= served.keys()


VERBS = [
    "Cancel",
    "Change",
    "Check",
    "Confirm",
    "Create",
    "Delete",
    "End",
    "Exchange",
    "Get",
    "List",
    "Register",
    "Revoke",
    "Send",
    "Set",
    "Start",
]


@pytest.mark.parametrize("operation", OUR_OPERATIONS)
def test_the_summary_of_every_operation_begins_with_a_verb(operation):
    assert operation["summary"].split()[0] in VERBS
    assert len(operation["summary"]) < 80
    assert "`" not in operation["summary"], "a summary is no Markdown"


@pytest.mark.parametrize("operation", [each for each in OUR_OPERATIONS if "requestBody" in each.values[0]])
def test_every_operation_with_a_body_has_an_example_of_it(operation):
    for body in operation["requestBody"]["content"].values():
        assert body["examples"]


def passwords(value, name=""):
    """Yields every password in a document with its key."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from passwords(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from passwords(inner, name)
    elif isinstance(value, str) and name in ("password", "old_password", "new_password"):
        yield value


def test_every_example_password_follows_our_rules():
    examples = [
        example["value"]
        for operation in OPERATIONS
        for body in operation.values[0].get("requestBody", {}).get("content", {}).values()
        for example in body.get("examples", {}).values()
    ]
    found = list(passwords(examples))
    assert len(found) >= 6
    for password in found:
        validate_password(password, User(username="alice", email="alice@example.org"))
        validate_password(password, User(username="carol", email="carol@example.org"))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_protected_operation_documents_schemes_and_refusals(operation):
    if {} in operation.get("security", [{}]):
        return
    # The endpoints of the session take the cookie only.
    of_session = operation["operationId"] in ("session", "session_token")
    by_token = [] if of_session else [{"accessToken": []}, {"boundToken": []}]
    assert operation["security"] == [*by_token, {"session": []}]
    assert {"401", "503"} <= operation["responses"].keys()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_with_a_body_documents_its_errors(operation):
    if "requestBody" in operation:
        assert {"400", "413", "415"} <= operation["responses"].keys()


@pytest.mark.parametrize("name", ["Unauthorized", "TooManyRequests", "Unavailable"])
def test_refusals_document_their_header(name):
    headers = document()["components"]["responses"][name]["headers"]
    assert headers.keys() & {"WWW-Authenticate", "Retry-After"}
