"""A Redis Cluster behind django-redis, which knows single servers and Sentinel."""

from typing import Any

from django_redis.pool import ConnectionFactory
from redis import Redis
from redis.cluster import ClusterNode, RedisCluster
from redis.connection import parse_url
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException, RedisError

# An error of the connection, or an answer that makes no sense.
REDIS_ERRORS = (RedisError, OSError, ValueError)


class Cluster(RedisCluster):
    # As with a single server: once more where a connection was closed meanwhile, and never after a time-out.
    ERRORS_ALLOW_RETRY = (RedisConnectionError,)  # type: ignore[assignment]

    def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        """Raises RedisError, whatever is the matter; redis-py's own is none where no server of a cluster answers."""
        try:
            return super().execute_command(*args, **kwargs)
        except RedisClusterException as error:
            # Those that it knew are gone: next time it asks those of the URL, too.
            self.nodes_manager.populate_startup_nodes(self.startup_nodes)
            raise RedisConnectionError(str(error)) from error


class ClusterFactory(ConnectionFactory):
    """Of its URLs, separated by commas, the first tells how to connect, and all where to ask for the servers."""

    # As django-redis keeps its pools: for the process.
    _clusters: dict[str, Cluster] = {}

    def connect(self, url: str) -> Cluster:
        if url not in self._clusters:
            first, *others = url.split(",")
            places = [parse_url(other) for other in others]
            options = self.make_connection_params(first) | self.pool_cls_kwargs
            options["startup_nodes"] = [ClusterNode(place["host"], place.get("port", 6379)) for place in places]
            try:
                self._clusters[url] = Cluster(connection_pool_class=self.pool_cls, **options)
            except RedisClusterException as error:
                raise RedisConnectionError(str(error)) from error
        return self._clusters[url]

    def disconnect(self, connection: Cluster) -> None:
        connection.disconnect_connection_pools()


def server_of(cluster: RedisCluster, key: str) -> Redis:
    """The one that has the key, after one round trip, in which it would say that another has it. Raises RedisError."""
    cluster.exists(key)
    return cluster.get_redis_connection(cluster.get_node_from_key(key))
