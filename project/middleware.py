"""Middleware of the whole site: the language of an answer, messages, and the pages for 405 and 429."""

from collections.abc import Awaitable
from functools import lru_cache

from django.conf import settings
from django.contrib.messages import middleware as messages
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.http.response import HttpResponseBase
from django.utils import translation

from accounts.http import headers
from accounts.http.layers import Layer, ResponseLayer, TwoWayLayer
from accounts.rate_limits import TooManyAttempts
from project import error_pages

API = "/api/"
# Of the cookie and the header together. Longer ones, which no browser sends, are not remembered.
MAX_LANGUAGE_LENGTH = 256


class TooManyRequestsMiddleware(Layer):
    """Turns the error for too many attempts, or too many password hashes at once, into a page with status 429."""

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        return (
            error_pages.too_many_requests(request, exception.seconds)
            if isinstance(exception, TooManyAttempts)
            else None
        )


class LanguageMiddleware(TwoWayLayer):
    """
    Pages and mails are in the language of the request; responses of the API are always in English. In place of Django's
    LocaleMiddleware, which has more work for URLs with a language (i18n_patterns); this project has none.
    """

    def process_request(self, request: HttpRequest) -> None:
        language = _language(request)
        # For mails (accounts.http.request_context), even if the response is in English.
        request.LANGUAGE_CODE = language
        translation.activate(settings.LANGUAGE_CODE if request.path.startswith(API) else language)

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        headers.add_vary(response, "Accept-Language")
        active = settings.LANGUAGE_CODE if request.path.startswith(API) else translation.get_language()
        _content_language(active).set(response)
        return response


def _language(request: HttpRequest) -> str:
    cookie = request.COOKIES.get(settings.LANGUAGE_COOKIE_NAME, "")
    accepted = request.META.get("HTTP_ACCEPT_LANGUAGE", "")
    if len(cookie) + len(accepted) > MAX_LANGUAGE_LENGTH:
        return translation.get_language_from_request(request)
    return _remembered_language(cookie, accepted)


@lru_cache(maxsize=1024)
def _remembered_language(cookie: str, accepted: str) -> str:
    request = HttpRequest()
    request.COOKIES[settings.LANGUAGE_COOKIE_NAME] = cookie
    request.META["HTTP_ACCEPT_LANGUAGE"] = accepted
    return translation.get_language_from_request(request)


@lru_cache(maxsize=16)
def _content_language(language: str) -> headers.DefaultHeaders:
    return headers.DefaultHeaders({"Content-Language": language})


class MessageMiddleware(messages.MessageMiddleware):
    """As Django's, for pages only: the API has no messages."""

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        return self.get_response(request) if request.path.startswith(API) else super().__call__(request)


class NotAllowedMiddleware(ResponseLayer):
    """Adds an error page to Django's empty 405 responses; API views have their own."""

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        if not isinstance(response, HttpResponseNotAllowed):
            return response
        return error_pages.method_not_allowed(request, response["Allow"])
