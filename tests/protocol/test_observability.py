"""What the operator sees: metrics that move, log lines, ids and traces, and no user data."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import wire
from followed import until
from prometheus_client.parser import text_string_to_metric_families
from servers import ROOT, RunningServer

pytestmark = pytest.mark.server

MARK = "quagga8412"
"""Stands in what is sent; never in a log."""
ASKED: dict[str, Any] = {"labels": ["person", "colour of a horse"], "threshold": 0.0}
TEXT = "Ada Lovelace rode a bay horse ."
WORDS = 7
HEX = re.compile("[0-9a-f]{32}")
SABOTAGE = f"""
import predictor.extraction as extraction
read = extraction.Extractor.read_in_parts

def broken(self, queries):
    if "{MARK}" in queries[0].text:
        raise RuntimeError("cannot read " + queries[0].text)
    return read(self, queries)

extraction.Extractor.read_in_parts = broken
"""

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scrape(server: RunningServer) -> Samples:
    """Every sample of /metrics by name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(server.http.get("/metrics").text)
        for sample in family.samples
    }


class Difference:
    """What has been added to the metrics since it was made."""

    def __init__(self, server: RunningServer) -> None:
        self.server = server
        self.before = scrape(server)

    def __call__(self, name: str, **labels: str) -> float:
        key = name, tuple(sorted(labels.items()))
        return scrape(self.server).get(key, 0) - self.before.get(key, 0)


def ask(server: RunningServer, protocol: str, text: str = TEXT, **changes: Any) -> wire.Reply:
    """Ask for one text over one protocol."""
    parameters = {**ASKED, **changes}
    scalars = {**parameters, "labels": json.dumps(parameters["labels"])}
    match protocol:
        case "v1":
            return wire.post(server, wire.V1, {"instances": [text], "parameters": parameters})
        case "v2":
            inputs = [wire.tensor("text", [text])]
            return wire.post(server, wire.V2, {"inputs": inputs, "parameters": scalars})
        case "grpc":
            return wire.call(server, wire.message([text], parameters=scalars))
    return wire.post(server, "/predict", {"text": text, **parameters})


PROTOCOLS = [
    ("v1", "predict", "200", "400"),
    ("v2", "infer", "200", "400"),
    ("grpc", "ModelInfer", "OK", "INVALID_ARGUMENT"),
    ("web", "/predict", "200", "400"),
]


# ---------------------------------------------------------------- metrics


@pytest.mark.parametrize(("protocol", "endpoint", "fine", "wrong"), PROTOCOLS)
def test_requests_are_counted(
    server: RunningServer, protocol: str, endpoint: str, fine: str, wrong: str
) -> None:
    """Requests count by endpoint, protocol and status, errors by kind, time in buckets."""
    added = Difference(server)
    where = {"endpoint": endpoint, "protocol": protocol}

    assert ask(server, protocol).ok
    assert not ask(server, protocol, threshold=2).ok

    assert added("gliner_requests_total", **where, status=fine) == 1
    assert added("gliner_requests_total", **where, status=wrong) == 1
    assert added("gliner_errors_total", kind="invalid_request", protocol=protocol) == 1
    assert added("gliner_request_seconds_count", **where) == 2
    assert added("gliner_request_seconds_bucket", **where, le="10.0") == 2
    assert added("gliner_request_seconds_sum", **where) > 0


@pytest.mark.parametrize("protocol", ["v1", "v2", "grpc", "web"])
def test_work_is_counted(server: RunningServer, protocol: str) -> None:
    """Texts, words, windows and entities count; labels of no preset share one series."""
    added = Difference(server)

    ask(server, protocol)

    assert added("gliner_texts_total") == 1
    assert added("gliner_words_total") == WORDS
    assert added("gliner_windows_total") == 1
    found = [added("gliner_entities_total", label=label) for label in ("person", "other")]
    [entities] = wire.post(server, wire.V1, {"instances": [TEXT], "parameters": ASKED}).entities()
    assert sum(found) == len(entities)
    assert added("gliner_entities_total", label="colour of a horse") == 0
    assert added("gliner_queue_seconds_count") == 2


def test_buckets(server: RunningServer) -> None:
    """Latency has buckets from 5 ms to 10 s."""
    ask(server, "v1")

    bounds = {
        float(dict(labels)["le"])
        for name, labels in scrape(server)
        if name == "gliner_request_seconds_bucket"
    }

    assert bounds >= {0.005, 0.1, 1.0, 10.0, float("inf")}
    assert min(bounds) == 0.005


def test_state(server: RunningServer) -> None:
    """The model, its load, readiness, the queue and the process are there, and KServe's own."""
    ask(server, "v1")

    samples = scrape(server)
    values = {name: value for (name, _), value in samples.items()}
    [model] = [dict(labels) for name, labels in samples if name == "gliner_model_info"]

    assert {"name", "version", "digest", "engine", "precision", "device"} <= set(model)
    assert model["name"] == "gliner"
    assert HEX.match(model["digest"])
    assert 0 < values["gliner_load_seconds"] < 300
    assert values["gliner_ready"] == 1
    assert values["gliner_pending_requests"] == 0
    assert values["process_resident_memory_bytes"] > 2**26
    assert values["process_cpu_seconds_total"] > 0
    assert values["request_predict_seconds_count"] > 0


