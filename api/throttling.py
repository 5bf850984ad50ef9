"""Rate limits per IP address for expensive requests. accounts.rate_limits has those for password guesses."""

import secrets
import time
from typing import Any

from django.core.cache import cache
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.locmem import LocMemCache
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle

from accounts import addresses, rate_limits
from accounts.http import request_context

# How long Redis is not used after an error, in seconds.
RETRY_SECONDS = 1.0
# The largest accepted difference between the clocks of two nodes, in seconds.
MAX_CLOCK_SKEW_SECONDS = 60.0


class AddressThrottle(SimpleRateThrottle):
    """
    Counts in the cache that all processes share, or in this process while the cache is unavailable. Extends DRF's
    SimpleRateThrottle by its documented methods and by `history`, `now` and `duration`, which it sets.
    """

    local_cache = LocMemCache("throttles", {})
    _retry_at = 0.0
    duration: int

    def allow_request(self, request: Request, view: Any) -> bool:
        if time.monotonic() < AddressThrottle._retry_at:
            return self._is_allowed(request, view, self.local_cache)
        try:
            return self._is_allowed(request, view, cache)
        except Exception:
            # The cache is unavailable, or contains a value that this project did not write.
            AddressThrottle._retry_at = time.monotonic() + RETRY_SECONDS
            return self._is_allowed(request, view, self.local_cache)

    def _is_allowed(self, request: Request, view: Any, counts: BaseCache) -> bool:
        self.cache = counts
        return super().allow_request(request, view)

    def throttle_failure(self) -> bool:
        """Raises ValueError for a history that this project did not write, so that it blocks no client."""
        oldest, newest = self.now - self.duration - MAX_CLOCK_SKEW_SECONDS, self.now + MAX_CLOCK_SKEW_SECONDS
        if not all(type(at) in (int, float) and oldest < at < newest for at in self.history):
            raise ValueError("not a history of requests")
        return super().throttle_failure()

    def get_cache_key(self, request: Request, view: Any) -> str:
        # Not DRF's get_ident(), which trusts the X-Forwarded-For of every client.
        address = request_context.ip_address()
        # Clients without an address share many counters at random (accounts.rate_limits), so that none gets long.
        shared = f"no-address-{secrets.randbelow(rate_limits.CLIENTS_IN_CROWD)}"
        ident = shared if address is None else addresses.network(address)
        return self.cache_format % {"scope": self.scope, "ident": ident}


class TokenThrottle(AddressThrottle):
    scope = "tokens"


class RefusedKeyThrottle(AddressThrottle):
    """Counts API keys that are not valid, at the rate of `tokens`."""

    scope = "keys"

    def get_rate(self) -> str | None:
        rate: str | None = self.THROTTLE_RATES[TokenThrottle.scope]
        return rate


class AccountThrottle(AddressThrottle):
    scope = "accounts"
