"""Code that uses SQL or private APIs of libraries, compared with the ORM and with the public APIs."""

import time
from datetime import timedelta
from uuid import uuid4

import jwt
import pytest
import redis
from django.conf import settings as project_settings
from django.utils import timezone
from rest_framework_simplejwt import authentication, tokens

from accounts.models import SignIn
from api.authentication import TokenAuthentication
from api.blocklist import pubsub
from api.blocklist.models import Entry
from api.dpop import replay
from api.keys import keyring
from api.models import UsedProof
from api.tokens import AccessToken, RefreshToken
from tests.api.blocklist.test_mirror import use

pytestmark = pytest.mark.django_db(transaction=True)


def read_all(receive, count):
    """Calls `receive`, which returns a list, until it has returned so many messages."""
    received, deadline = [], time.monotonic() + 5
    while len(received) < count:
        assert time.monotonic() < deadline, f"only {len(received)} messages arrived"
        received += receive()
    return received


def test_a_subscription_receives_what_redis_pys_own_receives(one_valkey, settings):
    use(one_valkey.url, settings)
    with redis.Redis.from_url(one_valkey.url) as client, client.pubsub(ignore_subscribe_messages=True) as theirs:
        theirs.subscribe(pubsub.CHANNEL)
        assert theirs.get_message(timeout=5) is None
        ours = pubsub.Subscription()
        assert not ours.has_messages()

        until = timezone.now() + timedelta(minutes=5)
        pubsub.publish([uuid4() for _ in range(pubsub.MAX_IDS_PER_MESSAGE + 1)], until)
        pubsub.publish_reload()
        ours.ping()
        pubsub.publish([uuid4()], until)

        expected = read_all(lambda: [each["data"] for each in [theirs.get_message(timeout=1)] if each], 4)
        assert read_all(lambda: list(ours.read()), 4) == [pubsub.parse(message) for message in expected]
        assert not ours.has_messages()
        # Raises if the ping was not answered.
        ours.ping()
        ours.close()


def test_the_redis_store_and_the_orm_refuse_the_same_proofs(one_valkey, settings):
    use(one_valkey.url, settings)
    proofs = [uuid4() for _ in range(3)]
    shown = [*proofs, *reversed(proofs), uuid4()]
    until = timezone.now() + replay.retention()
    expected = [UsedProof.objects.add(proof, until) for proof in shown]
    store = replay.RedisProofStore()
    assert [store.add(proof)[0] for proof in shown] == expected == [True, True, True, False, False, False, True]


def test_the_compiled_look_up_of_a_sign_in_and_the_orm_agree(client_of, ann, bob):
    def compare(token):
        found, expected = token.get_sign_in(), token.family.select_related("user").first()
        assert found == expected
        if found:
            names = [field.attname for field in SignIn._meta.concrete_fields]
            assert [getattr(found, name) for name in names] == [getattr(expected, name) for name in names]
            assert (found.user, found.user.username) == (expected.user, expected.user.username)
        return found is not None

    token = RefreshToken(client_of(ann).refresh)
    of_another_user = RefreshToken(str(token))
    of_another_user.payload["sub"] = str(bob.pk)
    assert (compare(token), compare(of_another_user)) == (True, False)
    Entry.objects.block_all(timezone.now() + timedelta(minutes=1), bob.pk)
    assert compare(token)
    Entry.objects.block_all(timezone.now() + timedelta(minutes=1), ann.pk)
    assert not compare(token)


@pytest.mark.parametrize("kind", ["access", "refresh"])
def test_the_backend_and_pyjwt_decode_the_same_claims(client_of, ann, kind):
    token = getattr(client_of(ann), kind)
    key = keyring.by_kid[jwt.get_unverified_header(token)["kid"]]
    audience, issuer = project_settings.JWT_AUDIENCE, project_settings.JWT_ISSUER
    expected = jwt.decode(token, key.verifying, algorithms=[key.algorithm], audience=audience, issuer=issuer)
    assert {"access": AccessToken, "refresh": RefreshToken}[kind](token).payload == expected


def test_an_access_token_has_the_claims_of_simplejwts_own(client_of, ann):
    client_of(ann)
    sign_in = SignIn.objects.select_related("user").get(user=ann)
    built, own = AccessToken.for_sign_in(sign_in, timezone.now()).payload, tokens.AccessToken.for_user(ann).payload
    assert own.keys() <= built.keys()
    assert {name: type(built[name]) for name in own} == {name: type(value) for name, value in own.items()}
    assert (built["token_type"], built["sub"]) == (own["token_type"], own["sub"])


def test_the_user_of_a_token_is_the_one_simplejwt_reads(client_of, ann):
    token = AccessToken(client_of(ann).access)
    built, read = TokenAuthentication().get_user(token), authentication.JWTAuthentication().get_user(token)
    names = [field.attname for field in ann._meta.concrete_fields]
    assert type(built) is type(read)
    assert [getattr(built, name) for name in names] == [getattr(read, name) for name in names]
