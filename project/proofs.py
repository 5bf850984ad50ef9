"""The three proofs on the home page, with the figures that `python -m tests.benchmarks` writes to measured.json."""

import json
from dataclasses import dataclass
from functools import cache

from django.conf import settings
from django.utils.formats import number_format
from django.utils.translation import gettext as _

# Only the file: the app of /compare/ is installed only with DEMO.
FILE = settings.BASE_DIR / "api" / "compare" / "measured.json"


@dataclass(frozen=True)
class Proof:
    figure: str
    text: str
    # The id of the act on /compare/ that shows it.
    act: str


@cache
def measured() -> dict[str, float | None]:
    """Returns the figures by their names; None for those that were not measured."""
    figures: dict[str, float | None] = json.loads(FILE.read_text())["figures"]
    return figures


def proofs() -> list[Proof]:
    """Returns the proofs in the active language. A proof that was not measured is left out."""
    figures = measured()
    shown = [(_revoked(), "revocation_refused_passport"), (_raced(), "race_successors"), (_replayed(), "replay_ended")]
    return [proof for proof, figure in shown if figures.get(figure) is not None]


def _number(figure: str) -> str:
    return number_format(measured().get(figure) or 0, 0, use_l10n=True, force_grouping=True)


def _revoked() -> Proof:
    refused, every = _number("revocation_refused_passport"), _number("revocation_requests_passport")
    return Proof(
        _("%(refused)s of %(all)s") % {"refused": refused, "all": every},
        _("revoked tokens refused, at the next request to another process"),
        "act-out",
    )


def _raced() -> Proof:
    at_once, successors = _number("race_at_once"), _number("race_successors")
    return Proof(
        _("%(number)s to %(successors)s") % {"number": at_once, "successors": successors},
        _("%(number)s tabs refresh at the same moment, and all get the same successor") % {"number": at_once},
        "act-tabs",
    )


def _replayed() -> Proof:
    ended, families = _number("replay_ended"), _number("replay_families")
    return Proof(
        _("%(ended)s of %(all)s") % {"ended": ended, "all": families},
        _("replayed refresh tokens revoked their whole family, and the user gets an e-mail"),
        "act-theft",
    )
