"""What to call a device: "Firefox on Windows", "curl", "your-app/2.1 on iOS"."""

import re
from functools import lru_cache
from typing import NamedTuple

from django.utils.translation import gettext as _

UNKNOWN = "Other"
NAME_MAX_LENGTH = 60
SYSTEMS = {"Mac OS X": "macOS"}
PHONES = {"iOS", "Android", "Windows Phone", "KaiOS"}
# As RFC 9110, section 10.1.5, has it: programs start with their own name.
PRODUCT = re.compile(r"([^\s/]+)(/[^\s(]+)?")


class Device(NamedTuple):
    """What a user agent says of itself. Two are alike if program and system are: updates change the version."""

    program: str
    version: str
    system: str
    icon: str

    def is_like(self, other: "Device") -> bool:
        return (self.program, self.system) == (other.program, other.system)

    def __str__(self) -> str:
        name = self.program + self.version if self.program else _("Unknown device")
        if not self.system:
            return name
        return _("%(browser)s on %(system)s") % {"browser": name, "system": self.system}


def name(user_agent: str) -> str:
    return str(of(user_agent))


@lru_cache(maxsize=1024)
def of(user_agent: str) -> Device:
    from ua_parser import parse

    known = parse(user_agent)
    family = known.user_agent.family if known.user_agent else UNKNOWN
    system = known.os.family if known.os and known.os.family != UNKNOWN else ""
    system = SYSTEMS.get(system, system)
    if user_agent.startswith("Mozilla/"):
        browser = "" if family == UNKNOWN else family.replace("Mobile", "").strip()
        return Device(browser, "", system, _icon_of_browser(system, known.device.family if known.device else ""))
    program, version = _product(user_agent)
    if family != UNKNOWN and not system:
        program, version = family, ""
    return Device(program, version, system, _icon_of_program(program, system))


def _product(user_agent: str) -> tuple[str, str]:
    found = PRODUCT.match(user_agent.strip())
    if not found:
        return "", ""
    program = found[1][:NAME_MAX_LENGTH]
    return program, (found[2] or "")[: NAME_MAX_LENGTH - len(program)]


def _icon_of_browser(system: str, model: str) -> str:
    if "iPad" in model or "Tablet" in model:
        return "tablet"
    if system in PHONES:
        return "phone"
    return "computer" if system else "unknown"


def _icon_of_program(program: str, system: str) -> str:
    if system in PHONES:
        return "phone"
    return "program" if program else "unknown"
