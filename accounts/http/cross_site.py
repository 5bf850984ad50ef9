"""Cross-site requests: which browsers name by Fetch Metadata or by Origin."""

from django.conf import settings
from django.http import HttpRequest
from django.utils.http import is_same_domain


def is_cross_site(request: HttpRequest) -> bool:
    """
    SameSite keeps cookies from other sites only: to a sibling domain or another port they go along. Browsers say so
    (Fetch Metadata); those that do not yet name the origin, at least where the foreign page could read the answer.
    """
    # Not from request.headers, which takes in all of them first: this is asked of every call by cookie.
    if site := request.META.get("HTTP_SEC_FETCH_SITE"):
        return site not in ("same-origin", "none")
    origin = request.META.get("HTTP_ORIGIN")
    if origin is None:
        return False
    own = f"{request.scheme}://{request.get_host()}"
    return origin != own and not is_trusted(origin)


def source_of(request: HttpRequest) -> str:
    """What is_cross_site() went by, for the log."""
    site, origin = request.META.get("HTTP_SEC_FETCH_SITE"), request.META.get("HTTP_ORIGIN")
    own = f"{request.scheme}://{request.get_host()}"
    return f"Sec-Fetch-Site {site!r}, Origin {origin!r}, own origin {own!r}"


def is_trusted(origin: str) -> bool:
    """Whether it is one of CSRF_TRUSTED_ORIGINS, where https://*.example.org stands for all below that name."""
    scheme, _separator, host = origin.partition("://")
    trusted = (each.partition("://") for each in settings.CSRF_TRUSTED_ORIGINS)
    return any(scheme == own and is_same_domain(host, name.removeprefix("*")) for own, _separator, name in trusted)
