"""The three lanes of a browser app on /compare/: what each of them sends, and what a script could steal."""

from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from api.compare import recorded


@dataclass(frozen=True)
class Lane:
    name: str
    title: str
    # The class of its colour.
    mode: str
    path: str
    # What a script that runs in the page could steal.
    loss: str
    # Of the recording; the page replaces both by those of the visitor.
    requests: int
    refreshes: int


def lanes() -> list[Lane]:
    minutes, days = settings.ACCESS_TOKEN // timedelta(minutes=1), settings.REFRESH_TOKEN.days
    access = ngettext("an access token, for %(number)d minute", "an access token, for %(number)d minutes", minutes)
    refresh = ngettext("a refresh token, for %(number)d day", "a refresh token, for %(number)d days", days)
    texts = {
        "a": (_("The session cookie"), "wristband", "GET /api/session/", _("nothing: the cookie is HttpOnly")),
        "b": (
            _("Access tokens from the session"),
            "wristband",
            "POST /api/session/token/",
            access % {"number": minutes},
        ),
        "c": (_("Refresh tokens"), "passport", "POST /api/token/refresh/", refresh % {"number": days}),
    }
    return [
        Lane(name, title, mode, path, loss, **recorded.lane(name)) for name, (title, mode, path, loss) in texts.items()
    ]
