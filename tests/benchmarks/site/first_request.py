"""Imports an application and sends one request to it: `python -m tests.benchmarks.site.first_request MODULE PATH`."""

import io
import sys
from importlib import import_module

ENVIRON = {
    "REQUEST_METHOD": "GET",
    "SERVER_NAME": "127.0.0.1",
    "SERVER_PORT": "443",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "REMOTE_ADDR": "127.0.0.1",
    "HTTP_HOST": "127.0.0.1",
    "HTTP_X_FORWARDED_PROTO": "https",
    "wsgi.url_scheme": "http",
}

application = import_module(sys.argv[1]).application
statuses: list[str] = []
response = application(
    ENVIRON | {"PATH_INFO": sys.argv[2], "wsgi.input": io.BytesIO()}, lambda status, headers: statuses.append(status)
)
response.close()
if statuses != ["200 OK"]:
    sys.exit(f"{statuses} instead of 200")
