"""Middleware of the API."""

from corsheaders import middleware as cors
from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase

from accounts.http import headers
from accounts.http.layers import RequestLayer


class CorsMiddleware(cors.CorsMiddleware):
    """As that of django-cors-headers, without its work for requests that have no Origin: they get `Vary: origin`."""

    def check_preflight(self, request: HttpRequest) -> HttpResponseBase | None:
        return super().check_preflight(request) if request.method == "OPTIONS" else None

    def add_response_headers(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if "HTTP_ORIGIN" in request.META:
            return super().add_response_headers(request, response)
        if self.is_enabled(request):
            headers.add_vary(response, "origin")
        return response


class HttpsOnlyMiddleware(RequestLayer):
    """Refuses HTTP requests to the API. A redirect would hide that the token was sent unencrypted (ASVS 4.1.2)."""

    def process_request(self, request: HttpRequest) -> JsonResponse | None:
        if not request.path.startswith("/api/") or request.is_secure() or not settings.SECURE_SSL_REDIRECT:
            return None
        return JsonResponse({"detail": "Use HTTPS.", "code": "https_required"}, status=403)
