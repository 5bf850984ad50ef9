"""Invalid input to the API: the response is a 4xx with a reason, and nothing changes."""

import json
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from django.db import transaction

from accounts.models import SecurityEvent, SignIn, User
from tests.conftest import bearer

pytestmark = pytest.mark.django_db

FIELDS = {
    "/api/token/": ["username", "password"],
    "/api/token/refresh/": ["refresh"],
    "/api/token/verify/": ["token"],
    "/api/token/blacklist/": ["refresh"],
    "/api/me/": ["first_name", "last_name"],
    "/api/register/": ["username", "email", "password"],
    "/api/password/change/": ["old_password", "new_password"],
    "/api/password/reset/": ["email"],
    "/api/password/reset/confirm/": ["uid", "token", "new_password"],
    "/api/token/second-step/": ["step", "code"],
    "/api/token/passkey/": ["step", "credential"],
    "/api/factors/totp/": ["name"],
    "/api/factors/totp/confirm/": ["id"],
    "/api/factors/passkey/": ["step", "credential", "name"],
    "/api/reauthenticate/": ["password"],
    "/api/email/change/": ["new_email"],
    "/api/email/confirm/": ["uid", "token"],
    "/api/me/delete/": ["password"],
}
PLACES = [(path, field) for path, fields in FIELDS.items() for field in fields]
# Fields that may be missing, or whose absence is an error of the whole body.
OPTIONAL = {
    ("/api/factors/totp/", "name"),
    ("/api/factors/passkey/", "name"),
    ("/api/reauthenticate/", "password"),
    ("/api/me/delete/", "password"),
}
# After a recent proof, a deletion needs no password.
MAY_BE_EMPTY = {"/api/me/", "/api/factors/totp/", "/api/me/delete/"}
SIGNED_IN = [
    "/api/me/",
    "/api/password/change/",
    "/api/factors/totp/",
    "/api/factors/totp/confirm/",
    "/api/factors/passkey/",
    "/api/reauthenticate/",
    "/api/email/change/",
    "/api/me/delete/",
]
WITHOUT_BODY = ["/api/sign-ins/end-others/", "/api/sign-ins/end-all/", "/api/email/resend/"]


@pytest.fixture
def valid_bodies(hers, ann, password):
    """A valid body for each endpoint, of which a test changes one thing."""
    return {
        "/api/token/": {"username": ann.username, "password": password},
        "/api/token/refresh/": {"refresh": hers.refresh},
        "/api/token/verify/": {"token": hers.access},
        "/api/token/blacklist/": {"refresh": hers.refresh},
        "/api/me/": {"first_name": "Zoe", "last_name": "Lee"},
        "/api/register/": {"username": "carol", "email": "carol@example.com", "password": "a quite new passphrase"},
        "/api/password/change/": {"old_password": password, "new_password": "a quite new passphrase"},
        "/api/password/reset/": {"email": ann.email},
        "/api/password/reset/confirm/": {"uid": "MQ", "token": "a-b", "new_password": "a quite new passphrase"},
        "/api/token/second-step/": {"step": "a:b:c", "code": "123456"},
        "/api/token/passkey/": {"step": "a:b:c", "credential": {"id": "x"}},
        "/api/factors/totp/": {"name": "Phone"},
        "/api/factors/totp/confirm/": {"id": str(uuid4()), "code": "123456"},
        "/api/factors/passkey/": {"step": "a:b:c", "credential": {"id": "x"}, "name": "Phone"},
        "/api/reauthenticate/": {"password": password},
        "/api/email/change/": {"new_email": "ann@example.net"},
        "/api/email/confirm/": {"uid": "MQ", "token": "a-b"},
        "/api/me/delete/": {"password": password},
    }


@pytest.fixture
def send(browser, hers):
    """Sends bytes to an endpoint with the credentials of a client."""

    def send(path, body, content_type="application/json", method=None):
        headers = bearer(hers.access) if path in SIGNED_IN + WITHOUT_BODY else {}
        method = method or ("PATCH" if path == "/api/me/" else "POST")
        return browser().generic(method, path, body, content_type=content_type, headers=headers)

    return send


