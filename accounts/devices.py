"""What to call a device: "Firefox on Windows", "curl", "your-app"."""

from functools import lru_cache

from django.utils.translation import gettext as _

UNKNOWN = "Other"


@lru_cache(maxsize=1024)
def name(user_agent: str) -> str:
    from ua_parser import parse

    known = parse(user_agent)
    browser = known.user_agent.family if known.user_agent else UNKNOWN
    system = known.os.family if known.os else UNKNOWN
    if browser == UNKNOWN:
        # Programs start with their own name, as RFC 9110, section 10.1.5 has it.
        browser = user_agent.partition("/")[0].strip()[:60] or _("Unknown device")
    if system == UNKNOWN:
        return browser
    return _("%(browser)s on %(system)s") % {"browser": browser.removeprefix("Mobile "), "system": system}
