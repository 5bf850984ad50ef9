"""The configuration of the app."""

from django.apps import AppConfig


class CompareConfig(AppConfig):
    """The page that compares both modes. The settings install it only with DEMO."""

    name = "api.compare"
    label = "compare"
