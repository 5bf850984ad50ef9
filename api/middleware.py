"""Middleware of the API."""

from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.utils.deprecation import MiddlewareMixin


class HttpsOnlyMiddleware(MiddlewareMixin):
    """Refuses HTTP requests to the API. A redirect would hide that the token was sent unencrypted (ASVS 4.1.2)."""

    def process_request(self, request: HttpRequest) -> JsonResponse | None:
        if not settings.SECURE_SSL_REDIRECT or request.is_secure() or not request.path.startswith("/api/"):
            return None
        return JsonResponse({"detail": "Use HTTPS.", "code": "https_required"}, status=403)
