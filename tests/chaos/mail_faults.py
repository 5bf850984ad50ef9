"""Faults of the mail server."""

import random

from tests.chaos.fleet import Fleet
from tests.chaos.staging import Staged, rest


def away(fleet: Fleet, rng: random.Random) -> None:
    fleet.mailbox.stop()
    rest(rng, fleet.longest_outage / 2, fleet.longest_outage)
    fleet.mailbox.start()


def refusing(fleet: Fleet, rng: random.Random) -> None:
    fleet.mailbox.refuses = True
    rest(rng, 2, 20)
    fleet.mailbox.refuses = False


def without_replies(fleet: Fleet, rng: random.Random) -> None:
    """It takes mails, and the sender does not learn it."""
    fleet.mailbox.drops_replies = True
    rest(rng, 2, 10)
    fleet.mailbox.drops_replies = False


def silent(fleet: Fleet, rng: random.Random) -> None:
    fleet.mailbox.proxy.fall_silent()
    rest(rng, 2, 20)
    fleet.mailbox.proxy.heal()


def slow(fleet: Fleet, rng: random.Random) -> None:
    fleet.mailbox.proxy.slow_down(1.0)
    rest(rng, 2, 20)
    fleet.mailbox.proxy.heal()


KINDS: dict[str, Staged] = {
    "mail server away for minutes": away,
    "mail server refuses (451)": refusing,
    "mail server closes before its reply": without_replies,
    "way to the mail server half-open": silent,
    "way to the mail server slow by 1 s": slow,
}
