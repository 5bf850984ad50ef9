"""A copy of all stored data, after use of every feature, contains nothing that authenticates."""

import base64
import io
import itertools
import json
import logging
import re
import time
import zlib
from contextlib import suppress
from datetime import timedelta
from html import unescape
from ipaddress import IPv4Address
from urllib.parse import urlencode, urlsplit
from uuid import UUID

import pytest
from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.test import override_settings
from django_redis import get_redis_connection

from accounts import connections, email_addresses, links, mail, passwords, registration
from accounts.factors import recovery_codes, removals
from accounts.models import AuthenticatorApp, FactorRemoval, Identity, QueuedMail, SecurityEvent, SignIn, User
from api.blocklist import status_list
from api.blocklist.models import Entry
from api.keys import Key
from tests.accounts.admin_pages import BLOCKLIST, EVENTS, LEAKED, SIGN_INS, USERS, act
from tests.api.dbsc_client import BoundBrowser, bound_browser
from tests.api.test_bound_tokens import Holder
from tests.authenticator import Authenticator
from tests.conftest import ApiClient, Browser, bearer, claims_of, newest_link
from tests.second_factors import App, add_passkey, password_step

pytestmark = pytest.mark.django_db(transaction=True)

CHANGED = "a quite different passphrase"
RESET = "yet another long passphrase"
FORM = "application/x-www-form-urlencoded"
ME = "https://testserver/api/me/"
# Shorter texts can be guessed without a copy.
SHORTEST = 8


@pytest.fixture(autouse=True)
def every_feature(tmp_path, settings, monkeypatch):
    (tmp_path / "key.pem").write_bytes(Key.generate("ES256").pem)
    settings.JWT_KEYS = str(tmp_path)
    settings.JWT_STATUS_LIST = True
    settings.DEVICE_FLOW = True
    settings.JWT_ISSUER = "https://id.example.org"
    monkeypatch.setattr("api.service_endpoints.status_lists", status_list.StatusLists())


@pytest.fixture
def log(monkeypatch):
    """The log of the project, from level INFO on."""
    [console] = [each for each in logging.root.handlers if each.name == "console"]
    stream = io.StringIO()
    monkeypatch.setattr(console, "stream", stream)
    loggers = [logging.root, *(each for each in logging.root.manager.loggerDict.values() if hasattr(each, "level"))]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.INFO)
    yield stream
    for each, level in zip(loggers, levels, strict=True):
        each.setLevel(level)


