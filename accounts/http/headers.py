"""Headers of responses: security headers, those that a view has not set, and Vary."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, wraps

from django.conf import settings
from django.http import HttpResponse
from django.http.response import HttpResponseBase, ResponseHeaders
from django.utils.cache import patch_vary_headers

# At sign-out the browser clears pages that its "back" button would show. Not the cookies: the header would also delete
# those of sibling domains and the one of known browsers, and the session is revoked anyway.
CLEAR_SITE_DATA = '"cache"'


class DefaultHeaders:
    """
    Headers for responses whose view has not set them. They are encoded once, and written where Django's
    ResponseHeaders stores them (a private attribute): its setdefault() takes two microseconds for each header.
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        self.values = dict(values)
        self._encoded = tuple(ResponseHeaders(self.values)._store.items())

    def set(self, response: HttpResponseBase) -> None:
        stored = response.headers._store
        for key, header in self._encoded:
            if key not in stored:
                stored[key] = header

    def without(self, *names: str) -> "DefaultHeaders":
        return DefaultHeaders({name: value for name, value in self.values.items() if name not in names})


def security_headers() -> dict[str, str]:
    """The headers of all responses, by the settings of Django's SecurityMiddleware and those of this project."""
    headers = {
        "Content-Security-Policy": content_security_policy(),
        "Permissions-Policy": permissions_policy(),
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": settings.SECURE_CROSS_ORIGIN_OPENER_POLICY,
        "Referrer-Policy": settings.SECURE_REFERRER_POLICY,
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": settings.X_FRAME_OPTIONS,
        "Cache-Control": "no-store",
    }
    return {name: value for name, value in headers.items() if value}


def strict_transport_security() -> dict[str, str]:
    """The header for responses over HTTPS; browsers ignore it over HTTP (RFC 6797, section 7.2)."""
    if not settings.SECURE_HSTS_SECONDS:
        return {}
    subdomains = "; includeSubDomains" if settings.SECURE_HSTS_INCLUDE_SUBDOMAINS else ""
    preload = "; preload" if settings.SECURE_HSTS_PRELOAD else ""
    return {"Strict-Transport-Security": f"max-age={settings.SECURE_HSTS_SECONDS}{subdomains}{preload}"}


def content_security_policy(**changes: Sequence[str]) -> str:
    """The value of the header for SECURE_CSP. `img_src=["'self'", "data:"]` adds or replaces one directive."""
    directives = settings.SECURE_CSP | {name.replace("_", "-"): sources for name, sources in changes.items()}
    return "; ".join(f"{name} {' '.join(sources)}" for name, sources in directives.items())


def permissions_policy() -> str:
    """The value of the header for PERMISSIONS_POLICY."""
    return ", ".join(f"{feature}=({' '.join(origins)})" for feature, origins in settings.PERMISSIONS_POLICY.items())


def with_policy(
    **changes: Sequence[str],
) -> Callable[[Callable[..., HttpResponseBase]], Callable[..., HttpResponseBase]]:
    """Decorates a view whose page needs other directives than SECURE_CSP. Arguments as content_security_policy()."""

    def decorate(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
        @wraps(view)
        def wrapper(*args: object, **kwargs: object) -> HttpResponseBase:
            response = view(*args, **kwargs)
            response.headers["Content-Security-Policy"] = content_security_policy(**changes)
            return response

        return wrapper

    return decorate


def set_safe(response: HttpResponseBase, name: str, value: str) -> None:
    """Sets a header whose value is known to be printable ASCII. Writes as DefaultHeaders."""
    response.headers._store[name.lower()] = (name, value)


def add_vary(response: HttpResponseBase, name: str) -> None:
    """Adds a name to Vary as Django's patch_vary_headers() does, but remembers the result. Writes as DefaultHeaders."""
    stored = response.headers._store
    _name, vary = stored.get("vary", ("Vary", ""))
    stored["vary"] = _vary_with(vary, name)


@lru_cache(maxsize=256)
def _vary_with(vary: str, name: str) -> tuple[str, str]:
    response = HttpResponse(headers={"Vary": vary} if vary else {})
    patch_vary_headers(response, [name])
    return response.headers._store["vary"]
