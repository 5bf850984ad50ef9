"""The bars of /compare/: live ones, which its scripts fill, beside measured ones."""

from dataclasses import dataclass

from django.utils.translation import gettext as _

from api.compare import figures

# The longest bar has this width.
FULL = 100
# The classes of the colours of bars.
MODES = ("wristband", "passport", "other")


@dataclass(frozen=True)
class Bar:
    label: str
    # One of MODES.
    mode: str
    # Empty for a live bar, and for one that was not measured.
    value: str = ""
    width: float = 0
    # For a live bar: the cost that it shows.
    live: str = ""


@dataclass(frozen=True)
class Meter:
    title: str
    bars: list[Bar]
    # The value of a full bar; 0 if it is the largest live value.
    scale: float = 0


def meters() -> list[Meter]:
    return [_statements(), _speed(), Meter(_("Server time, ms"), _live("milliseconds")), _bytes()]


def _live(cost: str) -> list[Bar]:
    return [
        Bar(_("wristband, live"), "wristband", live=cost),
        Bar(_("passport, live"), "passport", live=cost),
    ]


def _statements() -> Meter:
    names = {
        "wristband": _("wristband, with Redis"),
        "passport": _("passport, with Redis"),
        "django_sessions": _("Django sessions"),
        "simplejwt_blacklist": _("SimpleJWT, blacklist"),
        "simplejwt_stateless": _("SimpleJWT without revocation"),
    }
    scale = max(filter(None, (figures.value(f"requests_statements_{name}") for name in names)), default=1)
    bars = [_measured(f"requests_statements_{name}", name, label, scale) for name, label in names.items()]
    return Meter(_("SQL statements for each request"), _live("statements") + bars, scale)


def _speed() -> Meter:
    names = {
        "wristband": _("wristband"),
        "passport": _("passport"),
        "django_sessions": _("Django sessions"),
        "simplejwt": _("SimpleJWT"),
        "simplejwt_blacklist": _("SimpleJWT, blacklist"),
        "simplejwt_stateless": _("SimpleJWT without revocation"),
    }
    bars = [_measured(f"requests_share_{name}", name, label, 1, percent=True) for name, label in names.items()]
    return Meter(_("Requests per second, as a share of those without authentication"), bars, 1)


def _bytes() -> Meter:
    return Meter(_("Bytes of a request and its response"), _live("bytes"))


def _measured(figure: str, name: str, label: str, scale: float, percent: bool = False) -> Bar:
    value = figures.value(figure) or 0
    mode = name if name in ("wristband", "passport") else "other"
    text = figures.share(figure) if percent else figures.number(figure)
    return Bar(label, mode, text, round(FULL * value / scale, 1))
