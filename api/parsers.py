from typing import IO, Any

from django.utils.http import parse_header_parameters
from rest_framework import status
from rest_framework.exceptions import APIException, ParseError, UnsupportedMediaType
from rest_framework.parsers import BaseParser

from api import strict_json

MAX_BYTES = 1_500_000


class TooLarge(APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = "The request body is too large."
    default_code = "too_large"


class StrictJSONParser(BaseParser):
    media_type = "application/json"

    def parse(self, stream: IO[bytes], media_type: str | None = None, parser_context: Any = None) -> Any:
        """Raises ParseError, TooLarge (over 1.5 MB) or UnsupportedMediaType (any charset but UTF-8)."""
        media_type = media_type or ""
        _, parameters = parse_header_parameters(media_type)
        if parameters.get("charset", "utf-8").lower() not in ("utf-8", "utf8"):
            raise UnsupportedMediaType(media_type)
        body = stream.read(MAX_BYTES + 1)
        if len(body) > MAX_BYTES:
            raise TooLarge
        try:
            return strict_json.loads(body)
        except ValueError as error:
            raise ParseError("The request body is not valid JSON.") from error
