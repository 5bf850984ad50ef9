"""Security headers: Content Security Policy, Permissions Policy and Clear-Site-Data."""

from collections.abc import Callable, Sequence
from functools import wraps

from django.conf import settings
from django.http.response import HttpResponseBase

# At sign-out the browser clears pages that its "back" button would show. Not the cookies: the header would also delete
# those of sibling domains and the one of known browsers, and the session is revoked anyway.
CLEAR_SITE_DATA = '"cache"'


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