def records():
    """All rows that bad input might change, except events of passwords that were verified."""
    verified = ["sign_in_failed", "reauthenticated"]
    return (
        list(User.objects.order_by("pk").values()),
        list(SignIn.objects.order_by("pk").values()),
        list(SecurityEvent.objects.exclude(type__in=verified).order_by("pk").values("pk", "type")),
    )


def assert_refused(response):
    assert 400 <= response.status_code < 500, response.content[:200]
    # Refused for its content, not by a rate limit.
    assert response.status_code != 429
    assert response.headers["Content-Type"].startswith("application/json")
    answer = response.json()
    assert isinstance(answer["detail"], str)
    assert isinstance(answer["code"], str)


# A bad value in one field

VALUES = {
    "a list": b"[]",
    "a list of text": b'["text"]',
    "a list of objects": b'[{"a": 1}]',
    "an object": b"{}",
    "an object with a key": b'{"a": "b"}',
    "true": b"true",
    "false": b"false",
    "null": b"null",
    "zero": b"0",
    "a number": b"5",
    "a negative number": b"-1",
    "a fraction": b"1.5",
    "a number beyond floats": b"1e400",
    "a number of 5000 digits": b"9" * 5000,
    "not a number": b"NaN",
    "infinity": b"Infinity",
    "minus infinity": b"-Infinity",
    "NUL": rb'"\u0000"',
    "text with a NUL": rb'"a\u0000b"',
    "a raw NUL": b'"a\x00b"',
    "a lone high surrogate": rb'"\ud800"',
    "a lone low surrogate": rb'"a\udc00b"',
    "surrogates the wrong way round": rb'"\udc00\ud800"',
    "invalid UTF-8": b'"\xff\xfe"',
    "overlong UTF-8": b'"\xc0\x80"',
    "a surrogate in UTF-8": b'"\xed\xa0\x80"',
    "a raw line end": b'"a\nb"',
    "2 MB": b'"' + b"x" * 2_097_152 + b'"',
    "3 MB": b'"' + b"x" * 3_145_728 + b'"',
    "2 MB of wide letters": b'"' + "🐙".encode() * 524_288 + b'"',
    "a list 1,000 deep": b"[" * 1_000 + b"]" * 1_000,
    "a list 100,000 deep": b"[" * 100_000 + b"]" * 100_000,
    "an object 1,000 deep": b'{"a":' * 1_000 + b"1" + b"}" * 1_000,
    "an object 100,000 deep": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
}


def with_value(body, field, value):
    """Returns the JSON object with raw JSON in place of one value."""
    return json.dumps(body | {field: "PLACE"}).encode().replace(b'"PLACE"', value)


@pytest.mark.parametrize(("path", "field"), PLACES)
def test_a_bad_value_is_refused(send, valid_bodies, path, field, subtests):
    for name, value in VALUES.items():
        with subtests.test(name):
            assert_refused(send(path, with_value(valid_bodies[path], field, value)))


@pytest.mark.parametrize(("path", "field"), PLACES)
def test_a_bad_value_changes_nothing(send, valid_bodies, path, field):
    before = records()
    for value in VALUES.values():
        send(path, with_value(valid_bodies[path], field, value))
    assert records() == before


@pytest.mark.parametrize(("path", "field"), PLACES)
def test_a_bad_value_is_explained_beside_detail_and_code(send, valid_bodies, path, field):
    assert field in send(path, with_value(valid_bodies[path], field, b"[]")).json()


# A body that is not a JSON object

