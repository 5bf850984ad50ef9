"""The figures on the first page of the admin. A figure is counted only for staff who may view its list."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.contrib.humanize.templatetags.humanize import intcomma
from django.db import connection
from django.db.models import Count
from django.db.models.functions import TruncHour
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.models import QueuedMail, SecurityEvent, SignIn
from api import metrics
from api.blocklist.mirror import mirror
from api.blocklist.models import Entry
from api.keys import keyring
from project import health

HOURS_SHOWN = 48
HOURS_PER_LABEL = 6
# The vertical axis has at most this many steps, each a round number.
MAX_STEPS = 5
# Larger numbers of entries are shown as "more than".
MAX_COUNTED_ENTRIES = 100_000

SIGNED_IN, FAILED, REUSED = (
    SecurityEvent.Type.SIGNED_IN,
    SecurityEvent.Type.SIGN_IN_FAILED,
    SecurityEvent.Type.TOKEN_REUSED,
)


@dataclass(frozen=True)
class Figure:
    title: str
    value: str
    url: str = ""
    note: str = ""


@dataclass(frozen=True)
class Bar:
    """A bar of the chart, in units of the chart. These are integers: some languages format decimals with a comma."""

    kind: str
    x: int
    y: int
    height: int


@dataclass(frozen=True)
class Hour:
    start: datetime
    title: str
    signed_in: int
    failed: int
    x: int
    bars: list[Bar]


@dataclass(frozen=True)
class TimeLabel:
    """A label of the horizontal axis. The date is shown where a new day begins."""

    hour: datetime
    has_date: bool


@dataclass(frozen=True)
class Chart:
    """Signed-in and failed per hour. The axes are HTML beside the drawing, so that their text keeps its size."""

    HEIGHT = 120
    STEP = 16

    hours: list[Hour]
    # The labels of the vertical axis from the top, and the positions of their lines.
    counts: list[int]
    lines: list[int]
    times: list[TimeLabel]
    width: int = HOURS_SHOWN * STEP
    height: int = HEIGHT
    step: int = STEP

    @property
    def is_empty(self) -> bool:
        return not any(hour.signed_in or hour.failed for hour in self.hours)


def context_for(user: AbstractBaseUser | AnonymousUser) -> dict[str, Any]:
    """The context of the page. At most seven statements."""
    figures: list[Figure] = []
    chart = None
    if user.has_perm("accounts.view_signin"):  # type: ignore[union-attr]
        figures += _sign_in_figures()
    if user.has_perm("accounts.view_securityevent"):  # type: ignore[union-attr]
        since = _first_hour()
        counts = _events_by_hour(since)
        figures += _event_figures(counts)
        chart = _chart(counts, since)
    if user.has_perm("blocklist.view_entry"):  # type: ignore[union-attr]
        figures += [*_token_figures(), *_system_figures()]
    if user.has_perm("accounts.view_queuedmail"):  # type: ignore[union-attr]
        figures += _mail_figures()
    return {"figures": figures, "chart": chart}


def _sign_in_figures() -> list[Figure]:
    counts, is_exact = SignIn.objects.live_by_kind()
    titles = {SignIn.Kind.BROWSER: _("Browsers signed in"), SignIn.Kind.CLIENT: _("Clients signed in")}
    return [
        Figure(
            title,
            intcomma(counts.get(kind, 0)) if is_exact else _("about %s") % intcomma(counts.get(kind, 0)),
            _list_url("accounts_signin", state="live", kind=kind),
        )
        for kind, title in titles.items()
    ]


Counts = dict[tuple[str, datetime], int]


def _first_hour() -> datetime:
    return timezone.now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=HOURS_SHOWN - 1)


def _events_by_hour(since: datetime) -> Counts:
    counted = SecurityEvent.objects.filter(type__in=[SIGNED_IN, FAILED, REUSED], created_at__gte=since).order_by()
    by_hour = counted.annotate(hour=TruncHour("created_at")).values_list("type", "hour").annotate(Count("pk"))
    return {(type, hour): count for type, hour, count in by_hour}


def _event_figures(counts: Counts) -> list[Figure]:
    titles = {SIGNED_IN: _("Sign-ins"), FAILED: _("Failed sign-ins"), REUSED: _("Refresh tokens used twice")}
    return [
        Figure(
            title,
            intcomma(sum(count for (type, _hour), count in counts.items() if type == wanted)),
            _list_url("accounts_securityevent", type=wanted, within="2days"),
            _("in the last two days"),
        )
        for wanted, title in titles.items()
    ]


def _chart(counts: Counts, since: datetime) -> Chart:
    step, steps = _scale(max([1, *(count for (type, _hour), count in counts.items() if type != REUSED)]))
    starts = [since + timedelta(hours=each) for each in range(HOURS_SHOWN)]
    labelled = starts[::HOURS_PER_LABEL]
    return Chart(
        hours=[_hour(counts, start, position, step * steps) for position, start in enumerate(starts)],
        counts=[step * each for each in range(steps, -1, -1)],
        lines=[Chart.HEIGHT * each // steps for each in range(steps)],
        times=[
            TimeLabel(start, before is None or before.date() != start.date())
            for before, start in zip([None, *labelled], labelled, strict=False)
        ],
    )


def _scale(max_count: int) -> tuple[int, int]:
    """Returns a round number (1, 2 or 5 with zeros), and how many of it reach `max_count`: at most MAX_STEPS."""
    power = 1
    while True:
        for step in (power, 2 * power, 5 * power):
            if (steps := -(-max_count // step)) <= MAX_STEPS:
                return step, steps
        power *= 10


def _hour(counts: Counts, start: datetime, position: int, top: int) -> Hour:
    signed_in, failed = counts.get((SIGNED_IN, start), 0), counts.get((FAILED, start), 0)
    title = ngettext(
        "%(hour)s: %(signed_in)d sign-in, %(failed)d failed",
        "%(hour)s: %(signed_in)d sign-ins, %(failed)d failed",
        signed_in,
    ) % {
        "hour": date_format(start, "DATETIME_FORMAT"),
        "signed_in": signed_in,
        "failed": failed,
    }
    bars = []
    for kind, count, x in (("signed-in", signed_in, 1), ("failed", failed, 8)):
        height = -(-count * Chart.HEIGHT // top)
        bars.append(Bar(kind, position * Chart.STEP + x, Chart.HEIGHT - height, height))
    return Hour(start, title, signed_in, failed, position * Chart.STEP, bars)


def _token_figures() -> list[Figure]:
    length = Entry.objects.in_force().order_by().values("pk")[: MAX_COUNTED_ENTRIES + 1].count()
    return [
        Figure(
            _("Blocklist"),
            intcomma(length) if length <= MAX_COUNTED_ENTRIES else _("more than %s") % intcomma(MAX_COUNTED_ENTRIES),
            _list_url("blocklist_entry", state="in_force"),
            _mirror_state(),
        ),
        Figure(
            _("Tokens refused"),
            intcomma(metrics.refused_tokens_of_process()),
            _list_url("blocklist_entry"),
            _("by this process, since it started"),
        ),
    ]


def _mirror_state() -> str:
    if not settings.REDIS_URL:
        return _("no mirror without Redis: each check queries the database")
    if mirror.is_current():
        return _("mirror of this process: current, %s ids") % intcomma(len(mirror))
    return _("mirror of this process: not current, each check queries the database")


def _system_figures() -> list[Figure]:
    state = {"up": _("up"), "down": _("down"), "not used": _("not used")}
    key = keyring.signing_key
    others = len(keyring.by_kid) - 1
    verifying = (
        ngettext("and %d for verification only", "and %d for verification only", others) % others if others else ""
    )
    return [
        Figure(_("Database"), state["up"], reverse("ready"), connection.display_name),
        Figure(_("Redis"), state[health.redis_state()], reverse("ready")),
        Figure(
            _("Signing key"),
            key.algorithm,
            note=f"{key.kid} {verifying}".strip(),
        ),
    ]


def _mail_figures() -> list[Figure]:
    figures = QueuedMail.objects.figures()
    oldest = figures["oldest"]
    return [
        Figure(
            _("E-mails that wait"),
            intcomma(figures["waiting"]),
            _list_url("accounts_queuedmail", state="waiting"),
            _("the oldest since %s") % date_format(oldest, "DATETIME_FORMAT") if oldest else "",
        ),
        Figure(
            _("Delayed e-mails"),
            intcomma(figures["delayed"]),
            _list_url("accounts_queuedmail", state="delayed"),
            _("of those that wait, refused for now"),
        ),
        Figure(
            _("E-mails that failed"),
            intcomma(figures["failed"]),
            _list_url("accounts_queuedmail", state="failed"),
            _("refused, or not accepted for a day"),
        ),
    ]


def _list_url(model: str, **filters: str) -> str:
    return reverse(f"admin:{model}_changelist", query=filters)
