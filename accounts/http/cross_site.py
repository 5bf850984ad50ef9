"""Detection of cross-site requests by Fetch Metadata (W3C) and by the Origin header (RFC 6454)."""

from django.conf import settings
from django.http import HttpRequest
from django.utils.http import is_same_domain


def is_cross_site(request: HttpRequest) -> bool:
    """
    Whether a page of another origin sent the request, by Sec-Fetch-Site or else by Origin; False without both headers.
    SameSite is no substitute: browsers send SameSite cookies from a sibling domain or another port.
    """
    # META instead of request.headers, which parses every header: this runs for each request with a cookie.
    if site := request.META.get("HTTP_SEC_FETCH_SITE"):
        return site not in ("same-origin", "none")
    origin = request.META.get("HTTP_ORIGIN")
    if origin is None:
        return False
    own_origin = f"{request.scheme}://{request.get_host()}"
    return origin != own_origin and not is_trusted(origin)


def describe_source(request: HttpRequest) -> str:
    """The headers that is_cross_site() compares, for the log."""
    site, origin = request.META.get("HTTP_SEC_FETCH_SITE"), request.META.get("HTTP_ORIGIN")
    own_origin = f"{request.scheme}://{request.get_host()}"
    return f"Sec-Fetch-Site {site!r}, Origin {origin!r}, own origin {own_origin!r}"


def is_trusted(origin: str) -> bool:
    """Whether the origin is in CSRF_TRUSTED_ORIGINS, where https://*.example.org includes all subdomains."""
    scheme, _separator, host = origin.partition("://")
    trusted = (each.partition("://") for each in settings.CSRF_TRUSTED_ORIGINS)
    return any(
        scheme == trusted_scheme and is_same_domain(host, name.removeprefix("*"))
        for trusted_scheme, _separator, name in trusted
    )
