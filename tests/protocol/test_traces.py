"""Traces of a real predictor, as a collector gets them: whole, in the caller's, without a word."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import collector as collectors
import pytest
import servers
import wire
from collector import Collector, Span
from followed import lines, until
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from servers import ROOT, RunningServer

pytestmark = pytest.mark.server

Starter = Callable[..., AbstractContextManager[RunningServer]]

MARK = "quagga8412"
"""Stands in texts and labels; never in a trace."""
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"  # pragma: allowlist secret
CALLER = "00f067aa0ba902b7"
TEXT = f"Ada Lovelace of {MARK} rode ."
WORDS = 6
ASKED: dict[str, Any] = {"labels": ["person", f"horse of {MARK}"], "threshold": 0.0}
COUNTS = {"gliner.texts", "gliner.words", "gliner.windows"}
HTTP = {"http.request.method", "http.route", "url.scheme", "http.response.status_code"}
RPC = {"rpc.system.name", "rpc.method", "rpc.response.status_code"}
MODEL = {"gliner.engine", "gliner.precision", "gliner.model.version"}
PASS = {"gliner.windows", "gliner.pass.windows", "gliner.pass.requests", "gliner.pass.positions"}
LOADED = """
import atexit, json, os, sys

def write():
    with open(os.environ["LOADED"], "w") as file:
        json.dump(sorted(sys.modules), file)

atexit.register(write)
"""


@pytest.fixture(scope="module")
def collected() -> Iterator[Collector]:
    """A collector for all tests of this file; what it got was OTLP."""
    with collectors.collecting() as found:
        yield found
    assert found.wrong == []


@pytest.fixture(scope="module")
def traced(
    collected: Collector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """A predictor that exports to it."""
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in collected.env.items():
                patch.setenv(name, value)
            patch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=ner")
            patch.setenv("OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=pod-1")
            # What FastAPI would export by itself has addresses and texts of errors in it.
            patch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
            running = servers.running(tmp_path_factory.mktemp("traced"))
            started = stack.enter_context(running)
        yield started


def ask(server: RunningServer, protocol: str, headers: dict[str, str], **more: Any) -> wire.Reply:
    """Ask for one text over one protocol."""
    parameters = {**ASKED, **more}
    scalars = {**parameters, "labels": json.dumps(parameters["labels"])}
    match protocol:
        case "v1":
            payload = {"instances": [TEXT], "parameters": parameters}
            return wire.post(server, wire.V1, payload, headers)
        case "v2":
            inputs = [wire.tensor("text", [TEXT])]
            return wire.post(server, wire.V2, {"inputs": inputs, "parameters": scalars}, headers)
        case "grpc":
            return wire.call(server, wire.message([TEXT], parameters=scalars), metadata=headers)
    return wire.post(server, "/api/v1/predict", {"text": TEXT, **parameters}, headers)


def line_of(server: RunningServer, reply: wire.Reply) -> dict[str, Any]:
    """What the log says of a request."""

    def found() -> list[dict[str, Any]]:
        return [one for one in lines(server, "request") if one["request_id"] == reply.asked_id]

    until(lambda: bool(found()))
    [line] = found()
    return line


def spans_of(collected: Collector, trace: str) -> dict[str, Span]:
    """A trace's spans, once the request's own has come, which is last."""
    until(lambda: any(one.kind == "server" for one in collected.of(trace).values()))
    return collected.of(trace)


# ---------------------------------------------------------------- what is in a trace

NAMES = {
    "v1": "POST /v1/models/{model_name}:predict",
    "v2": "POST /v2/models/{model_name}/infer",
    "web": "POST /api/v1/predict",
    "grpc": "inference.GRPCInferenceService/ModelInfer",
}


@pytest.mark.parametrize("protocol", list(NAMES))
def test_a_request_and_its_parts(
    traced: RunningServer, collected: Collector, protocol: str
) -> None:
    """A request is a span in its caller's trace; reading, waiting, pass and merging lie in it."""
    trace = f"{list(NAMES).index(protocol) + 1:032x}"

    reply = ask(traced, protocol, {"traceparent": f"00-{trace}-{CALLER}-01"})

    assert reply.ok
    spans = spans_of(collected, trace)
    assert set(spans) == {NAMES[protocol], "queue", "read", "pass", "merge"}
    server = spans.pop(NAMES[protocol])
    assert (server.parent, server.kind, server.failed) == (CALLER, "server", False)
    assert set(server.attributes) == {
        *(COUNTS | MODEL | {"gliner.entities", "gliner.labels"}),
        *(RPC if protocol == "grpc" else HTTP),
    }
    assert server.attributes["gliner.words"] == WORDS
    assert server.attributes["gliner.labels"] == len(ASKED["labels"])
    for child in spans.values():
        assert (child.parent, child.kind, child.failed) == (server.id, "internal", False)
        # Clocks are read one after the other.
        assert server.begun - 0.001 <= child.begun <= child.ended <= server.ended + 0.001
    assert spans["read"].begun <= spans["pass"].begun <= spans["merge"].begun
    assert set(spans["read"].attributes) == COUNTS
    assert set(spans["pass"].attributes) == PASS
    assert spans["merge"].attributes == {"gliner.entities": server.attributes["gliner.entities"]}
    assert line_of(traced, reply)["trace_id"] == trace


