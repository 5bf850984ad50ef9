"""
Fuzzed input to every URL, by every kind of user: no 500, no partial change, and no new permissions.
More inputs: HYPOTHESIS_EFFORT=100 pytest tests/security/test_fuzzed_input.py --hypothesis-seed=random --timeout=0
"""

import json
from urllib.parse import urlencode

import pytest
from django import forms as django_forms
from django.conf import settings
from django.db import transaction
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from rest_framework import serializers as drf

from accounts import forms
from accounts.models import SignIn, User
from api import serializers
from tests.conftest import Browser, bearer
from tests.security import examples
from tests.security.urls import all_rows, all_urls

pytestmark = pytest.mark.django_db

FORM = "application/x-www-form-urlencoded"
# Fields that users cannot set themselves.
PRIVILEGES = (
    "id",
    "username",
    "is_active",
    "is_staff",
    "is_superuser",
    "is_service",
    "scopes",
    "bound_tokens_only",
    "email_confirmed_at",
    "delete_after",
)
OF_A_NEW_ACCOUNT = [True, False, False, False, "", False, None, None]
# Tables that a refused request may change: attempts and events.
OF_REFUSED = {"accounts.AttemptCounter", "accounts.SecurityEvent", "api.UsedProof"}


def names():
    """Yields the name of every field of every serializer, form and model."""
    found = {"next", "page", "csrfmiddlewaretoken", "token_type_hint", "action", "_selected_action", "q", "confirmed"}
    for module, base, fields in (
        (serializers, drf.Serializer, "_declared_fields"),
        (forms, django_forms.BaseForm, "base_fields"),
    ):
        for each in vars(module).values():
            if isinstance(each, type) and issubclass(each, base):
                found |= set(getattr(each, fields, ()))
    for model in (User, SignIn):
        found |= {field.name for field in model._meta.get_fields()}
    return sorted(found)


NAMES = names()
API = [place for place in all_urls() if place.is_api]
FIELDS = {
    "/api/token/": ["username", "password"],
    "/api/token/refresh/": ["refresh"],
    "/api/token/verify/": ["token"],
    "/api/token/blacklist/": ["refresh"],
    "/api/token/revoke/": ["token"],
    "/api/token/introspect/": ["token"],
    "/api/register/": ["username", "email", "password"],
    "/api/password/change/": ["old_password", "new_password"],
    "/api/password/confirm/": ["password"],
    "/api/password/reset/": ["email"],
    "/api/password/reset/confirm/": ["uid", "token", "new_password"],
    "/api/email/change/": ["new_email"],
    "/api/email/confirm/": ["uid", "token"],
    "/api/me/delete/": ["password"],
}
PAGES = [place for place in all_urls() if not place.is_api]
CONTENT_TYPES = [
    "application/json",
    "application/json",
    "application/json",
    FORM,
    "text/plain",
    "",
    "multipart/form-data; boundary=x",
]
AS = ["nobody", "program", "browser", "staff"]

# Short texts with all kinds of characters, lone surrogates, NULs and changes of direction.
texts = st.text(st.characters(codec=None, exclude_categories=()), max_size=20) | st.sampled_from(
    ["\x00", "\ud800", "\u202e", "x" * 300, "١", "1", "-1", "true", "null", "a" * 5000]
)
numbers = st.integers() | st.floats() | st.sampled_from([10**400, -(10**400), 2**31, 2**63, 2**64])
scalars = st.none() | st.booleans() | numbers | texts


def shapes(known):
    """JSON of any shape, which contains known values."""
    keys = st.sampled_from(NAMES) | texts
    return st.recursive(
        scalars | known,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
        max_leaves=8,
    )


def wanted_at(place, known):
    """An object with exactly the fields that the URL expects, if it expects any."""
    wanted = FIELDS.get(place.route, [])
    return st.fixed_dictionaries(dict.fromkeys(wanted, known | scalars))


@pytest.fixture
def world(ann, bob, staff, browser_of, client_of, password):
    """Ann's client and browser, Bob, who must not be affected, and the values that an attacker may know."""

    class World:
        def __init__(self):
            self.client, self.bobs, self.http = client_of(ann), client_of(bob), Browser(enforce_csrf_checks=True)
            self.cookies = {"browser": self.cookies_of(ann), "staff": self.cookies_of(staff)}
            self.sign_ins = [str(pk) for pk in SignIn.objects.values_list("pk", flat=True)]
            self.known = st.sampled_from(
                [
                    self.client.access,
                    self.client.refresh,
                    self.bobs.refresh,
                    password,
                    "a quite new passphrase",
                    "carol@example.org",
                    *(ann.username, ann.email, str(ann.pk), bob.email, str(bob.pk)),
                    *self.sign_ins,
                ]
            )

        def cookies_of(self, user):
            browser = browser_of(user)
            browser.get("/accounts/profile/")
            token = browser.cookies[settings.CSRF_COOKIE_NAME].value
            return {
                "cookie": browser.cookies.output(attrs=[], header="", sep=";"),
                "x-csrftoken": token,
                "origin": "https://testserver",
            }

        def send(self, who, method, path, body, content_type):
            headers = self.cookies.get(who, {})
            if who == "program":
                headers = bearer(self.client.access)
            self.http.cookies.clear()
            return self.http.generic(method, path, body, content_type, headers=headers)

        def assert_no_new_permissions(self, before, after, body):
            for name, owner in (("accounts.User", "id"), ("accounts.SignIn", "user_id")):
                his = [[row for row in rows[name] if row[owner] == bob.pk] for rows in (before, after)]
                # His refresh token can end his sign-in, from any client.
                assert his[0] == his[1] or (name == "accounts.SignIn" and self.bobs.refresh in body)
            privileges = {row["id"]: [row[name] for name in PRIVILEGES] for row in before["accounts.User"]}
            for row in after["accounts.User"]:
                # A new user has the values of a new account; a throw-away one of the demo also expires.
                if row["id"] not in privileges and row["username"].startswith("demo-"):
                    row["delete_after"] = None
                allowed = privileges.get(row["id"], [row["id"], row["username"], *OF_A_NEW_ACCOUNT])
                assert [row[name] for name in PRIVILEGES] == allowed

    return World()


