"""The questions of /compare/ about a product, and the mode that is recommended for the answers."""

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
        _("Which clients does your server have?"),
        (
            Option(
                "pages",
                _("Browsers, with pages rendered by the server"),
                _("The browser stores a cookie that no script can read, and sends it automatically: nothing to build."),
            ),
            Option(
                "script",
                _("Browsers, with an app in JavaScript"),
                _("An injected script can steal what scripts can read; a cookie it can use only while it runs."),
            ),
            Option(
                "program",
                _("Programs: mobile apps, scripts, other services"),
                _("Few programs store cookies. A token is one header, in any programming language."),
            ),
            Option(
                "mixed",
                _("Browsers and programs"),
                _("Browsers and programs can use different modes: here they share only the list of sign-ins."),
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
                _("The browser sends the cookie, and SameSite prevents other sites from using it."),
            ),
            Option(
                "cross",
                _("Yes"),
                _("Browsers increasingly block cookies between sites. They do not block a token in a header."),
            ),
        ),
    ),
    Question(
        "services",
        _("How many services must identify the user?"),
        (
            Option("one", _("One"), _("One service can read its own sessions, and remember them in memory.")),
            Option(
                "many",
                _("Several"),
                _("Each service verifies a token itself, with the public key; only one has the list of sessions."),
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
                    "Both modes revoke at once here. A service that verifies only the signature accepts the token "
                    "until it expires: let it check for revocation, or use a short lifetime."
                ),
            ),
            Option(
                "minutes",
                _("Within minutes"),
                _("Then a service can verify only the signature, without a request to another service."),
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
    """None unless the first question has a valid answer: the others refine the recommendation."""
    chosen = {}
    for question in QUESTIONS:
        option = next((each for each in question.options if each.name == answers.get(question.name)), None)
        if option:
            chosen[question.name] = option
    if "client" not in chosen:
        return None
    names = {"origin": "same", "services": "one"} | {name: option.name for name, option in chosen.items()}
    kind = _kind(names["client"], names["origin"], names["services"])
    return Recommendation(kind, [option.reason for option in chosen.values()])


def _kind(client: str, origin: str, services: str) -> str:
    if client == "program":
        return PASSPORT
    if client == "mixed":
        return BOTH
    if origin == "cross":
        return PASSPORT
    # The browser uses a session, and the services use tokens for it.
    return BOTH if services == "many" else WRISTBAND
