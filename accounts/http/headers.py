"""What a page may load and do (Content Security Policy), and which features of the browser it gives up."""

from collections.abc import Callable, Sequence
from functools import wraps

from django.conf import settings
from django.http.response import HttpResponseBase

# What a browser forgets on signing out: pages that "back" would show. Not its cookies: the session's opens nothing any
# more, and the header would take those of sibling domains along, and the one by which strangers lock nobody out.
CLEAR_SITE_DATA = '"cache"'


def content_security_policy(**changes: Sequence[str]) -> str:
    """SECURE_CSP as a header; `img_src=["'self'", "data:"]` adds or replaces one directive."""
    directives = settings.SECURE_CSP | {name.replace("_", "-"): sources for name, sources in changes.items()}
    return "; ".join(f"{name} {' '.join(sources)}" for name, sources in directives.items())


def permissions_policy() -> str:
    return ", ".join(f"{feature}=({' '.join(who)})" for feature, who in settings.PERMISSIONS_POLICY.items())


def with_policy(
    **changes: Sequence[str],
) -> Callable[[Callable[..., HttpResponseBase]], Callable[..., HttpResponseBase]]:
    """Decorates a view whose page needs more than SECURE_CSP allows."""

    def decorate(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
        @wraps(view)
        def wrapper(*args: object, **kwargs: object) -> HttpResponseBase:
            response = view(*args, **kwargs)
            response.headers["Content-Security-Policy"] = content_security_policy(**changes)
            return response

        return wrapper

    return decorate
