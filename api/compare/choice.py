"""The questions of /compare/ about a product, and the mode that is recommended for the answers."""

from collections.abc import Mapping
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

WRISTBAND, PASSPORT, BOTH = "wristband", "passport", "both"
# The clients that can have an app in JavaScript on another site.
WITH_SCRIPT = ("script", "mixed")


@dataclass(frozen=True)
class Option:
    name: str
    label: Promise
    # By the recommendation that it leads to.
    reasons: Mapping[str, Promise]


@dataclass(frozen=True)
class Question:
    name: str
    label: Promise
    options: tuple[Option, ...]
    note: Promise | str = ""
    # The answer counts only for these clients; for each of them if empty.
    clients: tuple[str, ...] = ()


def _reasons(reason: Promise, **others: Promise) -> Mapping[str, Promise]:
    """`reason` for each recommendation but those of `others`."""
    return {WRISTBAND: reason, PASSPORT: reason, BOTH: reason, **others}


_REVOKED_AT_ONCE = _(
    "Both modes revoke at once here. A service that verifies only the signature accepts the token "
    "until it expires: let it check for revocation, or use a short lifetime."
)
_SIGNATURE_ONLY = _("Then a service can verify only the signature, without a request to another service.")

QUESTIONS = (
    Question(
        "client",
        _("Which clients does your server have?"),
        (
            Option(
                "pages",
                _("Browsers, with pages rendered by the server"),
                _reasons(
                    _(
                        "The browser stores a cookie that no script can read, and sends it automatically: nothing to "
                        "build."
                    )
                ),
            ),
            Option(
                "script",
                _("Browsers, with an app in JavaScript"),
                _reasons(
                    _("An injected script can steal what scripts can read; a cookie it can use only while it runs."),
                    passport=_(
                        "The app needs tokens. The client binds them to a key that no script can export (DPoP): "
                        "a stolen token cannot be used elsewhere."
                    ),
                ),
            ),
            Option(
                "program",
                _("Programs: mobile apps, scripts, other services"),
                _reasons(_("Few programs store cookies. A token is one header, in any programming language.")),
            ),
            Option(
                "mixed",
                _("Browsers and programs"),
                _reasons(
                    _("Browsers and programs can use different modes: here they share only the list of sign-ins."),
                    passport=_("Programs need tokens, and so does the JavaScript app: all clients use one mode."),
                ),
            ),
        ),
    ),
    Question(
        "origin",
        _("Does the JavaScript app run on a different site (example.org) than the API (example.com)?"),
        (
            Option(
                "same",
                _("No"),
                _reasons(_("The browser sends the cookie, and SameSite prevents other sites from using it.")),
            ),
            Option(
                "cross",
                _("Yes"),
                _reasons(
                    _("Browsers increasingly block cookies between sites. They do not block a token in a header.")
                ),
            ),
        ),
        clients=WITH_SCRIPT,
    ),
    Question(
        "services",
        _("How many services must identify the user?"),
        (
            Option(
                "one",
                _("One"),
                {
                    WRISTBAND: _("One service can read its own sessions, and remember them in memory."),
                    PASSPORT: _("One service verifies its own tokens, and has the list of the revoked ones."),
                    BOTH: _("One service can read its own sessions and verify its own tokens."),
                },
            ),
            Option(
                "many",
                _("Several"),
                _reasons(
                    _(
                        "Each service verifies a token itself, with the public key (JWT_KEYS); only one has the list "
                        "of sessions."
                    )
                ),
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
                _reasons(
                    _REVOKED_AT_ONCE, wristband=_("A session that was signed out is refused at its next request.")
                ),
            ),
            Option(
                "minutes",
                _("Within minutes"),
                _reasons(
                    _SIGNATURE_ONLY,
                    wristband=_("You get more: a session that was signed out is refused at its next request."),
                ),
            ),
        ),
        note=_("This changes how other services check tokens, not the recommendation."),
    ),
)

NAMES = tuple(question.name for question in QUESTIONS)


@dataclass(frozen=True)
class Recommendation:
    kind: str
    reasons: list[Promise]
    # The examples of code: cookie, service, app, program.
    examples: tuple[str, ...]


def recommend(answers: Mapping[str, str]) -> Recommendation | None:
    """None unless the first question has a valid answer: the others refine the recommendation."""
    chosen: dict[str, Option] = {}
    for question in QUESTIONS:
        option = next((each for each in question.options if each.name == answers.get(question.name)), None)
        # The first question is that about clients.
        if option and (not question.clients or ("client" in chosen and chosen["client"].name in question.clients)):
            chosen[question.name] = option
    if "client" not in chosen:
        return None
    names = {"origin": "same", "services": "one"} | {name: option.name for name, option in chosen.items()}
    kind, examples = _mode(names["client"], names["origin"], names["services"])
    return Recommendation(kind, [option.reasons[kind] for option in chosen.values()], examples)


def _mode(client: str, origin: str, services: str) -> tuple[str, tuple[str, ...]]:
    if client == "program":
        return PASSPORT, ("program",)
    if client == "mixed":
        return (PASSPORT, ("app", "program")) if origin == "cross" else (BOTH, ("cookie", "program"))
    if origin == "cross":
        return PASSPORT, ("app",)
    # The browser uses a session, and the services use tokens for it.
    return (BOTH, ("cookie", "service")) if services == "many" else (WRISTBAND, ("cookie",))
