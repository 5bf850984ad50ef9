"""Key rotation on two nodes, each with its own copy of the folder, under load."""

import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import databases, servers
from tests.conftest import bearer, header_of

# For a slow machine; a change usually takes half a second.
TIMEOUT_SECONDS = 20


@dataclass
class Cluster:
    """Two nodes; commands run on the first one."""

    env: dict[str, str]
    folders: list[Path]
    urls: list[str] = field(default_factory=list)

    def keys(self, *words: str) -> str:
        """Runs a step on the first node and returns the kid."""
        return servers.manage(self.env | {"JWT_KEYS": str(self.folders[0])}, "keys", *words).split()[0]

    def copy(self) -> None:
        """Copies like rsync: files appear by renaming, in order of their names; removed files go last."""
        source, target = self.folders
        for file in sorted(source.iterdir()):
            draft = target / f".{file.name}"
            shutil.copy2(file, draft)
            draft.rename(target / file.name)
        for file in target.iterdir():
            if not (source / file.name).exists():
                file.unlink()

    def published(self, url: str) -> set[str]:
        return {key["kid"] for key in ask("GET", f"{url}/.well-known/jwks.json").json()["keys"]}

    def me(self, url: str, access: str) -> int:
        return ask("GET", f"{url}/api/me/", headers=bearer(access)).status_code

    def sign_in(self, url: str) -> dict[str, str]:
        answer = ask("POST", f"{url}/api/token/", json={"username": "gate", "password": self.env["SERVICE_PASSWORD"]})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def everywhere(self, holds: Callable[[str], bool]) -> None:
        """Waits until the condition is true in every worker of every node, checked by 20 connections each."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not all(holds(url) for url in self.urls for _ in range(20)):
            assert time.monotonic() < deadline


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    root = tmp_path_factory.mktemp("cluster")
    database = databases.migrated(root, "cluster")
    # All clients have one address.
    cluster = Cluster({"DATABASE_URL": database, "DEBUG": "true", "TOKEN_RATE": ""}, [root / "one", root / "two"])
    cluster.env["SERVICE_PASSWORD"] = servers.manage(cluster.env, "make_service", "gate").strip()
    cluster.keys("promote", cluster.keys("new"), "--force")
    cluster.folders[1].mkdir()
    cluster.copy()
    with ExitStack() as stack:
        for folder in cluster.folders:
            node = stack.enter_context(servers.node(cluster.env | {"JWT_KEYS": str(folder)}, workers=2))
            cluster.urls.append(node.url)
        yield cluster


class Load:
    """Clients that call both nodes in turn, and refresh sometimes."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.answers: Counter[int] = Counter()
        self.kids: dict[int, str] = {}
        self._done = threading.Event()

    def client(self, number: int, tokens: dict[str, str]) -> None:
        with httpx.Client(verify=servers.AUTHORITIES, timeout=30) as http:
            asked = number
            while not self._done.is_set():
                asked += 1
                url = self.cluster.urls[asked % 2]
                answer = http.get(f"{url}/api/me/", headers=bearer(tokens["access"]))
                self.answers[answer.status_code] += 1
                if asked % 7 == 0:
                    answer = http.post(f"{url}/api/token/refresh/", json={"refresh": tokens["refresh"]})
                    self.answers[answer.status_code] += 1
                    tokens = answer.json() if answer.status_code == 200 else tokens
                self.kids[number] = header_of(tokens["refresh"])["kid"]

    @contextmanager
    def running(self) -> Iterator[None]:
        # One after the other: a sign-in while all hashing slots are in use is refused.
        tokens = [self.cluster.sign_in(self.cluster.urls[number % 2]) for number in range(4)]
        threads = [threading.Thread(target=self.client, args=each) for each in enumerate(tokens)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._done.set()
            for thread in threads:
                thread.join()

    def wait_until_all_hold(self, kid: str) -> None:
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while list(self.kids.values()) != [kid] * 4:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def wait_for_more(self, requests: int) -> None:
        target, deadline = self.answers.total() + requests, time.monotonic() + TIMEOUT_SECONDS
        while self.answers.total() < target:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def ask(method: str, url: str, **what: Any) -> httpx.Response:
    """Sends a request on a new connection, so that any worker may receive it."""
    return httpx.request(method, url, verify=servers.AUTHORITIES, timeout=30, **what)


def kid_of(token: str) -> Any:
    return header_of(token)["kid"]


@pytest.mark.once
@pytest.mark.long
def test_a_rotation_under_load_ends_no_sign_in(cluster: Cluster) -> None:
    load = Load(cluster)
    before = kid_of(cluster.sign_in(cluster.urls[0])["access"])
    with load.running():
        load.wait_for_more(50)
        kid = cluster.keys("new")
        cluster.copy()
        cluster.everywhere(lambda url: kid in cluster.published(url))
        # Forced, since the command requires ten minutes; every worker knows the key by now.
        cluster.keys("promote", kid, "--force")
        load.wait_for_more(50)
        cluster.copy()
        load.wait_until_all_hold(kid)
        cluster.keys("retire", before, "--force")
        load.wait_for_more(50)
        cluster.copy()
        cluster.everywhere(lambda url: before not in cluster.published(url))
        load.wait_for_more(50)
    assert set(load.answers) == {200}


@pytest.mark.once
@pytest.mark.long
def test_every_worker_refuses_a_dropped_key_at_the_next_request(cluster: Cluster) -> None:
    stolen = cluster.sign_in(cluster.urls[0])
    for url in cluster.urls:
        assert {cluster.me(url, stolen["access"]) for _ in range(20)} == {200}
    kid = cluster.keys("new")
    cluster.keys("promote", kid, "--force")
    cluster.keys("retire", kid_of(stolen["access"]), "--force")
    assert {cluster.me(cluster.urls[0], stolen["access"]) for _ in range(40)} == {401}
    refused = ask("POST", f"{cluster.urls[0]}/api/token/refresh/", json={"refresh": stolen["refresh"]})
    assert refused.status_code == 401
    cluster.copy()
    cluster.everywhere(lambda url: cluster.me(url, stolen["access"]) == 401)


@pytest.mark.once
@pytest.mark.long
def test_a_broken_key_on_one_node_stops_no_client(cluster: Cluster) -> None:
    tokens = cluster.sign_in(cluster.urls[0])
    (cluster.folders[1] / "broken.pem").write_text("-----BEGIN PRIVATE KEY-----\n")
    kid = cluster.keys("new")
    cluster.everywhere(lambda url: url == cluster.urls[1] or kid in cluster.published(url))
    assert kid not in cluster.published(cluster.urls[1])
    assert {cluster.me(url, tokens["access"]) for url in cluster.urls for _ in range(20)} == {200}
    cluster.copy()
    cluster.everywhere(lambda url: kid in cluster.published(url))
