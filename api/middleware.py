"""Middleware of the API."""

from corsheaders import middleware as cors
from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase

from accounts.http import cross_site, headers
from accounts.http.layers import RequestLayer


class CorsMiddleware(cors.CorsMiddleware):
    """
    As that of django-cors-headers, without its work for requests that have no Origin: they get `Vary: origin`. Apps of
    APP_ORIGINS may also send the session cookie to the API, and read the responses.
    """

    def check_preflight(self, request: HttpRequest) -> HttpResponseBase | None:
        return super().check_preflight(request) if request.method == "OPTIONS" else None

    def add_response_headers(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if "HTTP_ORIGIN" in request.META:
            response = super().add_response_headers(request, response)
            if _is_call_of_app(request):
                response["Access-Control-Allow-Credentials"] = "true"
            return response
        if self.is_enabled(request):
            headers.add_vary(response, "origin")
        return response

    def check_signal(self, request: HttpRequest) -> bool:
        """Whether an origin is allowed that is not in CORS_ALLOWED_ORIGINS."""
        return _is_call_of_app(request) or super().check_signal(request)


def _is_call_of_app(request: HttpRequest) -> bool:
    return request.path_info.startswith("/api/") and cross_site.is_app(request.META.get("HTTP_ORIGIN"))


class HttpsOnlyMiddleware(RequestLayer):
    """Refuses HTTP requests to the API. A redirect would hide that the token was sent unencrypted (ASVS 4.1.2)."""

    def process_request(self, request: HttpRequest) -> JsonResponse | None:
        if not request.path.startswith("/api/") or request.is_secure() or not settings.SECURE_SSL_REDIRECT:
            return None
        response = JsonResponse({"detail": "Use HTTPS.", "code": "https_required"}, status=403)
        # For accounts.refusals.
        response.refusal_code = "https_required"  # type: ignore[attr-defined]
        return response
