#!/usr/bin/python3
"""What visitors are told while Campus is closed, whatever they ask for."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAGE = b"<!doctype html><title>Campus</title><p>Campus is closed for maintenance.\n"


class Page(BaseHTTPRequestHandler):
    """Answers every request with 503, and says when it is worth coming back."""

    def do_GET(self) -> None:
        """Send the page."""
        self.send_response(503)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(PAGE)))
        self.send_header("Retry-After", "600")
        self.end_headers()
        self.wfile.write(PAGE)

    do_POST = do_GET  # noqa: N815  # as the library calls them


if __name__ == "__main__":
    ThreadingHTTPServer(("", 8081), Page).serve_forever()
