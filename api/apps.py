"""The configuration of the app `api`."""

from django.apps import AppConfig
from django.core.signals import request_finished
from django.db.backends.signals import connection_created


class ApiConfig(AppConfig):
    name = "api"

    def ready(self) -> None:
        from accounts.models import SecurityEvent
        from accounts.signals import events_recorded, request_refused
        from api import metrics
        from api.outages import database_outages

        # Each label is exported from the start, so that Prometheus sees the first event as an increase.
        for type in SecurityEvent.Type.values:
            metrics.events.labels(type)
        for outcome in ("rotated", "refused"):
            metrics.refreshes.labels(outcome)
        events_recorded.connect(metrics.count_events)
        # Most changes are recorded as events.
        events_recorded.connect(database_outages.note_write)
        connection_created.connect(database_outages.note_connection)
        request_finished.connect(database_outages.note_request)
        request_refused.connect(metrics.count_refusal)
