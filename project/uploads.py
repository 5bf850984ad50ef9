"""Middleware for requests with files: the size limit of each view."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from accounts.http import uploads
from accounts.http.layers import Layer
from project import error_pages


class UploadMiddleware(Layer):
    """
    Refuses a body that is larger than its view accepts with 413, before it is read. Comes after ChunkedBodyMiddleware,
    which sets the length, and before CsrfViewMiddleware, which reads the form.
    """

    def process_view(
        self, request: HttpRequest, view: Callable[..., HttpResponse], args: object, kwargs: object
    ) -> HttpResponse | None:
        if not request.META.get("CONTENT_LENGTH"):
            return None
        max_bytes = uploads.max_bytes_of(view)
        if uploads.is_too_large(request, max_bytes):
            return error_pages.too_large(request)
        if max_bytes is not None:
            uploads.store_large_files(request)
        return None