class Hour:
    """Uses every feature. `secrets` are all issued secrets; `good` are those that are still valid at the end."""

    def __init__(self, mailoutbox, password):
        self.mailoutbox, self.password = mailoutbox, password
        self.secrets = {password, CHANGED, RESET}
        self.good = {}

    def run(self, time_machine):
        for name in ("eve", "frank", "grace"):
            User.objects.create_user(name, f"{name}@example.org", self.password)
        parts = [
            self.pages,
            self.programs,
            self.bound,
            self.devices,
            self.links,
            self.staff,
            self.visitors,
            self.factors,
        ]
        for part in parts:
            part()
            time_machine.move_to(time.time() + 3600 / len(parts) - 60)
        self.who_is_still_there()
        self.mails_that_wait()
        assert set(SecurityEvent.objects.values_list("type", flat=True)) == set(SecurityEvent.Type.values)

    # Actions

    def pages(self):
        anns = self.browser("ann")
        for path in ("/", "/accounts/profile/", "/accounts/sign-ins/", "/accounts/activity/", "/api/me/", "/compare/"):
            assert anns.get(path).status_code == 200
        anns.post("/accounts/profile/", {"first_name": "Ann", "last_name": "Ayres"})
        form = {"old_password": self.password, "new_password1": CHANGED}
        assert anns.post("/accounts/password_change/", form).status_code == 302
        self.keep_cookies(anns)
        anns.post("/accounts/language/", {"language": "de"})
        connected = anns.post("/accounts/clients/new/", {"name": "backup script"}).content.decode()
        self.secrets |= set(re.findall(r'<div class="secret"[^>]*>([^<]+)</div>', connected))
        assert self.browser("ann", CHANGED, keep="on").post("/accounts/logout/").status_code == 200
        self.good["session cookie"] = anns.cookies[settings.SESSION_COOKIE_NAME].value

    def programs(self):
        hasty = self.client("ann", CHANGED)
        again = ApiClient(refresh=hasty.refresh)
        assert hasty.renew().status_code == again.renew().status_code == 200
        assert claims_of(hasty.refresh) == claims_of(again.refresh)
        self.keep_tokens(hasty)
        self.keep_tokens(again)
        stolen = self.client("ann", CHANGED)
        first = stolen.refresh
        for _ in range(2):
            assert stolen.renew().status_code == 200
            self.keep_tokens(stolen)
        assert ApiClient(refresh=first).renew().status_code == 401
        blocked, ended, kept = (self.client("ann", CHANGED) for _ in range(3))
        self.revoke(blocked.access)
        assert kept.delete(f"/api/sign-ins/{claims_of(ended.access)['sid']}/").status_code == 204
        assert kept.patch("/api/me/", {"first_name": "Anna"}).status_code == 200
        assert kept.post("/api/password/confirm/", {"password": CHANGED}).status_code == 204
        assert kept.post("/api/token/verify/", {"token": kept.access}).status_code == 200
        assert kept.get("/api/events/").status_code == kept.get("/api/sign-ins/").status_code == 200
        assert ApiClient().get("/api/token/status/0").status_code == 200
        assert ApiClient().get("/api/me/", headers={"Authorization": f"Bearer {kept.access}x"}).status_code == 401
        self.kept = kept
        key = kept.post("/api/api-keys/", {"name": "report"}).json()["key"]
        assert ApiClient(key).get("/api/me/").status_code == 200
        self.secrets.add(key)
        codes = Browser().generic("POST", "/api/device/code/", "client_id=backup", FORM).json()
        self.secrets |= {codes["device_code"], codes["user_code"]}
        decision = {"user_code": codes["user_code"], "decision": "allow", "name": "backup"}
        assert self.browser("ann", CHANGED).post("/accounts/device/", decision).status_code == 200
        form = {"grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": codes["device_code"]}
        tokens = Browser().generic("POST", "/api/device/token/", urlencode(form), FORM).json()
        self.secrets |= {tokens["access_token"], tokens["refresh_token"]}
        _, secret = registration.create_service("billing", ["introspect"])
        self.secrets.add(secret)
        form = urlencode({"token": kept.access})
        headers = bearer(self.client("billing", secret).access)
        answer = Browser().generic("POST", "/api/token/introspect/", form, FORM, headers=headers)
        assert answer.json()["active"]

    def bound(self):
        holder = Holder()
        assert holder.sign_in("bob", self.password).status_code == 200
        self.keep_tokens(holder)
        proof = holder.proof("GET", ME, holder.access)
        self.secrets.add(proof)
        assert holder.me(proof=proof).status_code == 200
        assert holder.me(proof=proof).status_code == 401
        assert holder.renew().status_code == 200
        assert holder.me().status_code == 200
        self.keep_tokens(holder)
        self.holder = holder

    def devices(self):
        with override_settings(DBSC="offered", DBSC_TERM=timedelta(minutes=10)):
            browser = bound_browser(User.objects.get(username="grace"), self.password)
            self.keep_cookies(browser)
            challenge = browser.challenge()
            wrong = BoundBrowser().proof(challenge)
            assert browser.refresh(wrong).status_code == 400
            assert browser.renew().status_code == 200
            self.keep_cookies(browser)
            self.secrets |= {browser.offer, challenge, wrong}

    def links(self):
        carol = {"username": "carol", "email": "carol@example.com", "password": self.password}
        assert ApiClient().post("/api/register/", carol).status_code == 201
        assert self.browser("carol").post(self.mailed("email_confirm")).status_code == 200
        dave = {"username": "dave", "email": "dave@example.com"}
        Browser().post("/accounts/signup/", dave | {"password1": self.password})
        self.good["confirmation link"] = self.mailed("email_confirm")
        carols = self.browser("carol")
        assert carols.post("/accounts/email/", {"new_email": "carol@cancelled.example.com"}).status_code == 302
        assert carols.post("/accounts/email/cancel/").status_code == 302
        for address, is_followed in [("carol@new.example.com", True), ("carol@newest.example.com", False)]:
            assert carols.post("/accounts/email/", {"new_email": address}).status_code == 302
            self.good["e-mail change link"] = self.mailed("email_confirm")
            if is_followed:
                assert Browser().post(self.good["e-mail change link"]).status_code == 200
        Browser().post("/accounts/password_reset/", {"email": "eve@example.org"})
        reset = {"new_password1": RESET}
        assert Browser().post(self.mailed("password_reset_confirm"), reset).status_code == 302
        assert ApiClient().post("/api/password/reset/", {"email": "ann@example.org"}).status_code == 202
        self.good["reset link"] = self.mailed("password_reset_confirm")
        # Refused, and so possibly logged.
        for name in ("confirmation link", "reset link"):
            strict = Browser(enforce_csrf_checks=True)
            assert strict.post(self.good[name]).status_code == 403

    def staff(self):
        sues = self.browser("sue")
        users = {user.username: user for user in User.objects.all()}
        leaked = self.client("eve", RESET)
        answer = sues.post(LEAKED, {"found": leaked.access})
        finding = unescape(re.search(r'name="finding" value="([^"]+)"', answer.content.decode()).group(1))
        sues.post(LEAKED, {"finding": finding, "do": "block", "why": "It was in a log."})
        act(sues, BLOCKLIST, "lift", Entry.objects.exclude(why="").get())
        for number in range(7):
            ApiClient().sign_in("frank", f"guess number {number} of many")
        form = {"username": "frank", "password": self.password}
        assert Browser().post("/accounts/login/", form).status_code == 429
        act(sues, USERS, "unlock", users["frank"])
        act(sues, USERS, "send_password_reset", users["frank"])
        self.mailed("password_reset_confirm")
        for action in ("deactivate", "reactivate", "end_all_sign_ins"):
            act(sues, USERS, action, users["eve"])
        supporting = self.browser("sue")
        act(supporting, USERS, "sign_in_as", users["grace"])
        self.keep_cookies(supporting)
        same_origin = {"sec-fetch-site": "same-origin"}
        made = supporting.generic("POST", "/api/session/token/", "{}", "application/json", headers=same_origin)
        self.secrets.add(made.json()["access"])
        assert supporting.post("/accounts/support/end/").status_code == 302
        act(sues, SIGN_INS, "end_selected", SignIn.objects.filter(user__username="carol").live().first())
        edited = {"username": "frank", "email": "frank@example.org", "is_active": "on", "last_name": "Ford"}
        sues.post(f"{USERS}{users['frank'].pk}/change/", edited | {"is_staff": "on"})
        for page in ("/admin/", USERS, SIGN_INS, EVENTS, BLOCKLIST, f"{USERS}{users['ann'].pk}/change/"):
            assert sues.get(page).status_code == 200
        assert b"".join(sues.post(f"{EVENTS}export/").streaming_content)

    def visitors(self):
        visitor = Browser()
        answer = visitor.post("/compare/throw-away/")
        self.secrets.add(answer.context["password"])
        self.keep_cookies(visitor)
        tokens = visitor.post("/compare/client/").json()
        self.secrets |= {tokens["access"], tokens["refresh"]}
        assert visitor.post("/compare/token/", {"token": tokens["access"]}).status_code == 200
        who = bearer(tokens["access"])
        assert Browser().get("/compare/who/", headers=who).status_code == 200

    def factors(self):
        graces = self.client("grace", self.password)
        grace = User.objects.get(username="grace")
        made = graces.post("/api/factors/totp/", {"name": "Phone"}).json()
        raw = base64.b32decode(made["secret"])
        app = App(raw)
        self.secrets |= {made["secret"], raw.hex(), base64.urlsafe_b64encode(raw).decode().rstrip("=")}
        confirmed = graces.post("/api/factors/totp/confirm/", {"id": made["id"], "code": app.code(-1)}).json()
        self.secrets |= {
            *confirmed["recovery_codes"],
            *(code.replace("-", "")[1:] for code in confirmed["recovery_codes"]),
        }
        assert graces.patch(f"/api/factors/{made['id']}/", {"name": "Old phone"}).status_code == 200
        connected = connections.connect(grace, Identity("acme", "42"))
        connections.disconnect(grace, connected.pk, keep=SignIn.objects.get(pk=claims_of(graces.access)["sid"]))
        passkey = add_passkey(graces, Authenticator(synced=False))
        for count in (1, 0):
            options = ApiClient().post("/api/token/passkey/options/", {}).json()
            body = {"step": options["step"], "credential": passkey.get(options["publicKey"], count=count)}
            pair = ApiClient().post("/api/token/passkey/", body).json()
            self.secrets |= {pair["access"], pair["refresh"], options["step"]}
        step = password_step(grace, self.password)["step"]
        unused = password_step(grace, self.password)["step"]
        self.secrets |= {step, unused}
        AuthenticatorApp.objects.update(failures=99)
        code = confirmed["recovery_codes"][0]
        for proof in ({"code": app.wrong_code()}, {"recovery_code": code}):
            ApiClient().post("/api/token/second-step/", {"step": step, **proof})
        assert graces.delete(f"/api/factors/{made['id']}/").status_code == 204
        codes = graces.post("/api/factors/recovery-codes/").json()["recovery_codes"]
        self.secrets |= set(codes)
        self.good["recovery code"] = codes[5]
        sues = self.browser("sue")
        for action in ("remove_factors", "cancel_removal", "remove_factors"):
            act(sues, USERS, action, grace)
        self.good["removal link"] = self.mailed("stop_factor_removal")

    def who_is_still_there(self):
        for client in (self.kept, self.holder):
            assert client.renew().status_code == 200
            self.keep_tokens(client)
        self.good |= {"access token": self.kept.access, "refresh token": self.kept.refresh}

    def mails_that_wait(self):
        """A mail of each kind with a link, and an alarm, stay in the queue; one has failed."""
        dave, bob = User.objects.get(username="dave"), User.objects.get(username="bob")
        with override_settings(SITE_URL="https://testserver"):
            email_addresses.send_confirmation(dave)
            passwords.send_reset(dave)
            mail.send_later("factor_removal", bob, removal=str(FactorRemoval.objects.latest("requested_at").pk))
        bob.notify("token_reused", client="script")
        QueuedMail.objects.filter(pk=QueuedMail.objects.latest("enqueued_at").pk).fail("SMTPDataError 554")
        assert {str(each) for each in QueuedMail.objects.all()} == {
            "confirm_email",
            "password_reset",
            "factor_removal",
            "token_reused",
        }

    # Issued secrets

    def browser(self, username, password=None, **fields):
        browser = Browser()
        browser.get("/accounts/login/")
        form = {"username": username, "password": password or self.password, **fields}
        assert browser.post("/accounts/login/", form).status_code == 302
        self.keep_cookies(browser)
        return browser

    def client(self, username, password):
        client = ApiClient()
        assert client.sign_in(username, password).status_code == 200
        self.keep_tokens(client)
        return client

    def keep_cookies(self, browser):
        self.secrets |= {morsel.value for name, morsel in browser.cookies.items() if "language" not in name}

    def keep_tokens(self, client):
        self.secrets |= {client.access, client.refresh}

    def revoke(self, token):
        answer = Browser().generic("POST", "/api/token/revoke/", urlencode({"token": token}), FORM)
        assert answer.status_code == 200

    def mailed(self, view):
        """Returns the path of the link in the newest mail of its kind."""
        kind = {
            "email_confirm": "email",
            "password_reset_confirm": "reset",
            "stop_factor_removal": "factors",
        }[view]
        path = newest_link(self.mailoutbox, rf"/accounts/{kind}/[^/\s]+/([^/\s]+)/")
        self.secrets.add(path[1])
        return path[0]


