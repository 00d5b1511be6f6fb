"""The tests' Kubernetes API on a socket."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from kubernetes_answers import Fault, status
from kubernetes_api import KubernetesApi
from typed_objects import models


@contextmanager
def running(namespace: str = "gliner") -> Iterator[KubernetesApi]:
    """Serve one on a port of its own."""
    api = KubernetesApi(namespace)
    models()  # takes seconds the first time, in which a client would time out

    class Handler(_Handler):
        served = api

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    api.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body are two packets, of which the second would wait for 40 ms.
    disable_nagle_algorithm = True
    served: KubernetesApi

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        api = self.served
        api.requests.append((self.command, self.path))
        fault = next((one for one in api.faults if one.strikes(self.command, self.path)), Fault())
        time.sleep(fault.seconds)
        if fault.cut == "before":
            self._cut()
            return
        if fault.status:
            code = fault.status
            answer = status(code, fault.reason, fault.reason or "told to fail")
        else:
            code, answer = api.answer(self.command, self.path, self.headers, body)
        if fault.cut == "after":
            self._cut()
            return
        content = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, value in fault.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815  their names are given

    def _cut(self) -> None:
        # With no lingering, the other side sees a reset.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  its name is given
        """Nothing on the terminal."""
