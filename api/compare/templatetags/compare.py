from datetime import UTC, datetime

from django import template

register = template.Library()


@register.filter
def moment(seconds: int) -> datetime:
    """A token's time, in seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC)
