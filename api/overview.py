"""How things are: the figures of the admin's first page. Nothing is counted for those who may not see its list."""

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

from accounts.models import SecurityEvent, SignIn
from api import health
from api.blocklist.mirror import mirror
from api.blocklist.models import Entry
from api.keys import keyring
from api.refused_tokens import refused_tokens

HOURS = 48
# Up to so many are counted one by one.
COUNTED_ENTRIES = 100_000

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
    """Of the chart; in its own units, which are whole numbers so that no language writes them with a comma."""

    kind: str
    x: int
    y: int
    height: int


@dataclass(frozen=True)
class Hour:
    title: str
    bars: list[Bar]


@dataclass(frozen=True)
class Chart:
    HEIGHT = 120
    STEP = 16

    hours: list[Hour]
    most: int
    since: datetime
    width: int = HOURS * STEP
    height: int = HEIGHT


def seen_by(user: AbstractBaseUser | AnonymousUser) -> dict[str, Any]:
    """The context of the page. At most six statements."""
    figures: list[Figure] = []
    chart = None
    if user.has_perm("accounts.view_signin"):  # type: ignore[union-attr]
        figures += _of_sign_ins()
    if user.has_perm("accounts.view_securityevent"):  # type: ignore[union-attr]
        since = _first_hour()
        counts = _events_by_hour(since)
        figures += _of_events(counts)
        chart = _chart(counts, since)
    if user.has_perm("blocklist.view_entry"):  # type: ignore[union-attr]
        figures += [*_of_tokens(), *_of_the_machinery()]
    return {"figures": figures, "chart": chart}


def _of_sign_ins() -> list[Figure]:
    counts, is_exact = SignIn.objects.live_by_kind()
    titles = {SignIn.Kind.BROWSER: _("Browsers signed in"), SignIn.Kind.CLIENT: _("Clients signed in")}
    return [
        Figure(
            title,
            intcomma(counts.get(kind, 0)) if is_exact else _("about %s") % intcomma(counts.get(kind, 0)),
            _list("accounts_signin", state="live", kind=kind),
        )
        for kind, title in titles.items()
    ]


Counts = dict[tuple[str, datetime], int]


def _first_hour() -> datetime:
    return timezone.now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=HOURS - 1)


def _events_by_hour(since: datetime) -> Counts:
    counted = SecurityEvent.objects.filter(type__in=[SIGNED_IN, FAILED, REUSED], created_at__gte=since).order_by()
    by_hour = counted.annotate(hour=TruncHour("created_at")).values_list("type", "hour").annotate(Count("pk"))
    return {(type, hour): count for type, hour, count in by_hour}


def _of_events(counts: Counts) -> list[Figure]:
    titles = {SIGNED_IN: _("Sign-ins"), FAILED: _("Failed sign-ins"), REUSED: _("Refresh tokens used twice")}
    return [
        Figure(
            title,
            intcomma(sum(count for (type, _hour), count in counts.items() if type == wanted)),
            _list("accounts_securityevent", type=wanted, within="2days"),
            _("in two days"),
        )
        for wanted, title in titles.items()
    ]


def _chart(counts: Counts, since: datetime) -> Chart:
    most = max([1, *(count for (type, _hour), count in counts.items() if type != REUSED)])
    return Chart([_hour(counts, since + timedelta(hours=each), each, most) for each in range(HOURS)], most, since)


def _hour(counts: Counts, hour: datetime, position: int, most: int) -> Hour:
    signed_in, failed = counts.get((SIGNED_IN, hour), 0), counts.get((FAILED, hour), 0)
    title = ngettext(
        "%(hour)s: %(signed_in)d sign-in, %(failed)d failed",
        "%(hour)s: %(signed_in)d sign-ins, %(failed)d failed",
        signed_in,
    ) % {
        "hour": date_format(hour, "DATETIME_FORMAT"),
        "signed_in": signed_in,
        "failed": failed,
    }
    bars = []
    for kind, count, x in (("signed-in", signed_in, 1), ("failed", failed, 8)):
        height = -(-count * Chart.HEIGHT // most)
        bars.append(Bar(kind, position * Chart.STEP + x, Chart.HEIGHT - height, height))
    return Hour(title, bars)


def _of_tokens() -> list[Figure]:
    length = Entry.objects.in_force().order_by().values("pk")[: COUNTED_ENTRIES + 1].count()
    refused = refused_tokens.in_last_hours(HOURS)
    return [
        Figure(
            _("Blocklist"),
            intcomma(length) if length <= COUNTED_ENTRIES else _("more than %s") % intcomma(COUNTED_ENTRIES),
            _list("blocklist_entry", state="in_force"),
            _mirror_state(),
        ),
        Figure(
            _("Tokens refused"),
            _("unknown") if refused is None else _("about %s") % intcomma(refused),
            _list("blocklist_entry"),
            _("in two days, as far as Redis remembers") if settings.REDIS_URL else _("by this process, in two days"),
        ),
    ]


def _mirror_state() -> str:
    if not settings.REDIS_URL:
        return _("no mirror without Redis: each check asks the database")
    if mirror.is_current():
        return _("mirror of this process: up to date, %s ids") % intcomma(len(mirror))
    return _("mirror of this process: catching up, each check asks the database")


def _of_the_machinery() -> list[Figure]:
    state = {"up": _("up"), "down": _("down"), "not used": _("not used")}
    key = keyring.signing_key
    others = len(keyring.by_kid) - 1
    also = ngettext("and %d that verifies", "and %d that verify", others) % others if others else ""
    return [
        Figure(_("Database"), state["up"], reverse("ready"), connection.display_name),
        Figure(_("Redis"), state[health.redis_state()], reverse("ready")),
        Figure(
            _("Signing key"),
            key.algorithm,
            note=f"{key.kid} {also}".strip(),
        ),
    ]


def _list(model: str, **filters: str) -> str:
    return reverse(f"admin:{model}_changelist", query=filters)
