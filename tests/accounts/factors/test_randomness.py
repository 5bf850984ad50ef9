"""Secrets, codes and challenges of second factors are random, and long enough."""

import base64
import re
import secrets

import pytest

from accounts.factors import recovery_codes, second_step, totp
from accounts.models import AuthenticatorApp

pytestmark = pytest.mark.django_db


@pytest.fixture
def drawn(monkeypatch):
    """The random bytes that the generator of the operating system gave, as hexadecimal text."""
    given, original = [], secrets.token_bytes

    def token_bytes(nbytes=None):
        given.append(original(nbytes))
        return given[-1]

    monkeypatch.setattr(secrets, "token_bytes", token_bytes)
    return given


def bits_of(code):
    """Returns the random bytes of a recovery code."""
    return base64.b32decode(code.replace("-", "")[1:])


def test_codes_secrets_and_challenges_come_from_the_system(ann, drawn):
    codes, _hashes = recovery_codes.new_codes()
    secret = totp.new_secret(AuthenticatorApp(user=ann))
    _step, challenge = second_step.begin(second_step.Purpose.SIGN_IN, ann)
    assert {*map(bits_of, codes), secret, challenge} <= set(drawn)


def test_a_recovery_code_has_eighty_bits():
    codes, _hashes = recovery_codes.new_codes()
    assert {len(bits_of(code)) * 8 for code in codes} == {80}
    assert all(re.fullmatch(r"\d(-[A-Z2-7]{4}){4}", code) for code in codes)
    assert len({code[1:] for code in codes}) == 10


def test_the_secret_of_an_app_has_160_bits(ann):
    """RFC 4226, section 4, R6."""
    assert len(totp.new_secret(AuthenticatorApp(user=ann))) * 8 == 160


def test_a_challenge_has_256_bits_and_is_new_each_time(ann):
    challenges = {second_step.begin(second_step.Purpose.SIGN_IN, ann)[1] for _number in range(100)}
    assert len(challenges) == 100
    assert {len(each) * 8 for each in challenges} == {256}
