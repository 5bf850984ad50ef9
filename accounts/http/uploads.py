"""The sizes of the files that views accept: a view without a size of its own accepts FILE_UPLOAD_MAX_MEMORY_SIZE."""

from collections.abc import Callable
from typing import Any, TypeVar

from django.conf import settings
from django.core.files.uploadhandler import MemoryFileUploadHandler, TemporaryFileUploadHandler
from django.http import HttpRequest
from django.urls import Resolver404, resolve

ATTRIBUTE = "max_upload_bytes"
ViewT = TypeVar("ViewT", bound=Callable[..., Any])


def accepts_uploads(max_bytes: int) -> Callable[[ViewT], ViewT]:
    """
    Decorates a view function whose requests may have a body of this size, files included. Class-based views, API views
    and ModelAdmin classes have the attribute `max_upload_bytes` instead.
    """

    def decorate(view: ViewT) -> ViewT:
        setattr(view, ATTRIBUTE, max_bytes)
        return view

    return decorate


def max_bytes_of(view: Callable[..., Any]) -> int | None:
    """The size that the view declares, in bytes; None if it declares none."""
    # The class of an API view, of a view of Django, and the ModelAdmin of a page of the admin.
    sources = (view, *(getattr(view, name, None) for name in ("cls", "view_class", "model_admin")))
    return next((size for source in sources if (size := getattr(source, ATTRIBUTE, None)) is not None), None)


def max_bytes_at(path: str) -> int | None:
    """As max_bytes_of(), for the view of a path; None without one."""
    try:
        return max_bytes_of(resolve(path).func)
    except Resolver404:
        return None


def is_too_large(request: HttpRequest, max_bytes: int | None) -> bool:
    """Whether the body is larger than the view accepts. Without a declared size, only forms with files are limited."""
    length = int(request.META.get("CONTENT_LENGTH") or 0)
    if max_bytes is not None:
        return length > max_bytes
    return request.content_type == "multipart/form-data" and length > settings.FILE_UPLOAD_MAX_MEMORY_SIZE


def store_large_files(request: HttpRequest) -> None:
    """Makes Django write files over FILE_UPLOAD_MAX_MEMORY_SIZE to a temporary folder, not to memory."""
    request.upload_handlers = [MemoryFileUploadHandler(request), TemporaryFileUploadHandler(request)]
