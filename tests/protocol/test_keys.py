"""A server with API keys, as callers meet it over each protocol."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import keyed_server
import pytest
import wire
from keyed_server import KEY
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from servers import RunningServer

from predictor.errors import Unauthenticated

pytestmark = pytest.mark.server

TEXT = "Ada Lovelace was born in London."
ONE = {"text": TEXT, "labels": ["person"]}
V2_BODY = {
    "inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": [TEXT]}],
    "parameters": {"labels": '["person"]'},
}
PREDICTIONS: list[tuple[str, Any]] = [
    (wire.V1, {"instances": [ONE]}),
    (wire.V2, V2_BODY),
    ("/predict", ONE),
    ("/api/v1/predict", ONE),
]


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that one caller may ask."""
    with keyed_server.running(tmp_path_factory.mktemp("keyed")) as server:
        yield server


def infer() -> pb.ModelInferRequest:
    """One text over gRPC."""
    request = pb.ModelInferRequest(model_name="gliner")
    tensor = request.inputs.add(name="text", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(TEXT.encode())
    request.parameters["labels"].string_param = '["person"]'
    return request


@pytest.mark.parametrize("headers", [{"x-api-key": KEY}, {"authorization": f"Bearer {KEY}"}])
def test_who_has_a_key_is_answered(keyed: RunningServer, headers: dict[str, str]) -> None:
    """By every address that predicts."""
    found = [wire.post(keyed, path, body, headers) for path, body in PREDICTIONS]
    found.append(wire.call(keyed, infer(), metadata=headers))

    assert [one.status for one in found] == [200, 200, 200, 200, "OK"]


@pytest.mark.parametrize("headers", [{}, {"x-api-key": "another"}])
def test_who_has_none_is_refused_alike(keyed: RunningServer, headers: dict[str, str]) -> None:
    """One message whatever the protocol, in the one form that errors have."""
    found = [wire.post(keyed, path, body, headers) for path, body in PREDICTIONS]
    found.append(wire.call(keyed, infer(), metadata=headers))

    assert [one.status for one in found] == [401, 401, 401, 401, "UNAUTHENTICATED"]
    assert len({one.error for one in found}) == 1
    for one in found[:-1]:
        assert one.body["code"] == Unauthenticated.kind
        assert one.headers["www-authenticate"] == "Bearer"
        assert one.headers["x-request-id"] == one.asked_id


def test_a_body_is_not_read_without_a_key(keyed: RunningServer) -> None:
    """Who may not ask does not make the server work: neither too large nor broken is found out."""
    answer = wire.post(keyed, wire.V1, b"x" * (17 * 1024 * 1024))

    assert answer.status == 401


def test_loading_stays_refused_with_a_key(keyed: RunningServer) -> None:
    """A key is for asking; without one not even the refusal is told."""
    path = "/v2/repository/models/gliner/unload"
    request = pb.RepositoryModelUnloadRequest(model_name="gliner")
    call = "RepositoryModelUnload"

    assert wire.post(keyed, path, {}).status == 401
    assert wire.post(keyed, path, {}, {"x-api-key": KEY}).status == 403
    assert wire.call(keyed, request, call).status == "UNAUTHENTICATED"
    assert (
        wire.call(keyed, request, call, metadata={"x-api-key": KEY}).status == "PERMISSION_DENIED"
    )


def test_probes_and_prometheus_need_no_key(keyed: RunningServer) -> None:
    """What the manifests' probes and the PodMonitor ask for."""
    paths = ("/", "/metrics", "/v1/models/gliner", "/v2/health/ready", "/v2/models/gliner/ready")

    assert {path: wire.http(keyed, "GET", path).status for path in paths} == dict.fromkeys(
        paths, 200
    )
    ready = pb.ModelReadyRequest(name="gliner")
    assert wire.call(keyed, ready, "ModelReady").status == "OK"


def test_the_log_names_callers_and_no_key(keyed: RunningServer) -> None:
    """Whose request it was, and never what was shown."""
    shown = "shown-by-a-stranger"
    good = wire.post(keyed, wire.V1, {"instances": [ONE]}, {"x-api-key": KEY})
    bad = wire.post(keyed, wire.V1, {"instances": [ONE]}, {"x-api-key": shown})
    # The line is written once the answer is on its way.
    until = time.monotonic() + 10
    lines: dict[Any, dict[str, Any]] = {}
    while not {good.asked_id, bad.asked_id} <= set(lines) and time.monotonic() < until:
        lines = {line.get("request_id"): line for line in keyed.log_lines()}
        time.sleep(0.05)
    log = keyed.log_file.read_text("utf-8")

    assert lines[good.asked_id]["caller"] == "acme"
    assert "caller" not in lines[bad.asked_id]
    assert lines[bad.asked_id]["error"] == Unauthenticated.kind
    assert KEY not in log
    assert shown not in log
    assert (
        'gliner_errors_total{kind="unauthenticated",protocol="v1"}'
        in keyed.http.get("/metrics").text
    )


def test_the_document_says_how_to_show_a_key(keyed: RunningServer) -> None:
    """So that Swagger UI and generated clients ask for it."""
    document = json.loads(keyed.http.get("/api/openapi.json").text)
    predict = document["paths"]["/v1/models/{model_name}:predict"]["post"]
    ready = document["paths"]["/v2/models/{model_name}/ready"]["get"]

    assert {"bearer", "key"} == set(document["components"]["securitySchemes"])
    assert predict["security"] == [{"bearer": []}, {"key": []}]
    assert "401" in predict["responses"]
    assert "security" not in ready
    assert "401" not in ready["responses"]
