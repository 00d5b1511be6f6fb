"""Foreign clients get the same entities, whatever the protocol and the form of its tensors."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np
import pytest
import triton_grpc
import tritonclient.http as triton
import wire
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.infer_type import RequestedOutput
from samples import LABELS, PARAMETERS, TEXTS, THRESHOLD, Found, assert_same
from servers import RunningServer

from predictor.tensors import INPUTS, OUTPUTS

pytestmark = pytest.mark.server

NOTHING = 1.0
"""A threshold that no score is above."""
COLUMNS = ("row", "start", "end", "label", "text", "score", "words", "windows")
DTYPES = {"BYTES": np.object_, "INT32": np.int32, "FP32": np.float32}


def from_columns(columns: dict[str, Any]) -> Found:
    """The entities of each text from the typed columns."""
    found: Found = [[] for _ in TEXTS]
    names = ("row", "start", "end", "label", "text", "score")
    for row, *values in zip(*(columns[name] for name in names), strict=True):
        found[row].append(dict(zip(names[1:], values, strict=True)))
    return found


def rows(values: Any) -> Found:
    """The entities of each text from the output `entities`."""
    return [json.loads(one) for one in values]


# ---------------------------------------------------------------- Triton's clients


def ask_triton(
    server: RunningServer, binary_in: bool, binary_out: bool, *names: str, **parameters: Any
) -> dict[str, Any]:
    """Ask over HTTP and return each output's values, checked against what it declares."""
    tensor = triton.InferInput("text", [len(TEXTS)], "BYTES")
    tensor.set_data_from_numpy(np.array(TEXTS, dtype=np.object_), binary_data=binary_in)
    outputs = [triton.InferRequestedOutput(name, binary_data=binary_out) for name in names]
    client = triton.InferenceServerClient(server.url.removeprefix("http://"))
    try:
        answer = client.infer(
            "gliner", [tensor], outputs=outputs or None, parameters={**PARAMETERS, **parameters}
        )
    finally:
        client.close()
    values = {}
    for output in answer.get_response()["outputs"]:
        array = answer.as_numpy(output["name"])
        assert output["datatype"] == OUTPUTS[output["name"]]
        assert array.dtype == DTYPES[output["datatype"]] or not array.size
        assert list(array.shape) == output["shape"]
        values[output["name"]] = [
            one.decode() if isinstance(one, bytes) else one for one in array.tolist()
        ]
    assert list(values) == list(names or ["entities"])
    return values


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_triton_http(
    server: RunningServer, expected: Found, binary_in: bool, binary_out: bool
) -> None:
    """Raw and JSON tensors carry the same entities, in rows and in columns."""
    answer = ask_triton(server, binary_in, binary_out, "entities", *COLUMNS)

    assert_same(rows(answer["entities"]), expected)
    assert_same(from_columns(answer), expected)
    assert answer["words"][2] == 0
    assert answer["windows"] == [1, 1, 0]


def test_triton_http_without_outputs(server: RunningServer, expected: Found) -> None:
    """A request that names no output gets the entities."""
    answer = ask_triton(server, True, True)

    assert_same(rows(answer["entities"]), expected)


@pytest.mark.parametrize("binary_out", [True, False])
def test_triton_http_nothing_found(server: RunningServer, binary_out: bool) -> None:
    """Where nothing is found the columns are empty, and those of the texts are not."""
    answer = ask_triton(server, True, binary_out, *COLUMNS, threshold=NOTHING)

    assert [len(answer[name]) for name in COLUMNS] == [0] * 6 + [3, 3]


def test_triton_grpc(server: RunningServer, expected: Found) -> None:
    """Over gRPC a threshold may come as Triton's double, as text and with any output."""
    as_text = {**PARAMETERS, "threshold": str(THRESHOLD)}
    nothing = {**PARAMETERS, "threshold": NOTHING}

    double, text, columns, empty, wrong, seen = triton_grpc.ask(
        server.grpc,
        {"texts": TEXTS, "parameters": PARAMETERS},
        {"texts": TEXTS, "parameters": as_text},
        {"texts": TEXTS, "parameters": PARAMETERS, "outputs": COLUMNS},
        {"texts": TEXTS, "parameters": nothing, "outputs": COLUMNS},
        {"texts": TEXTS, "parameters": {**PARAMETERS, "threshold": 7.5}},
    )

    assert_same(rows(double["outputs"]["entities"]), expected)
    assert_same(rows(text["outputs"]["entities"]), expected)
    assert_same(from_columns(columns["outputs"]), expected)
    assert [len(empty["outputs"][name]) for name in COLUMNS] == [0] * 6 + [3, 3]
    assert wrong["error"] == "threshold: must be at most 1, got 7.5"
    assert seen["live"]
    assert seen["ready"]
    assert [one["name"] for one in seen["metadata"]["inputs"]] == list(INPUTS)


