from django.apps import AppConfig


class ApiConfig(AppConfig):
    name = "api"

    def ready(self) -> None:
        from accounts.models import SecurityEvent
        from accounts.signals import events_recorded
        from api import metrics

        # Each from the start on, so that the first one is an increase.
        for type in SecurityEvent.Type.values:
            metrics.events.labels(type)
        for outcome in ("rotated", "refused"):
            metrics.refreshes.labels(outcome)
        events_recorded.connect(metrics.count_events)
