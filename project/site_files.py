"""Files that browsers and crawlers ask for at fixed addresses."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.templatetags.static import static
from django.views.decorators.http import require_safe

# Crawlers may read the pages for visitors, and have nothing to find on the others.
ROBOTS = """User-agent: *
Disallow: /accounts/
Disallow: /admin/
Disallow: /api/
"""


@require_safe
def favicon(request: HttpRequest) -> HttpResponse:
    return redirect(static("accounts/favicon.svg"))


@require_safe
def robots(request: HttpRequest) -> HttpResponse:
    return HttpResponse(ROBOTS, content_type="text/plain; charset=utf-8")
