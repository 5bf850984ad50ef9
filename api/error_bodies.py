"""The JSON of an error: `detail` is a text and `code` a word, whatever the exception was made with."""

from collections.abc import Iterator, Mapping
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404
from rest_framework import exceptions

INVALID = {"detail": "The input is not valid.", "code": "invalid"}


def as_api_exception(exc: Exception) -> Exception:
    """Django's own refusals may have any arguments: what is no text is left out. DRF passes on all of them."""
    if isinstance(exc, Http404):
        return exceptions.NotFound(_text_in(exc.args))
    if isinstance(exc, PermissionDenied):
        return exceptions.PermissionDenied(_text_in(exc.args))
    return exc


def _text_in(args: tuple[Any, ...]) -> str | None:
    """Of an exception raised with one message, or with a list of them; None leads to the default."""
    return " ".join(_texts(args)) or None


def body_of(exc: Exception, data: Any) -> dict[str, Any]:
    """`data` is what DRF makes of the exception's detail: a mapping, or a list."""
    if isinstance(exc, exceptions.ValidationError):
        fields = data if isinstance(data, dict) else {"non_field_errors": data}
        return {**fields, **INVALID}
    body = dict(data) if isinstance(data, Mapping) else {}
    detail = body.get("detail", data)
    if not isinstance(body.get("code"), str):
        body["code"] = next(_codes(detail), None) or getattr(exc, "default_code", "error")
    if not isinstance(body.get("detail"), str):
        body["detail"] = " ".join(_texts(detail)) or str(getattr(exc, "default_detail", ""))
    return body


def _texts(detail: Any) -> Iterator[str]:
    for each in _leaves(detail):
        if text := str(each):
            yield text


def _codes(detail: Any) -> Iterator[str]:
    for each in _leaves(detail):
        if code := getattr(each, "code", None):
            yield str(code)


def _leaves(detail: Any) -> Iterator[Any]:
    """Of nested lists and mappings. A lazy text is one leaf, though it can be iterated over."""
    if isinstance(detail, Mapping):
        detail = list(detail.values())
    if isinstance(detail, list | tuple | set | frozenset):
        for each in detail:
            yield from _leaves(each)
    elif detail is not None:
        yield detail
