"""One way to ask over each protocol, and one form for what comes back.

Importing this brings KServe's protobuf classes, which cannot share a process with those of
`tritonclient.grpc`; that client runs in a process of its own (`triton_grpc.py`).
"""

from __future__ import annotations

import json
import select
import socket
import struct
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPResponse
from typing import Any

import grpc
import httpx
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from servers import RunningServer

JSON = {"content-type": "application/json"}
V1 = "/v1/models/gliner:predict"
V2 = "/v2/models/gliner/infer"


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back.

    Attributes:
        status: an HTTP status, or the name of a gRPC status.
        body: parsed JSON, or the protobuf message; None for a gRPC error.
        error: the error's text, empty for an answer.
        headers: lower-case; gRPC's initial and trailing metadata.
        asked_id: the request id that was sent.
    """

    status: int | str
    body: Any
    error: str
    headers: Mapping[str, str] = field(default_factory=dict)
    asked_id: str = ""

    @property
    def ok(self) -> bool:
        return self.status in (200, "OK")

    def entities(self) -> list[list[dict[str, Any]]]:
        """The entities of each text, whatever the protocol."""
        if isinstance(self.body, pb.ModelInferResponse):
            [output] = self.body.outputs
            rows = list(output.contents.bytes_contents)
            return [json.loads(row) for row in rows or unpack(self.body.raw_output_contents[0])]
        if "predictions" in self.body:
            return [one["entities"] for one in self.body["predictions"]]
        [found] = self.body["outputs"]
        return [json.loads(row) for row in found["data"]]


def http(
    server: RunningServer,
    method: str,
    path: str,
    content: bytes | Iterator[bytes] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """Send one HTTP request with an id of its own."""
    request_id = uuid.uuid4().hex
    answer = server.http.request(
        method, path, content=content, headers={"x-request-id": request_id, **(headers or {})}
    )
    return reply(answer, request_id)


def reply(answer: httpx.Response, request_id: str) -> Reply:
    """An HTTP answer in the common form."""
    is_json = answer.headers.get("content-type", "").startswith("application/json")
    body = answer.json() if is_json and answer.content else None
    error = body["error"] if isinstance(body, dict) and "error" in body else ""
    headers = {key.lower(): value for key, value in answer.headers.items()}
    return Reply(answer.status_code, body, error, headers, request_id)


def post(
    server: RunningServer, path: str, payload: Any, headers: Mapping[str, str] | None = None
) -> Reply:
    """Post a payload as JSON; bytes go as they are."""
    content = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return http(server, "POST", path, content, {**JSON, **(headers or {})})


def post_slowly(
    server: RunningServer,
    path: str,
    body: bytes,
    pause: float,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """Post JSON a byte at a time, with a pause before each, until an answer comes."""
    request_id = uuid.uuid4().hex
    given = {"host": "a", **JSON, "x-request-id": request_id, **(headers or {})}
    chunked = "transfer-encoding" in given
    if not chunked:
        given["content-length"] = str(len(body))
    lines = [f"POST {path} HTTP/1.1", *(f"{key}: {value}" for key, value in given.items())]
    address, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((address, int(port)), timeout=60) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        for byte in body:
            if select.select([connection], [], [], pause)[0]:
                break
            connection.sendall(b"1\r\n%c\r\n" % byte if chunked else b"%c" % byte)
        else:
            connection.sendall(b"0\r\n\r\n" if chunked else b"")
        answer = HTTPResponse(connection)
        answer.begin()
        content = answer.read()
        if answer.will_close:
            assert connection.recv(1) == b""
    parsed = httpx.Response(answer.status, headers=answer.getheaders(), content=content)
    return reply(parsed, request_id)


def channel(server: RunningServer) -> grpc.Channel:
    """A connection over gRPC, with no limit of the client's own."""
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    return grpc.insecure_channel(server.grpc, options=options)


@contextmanager
def stub(server: RunningServer) -> Iterator[GRPCInferenceServiceStub]:
    """KServe's gRPC service."""
    with channel(server) as opened:
        yield GRPCInferenceServiceStub(opened)