def test_whose_spans_they_are(traced: RunningServer, collected: Collector) -> None:
    """The service is named, what the environment says of it is added, and headers are sent."""
    ask(traced, "v1", {"traceparent": f"00-{'a' * 32}-{CALLER}-01"})

    server = next(iter(spans_of(collected, "a" * 32).values()))

    assert server.resource["service.name"] == "gliner-predictor"
    assert server.resource["k8s.pod.name"] == "pod-1"
    assert collected.headers[-1]["x-tenant"] == "ner"


@pytest.mark.parametrize("protocol", ["v1", "grpc"])
def test_b3_is_continued(traced: RunningServer, collected: Collector, protocol: str) -> None:
    """Zipkin's headers, which Istio and KServe pass on, do as well; W3C's come first."""
    trace = ("b" if protocol == "v1" else "c") * 16

    reply = ask(traced, protocol, {"x-b3-traceid": trace, "x-b3-spanid": CALLER})

    server = spans_of(collected, trace.rjust(32, "0"))[NAMES[protocol]]
    assert server.parent == CALLER
    assert line_of(traced, reply)["trace_id"] == server.trace


@pytest.mark.parametrize("protocol", ["v1", "grpc"])
def test_a_trace_begins_here(traced: RunningServer, collected: Collector, protocol: str) -> None:
    """Who sends none, or what is none, gets a new one; the log names it."""
    nonsense = {"traceparent": "0" * 5000, "tracestate": "=," * 900, "x-b3-traceid": TRACE}

    reply = ask(traced, protocol, nonsense)

    assert reply.ok
    trace = line_of(traced, reply)["trace_id"]
    assert trace != TRACE
    assert spans_of(collected, trace)[NAMES[protocol]].parent == ""


def test_what_is_not_sampled(traced: RunningServer, collected: Collector) -> None:
    """A caller who does not record gets no spans, and its id in the log all the same."""
    reply = ask(traced, "v1", {"traceparent": f"00-{'d' * 32}-{CALLER}-00"})
    ask(traced, "v1", {"traceparent": f"00-{'e' * 32}-{CALLER}-01"})

    spans_of(collected, "e" * 32)
    assert collected.of("d" * 32) == {}
    assert line_of(traced, reply)["trace_id"] == "d" * 32


@pytest.mark.parametrize("protocol", list(NAMES))
def test_mistakes_by_kind(traced: RunningServer, collected: Collector, protocol: str) -> None:
    """A refused request names the kind of its error; it is no failure of the server's."""
    trace = f"{list(NAMES).index(protocol) + 100:032x}"

    reply = ask(traced, protocol, {"traceparent": f"00-{trace}-{CALLER}-01"}, threshold=2)

    assert not reply.ok
    [server] = spans_of(collected, trace).values()
    assert server.attributes["error.type"] == "invalid_request"
    status = "rpc.response.status_code" if protocol == "grpc" else "http.response.status_code"
    assert server.attributes[status] == reply.status
    assert not server.failed