def test_series_are_bounded(server: RunningServer) -> None:
    """Labels, model names, addresses and methods of a caller's invention make no series."""
    ask(server, "v1", labels=["a label nobody else has"])
    wire.http(server, "GET", "/first/address")
    wire.post(server, "/v1/models/first:predict", {})
    wire.http(server, "BREW", "/")
    before = len(scrape(server))

    for number in range(5):
        ask(server, "v1", labels=[f"invention {number}"])
        wire.http(server, "GET", f"/address/{number}")
        wire.post(server, f"/v1/models/model{number}:predict", {})
        wire.http(server, f"BREW{number}", "/")

    assert len(scrape(server)) == before


# ---------------------------------------------------------------- ids and logs


def line_of(server: RunningServer, request_id: str) -> dict[str, Any]:
    """The one line that a request left in the log, where it stands a moment after the answer."""

    def found() -> list[dict[str, Any]]:
        return [
            one
            for one in server.log_lines()
            if one.get("request_id") == request_id and one["message"] == "request"
        ]

    until(lambda: bool(found()))
    [line] = found()
    return line


@pytest.mark.parametrize(("protocol", "endpoint", "fine", "wrong"), PROTOCOLS)
def test_one_line_a_request(
    server: RunningServer, protocol: str, endpoint: str, fine: str, wrong: str
) -> None:
    """A request leaves one line of JSON under its id, with figures and no words."""
    good, bad = ask(server, protocol), ask(server, protocol, threshold=2)

    line = line_of(server, good.asked_id)
    assert (line["protocol"], line["endpoint"]) == (protocol, endpoint)
    assert str(line["status"]) == fine
    assert (line["texts"], line["words"], line["windows"]) == (1, WORDS, 1)
    assert line["entities"] > 0
    assert line["ms"] > 0
    assert "error" not in line
    failed = line_of(server, bad.asked_id)
    assert (str(failed["status"]), failed["error"]) == (wrong, "invalid_request")
    assert good.headers["x-request-id"] == good.asked_id


@pytest.mark.parametrize("given", ["", "two words", "é", "x" * 129, "a\tb"])
def test_unfit_ids_are_replaced(server: RunningServer, given: str) -> None:
    """An id that is missing, too long or not plain ASCII is replaced by one that is made."""
    headers = [(b"x-request-id", given.encode())] if given else []

    answer = server.http.get("/v2", headers=headers)

    assert HEX.fullmatch(answer.headers["x-request-id"])


def test_made_id_over_grpc(server: RunningServer) -> None:
    """gRPC too makes an id, sends it in its first metadata and names the answer after it."""
    with wire.stub(server) as service:
        body, call = service.ModelInfer.with_call(wire.message([TEXT], parameters=ASKED))

    made = dict(call.initial_metadata())["x-request-id"]

    assert HEX.fullmatch(made)
    assert body.id == made
    assert line_of(server, made)["protocol"] == "grpc"


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"  # pragma: allowlist secret


@pytest.mark.parametrize(
    "headers",
    [
        {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"},
        {"x-b3-traceid": TRACE},
        {"traceparent": "nonsense", "x-b3-traceid": TRACE},
    ],
)
def test_trace_ids(server: RunningServer, headers: dict[str, str]) -> None:
    """The trace id of W3C's or B3's headers stands in the log, over REST and gRPC."""
    payload = {"instances": [TEXT], "parameters": ASKED}

    rest = wire.post(server, wire.V1, payload, headers)
    grpc = wire.call(
        server,
        wire.message([TEXT], parameters=ASKED),
        metadata=headers,
    )

    assert line_of(server, rest.asked_id)["trace_id"] == TRACE
    assert line_of(server, grpc.asked_id)["trace_id"] == TRACE


def test_probes_leave_no_line(server: RunningServer) -> None:
    """Probes and scrapes, which come every few seconds, are not logged unless they fail."""
    live = wire.http(server, "GET", "/v2/health/live")
    lost = wire.http(server, "GET", "/v2/models/bert/ready")

    assert line_of(server, lost.asked_id)["error"] == "not_found"
    assert live.asked_id not in [one.get("request_id") for one in server.log_lines()]


# ---------------------------------------------------------------- failures of our own


@pytest.fixture
def broken(
    start_server: Callable[..., AbstractContextManager[RunningServer]],
    tiny_bert: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[RunningServer]:
    """A server whose model fails on one text, with that text in its exception."""
    (tmp_path / "sitecustomize.py").write_text(SABOTAGE)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    with start_server("--model", str(tiny_bert)) as started:
        yield started


def test_internal_failure(broken: RunningServer) -> None:
    """A failure of ours tells the caller nothing, the log where and never what about."""
    added = Difference(broken)

    replies = [ask(broken, name, f"{MARK} in London") for name in ("v1", "v2", "grpc", "web")]

    assert [one.status for one in replies] == [500, 500, "INTERNAL", 500]
    assert {one.error for one in replies} == {
        "internal error; the server's log has the reason under this request id"
    }
    assert added("gliner_errors_total", kind="internal", protocol="grpc") == 1
    log = broken.log_file.read_text("utf-8")
    assert MARK not in log
    for reply in replies:
        [failure] = [
            one
            for one in broken.log_lines()
            if one.get("request_id") == reply.asked_id and one["level"] == "ERROR"
        ]
        assert failure["exception"] == "RuntimeError"
        assert any("sitecustomize" in frame for frame in failure["at"])
    assert ask(broken, "v1").ok
