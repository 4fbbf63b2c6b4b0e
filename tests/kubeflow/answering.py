"""What the handlers of the test servers share."""

from __future__ import annotations

import http.server


class AnsweringHandler(http.server.BaseHTTPRequestHandler):
    """Sends an answer with its length, so that the connection stays."""

    def send(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