# Stored data


def stored():
    """Yields every value in every table, and every key and value in Redis or the cache of the process."""
    return itertools.chain(of_database(), of_redis() if settings.REDIS_URL else of_cache())


def of_database():
    with connection.cursor() as cursor:
        tables = connection.introspection.table_names(cursor)
        assert {"accounts_signin", "accounts_session", "api_usedproof", "blocklist_entry"} <= set(tables)
        for table in tables:
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")  # noqa: S608
            yield from itertools.chain.from_iterable(cursor.fetchall())


def of_redis():
    redis = get_redis_connection("default")
    read = {
        b"string": redis.get,
        b"hash": redis.hgetall,
        b"list": lambda key: redis.lrange(key, 0, -1),
        b"set": redis.smembers,
        b"zset": lambda key: redis.zrange(key, 0, -1, withscores=True),
        b"stream": redis.xrange,
    }
    for key in redis.scan_iter("*"):
        yield key
        yield read[redis.type(key)](key)


def of_cache():
    for key in list(cache._cache):
        yield key
        yield cache.get(key.split(":", 2)[2])


# Decoding


def texts(values):
    """Yields the texts and their decoded contents: JSON, base64, hex, deflate, parts between separators."""
    seen, waiting = set(), list(values)
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += itertools.chain(value.keys(), value.values())
        elif isinstance(value, list | tuple | set):
            waiting += value
        elif isinstance(value, bytes | memoryview):
            waiting += of_bytes(bytes(value))
        elif (text := str(value)) not in seen:
            seen.add(text)
            waiting += inside(text)
    return {text for text in seen if len(text) >= SHORTEST}


