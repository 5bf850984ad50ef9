"""URLs that accept only POST, and the page with the form of each: links and redirects lead to that page instead."""

from urllib.parse import urlsplit

from django.http import HttpRequest
from django.urls import Resolver404, ResolverMatch, resolve, reverse

# URL name that the form is sent to: URL name of the page with the form.
PAGES_WITH_FORM = {
    "logout": "home",
    "end_support": "home",
    "email_ask": "profile",
    "start_app": "security",
    "start_enrol_app": "enrol",
    "admin:logout": "admin:index",
    "admin:accounts_securityevent_export": "admin:accounts_securityevent_changelist",
}


def page_with_form(path: str) -> str | None:
    """The path of the page with the form for `path`; None if `path` accepts GET or has no view."""
    try:
        match = resolve(path)
    except Resolver404:
        return None
    if match.view_name in PAGES_WITH_FORM:
        return reverse(PAGES_WITH_FORM[match.view_name])
    return None if _accepts_get(match) else reverse("home")


def local_path(request: HttpRequest, url: str) -> str | None:
    """The path of the URL if it is on this host; None for another host."""
    parts = urlsplit(url)
    return parts.path if parts.netloc in ("", request.get_host()) else None


def _accepts_get(match: ResolverMatch) -> bool:
    """Whether the view accepts GET. A function does not declare its methods: True."""
    view = getattr(match.func, "view_class", None)
    return view is None or ("get" in view.http_method_names and hasattr(view, "get"))
