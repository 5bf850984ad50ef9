"""Refusal of passwords that are in the list of common passwords or in a file of breached passwords."""

import os
import re

import pytest
from django.core.exceptions import ValidationError

from accounts import hash_list, known_passwords
from accounts.known_passwords import KnownPasswordValidator
from accounts.models import User

KNOWN = "in a list of common or stolen passwords"
# From breaches. Django's list has none of them.
COMMON = [
    "momsanaladventure",
    "zqjphsyf6ctifgu",
    "1qazxsw23edcvfr4",
    "123456789qwerty",
    "perasperaadastra",
    "30SecondsToMars",
    "qwertasdfgzxcvb",
]
BREACHED = "violet kettle walks upstream"
OTHERS = [f"a breached passphrase, number {number}" for number in range(5_000)]


def line(password, ending="\n"):
    return f"{hash_list.digest(password).hex().upper()}:{len(password)}{ending}"


def write(path, passwords, ending="\n"):
    path.write_text("".join(sorted(line(each, ending) for each in passwords)), newline="")
    return str(path)


@pytest.fixture
def breached(settings, tmp_path):
    """BREACHED_PASSWORDS is set to a file with BREACHED. Returns its path."""
    settings.BREACHED_PASSWORDS = write(tmp_path / "breached.txt", [BREACHED, *OTHERS])
    return tmp_path / "breached.txt"


def sign_up(browser, password):
    form = {"username": "zoe", "email": "zoe@example.org", "password1": password}
    return browser().post("/accounts/signup/", form)


# The list of common passwords


@pytest.mark.parametrize("password", COMMON)
def test_a_common_long_password_is_refused(password):
    with pytest.raises(ValidationError, match=KNOWN):
        KnownPasswordValidator().validate(password)


def test_three_thousand_common_passwords_fit_each_minimum_length():
    text = known_passwords.COMMON_PASSWORDS.with_suffix(".txt").read_text()
    found = known_passwords._common_passwords()
    assert len(found) == int(re.search(r": ([\d,]+) common passwords", text)[1].replace(",", "")) == 21_860
    assert int(re.search(r"15 characters or more \(([\d,]+)\)", text)[1].replace(",", "")) > 3_000
    assert "MIT License" in text


@pytest.mark.django_db
def test_a_sign_up_with_a_common_password_is_refused(browser, anonymous):
    assert KNOWN in sign_up(browser, COMMON[0]).content.decode()
    body = {"username": "zoe", "email": "zoe@example.org", "password": COMMON[0]}
    answer = anonymous.post("/api/register/", body)
    assert (answer.status_code, KNOWN in answer.content.decode()) == (400, True)
    assert not User.objects.exists()


# The file of breached passwords


@pytest.mark.django_db
def test_a_breached_password_is_refused_by_page_and_api(breached, browser, client_of, ann, password):
    assert KNOWN in sign_up(browser, BREACHED).content.decode()
    change = {"old_password": password, "new_password": BREACHED}
    answer = client_of(ann).post("/api/password/change/", change)
    assert (answer.status_code, KNOWN in answer.content.decode()) == (400, True)


@pytest.mark.django_db
def test_without_the_file_the_password_is_accepted(browser):
    assert sign_up(browser, BREACHED).status_code == 302


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("count", [1, 2, 3, 5_000])
def test_each_password_of_the_file_is_found_and_no_other(tmp_path, count, ending):
    path = write(tmp_path / "list.txt", OTHERS[:count], ending)
    assert all(hash_list.contains(path, each) for each in OTHERS[: min(count, 500)])
    assert not any(hash_list.contains(path, f"{each}!") for each in OTHERS[:500])


def test_a_check_reads_a_small_part_of_the_file(breached, monkeypatch):
    reads = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda file, size, start: reads.append(size) or pread(file, size, start))
    assert hash_list.contains(str(breached), BREACHED)
    assert sum(reads) < 3_000 < breached.stat().st_size / 50


def test_a_decomposed_text_of_a_breached_password_is_refused(settings, tmp_path):
    settings.BREACHED_PASSWORDS = write(
        tmp_path / "list.txt", ["caf\N{LATIN SMALL LETTER E WITH ACUTE} am see, morgens"]
    )
    with pytest.raises(ValidationError, match=KNOWN):
        KnownPasswordValidator().validate("cafe\N{COMBINING ACUTE ACCENT} am see, morgens")


def test_a_new_file_applies_once_it_is_renamed(breached, tmp_path):
    write(tmp_path / "new.txt", OTHERS)
    (tmp_path / "new.txt").rename(breached)
    KnownPasswordValidator().validate(BREACHED)


def test_if_the_file_is_gone_new_passwords_are_refused(breached, caplog):
    breached.unlink()
    with pytest.raises(ValidationError, match="cannot be checked"):
        KnownPasswordValidator().validate("another passphrase for the day")
    assert caplog.text.count("BREACHED_PASSWORDS cannot be read") == 1


@pytest.mark.parametrize("text", ["", "no hash\n", "0" * 32 + "\n", line("b")[:40] + "x\n"])
def test_a_file_without_hashes_is_not_valid(tmp_path, text):
    (tmp_path / "list.txt").write_text(text)
    assert not hash_list.is_valid(str(tmp_path / "list.txt"))


def test_a_file_that_is_not_sorted_is_not_valid(tmp_path):
    path = write(tmp_path / "list.txt", OTHERS)
    assert hash_list.is_valid(path)
    lines = (tmp_path / "list.txt").read_text().splitlines(keepends=True)
    (tmp_path / "list.txt").write_text("".join(reversed(lines)))
    assert not hash_list.is_valid(path)
