"""From the signal to the exit: what is at work is finished, what comes is sent elsewhere."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest
import slow_grpc
import wire
from at_work import (
    ASKED,
    ENDLESS_REQUEST,
    LONG,
    SHORT_REQUEST,
    long_request,
    wait_until_at_work,
)
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from servers import RunningServer

pytestmark = pytest.mark.server

StartServer = Callable[..., AbstractContextManager[RunningServer]]


def test_drain(start_server: StartServer, tiny_bert: Path) -> None:
    """After SIGTERM what is at work is finished, what comes gets 503, and the exit code is 0."""
    with start_server("--model", str(tiny_bert)) as server:
        with long_request(server) as request:
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.1)
            refused = [
                wire.post(server, wire.V1, SHORT_REQUEST),
                wire.post(server, wire.V2, {"inputs": [wire.tensor("text", ["Ada"])]}),
                wire.post(server, "/predict", {"text": "Ada", "labels": "person"}),
                wire.call(server, wire.message(["Ada"], parameters={"labels": ["person"]})),
            ]
            probes = [
                wire.http(server, "GET", path).status
                for path in ("/v2/models/gliner/ready", "/v1/models/gliner", "/v2/health/ready")
            ]
            ready = wire.call(server, pb.ModelReadyRequest(name="gliner"), "ModelReady")
            live = wire.http(server, "GET", "/v2/health/live")
            at_work = not request.done()
            finished = request.result()

        assert at_work
        assert finished.ok
        assert [one.status for one in refused] == [503, 503, 503, "UNAVAILABLE"]
        assert len({one.error for one in refused}) == 1
        assert {one.headers["retry-after"] for one in refused} == {"1"}
        assert probes == [503, 503, 503]
        assert ready.ok
        assert not ready.body.ready
        assert live.ok
        assert live.headers["connection"] == "close"
        assert server.process.wait(10) == 0


def test_what_is_left_at_the_end_of_the_drain(start_server: StartServer, tiny_bert: Path) -> None:
    """It is told so in our form over each protocol, also where its body is still on its way."""
    texts = [LONG] * 12
    v2 = {"inputs": [wire.tensor("text", texts)], "parameters": {"labels": '["person"]'}}
    bounds = {"drain_seconds": 1.5, "max_queue_seconds": 3600}
    with (
        start_server("--model", str(tiny_bert), settings=bounds) as server,
        ThreadPoolExecutor(4) as pool,
    ):
        late = pool.submit(wire.post_slowly, server, wire.V1, b" " * 600, 0.1)
        work = [
            pool.submit(wire.post, server, wire.V1, ENDLESS_REQUEST),
            pool.submit(wire.post, server, wire.V2, v2),
            pool.submit(wire.call, server, wire.message(texts, parameters=ASKED)),
        ]
        wait_until_at_work(server, *work)
        started = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        replies = [one.result() for one in (*work, late)]
        code = server.process.wait(10)
        took = time.monotonic() - started
        lines = {line.get("request_id"): line for line in server.log_lines()}

    assert [one.status for one in replies] == [503, 503, "UNAVAILABLE", 503]
    for one in replies:
        assert one.error == "the server is stopping; send this to another replica"
        assert one.headers["retry-after"] == "1"
        assert one.headers["x-request-id"] == one.asked_id
        assert lines[one.asked_id]["status"] == one.status
        assert lines[one.asked_id]["error"] == "not_serving"
        if one.status == 503:
            assert one.body["code"] == "not_serving"
            assert one.headers["connection"] == "close"
    assert code == 0
    assert 1.4 < took < 5


def test_the_drain_is_one_period(start_server: StartServer, tiny_bert: Path) -> None:
    """What is at work and a body on its way do not have it one after the other."""
    with (
        start_server("--model", str(tiny_bert), settings={"drain_seconds": 3}) as server,
        ThreadPoolExecutor(1) as pool,
        long_request(server, ENDLESS_REQUEST, {"x-request-timeout": "2.5"}) as request,
    ):
        late = pool.submit(wire.post_slowly, server, wire.V1, b" " * 600, 0.1)
        time.sleep(0.3)
        started = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        code = server.process.wait(20)
        took = time.monotonic() - started

    assert (request.result().status, late.result().status) == (504, 503)
    assert code == 0
    assert 2.9 < took < 4.6


def test_second_signal(start_server: StartServer, tiny_bert: Path) -> None:
    """A second signal ends the server at once, whatever is at work; callers are told."""
    with (
        start_server("--model", str(tiny_bert)) as server,
        ThreadPoolExecutor(1) as pool,
        long_request(server, ENDLESS_REQUEST) as request,
    ):
        late = pool.submit(wire.post_slowly, server, wire.V1, b" " * 600, 0.1)
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        started = time.monotonic()

        server.process.send_signal(signal.SIGTERM)

        assert server.process.wait(10) == 0
        assert time.monotonic() - started < 8  # of 30
        assert [request.result().status, late.result().status] == [503, 503]


def test_second_signal_when_the_doors_are_shut(start_server: StartServer, tiny_bert: Path) -> None:
    """What is still on its way then does not hold the server up."""
    with (
        start_server("--model", str(tiny_bert)) as server,
        slow_grpc.half_sent(server),
        ThreadPoolExecutor(1) as pool,
    ):
        late = pool.submit(wire.post_slowly, server, wire.V1, b" " * 600, 0.1)
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(1)
        assert not late.done()
        started = time.monotonic()

        server.process.send_signal(signal.SIGTERM)

        assert server.process.wait(10) == 0
        assert time.monotonic() - started < 8  # of 30
        assert late.result().status == 503


def test_doors_stay_open_for_a_while(start_server: StartServer, tiny_bert: Path) -> None:
    """Whoever comes to an idle server that was told to stop is sent elsewhere, not shut out."""
    settings = {"linger_seconds": 3}
    with start_server("--model", str(tiny_bert), settings=settings) as server:
        started = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        time.sleep(2)
        # Over a connection of its own, as somebody who was sent here just now.
        posted = httpx.post(server.url + wire.V1, json=SHORT_REQUEST)
        called = wire.call(server, wire.message(["Ada"], parameters={"labels": ["person"]}))
        ready = httpx.get(server.url + "/v2/models/gliner/ready")
        code = server.process.wait(10)
        took = time.monotonic() - started

    assert (posted.status_code, posted.json()["code"]) == (503, "not_serving")
    assert posted.headers["retry-after"] == called.headers["retry-after"] == "1"
    assert posted.headers["connection"] == "close"
    assert (called.status, called.error) == ("UNAVAILABLE", posted.json()["error"])
    assert ready.status_code == 503
    assert code == 0
    assert 3 <= took < 6


def test_open_doors_are_part_of_the_drain(start_server: StartServer, tiny_bert: Path) -> None:
    """Work that is finished while they are open costs no time of its own."""
    with (
        start_server("--model", str(tiny_bert), settings={"linger_seconds": 4}) as server,
        long_request(server, ENDLESS_REQUEST, {"x-request-timeout": "3"}) as request,
    ):
        started = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        code = server.process.wait(20)
        took = time.monotonic() - started

    assert request.result().status == 504
    assert code == 0
    assert 4 <= took < 6


def test_second_signal_while_the_doors_are_open(start_server: StartServer, tiny_bert: Path) -> None:
    """It shuts them."""
    settings = {"linger_seconds": 60}
    with start_server("--model", str(tiny_bert), settings=settings) as server:
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        started = time.monotonic()

        server.process.send_signal(signal.SIGTERM)

        assert server.process.wait(10) == 0
        assert time.monotonic() - started < 8  # of 30


@pytest.mark.parametrize(("name", "linger"), [("SIGTERM", 0), ("SIGINT", 60)])
def test_idle_exit(start_server: StartServer, tiny_bert: Path, name: str, linger: int) -> None:
    """With nothing to do a signal ends the server within seconds, connections or not; Ctrl-C
    always does."""
    settings = {"linger_seconds": linger}
    with (
        start_server("--model", str(tiny_bert), settings=settings) as server,
        wire.stub(server) as idle,
    ):
        idle.ServerLive(pb.ServerLiveRequest())
        assert server.http.get("/").status_code == 200
        started = time.monotonic()

        server.process.send_signal(signal.Signals[name])

        assert server.process.wait(10) == 0
        assert time.monotonic() - started < 5
        assert [one["message"] for one in server.log_lines() if "signal" in one] == ["draining"]
