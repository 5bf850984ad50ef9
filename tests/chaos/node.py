"""project.wsgi with a clock offset, with failpoints, and without quotas of notices, for tests only."""

import os
import time
from datetime import UTC, datetime, timedelta

import time_machine

from project.wsgi import application as project
from tests.chaos.failpoints import dies_at, lift_quotas

CLOCK_OFFSET = timedelta(seconds=float(os.environ["CLOCK_OFFSET"]))


def arm() -> None:
    from accounts.models import SignIn
    from api.blocklist import pubsub

    pubsub.publish = dies_at("between commit and broadcast", pubsub.publish)
    SignIn.swap_refresh_id = dies_at("in a refresh, before the commit", SignIn.swap_refresh_id)
    SignIn.swap_refresh_id = dies_at("in a refresh, after the commit", SignIn.swap_refresh_id, after=True)
    SignIn.end_as_stolen = dies_at("after a theft was found", SignIn.end_as_stolen, after=True)


arm()
lift_quotas()
time_machine.travel(datetime.now(UTC) + CLOCK_OFFSET, tick=True).start()
# The clock starts at its first call: without this call it would be late.
time.time()
application = project
