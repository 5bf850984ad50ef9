"""The page that sent a request, by Fetch Metadata (W3C) and by the Origin header (RFC 6454)."""

from django.conf import settings
from django.http import HttpRequest
from django.utils.http import is_same_domain

# META is read instead of request.headers, which parses every header: this runs for each request with a cookie.
SITE, ORIGIN = "HTTP_SEC_FETCH_SITE", "HTTP_ORIGIN"


def is_cross_site(request: HttpRequest) -> bool:
    """
    Whether a page of another origin sent the request, by Sec-Fetch-Site or else by Origin; False without both headers.
    SameSite is no substitute: browsers send SameSite cookies from a sibling domain or another port.
    """
    if (site := request.META.get(SITE)) is not None:
        return site not in ("same-origin", "none")
    origin = request.META.get(ORIGIN)
    return origin is not None and origin != _own_origin(request) and not is_trusted(origin)


def is_own(request: HttpRequest) -> bool:
    """Whether the headers show that a page of this origin sent the request; False without both headers."""
    if (site := request.META.get(SITE)) is not None:
        return site == "same-origin"
    return request.META.get(ORIGIN) == _own_origin(request)


def is_own_visit(request: HttpRequest) -> bool:
    """
    Whether a page of this origin or of APP_ORIGINS sent the request, or the user entered its address: by
    Sec-Fetch-Site, or else by Origin, or else by Referer. False without these headers: any page may have sent it.
    """
    if (site := request.META.get(SITE)) is not None:
        return site in ("same-origin", "none") or is_from_app(request)
    if (origin := request.META.get(ORIGIN)) is not None:
        return origin == _own_origin(request) or is_app(origin)
    return str(request.META.get("HTTP_REFERER", "")).startswith(f"{_own_origin(request)}/")


def is_from_app(request: HttpRequest) -> bool:
    """Whether a browser app of APP_ORIGINS sent the request: by Origin, and same-site by Sec-Fetch-Site."""
    # No headers, or Origin alone, are the headers of most requests.
    if request.META.get(SITE, "same-site") != "same-site":
        return False
    return is_app(request.META.get(ORIGIN))


def is_app(origin: str | None) -> bool:
    """Whether the origin is in APP_ORIGINS."""
    return origin in settings.APP_ORIGINS


def needs_token(request: HttpRequest) -> bool:
    """
    Whether the headers do not show which page sent the request, so that a CSRF token must: both are missing, or Origin
    is in CSRF_TRUSTED_ORIGINS.
    """
    if SITE in request.META:
        return False
    origin = request.META.get(ORIGIN)
    return origin is None or is_trusted(origin)


def has_no_source(request: HttpRequest) -> bool:
    """Whether the request has neither header."""
    return SITE not in request.META and ORIGIN not in request.META


def describe_source(request: HttpRequest) -> str:
    """The headers that is_cross_site() compares, for the log."""
    site, origin = request.META.get(SITE), request.META.get(ORIGIN)
    return f"Sec-Fetch-Site {site!r}, Origin {origin!r}, own origin {_own_origin(request)!r}"


def is_trusted(origin: str) -> bool:
    """Whether the origin is in CSRF_TRUSTED_ORIGINS, where https://*.example.org includes all subdomains."""
    scheme, _separator, host = origin.partition("://")
    trusted = (each.partition("://") for each in settings.CSRF_TRUSTED_ORIGINS)
    return any(
        scheme == trusted_scheme and is_same_domain(host, name.removeprefix("*"))
        for trusted_scheme, _separator, name in trusted
    )


def _own_origin(request: HttpRequest) -> str:
    return f"{request.scheme}://{request.get_host()}"