BODIES = {
    "a number": b"5",
    "text": b'"text"',
    "true": b"true",
    "null": b"null",
    "an empty list": b"[]",
    "a list of text": b'["a", "b"]',
    "a list of lists": b"[[]]",
    "NaN": b"NaN",
    "5000 digits": b"9" * 5000,
    "an open brace": b"{",
    "a colon": b":",
    "a blank": b" ",
    "a NUL": b"\x00",
    "2 MB of nothing like JSON": b"x" * 2_097_152,
    "2 MB of NULs": b"\x00" * 2_097_152,
    "2 MB of open brackets": b"[" * 2_097_152,
    "a list 1,000 deep": b"[" * 1_000 + b"]" * 1_000,
    "a list 100,000 deep": b"[" * 100_000 + b"]" * 100_000,
    "an object 1,000 deep": b'{"a":' * 1_000 + b"1" + b"}" * 1_000,
    "an object 100,000 deep": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "an open list 100,000 deep": b"[" * 100_000,
    "a form": b"username=ann&password=x",
    "XML": b"<?xml version='1.0'?><a/>",
}


@pytest.mark.parametrize("path", FIELDS)
def test_a_body_that_is_not_an_object_is_refused(send, path, subtests):
    for name, body in BODIES.items():
        with subtests.test(name):
            assert_refused(send(path, body))


@pytest.mark.parametrize("path", FIELDS)
def test_a_body_that_is_not_an_object_changes_nothing(send, path):
    before = records()
    for body in BODIES.values():
        send(path, body)
    assert records() == before


@pytest.mark.parametrize("body", [b"", b"{}", b'{"unknown": 1}'])
@pytest.mark.parametrize("path", [path for path in FIELDS if path not in MAY_BE_EMPTY])
def test_an_empty_body_is_refused(send, path, body):
    assert_refused(send(path, body))


@pytest.mark.parametrize("body", [b"", b"{}", b'{"unknown": 1}'])
@pytest.mark.parametrize("path", FIELDS)
def test_an_empty_body_changes_nothing(send, path, body):
    before = records()
    send(path, body)
    assert records() == before


@pytest.mark.parametrize(
    ("path", "field"), [place for place in PLACES if place[0] != "/api/me/" and place not in OPTIONAL]
)
def test_a_missing_field_is_refused_and_named(send, valid_bodies, path, field):
    response = send(
        path, json.dumps({key: value for key, value in valid_bodies[path].items() if key != field}).encode()
    )
    assert_refused(response)
    assert field in response.json()


# A valid body, malformed as a whole

MALFORMED = {
    "a key twice": lambda body: body[:-1] + b", " + body[1:],
    "a key twice, spelled in two ways": lambda body: body[:-1] + b', "a": 1, "\\u0061": 2}',
    "NaN beside": lambda body: body[:-1] + b', "extra": NaN}',
    "infinity beside": lambda body: body[:-1] + b', "extra": Infinity}',
    "minus infinity beside": lambda body: body[:-1] + b', "extra": -Infinity}',
    "5000 digits beside": lambda body: body[:-1] + b', "extra": ' + b"9" * 5000 + b"}",
    "1,000 levels beside": lambda body: body[:-1] + b', "extra": ' + b"[" * 1_000 + b"]" * 1_000 + b"}",
    "100,000 levels beside": lambda body: body[:-1] + b', "extra": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a byte order mark": lambda body: b"\xef\xbb\xbf" + body,
    "UTF-16": lambda body: body.decode().encode("utf-16"),
    "UTF-16 without a mark": lambda body: body.decode().encode("utf-16-le"),
    "UTF-32": lambda body: body.decode().encode("utf-32"),
    "trailing letters": lambda body: body + b"x",
    "a trailing brace": lambda body: body + b"}",
    "a trailing NUL": lambda body: body + b"\x00",
    "two objects": lambda body: body + body,
    "two objects on two lines": lambda body: body + b"\n" + body,
    "a trailing comma": lambda body: body[:-1] + b",}",
    "a comment": lambda body: body + b" // please",
    "single quotes": lambda body: body.replace(b'"', b"'"),
    "cut off": lambda body: body[:-1],
    "in a list": lambda body: b"[" + body + b"]",
    "as text": lambda body: json.dumps(body.decode()).encode(),
}


@pytest.mark.parametrize("path", FIELDS)
def test_a_malformed_body_is_refused(send, valid_bodies, path, subtests):
    for name, change in MALFORMED.items():
        with subtests.test(name):
            assert_refused(send(path, change(json.dumps(valid_bodies[path]).encode())))


