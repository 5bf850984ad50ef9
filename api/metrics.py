"""
What Prometheus is told. What happens on every request is not counted here: the caches count by themselves, and what
they know is passed on when the clock is read anyway (Keyring.look).
"""

from prometheus_client import Counter, Gauge, Histogram

# A check of a token takes some ten microseconds, and a database that is away some seconds.
SECONDS = (0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.01, 0.05, 0.25, 1, 5, 10)

events = Counter("wristband_security_events", "Security events, by type", ["type"])
refreshes = Counter("wristband_refreshes", "Refreshes, by what came of them", ["outcome"])
known_tokens = Counter("wristband_tokens_known", "Tokens whose signature was checked before")
new_tokens = Counter("wristband_tokens_new", "Tokens whose signature had to be checked")
checks = Histogram(
    "wristband_token_check_seconds", "Time to authenticate a call with a token: one in half a second", buckets=SECONDS
)
asked = Counter("wristband_checks_by_database", "Checks that the mirror could not answer")
mirror_ids = Gauge("wristband_mirror_ids", "Ids in the largest mirror of a process", multiprocess_mode="livemax")
mirror_age = Gauge(
    "wristband_mirror_age_seconds", "How old a mirror was after its last read", multiprocess_mode="livemax"
)
connections = Gauge("wristband_database_connections", "Open connections to PostgreSQL", multiprocess_mode="livesum")
clock_ahead = Gauge(
    "wristband_clock_ahead_seconds",
    "How far the clock of this node is ahead of PostgreSQL's, when it was last asked whether it is ready",
    multiprocess_mode="mostrecent",
)
silences = Counter("wristband_database_silences", "Waits for PostgreSQL that were given up")


def count_events(type: str, count: int, **kwargs: object) -> None:
    events.labels(type).inc(count)


class Samples:
    """Which call is measured: the first after each look at the keys, twice a second at most."""

    is_due = False


samples = Samples()
