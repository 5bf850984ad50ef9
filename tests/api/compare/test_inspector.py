"""The token inspector of /compare/."""

import json
from datetime import timedelta

import jwt
import pytest
from django.conf import settings
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from accounts.models import SecurityEvent, Session, SignIn, User
from api.compare.inspector import MAX_BYTES
from api.keys import keyring
from tests.conftest import claims_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def paste(browser):
    """Submits a token to the inspector, anonymously unless a browser is given."""

    def send(token, by=None):
        return (by or browser()).post("/compare/token/", {"token": token})

    return send


@pytest.fixture
def verdicts(paste):
    def read(token):
        found = paste(token).context["inspection"].verdicts
        return found.signature.state, found.time.state, found.honoured.state

    return read


def signed(claims, key=None, **header):
    """Returns a token signed like ours, with the given claims."""
    key = key or keyring.signing_key
    return jwt.encode(claims, key.signing, key.algorithm, {"kid": key.kid, "typ": "at+jwt", **header})


@pytest.mark.parametrize("kind", ["access", "refresh"])
def test_a_valid_token_passes_every_check(verdicts, client_of, ann, kind):
    assert verdicts(getattr(client_of(ann), kind)) == ("good", "good", "good")


@pytest.mark.parametrize("kind", ["access", "refresh"])
def test_a_token_of_an_ended_sign_in_is_only_revoked(verdicts, client_of, ann, kind, end):
    client = client_of(ann)
    end(client)
    assert verdicts(getattr(client, kind)) == ("good", "good", "bad")


def test_a_spent_refresh_token_is_only_revoked(verdicts, client_of, ann, clock):
    client = client_of(ann)
    used = client.refresh
    client.renew()
    clock.shift(settings.REFRESH_GRACE)
    assert verdicts(used) == ("good", "good", "bad")


def test_an_expired_token_has_only_a_valid_signature(verdicts, client_of, ann, clock):
    access = client_of(ann).access
    clock.shift(settings.ACCESS_TOKEN + settings.JWT_LEEWAY)
    assert verdicts(access) == ("good", "bad", "bad")


@pytest.mark.parametrize(
    ("age", "text"),
    [
        (timedelta(minutes=1), "Expired 1 minute ago."),
        (timedelta(minutes=92), "Expired 92 minutes ago."),
        (timedelta(days=3), "Expired 3\xa0days ago."),
    ],
)
def test_the_age_of_an_expired_token_is_shown(paste, client_of, ann, clock, age, text):
    access = client_of(ann).access
    clock.shift(settings.ACCESS_TOKEN + age)
    assert text == paste(access).context["inspection"].verdicts.time.text


def test_the_expired_example_is_by_the_key_of_this_server(browser, verdicts):
    assert verdicts(browser().get("/compare/").context["expired_token"]) == ("good", "bad", "bad")


def test_the_expired_example_is_of_no_user_and_no_sign_in(browser, anonymous):
    anonymous.access = browser().get("/compare/").context["expired_token"]
    claims = claims_of(anonymous.access)
    assert anonymous.get("/api/me/").status_code == 401
    assert not User.objects.filter(pk=claims["sub"]).exists()
    assert not SignIn.objects.filter(pk=claims["sid"]).exists()


def test_a_token_issued_in_the_future_has_only_a_valid_signature(verdicts, client_of, ann):
    claims = claims_of(client_of(ann).access)
    assert verdicts(signed(claims | {"iat": claims["iat"] + 3600})) == ("good", "bad", "bad")


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_changed_letter_breaks_the_signature(verdicts, client_of, ann, part):
    parts = client_of(ann).access.split(".")
    parts[part] = parts[part][:9] + ("x" if parts[part][9] != "x" else "y") + parts[part][10:]
    assert verdicts(".".join(parts)) == ("bad", "unasked", "bad")


def test_a_token_of_another_key_has_an_invalid_signature(verdicts, client_of, ann, settings):
    access = client_of(ann).access
    settings.SECRET_KEY = "another-key-of-another-site-3Kd8sLq0Zx7Vb5Nm2Ty9Rw4"
    assert verdicts(access) == ("bad", "unasked", "bad")


@pytest.mark.parametrize("signature", ["", "e30"])
@pytest.mark.parametrize("algorithm", ["none", "None", "NONE"])
def test_a_token_without_algorithm_is_refused_for_it(paste, client_of, ann, algorithm, signature):
    header = jwt.utils.base64url_encode(json.dumps({"alg": algorithm, "typ": "at+jwt"}).encode()).decode()
    inspection = paste(f"{header}.{client_of(ann).access.split('.')[1]}.{signature}").context["inspection"]
    assert str(inspection.verdicts.signature.text).startswith("Refused: alg is none")
    assert str(inspection.verdicts.honoured.text) == "No: its signature is not valid."


@pytest.mark.parametrize("claims", [{"aud": "elsewhere"}, {"iss": "elsewhere"}, {"sid": "not an id"}, {"sub": 1}])
def test_a_signed_token_with_foreign_claims_is_refused(verdicts, client_of, ann, claims):
    assert verdicts(signed(claims_of(client_of(ann).access) | claims)) == ("good", "unasked", "bad")


def test_each_claim_is_explained(paste, client_of, ann):
    access = client_of(ann).access
    inspection = paste(access).context["inspection"]
    assert {claim.name for claim in inspection.claims} == claims_of(access).keys()
    assert {claim.name for claim in inspection.header} == {"alg", "kid", "typ"}
    assert not [claim for claim in inspection.claims if "Not a claim" in str(claim.meaning)]


