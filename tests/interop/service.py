"""A service without Django, whose module `trust` is the Python code of api/README.md."""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
import trust  # type: ignore[import-not-found]


class Reports(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        _scheme, _separator, token = self.headers.get("Authorization", "").partition(" ")
        try:
            status, body = 200, f"The reports of {trust.claims_of(token)['sub']}"
        except (jwt.PyJWTError, KeyError, OSError) as error:
            status, body = 401, str(error)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *words: object) -> None:
        pass


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Reports).serve_forever()
