#!/usr/bin/env python3
"""Where the messages go: takes those that are signed with the right key, and writes each one down, doubled ones too.

    POST /messages   "DEPLOYMENT NUMBER NODE", signed in X-Signature: 201; 403 for a signature that is none
    GET /messages    all of them, one a line, in the order in which they came

Arguments: address, port, the key's file, the file they are written to. It prints where it listens.
"""

import hashlib
import hmac
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def main(address: str, port: str, key_file: str, book_file: str) -> None:
    """Serve until killed."""
    key, book, writing = Path(key_file).read_bytes(), Path(book_file), threading.Lock()
    book.touch()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            said = self.rfile.read(int(self.headers["Content-Length"]))
            signature = hmac.new(key, said, hashlib.sha256).hexdigest()
            if not hmac.compare_digest(signature, self.headers.get("X-Signature", "")):
                self._answer(403)
                return
            with writing, book.open("ab") as file:
                file.write(said + b"\n")
            self._answer(201)

        def do_GET(self) -> None:
            self._answer(200, book.read_bytes())

        def _answer(self, status: int, body: bytes = b"") -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """No line per request."""

    server = ThreadingHTTPServer((address, int(port)), Handler)
    print(f"{address}:{server.server_port}")  # noqa: T201  # where it listens: port 0 is any
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