@pytest.mark.parametrize("path", FIELDS)
def test_a_malformed_body_changes_nothing(send, valid_bodies, path):
    before = records()
    for change in MALFORMED.values():
        send(path, change(json.dumps(valid_bodies[path]).encode()))
    assert records() == before


# Content types

CONTENT_TYPES = [
    "",
    "json",
    "/",
    "text/plain",
    "text/json",
    "application/xml",
    "application/octet-stream",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "multipart/form-data; boundary=x",
    "multipart/form-data; boundary=" + "x" * 9_000,
    "application/jsonx",
    "application/json-patch+json",
    "application/json, text/plain",
    "application/json; charset=rot13",
    "application/json; charset=zlib",
    "application/json; charset=no-such-charset",
    "application/json; charset=utf-7",
    "application/json; charset=utf-16",
    "application/json; charset=" + "x" * 9_000,
    "application/json" + ";" * 9_000 + "charset=rot13",
]


@pytest.mark.parametrize("path", FIELDS)
def test_a_wrong_content_type_is_refused(send, valid_bodies, path, subtests):
    for content_type in CONTENT_TYPES:
        with subtests.test(content_type[:60] or "none"):
            assert_refused(send(path, json.dumps(valid_bodies[path]).encode(), content_type))


@pytest.mark.parametrize("path", FIELDS)
def test_a_wrong_content_type_changes_nothing(send, valid_bodies, path):
    before = records()
    for content_type in CONTENT_TYPES:
        send(path, json.dumps(valid_bodies[path]).encode(), content_type)
    assert records() == before


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip", "x"])
def test_a_body_with_a_content_encoding_is_refused(anonymous, encoding):
    answer = anonymous.post("/api/token/verify/", {"token": "x"}, headers={"Content-Encoding": encoding})
    assert answer.status_code == 415


@pytest.mark.parametrize("path", FIELDS)
def test_a_form_is_refused(send, valid_bodies, path):
    assert_refused(send(path, urlencode(valid_bodies[path]).encode(), "application/x-www-form-urlencoded"))


@pytest.mark.parametrize("path", FIELDS)
def test_a_form_changes_nothing(send, valid_bodies, path):
    before = records()
    send(path, urlencode(valid_bodies[path]).encode(), "application/x-www-form-urlencoded")
    assert records() == before


@pytest.mark.parametrize("path", FIELDS)
def test_a_multipart_form_is_refused(send, valid_bodies, path):
    parts = [
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'
        for name, text in valid_bodies[path].items()
    ]
    assert_refused(send(path, ("".join(parts) + "--x--\r\n").encode(), "multipart/form-data; boundary=x"))


@pytest.mark.parametrize("path", FIELDS)
def test_json_in_another_declared_charset_is_refused(send, valid_bodies, path, subtests):
    for charset in ["utf-16", "utf-16-le", "utf-32", "utf-7"]:
        with subtests.test(charset):
            body = json.dumps(valid_bodies[path]).encode(charset)
            assert_refused(send(path, body, f"application/json; charset={charset}"))


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=utf-8", "application/json;charset=UTF-8"]
)
def test_json_in_utf_8_is_accepted(send, valid_bodies, content_type):
    assert send("/api/token/", json.dumps(valid_bodies["/api/token/"]).encode(), content_type).status_code == 200


# Methods and paths


@pytest.mark.parametrize("path", [path for path in FIELDS if path != "/api/me/"] + WITHOUT_BODY)
def test_a_wrong_method_is_not_allowed(send, path, subtests):
    for method in ["GET", "HEAD", "PUT", "DELETE", "TRACE", "FOO"]:
        # It cancels the change.
        if (path, method) == ("/api/email/change/", "DELETE"):
            continue
        with subtests.test(method):
            assert send(path, b"{}", method=method).status_code == 405


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "TRACE", "FOO"])
def test_a_wrong_method_at_me_is_not_allowed(send, method):
    assert send("/api/me/", b"{}", method=method).status_code == 405


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "TRACE", "FOO"])
def test_a_wrong_method_is_explained(send, method):
    assert_refused(send("/api/token/", b"{}", method=method))