def call(
    server: RunningServer,
    request: Any,
    method: str = "ModelInfer",
    timeout: float = 120,
    metadata: Mapping[str, str] | None = None,
) -> Reply:
    """Call a method of the gRPC service with an id of its own; bytes go as they are."""
    request_id = uuid.uuid4().hex
    given = {"x-request-id": request_id, **(metadata or {})}
    with channel(server) as opened:
        ask: Any
        if isinstance(request, bytes):
            ask = opened.unary_unary(f"/inference.GRPCInferenceService/{method}")
        else:
            ask = getattr(GRPCInferenceServiceStub(opened), method)
        try:
            body, done = ask.with_call(request, timeout=timeout, metadata=tuple(given.items()))
        except grpc.RpcError as error:
            return Reply(
                error.code().name, None, error.details() or "", _metadata(error), request_id
            )
    return Reply("OK", body, "", _metadata(done), request_id)


def _metadata(call: Any) -> dict[str, str]:
    both = (*(call.initial_metadata() or ()), *(call.trailing_metadata() or ()))
    return {str(key): str(value) for key, value in both}


def message(
    texts: Sequence[str | bytes] = (),
    *,
    parameters: Mapping[str, Any] | None = None,
    outputs: Iterable[str] = (),
    model: str = "gliner",
    raw: bool = False,
    **inputs: Sequence[str | bytes],
) -> pb.ModelInferRequest:
    """A gRPC request: `texts` as the input `text`, further inputs by their name."""
    tensors = {"text": texts, **inputs}
    request = pb.ModelInferRequest(model_name=model)
    for name, values in tensors.items():
        data = [one.encode() if isinstance(one, str) else one for one in values]
        tensor = request.inputs.add(name=name, datatype="BYTES", shape=[len(data)])
        if raw:
            request.raw_input_contents.append(pack(data))
        else:
            tensor.contents.bytes_contents.extend(data)
    for key, value in (parameters or {}).items():
        request.parameters[key].CopyFrom(parameter(value))
    request.outputs.extend(
        pb.ModelInferRequest.InferRequestedOutputTensor(name=name) for name in outputs
    )
    return request


def parameter(value: Any) -> pb.InferParameter:
    """A protobuf parameter; floats as Triton's clients send them, in a field of their own."""
    match value:
        case bool():
            return pb.InferParameter(bool_param=value)
        case int():
            return pb.InferParameter(int64_param=value)
        case float():
            return pb.InferParameter.FromString(b"\x21" + struct.pack("<d", value))
        case str():
            return pb.InferParameter(string_param=value)
    return pb.InferParameter(string_param=json.dumps(value))


def tensor(name: str, values: Sequence[Any], **changes: Any) -> dict[str, Any]:
    """A V2 input in JSON."""
    return {
        "name": name,
        "shape": [len(values)],
        "datatype": "BYTES",
        "data": list(values),
    } | changes


def pack(values: Iterable[bytes]) -> bytes:
    """BYTES elements as raw bytes: each with its length before it."""
    return b"".join(struct.pack("<I", len(one)) + one for one in values)


def unpack(raw: bytes) -> list[bytes]:
    """The elements of raw BYTES."""
    values = []
    while raw:
        size = int.from_bytes(raw[:4], "little")
        values.append(raw[4 : 4 + size])
        raw = raw[4 + size :]
    return values


def binary(
    payload: Mapping[str, Any], raw: bytes, length: object = None
) -> tuple[bytes, dict[str, str]]:
    """A V2 body with raw tensors behind the JSON part, and its headers."""
    head = json.dumps(payload).encode()
    headers = {
        "content-type": "application/octet-stream",
        "inference-header-content-length": str(len(head) if length is None else length),
    }
    return head + raw, headers


def check_offsets(text: str, entities: Iterable[Mapping[str, Any]], labels: Iterable[str]) -> None:
    """Every entity is where it says, and of a label that was asked for."""
    asked = set(labels)
    for entity in entities:
        assert text[entity["start"] : entity["end"]] == entity["text"] != ""
        assert entity["label"] in asked
        assert 0 <= entity["score"] <= 1
