"""Bodies that come slowly, or not at all: a request's time covers them too."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import slow_grpc
import wire
from at_work import SHORT_REQUEST
from servers import RunningServer

pytestmark = pytest.mark.server

StartServer = Callable[..., AbstractContextManager[RunningServer]]
BODY = json.dumps(SHORT_REQUEST).encode()


@pytest.mark.parametrize("path", [wire.V1, wire.V2, "/predict", "/api/v1/predict"])
@pytest.mark.parametrize(
    ("pause", "headers"),
    [(0.1, {}), (0.1, {"transfer-encoding": "chunked"}), (30, {})],
    ids=["slow", "chunked", "none"],
)
def test_a_body_that_takes_too_long(
    server: RunningServer, path: str, pause: float, headers: dict[str, str]
) -> None:
    """The caller's time ends it, and the connection with it."""
    started = time.monotonic()

    reply = wire.post_slowly(server, path, BODY, pause, {"x-request-timeout": "0.5", **headers})

    assert time.monotonic() - started < 3
    assert (reply.status, reply.body["code"]) == (504, "deadline_exceeded")
    assert reply.error == (
        "the body was not read to its end within 0.5 s; send it faster, or allow more time"
    )
    assert reply.body["request_id"] == reply.headers["x-request-id"] == reply.asked_id
    assert reply.headers["connection"] == "close"
    [line] = [one for one in server.log_lines() if one.get("request_id") == reply.asked_id]
    assert (line["status"], line["error"]) == (504, "deadline_exceeded")


def test_the_servers_time_ends_a_body_too(start_server: StartServer, tiny_bert: Path) -> None:
    """Of a caller who gives no time."""
    settings = {"request_timeout_seconds": 1}
    with start_server("--model", str(tiny_bert), settings=settings) as server:
        reply = wire.post_slowly(server, wire.V1, BODY, 0.1)

    assert reply.status == 504
    assert reply.error.startswith("the body was not read to its end within 1 s; ")


@pytest.mark.parametrize("headers", [{}, {"transfer-encoding": "chunked"}], ids=str)
def test_a_slow_body_in_time_is_answered(server: RunningServer, headers: dict[str, str]) -> None:
    """As one that comes at once."""
    slow = wire.post_slowly(server, wire.V1, BODY, 0.01, headers)

    assert slow.ok
    assert slow.entities() == wire.post(server, wire.V1, SHORT_REQUEST).entities()


def test_a_bodys_time_ends_in_the_drain_too(start_server: StartServer, tiny_bert: Path) -> None:
    """It is not waited for to the drain's end."""
    with start_server("--model", str(tiny_bert)) as server, ThreadPoolExecutor(1) as pool:
        late = pool.submit(
            wire.post_slowly, server, wire.V1, b" " * 600, 0.1, {"x-request-timeout": "2"}
        )
        time.sleep(0.3)
        started = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        code = server.process.wait(20)
        took = time.monotonic() - started

    assert late.result().status == 504
    assert code == 0
    assert 1 < took < 4


def test_grpc_ends_a_slow_message_by_its_deadline(server: RunningServer) -> None:
    """The library does, before our code sees a call."""
    started = time.monotonic()

    with slow_grpc.half_sent(server, grpc_timeout="1S") as connection:
        status = slow_grpc.status(connection)

    assert status == "DEADLINE_EXCEEDED"
    assert 0.9 < time.monotonic() - started < 4


def test_the_drain_ends_a_slow_message(start_server: StartServer, tiny_bert: Path) -> None:
    """Of a caller with no deadline."""
    settings = {"drain_seconds": 2}
    with (
        start_server("--model", str(tiny_bert), settings=settings) as server,
        slow_grpc.half_sent(server) as connection,
    ):
        time.sleep(0.3)
        started = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        status = slow_grpc.status(connection)
        code = server.process.wait(20)
        took = time.monotonic() - started

    assert (status, code) == ("UNAVAILABLE", 0)
    assert 1.9 < took < 4.5
