"""Pagination of the lists of the API."""

import re
from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.pagination import PageNumberPagination
from rest_framework.request import Request
from rest_framework.views import APIView

WHOLE_NUMBER = re.compile(r"0*[1-9][0-9]*")


class StrictPageNumberPagination(PageNumberPagination):
    """DRF's pagination, which refuses an invalid page or page size instead of ignoring it."""

    page_size = 25
    page_size_query_param = "page_size"
    max_page_size = 100

    def get_page_size(self, request: Request) -> int:
        for name in (self.page_query_param, self.page_size_query_param):
            if len(request.query_params.getlist(name)) > 1:
                raise ValidationError({name: [_("Given more than once.")]})
        value = request.query_params.get(self.page_size_query_param)
        if value is None:
            return self.page_size
        if not WHOLE_NUMBER.fullmatch(value):
            raise ValidationError({self.page_size_query_param: [_("Not a whole number of at least 1.")]})
        return min(int(value), self.max_page_size)

    def get_page_number(self, request: Request, paginator: Any) -> Any:
        value = request.query_params.get(self.page_query_param, "1")
        if value not in self.last_page_strings and not WHOLE_NUMBER.fullmatch(value):
            raise NotFound(self.invalid_page_message.format(page_number=value, message=_("Not a page.")))
        return super().get_page_number(request, paginator)

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:
        number = {"type": "integer", "minimum": 1}
        return [
            {
                "name": self.page_query_param,
                "in": "query",
                "description": "The page: a number, or `last`.",
                "schema": {"anyOf": [number | {"default": 1}, {"type": "string", "const": "last"}]},
            },
            {
                "name": self.page_size_query_param,
                "in": "query",
                "description": f"The number of results per page; {self.max_page_size} for larger numbers.",
                "schema": number | {"default": self.page_size},
            },
        ]

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        url = {"type": ["string", "null"], "format": "uri"}
        properties = {
            "count": {"type": "integer", "minimum": 0, "description": "The number of results on all pages."},
            "next": url,
            "previous": url,
            "results": schema,
        }
        return {"type": "object", "properties": properties, "required": list(properties)}