def test_probes_are_not_traced(traced: RunningServer, collected: Collector) -> None:
    """Nor are metrics, the page and what is not there."""
    paths = ("/", "/v2/health/live", "/v2/models/gliner/ready", "/metrics", "/lost", "/api/docs")
    trace = {"traceparent": f"00-{'f' * 32}-{CALLER}-01"}
    for path in paths:
        wire.http(traced, "GET", path, headers=trace)
    with wire.stub(traced) as service:
        service.ServerLive(pb.ServerLiveRequest(), metadata=tuple(trace.items()))
    ask(traced, "v1", {"traceparent": f"00-{'1' * 32}-{CALLER}-01"})

    spans_of(collected, "1" * 32)
    assert collected.of("f" * 32) == {}


def test_a_collector_in_trouble(traced: RunningServer, collected: Collector) -> None:
    """Its refusals are one line in the log, and one when it takes spans again."""
    collected.status = 400
    for _ in range(3):
        before = len(collected.headers)
        assert ask(traced, "v1", {}).ok
        until(lambda before=before: len(collected.headers) > before)  # type: ignore[misc]
    until(lambda: len(lines(traced, "traces are not exported")) == 1)
    collected.status = 200
    assert ask(traced, "v1", {}).ok
    until(lambda: len(lines(traced, "traces are exported again")) == 1)

    assert len(lines(traced, "traces are not exported")) == 1
    assert {one["logger"] for one in traced.log_lines()} == {"predictor"}


def test_no_word_of_a_caller(traced: RunningServer, collected: Collector) -> None:
    """Neither texts nor labels, addresses nor queries, of requests that go well or fail."""
    for protocol in NAMES:
        trace = {"traceparent": f"00-{'2' * 31}{list(NAMES).index(protocol)}-{CALLER}-01"}
        ask(traced, protocol, trace)
        ask(traced, protocol, trace, threshold=2)
    path = f"{wire.V1}?of={MARK}"
    wire.post(traced, path, {"instances": []}, {"traceparent": f"00-{'3' * 32}-{CALLER}-01"})

    spans_of(collected, "3" * 32)
    assert collected.bodies
    assert not any(MARK in body for body in collected.bodies)


# ---------------------------------------------------------------- processes of their own


def test_off_is_not_even_imported(
    start_server: Starter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an endpoint neither our modules of traces nor what exports them are loaded."""
    (tmp_path / "sitecustomize.py").write_text(LOADED)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    monkeypatch.setenv("LOADED", str(tmp_path / "loaded"))
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_on")
    with start_server() as server:
        assert ask(server, "v1", {}).ok
        assert ask(server, "grpc", {}).ok

    loaded = json.loads((tmp_path / "loaded").read_text())
    assert "predictor.otlp" in loaded
    # FastAPI brings OpenTelemetry's interfaces along; what is behind them stays away.
    behind = ("opentelemetry.sdk", "opentelemetry.exporter", "predictor.traces", "predictor.spans")
    assert [one for one in loaded if one.startswith(behind)] == []


def test_last_spans_are_sent(
    start_server: Starter, collected: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for the next batch goes out when the process ends. A name of one's own is kept."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collected.url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "600000")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    with start_server() as server:
        ask(server, "grpc", {"traceparent": f"00-{'4' * 32}-{CALLER}-01"})
        assert collected.of("4" * 32) == {}

    spans = collected.of("4" * 32)
    assert set(spans) == {NAMES["grpc"], "queue", "read", "pass", "merge"}
    assert spans["pass"].resource["service.name"] == "mine"


def test_no_collector(start_server: Starter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests are answered as ever, the log has one line, and the exit is not held up."""
    [port] = servers.free_ports(1)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    with start_server() as server:
        took = []
        for _ in range(20):
            started = time.monotonic()
            assert ask(server, "v1", {}).ok
            took.append(time.monotonic() - started)
            time.sleep(0.05)
        until(lambda: bool(lines(server, "traces are not exported")))
        [line] = lines(server, "traces are not exported")
        ended = time.monotonic()
        os.kill(server.process.pid, signal.SIGTERM)
        code = server.process.wait(30)
        seconds = time.monotonic() - ended
    assert code == 0
    assert line["level"] == "WARNING"
    assert line["endpoint"] == f"127.0.0.1:{port}"
    assert {one["logger"] for one in server.log_lines()} == {"predictor"}
    assert len(lines(server, "traces are not exported")) == 1
    assert max(took) < 1
    assert seconds < 10
