"""Middleware for request bodies without a Content-Length: chunked (HTTP/1.1) or over HTTP/2."""

import logging
import os
import re
from io import BytesIO

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse

from accounts.http import uploads
from accounts.http.layers import RequestLayer
from api.parsers import MAX_BODY_BYTES
from project import error_pages

logger = logging.getLogger(__name__)

LENGTH = re.compile(r"[0-9]{1,18}")
METHODS_WITHOUT_BODY = ("GET", "HEAD", "OPTIONS", "TRACE")


class ChunkedBodyMiddleware(RequestLayer):
    """
    Sets a Content-Length and a stream that ends; without them Django and Django REST framework read no body. The size
    limits of the views apply. If the application server does not mark the end of the body, the client gets 411.
    """

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        coding = request.META.get("HTTP_TRANSFER_ENCODING", "")
        length = request.META.get("CONTENT_LENGTH", "")
        if length and not LENGTH.fullmatch(length):
            return error_pages.bad_request(request)
        if request.method in METHODS_WITHOUT_BODY or (length and not coding):
            return None
        # RFC 9112, section 6.3: with both headers the end of the body is ambiguous. Compression is not supported.
        if coding and (length or coding.strip(" \t").lower() != "chunked"):
            return error_pages.bad_request(request)
        if isinstance(request, ASGIRequest):
            return self._measure(request)
        if request.META.get("wsgi.input_terminated"):
            return self._read(request)
        return error_pages.length_required(request) if coding else None

    def _measure(self, request: ASGIRequest) -> HttpResponse | None:
        """Under ASGI, Django has already read the body into a file."""
        size = request._stream.seek(0, os.SEEK_END)
        request._stream.seek(0)
        return self._accept(request, size)

    def _read(self, request: HttpRequest) -> HttpResponse | None:
        try:
            body = request.META["wsgi.input"].read(_limit(request) + 1)
        except Exception as error:
            # Each server has its own exceptions for a body that is incomplete or has invalid chunks.
            logger.info("A request body could not be read: %s", type(error).__name__)
            return error_pages.bad_request(request)
        # Django's own stream ends after the Content-Length, which was 0; no public API replaces it.
        request._stream = BytesIO(body)
        return self._accept(request, len(body))

    def _accept(self, request: HttpRequest, size: int) -> HttpResponse | None:
        if size > _limit(request):
            return error_pages.too_large(request)
        request.META["CONTENT_LENGTH"] = str(size)
        request.META.pop("HTTP_TRANSFER_ENCODING", None)
        return None


def _limit(request: HttpRequest) -> int:
    """In bytes."""
    if (declared := uploads.max_bytes_at(request.path_info)) is not None:
        return declared
    if request.path_info.startswith("/api/"):
        return MAX_BODY_BYTES
    return settings.DATA_UPLOAD_MAX_MEMORY_SIZE or MAX_BODY_BYTES
