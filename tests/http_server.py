"""An HTTP server of a test's own: the standard library's, on a port and a thread of its own."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Handler(BaseHTTPRequestHandler):
    """Answers with `serve`, keeps connections open, and does not mind clients that go away."""

    protocol_version = "HTTP/1.1"
    # Headers and body are two packets, of which the second would wait for 40 ms.
    disable_nagle_algorithm = True

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def serve(self) -> None:
        """Answer a request, whatever its method."""
        raise NotImplementedError

    def _serve(self) -> None:
        self.serve()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - the library's names

    def body(self) -> bytes:
        """What came with the request."""
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def send(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        """Answer, with JSON unless the body is text."""
        plain = isinstance(body, str)
        content = (body if plain else json.dumps(body)).encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "text/plain" if plain else "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def cut(self) -> None:
        """End the connection without an answer."""
        # With no lingering, the other side sees a reset.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""


@contextmanager
def serving(handler: type[Handler]) -> Iterator[str]:
    """Serve on this machine alone.

    Yields:
        Its address.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
