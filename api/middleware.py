from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.middleware.locale import LocaleMiddleware
from django.utils import translation
from django.utils.deprecation import MiddlewareMixin

from accounts.rate_limits import TooManyAttempts
from api import errors


class HttpsOnlyMiddleware(MiddlewareMixin):
    """The API does not redirect to HTTPS, it refuses: by then the token has crossed the wire (ASVS 4.1.2)."""

    def process_request(self, request: HttpRequest) -> JsonResponse | None:
        if not settings.SECURE_SSL_REDIRECT or request.is_secure() or not request.path.startswith("/api/"):
            return None
        return JsonResponse({"detail": "Use HTTPS.", "code": "https_required"}, status=403)


class LockedMiddleware(MiddlewareMixin):
    """A page that was refused after too many tries, or while too many passwords are being hashed, is a 429."""

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        return errors.too_many_requests(request, exception.seconds) if isinstance(exception, TooManyAttempts) else None


class LanguageMiddleware(LocaleMiddleware):
    """Pages and mails speak the language of whoever asks; the API's answers are for programs, and stay as they are."""

    def process_request(self, request: HttpRequest) -> None:
        super().process_request(request)
        if request.path.startswith("/api/"):
            translation.activate(settings.LANGUAGE_CODE)


class NotAllowedMiddleware(MiddlewareMixin):
    """Django answers 405 without a word; API views write their own answer."""

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        if not isinstance(response, HttpResponseNotAllowed):
            return response
        return errors.method_not_allowed(request, response["Allow"])
