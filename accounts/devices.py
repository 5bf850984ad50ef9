"""Names of devices, read from user agents: "Firefox on Windows", "curl", "your-app/2.1 on iOS"."""

import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING, NamedTuple

from django.utils.translation import gettext as _

if TYPE_CHECKING:
    from ua_parser import Parser

UNKNOWN = "Other"
NAME_MAX_LENGTH = 60
SYSTEM_NAMES = {"Mac OS X": "macOS"}
PHONE_SYSTEMS = {"iOS", "Android", "Windows Phone", "KaiOS"}
# RFC 9110, section 10.1.5: the product with its version comes first.
PRODUCT = re.compile(r"([^\s/]+)(/[^\s(]+)?")


class Device(NamedTuple):
    """The product and the system that a User-Agent header names. Neither is verified."""

    product: str
    version: str
    system: str
    icon: str

    def is_like(self, other: "Device") -> bool:
        """Returns whether product and system are equal. The version is not compared, since updates change it."""
        return (self.product, self.system) == (other.product, other.system)

    def __str__(self) -> str:
        name = self.product + self.version if self.product else _("Unknown device")
        if not self.system:
            return name
        return _("%(browser)s on %(system)s") % {"browser": name, "system": self.system}


def name(user_agent: str) -> str:
    """Returns the name of the device in the active language."""
    return str(of(user_agent))


@lru_cache(maxsize=1024)
def of(user_agent: str) -> Device:
    """Returns the device of a user agent."""
    known = _parser().parse(user_agent)
    family = known.user_agent.family if known.user_agent else UNKNOWN
    system = known.os.family if known.os and known.os.family != UNKNOWN else ""
    system = SYSTEM_NAMES.get(system, system)
    if user_agent.startswith("Mozilla/"):
        browser = "" if family == UNKNOWN else family.replace("Mobile", "").strip()
        return Device(browser, "", system, _icon_of_browser(system, user_agent))
    product, version = _product(user_agent)
    if family != UNKNOWN and not system:
        product, version = family, ""
    return Device(product, version, system, _icon_of_program(product, system))


@cache
def _parser() -> "Parser":
    """ua-parser's, without its models of devices, which take 14 MB in each process. Loaded at the first use: 10 MB."""
    from ua_parser import Parser
    from ua_parser.loaders import load_builtins
    from ua_parser.regex import Resolver

    products, systems, _models = load_builtins()
    return Parser(Resolver((products, systems, [])))


def _product(user_agent: str) -> tuple[str, str]:
    found = PRODUCT.match(user_agent.strip())
    if not found:
        return "", ""
    product = found[1][:NAME_MAX_LENGTH]
    return product, (found[2] or "")[: NAME_MAX_LENGTH - len(product)]


def _icon_of_browser(system: str, user_agent: str) -> str:
    if "iPad" in user_agent or "Tablet" in user_agent:
        return "tablet"
    if system in PHONE_SYSTEMS:
        return "phone"
    return "computer" if system else "unknown"


def _icon_of_program(program: str, system: str) -> str:
    if system in PHONE_SYSTEMS:
        return "phone"
    return "program" if program else "unknown"
