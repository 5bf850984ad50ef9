"""Traces of requests (OpenTelemetry). Nothing here is imported while TRACES_URL is not set."""
