"""Password hashes of the site before: verified at the first sign-in, and replaced."""

import pytest
from django.contrib.auth import hashers
from django.test import override_settings

from accounts.models import User
from accounts.moving_in import old_hashes
from project import settings
from tests.conftest import ApiClient
from tests.old_site import HASH, PASSWORD, USER, import_users, write_dump

pytestmark = [pytest.mark.django_db, pytest.mark.long, pytest.mark.once]


@pytest.fixture(autouse=True)
def hashers_of_production():
    with override_settings(PASSWORD_HASHERS=settings.PASSWORD_HASHERS):
        yield


def scrypt(password):
    hasher = hashers.ScryptPasswordHasher()
    return hasher.encode(password, "saltsalt", n=2**4)


def bcrypt(password):
    return old_hashes.BCryptHasher().encode(password, b"$2b$04$abcdefghijklmnopqrstuu")


HASHES = {
    "pbkdf2": lambda password: hashers.PBKDF2PasswordHasher().encode(password, "salt", iterations=2),
    "pbkdf2_sha1": lambda password: hashers.PBKDF2SHA1PasswordHasher().encode(password, "salt", iterations=2),
    "scrypt": scrypt,
    "bcrypt": bcrypt,
    "bcrypt_sha256": lambda password: hashers.BCryptSHA256PasswordHasher().encode(
        password, b"$2b$04$abcdefghijklmnopqrstuu"
    ),
    "bcrypt of another framework": lambda password: bcrypt(password).removeprefix("bcrypt$"),
    "argon2 of another framework": lambda password: (
        hashers.Argon2PasswordHasher().encode(password, "saltsalt").removeprefix("argon2")
    ),
}


@pytest.mark.parametrize("make", HASHES.values(), ids=HASHES)
def test_an_old_hash_signs_in_and_is_replaced(make, tmp_path):
    import_users(write_dump(tmp_path, [USER | {"password": make(PASSWORD)}]))
    before = User.objects.get().password
    assert ApiClient().sign_in("carol", PASSWORD + "x").status_code == 401
    client = ApiClient()
    assert client.sign_in("carol", PASSWORD).status_code == 200
    after = User.objects.get().password
    assert after.startswith("argon2$argon2id$v=19$m=102400")
    assert before.startswith("argon2") or after != before
    # The upgrade ends nothing.
    assert client.get("/api/me/").status_code == 200
    assert ApiClient().sign_in("carol", PASSWORD).status_code == 200


def test_a_long_password_of_bcrypt_still_signs_in(tmp_path):
    long = "correct horse " * 8
    import_users(write_dump(tmp_path, [USER | {"password": bcrypt(long)}]))
    assert ApiClient().sign_in("carol", "wrong " * 20).status_code == 401
    assert ApiClient().sign_in("carol", long).status_code == 200


UNKNOWN = [
    "",
    "hunter2hunter2",
    "md5$salt$5f4dcc3b5aa765d61d8327deb882cf99",
    "5f4dcc3b5aa765d61d8327deb882cf99",
    "sha1$salt$abc",
    "pbkdf2_sha256$0$salt$AAAA",
    "pbkdf2_sha256$99999999$salt$AAAA",
    "pbkdf2_sha256$x$salt$AAAA",
    "pbkdf2_sha256$1000",
    "scrypt$16384$salt$8$500$AAAA",
    "scrypt$1048576$salt$8$1$AAAA",
    "scrypt$15$salt$8$1$AAAA",
    "bcrypt$$2b$31$abcdefghijklmnopqrstuusjHI0zQHpOe3SFDK1IriYv6N79Gzr32",
    "bcrypt$$2b$12$short",
    "bcrypt_sha256$$2x$12$abcdefghijklmnopqrstuusjHI0zQHpOe3SFDK1IriYv6N79Gzr32",
    "argon2$argon2id$v=19$m=99999999,t=2,p=8$c2FsdHNhbHQ$AAAA",
    "argon2$argon2id$v=19$m=102400,t=2$c2FsdHNhbHQ$AAAA",
    "argon2$",
    "a" * 200,
    "pbkdf2_sha256$10$sält$AAAA",
]


@pytest.mark.parametrize("encoded", UNKNOWN)
def test_an_unknown_hash_is_named(encoded, tmp_path):
    dump = write_dump(tmp_path, [USER | {"password": encoded}])
    assert "unknown-hash: 1" in import_users(dump, "--dry-run")


@pytest.mark.parametrize("encoded", UNKNOWN[:3])
def test_no_password_is_right_for_an_unknown_hash(encoded, tmp_path):
    import_users(write_dump(tmp_path, [USER | {"password": encoded}]), "--resolve")
    assert ApiClient().sign_in("carol", encoded or PASSWORD).status_code == 401
    assert User.objects.get().may_reset_password


class CountedHasher(hashers.MD5PasswordHasher):
    """The hasher of new passwords, with the number of hashes that it has made."""

    algorithm = "counted"
    calls = 0

    def encode(self, password, salt):
        type(self).calls += 1
        return super().encode(password, salt)


def hashes_of_wrong_guess(username):
    CountedHasher.calls = 0
    assert ApiClient().sign_in(username, "a wrong guess at dawn").status_code == 401
    return CountedHasher.calls


@pytest.mark.parametrize("password", [HASH, "crypt$$abcdef", "!" + 40 * "x"])
def test_a_wrong_guess_takes_as_many_hashes_as_without_account(password, tmp_path):
    path = f"{__name__}.CountedHasher"
    with override_settings(PASSWORD_HASHERS=[path, "django.contrib.auth.hashers.MD5PasswordHasher"]):
        import_users(write_dump(tmp_path, [USER | {"password": password}]), "--resolve")
        assert hashes_of_wrong_guess("carol") == hashes_of_wrong_guess("nobody") == 1


def test_an_unusable_password_stays_unusable(tmp_path):
    import_users(write_dump(tmp_path, [USER | {"password": hashers.make_password(None)}]))
    assert not User.objects.get().has_usable_password()
