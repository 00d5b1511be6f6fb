"""A way to a server that breaks when a test wants it to."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit


class CuttingProxy:
    """Passes bytes on to a server until so many have gone there; then every connection breaks.

    Attributes:
        left: how many may still go.
    """

    def __init__(self, url: str) -> None:
        self.left: float = float("inf")
        self._target = urlsplit(url).hostname or "", urlsplit(url).port or 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def down_for(self, seconds: float) -> None:
        """Break now, and pass on again after a while."""
        self.left = 0
        again = threading.Timer(seconds, self.up)
        again.daemon = True
        again.start()

    def up(self) -> None:
        """Pass everything on from now on."""
        self.left = float("inf")

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._target)
            for source, sink, counts in ((client, server, True), (server, client, False)):
                threading.Thread(
                    target=self._pass, args=(source, sink, counts), daemon=True
                ).start()

    def _pass(self, source: socket.socket, sink: socket.socket, counts: bool) -> None:
        try:
            while data := source.recv(65536):
                if counts:
                    self.left -= len(data)
                if self.left < 0:
                    break
                sink.sendall(data)
        except OSError:
            pass
        for one in (source, sink):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                one.close()


@contextmanager
def to(url: str) -> Iterator[CuttingProxy]:
    """A proxy in front of a server."""
    proxy = CuttingProxy(url)
    try:
        yield proxy
    finally:
        proxy.close()
