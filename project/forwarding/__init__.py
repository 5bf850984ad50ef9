"""Sends security events to another system: by syslog, OTLP, or a file (`manage.py forward_events`)."""
