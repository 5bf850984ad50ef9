"""Places in a node or a mail worker at which it kills itself, for tests only."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

# A file with the name of a failpoint kills the next process that reaches it.
FAILPOINTS = Path(os.environ["FAILPOINTS"])


def dies_at(name: str, function: Callable[..., Any], *, after: bool = False) -> Callable[..., Any]:
    def maybe_dying(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs) if after else None
        try:
            (FAILPOINTS / name).unlink()
        except FileNotFoundError:
            return result if after else function(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)
        return result

    return maybe_dying


def lift_quotas() -> None:
    """Each notice is a mail of its own, so that the checker can count them."""
    from accounts import rate_limits

    for kind in (rate_limits.Kind.NOTICE, rate_limits.Kind.NOTIFYING):
        limit = rate_limits.LIMITS[kind]
        rate_limits.LIMITS[kind] = limit._replace(free_attempts=10**6, max_attempts=10**6)
