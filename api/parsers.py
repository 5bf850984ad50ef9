"""Parsers of request bodies: JSON and forms, with limits of size and one meaning per body."""

from typing import IO, Any
from urllib.parse import parse_qsl

from django.utils.http import parse_header_parameters
from rest_framework import status
from rest_framework.exceptions import APIException, ParseError, UnsupportedMediaType
from rest_framework.parsers import BaseParser

from api import strict_json

MAX_BODY_BYTES = 1_500_000
# Forms contain a token of at most 4 kB and a hint.
MAX_FORM_BYTES = 64_000
MAX_FORM_FIELDS = 20


class TooLarge(APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = "The request body is too large."
    default_code = "too_large"


class StrictJSONParser(BaseParser):
    media_type = "application/json"
    max_bytes = MAX_BODY_BYTES

    def parse(self, stream: IO[bytes], media_type: str | None = None, parser_context: Any = None) -> Any:
        """Raises ParseError, TooLarge (over `max_bytes`) or UnsupportedMediaType (compressed, or not UTF-8)."""
        body = _read(stream, media_type or "", parser_context, self.max_bytes)
        try:
            return strict_json.loads(body)
        except ValueError as error:
            raise ParseError("The request body is not valid JSON.") from error


class StrictFormParser(BaseParser):
    """Parses forms, for the endpoints whose RFC requires one."""

    media_type = "application/x-www-form-urlencoded"

    def parse(self, stream: IO[bytes], media_type: str | None = None, parser_context: Any = None) -> dict[str, str]:
        """Raises ParseError (also for a repeated field: RFC 6749, section 3.2), TooLarge or UnsupportedMediaType."""
        body = _read(stream, media_type or "", parser_context, MAX_FORM_BYTES)
        try:
            pairs = parse_qsl(
                body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FORM_FIELDS
            )
        except ValueError as error:
            raise ParseError("The request body is not a valid form.") from error
        fields = dict(pairs)
        if len(fields) < len(pairs):
            raise ParseError("A field is given twice.")
        return fields


def _read(stream: IO[bytes], media_type: str, context: Any, max_bytes: int) -> bytes:
    if context["request"].headers.get("Content-Encoding", "identity").lower() != "identity":
        # Bodies are not decompressed here, and a proxy might read a compressed one differently.
        raise UnsupportedMediaType(media_type)
    _, parameters = parse_header_parameters(media_type)
    if parameters.get("charset", "utf-8").lower() not in ("utf-8", "utf8"):
        raise UnsupportedMediaType(media_type)
    body = stream.read(max_bytes + 1)
    if len(body) > max_bytes:
        raise TooLarge
    return body
