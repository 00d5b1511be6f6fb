"""Whatever is sent, the server answers as documented, in its one form, and serves on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
import wire
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from mistakes import TEXT
from servers import RunningServer
from wire import Reply

pytestmark = [pytest.mark.server, pytest.mark.slow]

MARK = "quagga7361"
"""Stands in texts, labels and names of fields; never in a log."""


def fuzz(examples: int) -> settings:
    """So many examples, the same in every run."""
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from([MARK, "person", 10**30, -1, "NaN", "\x00", "🙂", "٣", [], {}]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=8,
)
LABELS = ["person", MARK, "location"]
OPTIONS: dict[str, Any] = {
    "labels": LABELS,
    "threshold": 0.001,
    "thresholds": {MARK: 0.5},
    "flat_ner": False,
    "multi_label": True,
}
V1_REQUEST: dict[str, Any] = {
    "instances": [TEXT, {"text": f"{MARK} 🙂 lives in Köln.", **OPTIONS}],
    "parameters": OPTIONS,
}
V2_REQUEST: dict[str, Any] = {
    "id": "a",
    "inputs": [
        wire.tensor("text", [TEXT, f"{MARK} 🙂 lives in Köln."]),
        wire.tensor("options", [json.dumps(OPTIONS), "{}"], parameters={"content_type": "str"}),
    ],
    "parameters": {**OPTIONS, "labels": json.dumps(LABELS), "thresholds": "{}"},
    "outputs": [{"name": "entities", "parameters": {"binary_data": False}}],
}


@st.composite
def mutated(draw: st.DrawFn, request: Mapping[str, Any]) -> Any:
    """A valid request with one or two things in it changed, left out, added or doubled."""
    payload = json.loads(json.dumps(request))
    for _ in range(draw(st.integers(1, 2))):
        node = payload
        while node:
            key = draw(st.sampled_from(list(node) if isinstance(node, dict) else range(len(node))))
            if not isinstance(node[key], (dict, list)) or not node[key] or draw(st.booleans()):
                change(draw, node, key)
                break
            node = node[key]
    return payload


def change(draw: st.DrawFn, node: Any, key: Any) -> None:
    """Change one place in a request."""
    match draw(st.sampled_from(["replace", "remove", "add", "double"])):
        case "replace":
            node[key] = draw(ANY_JSON)
        case "remove":
            del node[key]
        case "add" if isinstance(node, dict):
            node[draw(st.sampled_from([MARK, "text", "shape"]) | st.text(max_size=5))] = node[key]
        case _ if isinstance(node, list):
            node.extend([node[key]] * draw(st.integers(1, 3)))


def check(reply: Reply, texts: list[Any]) -> None:
    """An answer with exact offsets, or an error that is the caller's, in the common form."""
    if reply.ok:
        for text, entities in zip(texts, reply.entities(), strict=True):
            wire.check_offsets(text, entities, {one["label"] for one in entities})
    else:
        assert reply.status in (400, "INVALID_ARGUMENT"), reply
        assert 0 < len(reply.error) < 600
        assert "Traceback" not in reply.error


@fuzz(400)
@given(payload=mutated(V1_REQUEST) | mutated(V1_REQUEST) | ANY_JSON)
def test_v1(server: RunningServer, payload: Any) -> None:
    """V1 answers whatever JSON it gets."""
    reply = wire.post(server, wire.V1, payload)

    instances = payload["instances"] if reply.ok else ()
    check(reply, [one if isinstance(one, str) else one["text"] for one in instances])


@fuzz(400)
@given(payload=mutated(V2_REQUEST) | mutated(V2_REQUEST) | ANY_JSON)
def test_v2(server: RunningServer, payload: Any) -> None:
    """V2 REST answers whatever JSON it gets."""
    reply = wire.post(server, wire.V2, payload)

    if reply.ok and [one["name"] for one in reply.body["outputs"]] != ["entities"]:
        return
    inputs = payload["inputs"] if reply.ok else ()
    check(reply, next((one["data"] for one in inputs if one["name"] == "text"), []))


@fuzz(100)
@given(body=st.binary(max_size=200), path=st.sampled_from([wire.V1, wire.V2, "/predict"]))
def test_bytes(server: RunningServer, body: bytes, path: str) -> None:
    """Bytes that are no JSON get an error."""
    check(wire.post(server, path, body), [])


