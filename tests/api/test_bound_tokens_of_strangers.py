"""Bound tokens with clients that nobody here wrote, against a real node."""

import pytest
import requests
from requests_oauth2client import DPoPKey, DPoPToken

ANN = {"username": "ann", "password": "violet anchor hums at dawn"}


@pytest.fixture(scope="module")
def site(fleet):
    code = f"from accounts.models import User; User.objects.create_user('ann', 'ann@example.org', '{ANN['password']}')"
    fleet.shell(code)
    return fleet.url


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
def test_requests_oauth2client_signs_in_calls_and_refreshes(site, algorithm):
    key = DPoPKey.generate(alg=algorithm)
    session = requests.Session()
    session.trust_env = False

    def ask(path, data):
        url = f"{site}{path}"
        answer = session.post(url, json=data, headers={"DPoP": str(key.proof("POST", url, nonce=key.as_nonce))})
        if answer.status_code == 400 and answer.json()["error"] == "use_dpop_nonce":
            key.handle_as_provided_dpop_nonce(answer)
            answer = session.post(url, json=data, headers={"DPoP": str(key.proof("POST", url, nonce=key.as_nonce))})
        assert answer.status_code == 200, answer.text
        return answer.json()

    tokens = ask("/api/token/", ANN)
    for _ in range(2):
        auth = DPoPToken(tokens["access"], _dpop_key=key)
        for _ in range(3):
            assert session.get(f"{site}/api/me/", auth=auth).json()["username"] == "ann"
        assert (
            session.get(f"{site}/api/me/", headers={"Authorization": f"Bearer {tokens['access']}"}).status_code == 401
        )
        tokens = ask("/api/token/refresh/", {"refresh": tokens["refresh"]})
