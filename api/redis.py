"""Redis Cluster for django-redis, which supports single servers and Sentinel only; and the errors of Redis."""

from typing import Any

from django_redis.pool import ConnectionFactory
from redis import Redis
from redis.cluster import ClusterNode, RedisCluster
from redis.connection import parse_url
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException, RedisError

# Connection errors, errors that Redis returns, and replies that cannot be parsed.
REDIS_ERRORS = (RedisError, OSError, ValueError)


class Cluster(RedisCluster):
    """
    redis-py's client, which raises RedisError for every failure and finds the cluster again after all known servers
    are gone. The latter needs redis-py's `nodes_manager`, which has no public way to add servers.
    """

    # As with a single server: retry after a closed connection, never after a timeout.
    ERRORS_ALLOW_RETRY = (RedisConnectionError,)  # type: ignore[assignment]

    def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        """Raises RedisError. RedisClusterException, for a cluster of which no server responds, is not one."""
        try:
            return super().execute_command(*args, **kwargs)
        except RedisClusterException as error:
            # The next call tries the servers of the URL too: those found since may be gone.
            self.nodes_manager.populate_startup_nodes(self.startup_nodes)
            raise RedisConnectionError(str(error)) from error


class ClusterFactory(ConnectionFactory):
    """
    Connects to a cluster: `url` is a list of URLs, separated by commas. The first has the options of the connection,
    the others are further servers to ask for the cluster. See django-redis, DJANGO_REDIS_CONNECTION_FACTORY.
    """

    # One per process, as django-redis does with its pools.
    _clusters: dict[str, Cluster] = {}

    def connect(self, url: str) -> Cluster:
        if url not in self._clusters:
            first, *others = url.split(",")
            nodes = [parse_url(other) for other in others]
            options = self.make_connection_params(first) | self.pool_cls_kwargs
            options["startup_nodes"] = [ClusterNode(node["host"], node.get("port", 6379)) for node in nodes]
            try:
                self._clusters[url] = Cluster(connection_pool_class=self.pool_cls, **options)
            except RedisClusterException as error:
                raise RedisConnectionError(str(error)) from error
        return self._clusters[url]

    def disconnect(self, connection: Cluster) -> None:
        connection.disconnect_connection_pools()


def server_of(cluster: RedisCluster, key: str) -> Redis:
    """The server that has the key. One round trip, which finds a key that has moved. Raises RedisError."""
    cluster.exists(key)
    return cluster.get_redis_connection(cluster.get_node_from_key(key))
