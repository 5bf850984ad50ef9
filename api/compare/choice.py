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
        _("Who calls your server?"),
        (
            Option(
                "pages",
                _("People, on pages that it makes"),
                _("The browser keeps a cookie that no script can read, and sends it by itself: nothing to build."),
            ),
            Option(
                "script",
                _("People, through a script in the browser"),
                _("Whatever a script can read, an injected script can steal; a cookie it can only use while it runs."),
            ),
            Option(
                "program",
                _("Programs: mobile apps, scripts, other services"),
                _("A program has no cookie jar worth the name. A token is one header, in any language."),
            ),
            Option(
                "mixed",
                _("People and programs"),
                _("People and programs differ, and need not share: here they only share the list of sign-ins."),
            ),
        ),
    ),
    Question(
        "origin",
        _("Do browsers call it from another site?"),
        (
            Option("same", _("No"), _("On one site the cookie arrives, and SameSite keeps other sites from using it.")),
            Option(
                "cross",
                _("Yes"),
                _("Browsers block cookies between sites more and more. A token in a header arrives."),
            ),
        ),
    ),
    Question(
        "services",
        _("How many services must know who it is?"),
        (
            Option("one", _("One"), _("One service can ask its own list: one statement for each request.")),
            Option(
                "many",
                _("Several"),
                _("Each of them checks a passport by itself, with the public key; only one of them has the list."),
            ),
        ),
    ),
    Question(
        "end",
        _("How soon must a sign-out count?"),
        (
            Option(
                "at_once",
                _("At once"),
                _(
                    "Both end at once here. A service that checks the signature alone learns of it only when the "
                    "token's minutes are over: let it ask, or keep the minutes few."
                ),
            ),
            Option(
                "minutes",
                _("Within minutes"),
                _("Then a service that checks the signature alone will do, and asks nobody."),
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
