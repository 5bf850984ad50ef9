"""Middleware of the whole site: the language of an answer, and the pages for 405 and 429."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.middleware.locale import LocaleMiddleware
from django.utils import translation
from django.utils.deprecation import MiddlewareMixin

from accounts.rate_limits import TooManyAttempts
from project import error_pages


class TooManyRequestsMiddleware(MiddlewareMixin):
    """Turns the error for too many attempts, or too many password hashes at once, into a page with status 429."""

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        return (
            error_pages.too_many_requests(request, exception.seconds)
            if isinstance(exception, TooManyAttempts)
            else None
        )


class LanguageMiddleware(LocaleMiddleware):
    """Pages and mails are in the language of the request; responses of the API are always in English."""

    def process_request(self, request: HttpRequest) -> None:
        super().process_request(request)
        if request.path.startswith("/api/"):
            translation.activate(settings.LANGUAGE_CODE)


class NotAllowedMiddleware(MiddlewareMixin):
    """Adds an error page to Django's empty 405 responses; API views have their own."""

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        if not isinstance(response, HttpResponseNotAllowed):
            return response
        return error_pages.method_not_allowed(request, response["Allow"])