@pytest.mark.parametrize("method", ["PATCH", "DELETE", "GET"])
def test_a_header_does_not_override_the_method(browser, valid_bodies, method):
    response = browser().post(
        "/api/token/",
        valid_bodies["/api/token/"],
        content_type="application/json",
        headers={"x-http-method-override": method},
    )
    assert response.status_code == 200


UNKNOWN_PATHS = [
    "/api/nope/",
    "/api/nope",
    "/api/token/nope/",
    "/api/token//",
    "/api//token/",
    "/api/TOKEN/",
    "/api/token/refresh/1/",
    "/api/%00/",
    "/api/%ff/",
    "/api/..%2ftoken/",
    "/api/%2e%2e/token/",
    "/api/🐙/",
    "/api/" + "x" * 10_000 + "/",
]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize("path", UNKNOWN_PATHS, ids=lambda path: path[:40])
def test_an_unknown_path_is_not_found(browser, path, method):
    response = browser().generic(method, path, b"{}", content_type="application/json")
    assert_refused(response)
    assert response.status_code == 404


@pytest.mark.parametrize("path", [*FIELDS, *WITHOUT_BODY])
def test_a_post_without_the_last_slash_is_refused_not_redirected(browser, path):
    method = "PATCH" if path == "/api/me/" else "POST"
    assert_refused(browser().generic(method, path.rstrip("/"), b"{}", content_type="application/json"))


# Endpoints without a body


@pytest.mark.parametrize("path", WITHOUT_BODY)
def test_an_endpoint_without_a_body_ignores_one(send, path, subtests):
    for name, body in BODIES.items():
        with subtests.test(name), transaction.atomic():
            response = send(path, body)
            if response.status_code not in (200, 202):
                assert_refused(response)
            # It may have ended the sign-in that sends the next request.
            transaction.set_rollback(True)


# What a sign-in stores about its client

STRANGE_AGENTS = {
    "none": "",
    "20 KB": "A" * 20_000,
    "a NUL": "curl\x00/8",
    "bytes": "\xff\xfe\xfd",
    "UTF-8 bytes": "🐙".encode().decode("latin-1"),
    "control characters": "curl\r\n\x1b[2J\x07",
    "markup": "<img src=x onerror=alert(1)>",
    "brackets": "Mozilla/5.0 " + "(" * 5_000,
}


@pytest.mark.parametrize("agent", STRANGE_AGENTS.values(), ids=STRANGE_AGENTS)
def test_a_strange_user_agent_does_not_prevent_sign_in(anonymous, ann, password, agent):
    response = anonymous.post(
        "/api/token/", {"username": ann.username, "password": password}, headers={"user-agent": agent}
    )
    assert response.status_code == 200


@pytest.mark.parametrize("agent", STRANGE_AGENTS.values(), ids=STRANGE_AGENTS)
def test_a_strange_user_agent_does_not_break_the_list(anonymous, ann, password, agent):
    anonymous.http.defaults["HTTP_USER_AGENT"] = agent
    anonymous.sign_in(ann.username, password)
    assert anonymous.get("/api/sign-ins/").status_code == 200


@pytest.mark.parametrize("address", ["", "unix:", "not-an-address", "::1", "fe80::1%eth0", "1.2.3.4:5678"])
def test_a_strange_address_does_not_prevent_sign_in(anonymous, ann, password, address):
    response = anonymous.post("/api/token/", {"username": ann.username, "password": password}, REMOTE_ADDR=address)
    assert response.status_code == 200


@pytest.mark.parametrize("forwarded", ["6.6.6.6", "6.6.6.6, 127.0.0.1", "', '", "\x00", "x" * 20_000])
def test_a_client_cannot_choose_the_address_that_is_stored(anonymous, ann, password, forwarded):
    anonymous.post(
        "/api/token/",
        {"username": ann.username, "password": password},
        headers={"x-forwarded-for": forwarded, "x-real-ip": "6.6.6.6", "forwarded": "for=6.6.6.6"},
    )
    assert SignIn.objects.get().ip_address == "127.0.0.1"
