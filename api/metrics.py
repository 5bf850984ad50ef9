"""The Prometheus metrics of a process, and the sampler that limits how often a metric is measured."""

import math
import time

from prometheus_client import Counter, Gauge, Histogram

# In seconds: a token check takes some ten microseconds, or seconds while the database is unreachable.
LATENCY_BUCKETS = (0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.01, 0.05, 0.25, 1, 5, 10)
SAMPLE_SECONDS = 0.5
MAX_REFUSAL_CODES = 100

events = Counter("wristband_security_events", "Security events, by type", ["type"])
refreshes = Counter("wristband_refreshes", "Refreshes, by outcome", ["outcome"])
refused_tokens = Counter("wristband_tokens_refused", "Access and refresh tokens that were refused")
token_cache_hits = Counter("wristband_tokens_known", "Tokens whose signature was in the cache of the process")
token_cache_misses = Counter("wristband_tokens_new", "Tokens whose signature was verified")
token_check_seconds = Histogram(
    "wristband_token_check_seconds",
    "Time to authenticate a call with a token, sampled twice a second",
    buckets=LATENCY_BUCKETS,
)
database_checks = Counter(
    "wristband_checks_by_database", "Token checks that queried the database instead of the mirror"
)
mirror_ids = Gauge("wristband_mirror_ids", "Ids in the largest mirror of a process", multiprocess_mode="livemax")
mirror_age = Gauge(
    "wristband_mirror_age_seconds", "Age of the oldest mirror after its last read", multiprocess_mode="livemax"
)
connections = Gauge("wristband_database_connections", "Open connections to PostgreSQL", multiprocess_mode="livesum")
clock_ahead = Gauge(
    "wristband_clock_ahead_seconds",
    "How far the clock of this node was ahead of PostgreSQL's at the last measurement",
    multiprocess_mode="mostrecent",
)
mail_age = Gauge(
    "wristband_mail_waiting_seconds",
    "Longest time for which a mail of the queue has been due, at the last measurement of a node",
    multiprocess_mode="mostrecent",
)
mails_delayed = Gauge(
    "wristband_mails_delayed",
    "Mails that the mail server refuses for now, at the last measurement of a node",
    multiprocess_mode="mostrecent",
)
mails_failed = Gauge(
    "wristband_mails_failed",
    "Mails that were refused or could not be sent for a day, at the last measurement of a node",
    multiprocess_mode="mostrecent",
)
device_proofs_skipped = Counter(
    "wristband_device_proofs_skipped", "Requests of browsers that sent no proof of their key, by reason", ["reason"]
)
csp_reports = Counter("wristband_csp_reports", "Reported violations of the Content Security Policy", ["directive"])
refusals = Counter("wristband_requests_refused", "Requests that were refused with a 4xx status, by code", ["code"])
events_unsent = Gauge(
    "wristband_events_unsent_seconds",
    "Age of the oldest security event that was not sent to EVENTS_URL, at the last scrape",
    multiprocess_mode="mostrecent",
)
database_timeouts = Counter("wristband_database_silences", "Waits for PostgreSQL that timed out")
_refusal_codes: set[str] = set()


def count_events(type: str, count: int, **kwargs: object) -> None:
    events.labels(type).inc(count)


def count_refusal(code: str, **kwargs: object) -> None:
    """Other apps can refuse requests with any code: only the first ones have a label of their own."""
    if code not in _refusal_codes:
        if len(_refusal_codes) >= MAX_REFUSAL_CODES:
            code = "other"
        _refusal_codes.add(code)
    refusals.labels(code).inc()


def refused_tokens_of_process() -> int:
    """The number of tokens that this process has refused."""
    [metric] = refused_tokens.collect()
    return int(next(sample.value for sample in metric.samples if sample.name.endswith("_total")))


class Sampler:
    """
    Is due once per SAMPLE_SECONDS, by its own clock. Other requests do not pay for the measurement. The call after the
    time is due, not the one at the time: that one may pay for the poll of the keys, which has the same period.
    """

    def __init__(self) -> None:
        # On the monotonic clock, in seconds.
        self._next = -math.inf
        self._is_armed = False

    def is_due(self) -> bool:
        """Takes no lock: a second sample at the same moment does no harm."""
        if self._is_armed:
            self._is_armed = False
            return True
        now = time.monotonic()
        if now >= self._next:
            self._next, self._is_armed = now + SAMPLE_SECONDS, True
        return False


# Selects the token checks that are timed.
sampler = Sampler()
