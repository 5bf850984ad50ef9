"""Middleware of the whole site: the language of an answer, and the pages for 405 and 429."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.middleware.locale import LocaleMiddleware
from django.utils import translation
from django.utils.deprecation import MiddlewareMixin

from accounts.locks import Locked
from project import error_pages


class TooManyRequestsMiddleware(MiddlewareMixin):
    """A page that was refused after too many tries, or while too many passwords are being hashed, is a 429."""

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        return error_pages.too_many_requests(request, exception.seconds) if isinstance(exception, Locked) else None


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
        return error_pages.method_not_allowed(request, response["Allow"])
