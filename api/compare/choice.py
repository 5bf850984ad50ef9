"""Wristband or passport? A few questions, and an answer with its reasons."""

from collections.abc import Mapping
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

WRISTBAND, PASSPORT, BOTH = "wristband", "passport", "both"


@dataclass(frozen=True)
class Option:
    name: str
    label: Promise
    reason: Promise


@dataclass(frozen=True)
class Question:
    name: str
    label: Promise
    options: tuple[Option, ...]


QUESTIONS = (
    Question(
        "client",
        _("Who sends requests to your server?"),
        (
            Option(
                "pages",
                _("People, on server-rendered pages"),
                _("The browser stores a cookie that no script can read, and sends it by itself: no code is needed."),
            ),
            Option(
                "script",
                _("People, through JavaScript in the browser"),
                _("An injected script can steal what scripts can read, but use a cookie only while it runs."),
            ),
            Option(
                "program",
                _("Programs: mobile apps, scripts, other services"),
                _("Many programs do not store cookies. A token is one header, in any programming language."),
            ),
            Option(
                "mixed",
                _("People and programs"),
                _("People and programs have different needs. Here they share only the list of sign-ins."),
            ),
        ),
    ),
    Question(
        "origin",
        _("Do browsers send requests from another site?"),
        (
            Option(
                "same",
                _("No"),
                _("On one site the browser sends the cookie, and SameSite prevents other sites from using it."),
            ),
            Option(
                "cross",
                _("Yes"),
                _("Browsers increasingly block cookies between sites. A token in a header is not affected."),
            ),
        ),
    ),
    Question(
        "services",
        _("How many services must identify the user?"),
        (
            Option("one", _("One"), _("One service can read its own list, with one statement for each request.")),
            Option(
                "many",
                _("Several"),
                _("Each service checks a passport with the public key. Only one of them stores the list."),
            ),
        ),
    ),
    Question(
        "end",
        _("How soon must a sign-out take effect?"),
        (
            Option(
                "at_once",
                _("At once"),
                _(
                    "Here, both end at once. A service that checks only the signature accepts a token until "
                    "it expires: let it ask this server, or keep the lifetime of tokens short."
                ),
            ),
            Option(
                "minutes",
                _("Within minutes"),
                _("Then a service that checks only the signature is enough. It sends no request to this server."),
            ),
        ),
    ),
)

NAMES = tuple(question.name for question in QUESTIONS)


@dataclass(frozen=True)
class Recommendation:
    kind: str
    reasons: list[Promise]


def recommend(answers: Mapping[str, str]) -> Recommendation | None:
    """None until every question has one of its answers."""
    chosen = {}
    for question in QUESTIONS:
        option = next((each for each in question.options if each.name == answers.get(question.name)), None)
        if option is None:
            return None
        chosen[question.name] = option
    kind = _kind(chosen["client"].name, chosen["origin"].name, chosen["services"].name)
    return Recommendation(kind, [option.reason for option in chosen.values()])


def _kind(client: str, origin: str, services: str) -> str:
    if client == "program":
        return PASSPORT
    if client == "mixed":
        return BOTH
    if origin == "cross":
        return PASSPORT
    # The browser has a wristband, and the services speak for it with passports.
    return BOTH if services == "many" else WRISTBAND