# ---------------------------------------------------------------- KServe's clients


@pytest.mark.parametrize("protocol", ["v1", "v2"])
def test_kserve_rest(server: RunningServer, expected: Found, protocol: str) -> None:
    """KServe's REST client finds the server alive and ready, and gets the entities."""
    config = RESTConfig(protocol=protocol, retries=0, timeout=60)

    async def ask() -> tuple[list[bool], Any]:
        client = InferenceRESTClient(config)
        state = [await client.is_server_live(server.url)]
        if protocol == "v2":
            state.append(await client.is_server_ready(server.url))
        state.append(await client.is_model_ready(server.url, "gliner"))
        answer = await client.infer(server.url, payload, model_name="gliner")
        await client.close()
        return state, answer

    payload: Any = {
        "instances": list(TEXTS),
        "parameters": {"labels": LABELS, "threshold": THRESHOLD},
    }
    if protocol == "v2":
        payload = infer_request(binary=True)
    state, answer = asyncio.run(ask())

    assert all(state)
    if protocol == "v1":
        assert_same([one["entities"] for one in answer["predictions"]], expected)
    else:
        assert_same(rows(answer.outputs[0].data), expected)


@pytest.mark.parametrize("binary", [True, False])
def test_kserve_grpc(server: RunningServer, expected: Found, binary: bool) -> None:
    """KServe's gRPC client gets the entities, from raw tensors and from contents."""

    async def ask() -> tuple[list[bool], Any]:
        client = InferenceGRPCClient(server.grpc, retries=0)
        state = [
            await client.is_server_live(),
            await client.is_server_ready(),
            await client.is_model_ready("gliner"),
        ]
        answer = await client.infer(infer_request(binary, threshold=str(THRESHOLD)))
        await client.close()
        return state, answer

    state, answer = asyncio.run(ask())

    assert all(state)
    assert_same(rows(answer.outputs[0].as_numpy().tolist()), expected)


def infer_request(binary: bool, **changes: Any) -> InferRequest:
    """The request as KServe's clients build it."""
    tensor = InferInput("text", [len(TEXTS)], "BYTES")
    tensor.set_data_from_numpy(
        np.array([one.encode() for one in TEXTS], dtype=np.object_), binary_data=binary
    )
    return InferRequest(
        "gliner",
        [tensor],
        parameters={**PARAMETERS, **changes},
        request_outputs=[RequestedOutput("entities", {"binary_data": False})],
    )


@pytest.mark.parametrize("raw", [True, False])
def test_plain_grpc(server: RunningServer, expected: Found, raw: bool) -> None:
    """An answer has the form of its request: raw for raw, contents for contents."""
    reply = wire.call(server, wire.message(TEXTS, parameters=PARAMETERS, raw=raw))

    assert_same(reply.entities(), expected)
    assert bool(reply.body.raw_output_contents) == raw


# ---------------------------------------------------------------- metadata


def test_metadata_is_the_same_everywhere(server: RunningServer) -> None:
    """REST and gRPC declare the same inputs and outputs."""
    rest = wire.http(server, "GET", "/v2/models/gliner").body
    grpc = wire.call(server, pb.ModelMetadataRequest(name="gliner"), "ModelMetadata").body

    for side in ("inputs", "outputs"):
        declared = [(one.name, one.datatype, list(one.shape)) for one in getattr(grpc, side)]
        assert [(one["name"], one["datatype"], one["shape"]) for one in rest[side]] == declared
    assert rest["name"] == grpc.name == "gliner"


def test_metadata_is_true(server: RunningServer) -> None:
    """Every declared input is taken; every declared output comes, with its datatype."""
    declared = wire.http(server, "GET", "/v2/models/gliner").body
    values = {"text": TEXTS[0], "labels": LABELS[0], "options": '{"threshold": 0.001}'}
    inputs = [
        wire.tensor(one["name"], [values[one["name"]]], datatype=one["datatype"])
        for one in declared["inputs"]
    ]
    outputs = [{"name": one["name"]} for one in declared["outputs"]]

    reply = wire.post(server, wire.V2, {"inputs": inputs, "outputs": outputs})

    assert reply.ok
    assert [(one["name"], one["datatype"]) for one in reply.body["outputs"]] == [
        (one["name"], one["datatype"]) for one in declared["outputs"]
    ]
