"""The caller who never stops counts every answer, by the version that gave it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pipeline.local import traffic


class Handler(BaseHTTPRequestHandler):
    """Answers twice with version 1, then with version 2, then refuses."""

    answers = iter(())

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        status, version = next(self.answers, (503, ""))
        self.send_response(status)
        if version:
            self.send_header("x-model-version", version)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(traffic, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(Handler, "answers", iter([(200, "1"), (200, "1"), (200, "2")]))
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_answers_are_counted_by_version(url: str) -> None:
    """Versions and failures each have their number, and the line says them."""
    with traffic.Traffic(url) as caller:
        until = time.monotonic() + 20
        while not caller.failed and time.monotonic() < until:
            time.sleep(0.01)

    assert caller.versions == {"1": 2, "2": 1}
    assert caller.failed >= 1
    assert str(caller).startswith(f"{3 + caller.failed} requests meanwhile, {caller.failed} failed")


def test_no_server_is_a_failure(url: str) -> None:
    """A refused connection counts as a failed request."""
    with traffic.Traffic("http://127.0.0.1:9") as caller:
        until = time.monotonic() + 20
        while not caller.failed and time.monotonic() < until:
            time.sleep(0.01)

    assert caller.failed
    assert not caller.versions