@fuzz(300)
@given(data=st.data())
def test_grpc(server: RunningServer, data: st.DataObject) -> None:
    """gRPC answers whatever message it gets: mutated, with raw tensors, of random bytes."""
    names = st.sampled_from(["text", "labels", "options", MARK])
    texts = data.draw(st.lists(st.text(max_size=30), max_size=3))
    values = st.lists(st.binary(max_size=20) | st.sampled_from([b"person", b"{}"]), max_size=3)
    inputs = data.draw(st.dictionaries(names, values, max_size=2))
    parameters = data.draw(
        st.fixed_dictionaries(
            {"labels": st.just('["person"]')},
            optional={
                "flat_ner": st.booleans(),
                "threshold": st.just(0.001) | st.text(max_size=3) | st.integers(0, 2) | st.floats(),
                "thresholds": st.text(max_size=5) | st.just('{"person": 0.5}'),
                MARK: st.just(MARK),
            },
        )
    )
    inputs.pop("text", None)
    request = wire.message(texts, parameters=parameters, raw=data.draw(st.booleans()))
    for name, elements in inputs.items():
        add_input(request, name, elements)
    if data.draw(st.booleans()):
        for tensor in request.inputs:
            tensor.shape[:] = data.draw(st.lists(st.integers(-1, 3), max_size=3))
            tensor.datatype = data.draw(st.sampled_from(["BYTES", "FP32", ""]))
    if request.raw_input_contents and data.draw(st.booleans()):
        request.raw_input_contents[0] = data.draw(st.binary(max_size=20))
        texts = []

    reply = wire.call(server, request)

    if texts or not reply.ok:
        check(reply, texts)


def add_input(request: pb.ModelInferRequest, name: str, elements: list[bytes]) -> None:
    """One more input, in the form of those that are there."""
    tensor = request.inputs.add(name=name, datatype="BYTES", shape=[len(elements)])
    if request.raw_input_contents:
        request.raw_input_contents.append(wire.pack(elements))
    else:
        tensor.contents.bytes_contents.extend(elements)


@fuzz(30)
@given(body=st.binary(max_size=100))
def test_protobuf_bytes(server: RunningServer, body: bytes) -> None:
    """Bytes get an error, those that are a message by chance too."""
    expected = {"NOT_FOUND", "UNIMPLEMENTED"}
    try:
        pb.ModelInferRequest.FromString(body)
    except Exception:  # noqa: BLE001 -- protobuf's implementations raise different ones
        expected = {"INVALID_ARGUMENT"}

    reply = wire.call(server, body)

    assert reply.status in expected


# ---------------------------------------------------------------- afterwards


def test_alive_and_right_afterwards(server: RunningServer, embedded: Any) -> None:
    """After all that the server gives the answer that the model in this process gives."""
    from predictor.extraction import Label, Query

    labels = tuple(Label(name, name, 0.001) for name in ("person", "location"))
    [expected] = embedded.extract([Query(TEXT, labels, flat_ner=True, multi_label=False)])

    [found] = server.predict(TEXT, labels=["person", "location"], threshold=0.001)

    assert [(one["start"], one["end"], one["label"]) for one in found["entities"]] == [
        (one.start, one.end, one.label) for one in expected.entities
    ]
    assert wire.http(server, "GET", "/v2/models/gliner/ready").ok


def test_nothing_sent_is_in_the_log(server: RunningServer) -> None:
    """No text, label, name of a field, model or address that was sent stands in the log."""
    tensors = [wire.tensor("text", [MARK]), wire.tensor(MARK, [MARK])]
    wire.post(server, wire.V1, {"instances": [{"text": MARK, "labels": [MARK]}]})
    wire.post(server, wire.V1, {"instances": [MARK], "parameters": {"labels": MARK}})
    wire.post(server, wire.V1, {MARK: [MARK]})
    wire.post(server, wire.V1, MARK.encode(), {"content-type": MARK})
    wire.post(server, wire.V2, {"inputs": tensors, "parameters": {MARK: MARK}})
    wire.post(server, f"/v1/models/{MARK}:predict", {})
    wire.http(server, "GET", f"/{MARK}?{MARK}={MARK}")
    wire.post(server, "/predict", f"{MARK}={MARK}%ff".encode(), FORM)
    wire.post(server, "/predict", f"--{MARK}\r\n{MARK}".encode(), {"content-type": MULTIPART})
    wire.call(server, wire.message([MARK], parameters={"labels": [MARK]}, model=MARK))
    wire.call(server, wire.message([MARK], parameters={MARK: MARK}, labels=[MARK]))

    log = server.log_file.read_text("utf-8")
    assert '"endpoint":"predict"' in log
    assert MARK not in log


FORM = {"content-type": "application/x-www-form-urlencoded"}
MULTIPART = f"multipart/form-data; boundary={MARK}"