def of_bytes(raw):
    """Yields the common encodings of bytes, and their text."""
    yield raw.hex()
    yield base64.urlsafe_b64encode(raw).decode().rstrip("=")
    if len(raw) == 16:
        yield str(UUID(bytes=raw))
    with suppress(UnicodeDecodeError):
        yield raw.decode()
    with suppress(zlib.error):
        yield zlib.decompress(raw)


def inside(text):
    with suppress(ValueError):
        if isinstance(found := json.loads(text), dict | list | str):
            yield found
    yield from re.split(r"[^A-Za-z0-9_-]+", text)
    yield from re.split(r"[/?&=,;\s]+", text)
    if len(text) < SHORTEST or not re.fullmatch(r"[A-Za-z0-9_-]+", text):
        return
    with suppress(ValueError):
        yield bytes.fromhex(text.replace("-", ""))
    with suppress(ValueError):
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        # Any word can be decoded as base64; only readable results are followed.
        yield from [each for each in of_bytes(raw) if isinstance(each, bytes) or (each.isprintable() and raw.isascii())]


# Attempts of a thief


class Thief:
    """Tries texts one by one, each from another address, so that no rate limit applies."""

    def __init__(self):
        self.key = Holder("EdDSA")
        # One client for all, since each new client loads the middleware again.
        self.http = Browser()
        self.addresses = itertools.count(1)
        self.users = list(User.objects.all())

    def opens(self, text):
        """Returns the uses for which a text is accepted."""
        ways = [
            ("session cookie", self.cookie),
            ("access token", self.access_token),
            ("bound access token", self.bound_access_token),
            ("refresh token", self.refresh_token),
            ("link", self.link),
            ("recovery code", self.recovery_code),
        ]
        return [name for name, way in ways if way(text)]

    def cookie(self, text):
        return self.send("GET", "/api/me/", cookie=f"{settings.SESSION_COOKIE_NAME}={text}") == 200

    def access_token(self, text):
        return self.send("GET", "/api/me/", authorization=f"Bearer {text}") == 200

    def bound_access_token(self, text):
        proof = self.key.proof("GET", ME, text)
        return self.send("GET", "/api/me/", authorization=f"DPoP {text}", dpop=proof) == 200

    def refresh_token(self, text):
        return self.send("POST", "/api/token/refresh/", {"refresh": text}) == 200

    def link(self, text):
        """Tries a text as the last part of a link of either kind, for every user."""
        return any(
            tokens.check_token(user, text)
            for user in self.users
            for tokens in (links.password_reset, links.email_confirmation)
        ) or bool(removals.get_by_token(text))

    def recovery_code(self, text):
        """Tries a text as a recovery code, after the password."""
        return any(recovery_codes.use(user, text) for user in self.users if user.username == "grace")

    def send(self, method, path, data=None, **headers):
        address = str(IPv4Address(10 << 24 | next(self.addresses)))
        body = "" if data is None else json.dumps(data)
        # Decoded bytes can contain any characters, which a server encodes for WSGI (PEP 3333).
        headers = {name: value.encode().decode("iso-8859-1") for name, value in headers.items()}
        answer = self.http.generic(method, path, body, "application/json", headers=headers, REMOTE_ADDR=address)
        assert answer.status_code in {200, 400, 401}, answer.content
        self.http.cookies.clear()
        return answer.status_code


def test_no_secret_is_stored_or_logged_and_no_stored_value_works(
    ann, bob, staff, password, mailoutbox, log, time_machine
):
    hour = Hour(mailoutbox, password)
    hour.run(time_machine)
    logged = log.getvalue()
    found = texts(stored())

    thief = Thief()
    assert thief.opens("ϊota in any letters") == []
    assert {text: ways for text in found if (ways := thief.opens(text))} == {}

    dump = "\n".join(found)
    # The signature is the secret part of a token.
    secrets = hour.secrets | {secret.rpartition(".")[2] for secret in hour.secrets}
    assert [secret for secret in secrets if secret in dump] == []
    assert [secret for secret in secrets if secret in logged] == []

    # Control: each secret is still valid, so that it would have been found.
    for name, secret in hour.good.items():
        text = urlsplit(secret).path.rstrip("/").rpartition("/")[2]
        assert thief.opens(text) == ["link" if "link" in name else name], name