def test_the_size_of_the_token_is_shown(paste, client_of, ann):
    access = client_of(ann).access
    assert paste(f"  {access}\n").context["inspection"].size == len(access)


def test_the_page_does_not_repeat_a_whole_token(paste, client_of, ann):
    access = client_of(ann).access
    page = paste(access).content.decode()
    assert access.split(".")[1] in page
    assert access.split(".")[2] not in page


def test_the_page_does_not_show_the_owner_of_a_token(paste, browser_of, client_of, ann, password):
    # The name is too long to be in the token.
    name = "somebody-with-a-long-name" * 3
    owner = User.objects.create_user(name, "private@example.org", password, last_name="Secret")
    token = client_of(owner).access
    page = paste(token, by=browser_of(ann)).content.decode()
    for private in (owner.username, owner.email, owner.last_name):
        assert private not in page


def test_an_inspected_token_is_neither_stored_nor_logged(paste, browser_of, client_of, ann, caplog):
    browser, access = browser_of(ann), client_of(ann).access
    tables = (SignIn, SecurityEvent, Session, User)
    before = [list(table.objects.order_by("pk").values()) for table in tables]
    paste(access, by=browser)
    assert [list(table.objects.order_by("pk").values()) for table in tables] == before
    assert access.split(".")[1] not in caplog.text


def test_the_inspection_is_not_stored_by_caches(paste, client_of, ann):
    assert paste(client_of(ann).access)["Cache-Control"] == "no-store"


def test_an_inspection_takes_two_statements_at_most(paste, client_of, ann, django_assert_max_num_queries):
    access = client_of(ann).access
    # The blocklist for this token, where there is no mirror, and its length.
    with django_assert_max_num_queries(2):
        paste(access)


@pytest.mark.parametrize("path", ["/compare/token/", "/compare/"])
def test_a_token_in_a_url_is_ignored(browser, client_of, ann, path):
    response = browser().get(path, {"token": client_of(ann).access}, follow=True)
    assert response.redirect_chain in ([], [("/compare/", 302)])
    assert "inspection" not in response.context


def test_a_form_without_csrf_token_is_refused(browser, client_of, ann):
    strict = browser(enforce_csrf_checks=True)
    assert strict.post("/compare/token/", {"token": client_of(ann).access}).status_code == 403


@pytest.mark.parametrize("size", [MAX_BYTES + 1, 200_000])
def test_more_than_eight_kilobytes_are_refused(paste, size):
    response = paste("e" * size)
    assert response.status_code == 413
    assert "8 kB" in response.content.decode()
    assert "inspection" not in response.context


def test_eight_kilobytes_are_accepted(paste):
    assert paste("e" * MAX_BYTES).status_code == 200


def test_a_body_of_300_kb_is_refused(paste):
    assert paste("e" * 300_000).status_code in (400, 413)


@pytest.mark.parametrize("token", ["", " ", "\n\t"])
def test_an_empty_form_is_400(paste, token):
    assert paste(token).status_code == 400


STRANGE = {
    "NUL": "\0",
    "NULs in form": "\0.\0.\0",
    "dots": "..",
    "emoji": "🛂.🛂.🛂",
    "markup": "<script>alert(1)</script>",
    "surrogate": "\ud800",
    "not JSON": "e30.bm90.e30",
    "no letters": "!!!.???.###",
    "none": jwt.encode({"sub": "1"}, None, "none") + "x",
    "four parts": "e30.e30.e30.e30",
}


@pytest.mark.parametrize("token", STRANGE.values(), ids=STRANGE)
def test_an_invalid_token_has_an_invalid_signature(paste, token):
    response = paste(token.encode(errors="surrogatepass"))
    assert response.status_code == 200
    assert response.context["inspection"].verdicts.signature.state == "bad"


STRANGE_CLAIMS = {
    "surrogates": {"\ud800": "\udfff"},
    "NUL": {"a\0b": "c\0d"},
    "markup": {"<img src=x onerror=alert(1)>": "<script>alert(1)</script>"},
    "right to left": {"\u202e": "\u202egnirts"},
    "many": {str(number): number for number in range(250)},
    "long": {"a" * 1500: "b" * 1000},
    "huge number": {"exp": 10**400, "iat": -1, "nbf": True},
    "infinite": {"exp": float("1e308") * 10},
    "no numbers": {"exp": "soon", "iat": None, "nbf": [1]},
    "nested": {"a": [[[[{"b": [1]}]]]]},
}


@pytest.mark.parametrize("claims", STRANGE_CLAIMS.values(), ids=STRANGE_CLAIMS)
def test_strange_claims_are_shown_escaped(paste, claims):
    part = jwt.utils.base64url_encode(json.dumps(claims).encode()).decode()
    page = paste(f"{part}.{part}.{'e' * 43}")
    assert page.status_code == 200
    assert "<script>alert" not in page.content.decode()
    assert "\0" not in page.content.decode()


@hypothesis_settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(header=st.binary(max_size=60), claims=st.binary(max_size=200), signature=st.binary(min_size=1, max_size=40))
def test_any_bytes_shaped_like_a_token_are_200(browser, header, claims, signature):
    token = ".".join(jwt.utils.base64url_encode(part).decode() for part in (header, claims, signature))
    assert browser().post("/compare/token/", {"token": token}).status_code == 200
