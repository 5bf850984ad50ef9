"""The configuration of the app `api`."""

from django.apps import AppConfig


class ApiConfig(AppConfig):
    name = "api"

    def ready(self) -> None:
        from accounts.models import SecurityEvent
        from accounts.signals import events_recorded, request_refused
        from api import metrics

        # Each label is exported from the start, so that Prometheus sees the first event as an increase.
        for type in SecurityEvent.Type.values:
            metrics.events.labels(type)
        for outcome in ("rotated", "refused"):
            metrics.refreshes.labels(outcome)
        events_recorded.connect(metrics.count_events)
        request_refused.connect(metrics.count_refusal)