@pytest.mark.long
@hypothesis_settings(max_examples=examples(200), suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_input_to_the_api_is_answered_without_an_error(world, data):
    place = data.draw(st.sampled_from(API))
    method = data.draw(st.sampled_from([*place.methods, *place.methods, "GET", "PATCH", "DELETE", "PUT", "OPTIONS"]))
    who, content_type = data.draw(st.sampled_from(AS)), data.draw(st.sampled_from(CONTENT_TYPES))
    values = {
        name: data.draw(st.sampled_from(world.sign_ins))
        for name, converter in place.parameters.items()
        if (name, converter) == ("pk", "uuid")
    }
    some_fields = st.dictionaries(st.sampled_from(NAMES), world.known | scalars, max_size=8)
    thing = data.draw(shapes(world.known) | some_fields | wanted_at(place, world.known))
    query = data.draw(st.dictionaries(st.sampled_from(NAMES), texts, max_size=2))
    path = f"{place.path(**values)}?{urlencode(query, errors='replace')}"
    form = urlencode(thing if isinstance(thing, dict) else {}, errors="replace")
    body = form if content_type == FORM else json.dumps(thing)
    before = all_rows()
    with transaction.atomic():
        response = world.send(who, method, path, body, content_type)
        after = all_rows()
        assert response.status_code < 500
        if response.status_code >= 400:
            assert {name for name, rows in after.items() if rows != before[name]} <= OF_REFUSED
            if place.route != "/api/docs/":
                answer = response.json()
                assert isinstance(answer["detail"], str)
                assert isinstance(answer["code"], str)
        if who != "staff":
            world.assert_no_new_permissions(before, after, body)
        transaction.set_rollback(True)


@hypothesis_settings(max_examples=examples(150), suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_input_to_a_page_is_answered_without_an_error(world, data):
    place = data.draw(st.sampled_from(PAGES))
    method = data.draw(st.sampled_from(["POST", "POST", "GET"]))
    who = data.draw(st.sampled_from(["nobody", "browser", "staff"]))
    values = {}
    if place.parameters.get("pk") == "uuid":
        values["pk"] = data.draw(st.sampled_from(world.sign_ins))
    if "object_id" in place.parameters:
        values["object_id"] = data.draw(st.sampled_from(["1", "0", "x", "_00", *world.sign_ins]))
    form = data.draw(st.dictionaries(st.sampled_from(NAMES), world.known | texts, max_size=6))
    query = data.draw(st.dictionaries(st.sampled_from(NAMES), texts, max_size=2))
    path = f"{place.path(**values)}?{urlencode(query, errors='surrogatepass')}"
    body = urlencode(form, errors="surrogatepass")
    before = all_rows()
    with transaction.atomic():
        response = world.send(who, method, path, body, FORM)
        assert response.status_code < 500
        if who != "staff":
            world.assert_no_new_permissions(before, all_rows(), body)
        transaction.set_rollback(True)


HEADERS = [
    "accept",
    "accept-language",
    "accept-encoding",
    "authorization",
    "content-type",
    "content-encoding",
    "cookie",
    "dpop",
    "forwarded",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "origin",
    "range",
    "referer",
    "sec-fetch-mode",
    "sec-fetch-site",
    "transfer-encoding",
    "user-agent",
    "x-compare",
    "x-csrftoken",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-request-id",
    "x-requested-with",
]
# As WSGI passes them on: bytes decoded as latin-1.
header_values = st.text(st.characters(codec="latin-1"), max_size=30) | st.sampled_from(
    [
        "null",
        "*",
        "*/*;q=x",
        "," * 3000,
        ";" * 3000,
        "text/html" + ";q=0.1" * 500,
        "-" * 3000,
        "x" * 8192,
        "https://[",
        "https://testserver:x",
        "https://\xff",
        "//",
        "W/",
        '"',
        'W/"' * 500,
        "application/json; charset=rot13",
        "multipart/form-data; boundary=" + "x" * 500,
        "multipart/form-data; boundary=\xff",
        "multipart/form-data; charset=idna; boundary=x",
        "Bearer \xff.\xff.\xff",
        "DPoP a.b.c",
        "bytes=-1-",
        "=;=;==;\x00",
        "__Host-sessionid=\x00; __Host-csrftoken=\xff; __Host-language=..",
    ]
)


@hypothesis_settings(max_examples=examples(150), suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_headers_are_answered_without_an_error(world, data):
    place = data.draw(st.sampled_from([*API, *PAGES]))
    method = data.draw(st.sampled_from(["GET", "HEAD", "OPTIONS", *place.methods]))
    headers = data.draw(st.dictionaries(st.sampled_from(HEADERS), header_values, min_size=1, max_size=3))
    lent = world.cookies["browser"] if data.draw(st.booleans()) else {}
    world.http.cookies.clear()
    with transaction.atomic():
        response = world.http.generic(method, place.path(), "a=b", FORM, headers=lent | headers)
        assert response.status_code < 500
        transaction.set_rollback(True)
