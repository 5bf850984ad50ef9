"""project.wsgi with a clock offset and with failpoints, for tests only."""

import os
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import time_machine

from project.wsgi import application as project

CLOCK_OFFSET = timedelta(seconds=float(os.environ["CLOCK_OFFSET"]))
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


def arm() -> None:
    from accounts.models import SignIn
    from api.blocklist import pubsub

    pubsub.publish = dies_at("between commit and broadcast", pubsub.publish)
    SignIn.swap_refresh_id = dies_at("in a refresh, before the commit", SignIn.swap_refresh_id)
    SignIn.swap_refresh_id = dies_at("in a refresh, after the commit", SignIn.swap_refresh_id, after=True)


arm()
time_machine.travel(datetime.now(UTC) + CLOCK_OFFSET, tick=True).start()
# The clock starts at its first call: without this call it would be late.
time.time()
application = project
