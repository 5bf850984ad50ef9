"""Template filters of the page that compares both modes."""

from datetime import UTC, datetime

from django import template

register = template.Library()


@register.filter
def from_timestamp(seconds: int) -> datetime:
    """The time of a claim, in seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC)
