"""The table of differences between a session and a token on the home page."""

from datetime import timedelta
from typing import NamedTuple

from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import ngettext


class Difference(NamedTuple):
    what: str
    wristband: str
    passport: str


def differences() -> list[Difference]:
    """Returns the rows in the active language."""
    return [
        Difference(_("Carries"), _("a random value in a cookie"), _carried_by_clients()),
        Difference(
            _("Costs"),
            _("about 50 bytes and a look-up: in memory with Redis, otherwise one SQL statement"),
            _("about 400 bytes and a signature: checked in memory with Redis, otherwise one SQL statement"),
        ),
        Difference(_("Revocation"), _("at the next request"), _("at the next request, before the token expires")),
        Difference(_("Several services"), _("no, the cookie is for one host"), _("yes, with a signing key")),
        Difference(_("Best for"), _("people in browsers, and staff"), _("scripts, mobile apps and other services")),
    ]


def _carried_by_clients() -> str:
    minutes = settings.ACCESS_TOKEN // timedelta(minutes=1)
    return ngettext(
        "a signed token for %(minutes)d minute, and another to renew it",
        "a signed token for %(minutes)d minutes, and another to renew it",
        minutes,
    ) % {"minutes": minutes}
