"""The template filter of the approximate place of an IP address."""

from django import template

from accounts import places

register = template.Library()
register.filter("place", places.of)
