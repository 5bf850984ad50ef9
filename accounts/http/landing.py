"""Addresses that take forms only: which page has the form, for a person who comes there by a link or a redirect."""

from urllib.parse import urlsplit

from django.http import HttpRequest
from django.urls import Resolver404, ResolverMatch, resolve, reverse

# The page with the form, by the name of the address that the form is sent to.
PAGES_WITH_FORM = {
    "logout": "home",
    "email_ask": "profile",
    "admin:logout": "admin:index",
    "admin:accounts_securityevent_export": "admin:accounts_securityevent_changelist",
}


def page_with_form(path: str) -> str | None:
    """The address of the page to show instead of `path`; None if `path` takes GET, or is no address of ours."""
    try:
        match = resolve(path)
    except Resolver404:
        return None
    if match.view_name in PAGES_WITH_FORM:
        return reverse(PAGES_WITH_FORM[match.view_name])
    return None if _takes_get(match) else reverse("home")


def local_path(request: HttpRequest, url: str) -> str | None:
    """The path of a URL of this host; None for another host."""
    parts = urlsplit(url)
    return parts.path if parts.netloc in ("", request.get_host()) else None


def _takes_get(match: ResolverMatch) -> bool:
    """Of a function it is unknown, and so taken for true."""
    view = getattr(match.func, "view_class", None)
    return view is None or ("get" in view.http_method_names and hasattr(view, "get"))
