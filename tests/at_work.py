"""Predictions that keep a server busy."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import wire
from servers import RunningServer
from wire import Reply

LONG = "Ada Lovelace met Charles Babbage in London and wrote the first program . " * 1600
"""About 20,000 words."""
ASKED: dict[str, Any] = {"labels": ["person"], "threshold": 0.9}
LONG_REQUEST: dict[str, Any] = {"instances": [LONG], "parameters": ASKED}
ENDLESS_REQUEST: dict[str, Any] = {**LONG_REQUEST, "instances": [LONG] * 12}
SHORT_REQUEST: dict[str, Any] = {"instances": ["Ada"], "parameters": {"labels": ["person"]}}


def pending(server: RunningServer) -> float:
    """Requests that the server has in its queue."""
    for line in server.http.get("/metrics").text.splitlines():
        if line.startswith("gliner_pending_requests "):
            return float(line.split()[1])
    raise AssertionError("no gliner_pending_requests in /metrics")


def wait_until_at_work(server: RunningServer, *requests: Future[Reply]) -> None:
    """Wait until the server has these in its queue, or one of them is answered."""
    deadline = time.monotonic() + 30
    while pending(server) < len(requests) and not any(one.done() for one in requests):
        assert time.monotonic() < deadline, "they never came"
        time.sleep(0.01)


@contextmanager
def long_request(
    server: RunningServer, payload: Any = LONG_REQUEST, headers: Mapping[str, str] | None = None
) -> Iterator[Future[Reply]]:
    """A request that is at work in the server."""
    with ThreadPoolExecutor(1) as pool:
        request = pool.submit(wire.post, server, wire.V1, payload, headers)
        wait_until_at_work(server, request)
        yield request
