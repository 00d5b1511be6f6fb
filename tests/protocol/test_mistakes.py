"""Every mistake gets its status and the same clear message over V1, V2 REST and gRPC."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import wire
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from mistakes import ASKED, TEXT, Mistake
from mistakes_of_requests import REQUESTS
from mistakes_of_tensors import TENSORS
from servers import ROOT, RunningServer
from wire import Reply

from predictor.errors import (
    TABLE,
    DeadlineExceeded,
    Forbidden,
    InvalidRequest,
    MethodNotAllowed,
    NerError,
    NotFound,
    TooLarge,
    Unsupported,
)

pytestmark = pytest.mark.server

CATALOGUE = (*REQUESTS, *TENSORS)
LEAKS = re.compile(
    r"Traceback|\.py\b|site-packages|/home/|/usr/|0x[0-9a-f]{6}|<class|object at"
    r"|pydantic|orjson|starlette|kserve\.|\b[A-Z][A-Za-z]+(Error|Exception)\b"
    rf"|{re.escape(str(ROOT))}"
)
LONGEST_MESSAGE = 500
HUNDRED_MB = 100_000_000


def check(reply: Reply, error: type[NerError], says: str = ".*") -> None:
    """The reply is this error, in the one form that all errors have."""
    assert error in TABLE or error.__mro__[1] in TABLE
    assert reply.status == (error.http if isinstance(reply.status, int) else error.grpc), reply
    assert re.fullmatch(says, reply.error), reply.error
    assert 0 < len(reply.error) <= LONGEST_MESSAGE
    assert not LEAKS.search(reply.error)
    assert reply.headers["x-request-id"] == reply.asked_id
    if isinstance(reply.status, int):
        assert reply.body == {
            "error": reply.error,
            "code": error.kind,
            "request_id": reply.asked_id,
        }


def replies(server: RunningServer, mistake: Mistake) -> Iterator[Reply]:
    """What the server says over each protocol that can express the mistake."""
    if mistake.v1 is not None:
        path = f"/v1/models/{mistake.model}:predict"
        yield wire.post(server, path, mistake.v1, mistake.headers)
    if mistake.v2 is not None:
        path = f"/v2/models/{mistake.model}/infer"
        yield wire.post(server, path, mistake.v2, mistake.headers)
    if mistake.grpc:
        yield wire.call(server, mistake.grpc())


@pytest.mark.parametrize("mistake", CATALOGUE, ids=lambda one: one.name)
def test_same_message_over_every_protocol(server: RunningServer, mistake: Mistake) -> None:
    """A mistake gets the status of its kind, and one message whatever the protocol."""
    found = list(replies(server, mistake))

    for reply in found:
        check(reply, mistake.error, mistake.says)
    assert len({reply.error for reply in found}) == 1


def test_names_are_unique() -> None:
    """Each mistake stands in the catalogue once."""
    assert len({one.name for one in CATALOGUE}) == len(CATALOGUE)


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "APPLICATION/JSON;charset=UTF-8", ""]
)
def test_content_type_with_parameters(server: RunningServer, kind: str) -> None:
    """JSON is taken with parameters behind its type, in capitals, and without a type."""
    inputs = [wire.tensor("text", [TEXT])]

    v1 = wire.post(
        server, wire.V1, {"instances": [TEXT], "parameters": ASKED}, {"content-type": kind}
    )
    v2 = wire.post(server, wire.V2, {"inputs": inputs, "parameters": ASKED}, {"content-type": kind})

    assert v1.ok
    assert v1.entities() == v2.entities()


@pytest.mark.parametrize("path", [wire.V1, wire.V2, "/predict", "/api/v1/predict"])
def test_declared_100_mb(server: RunningServer, path: str) -> None:
    """A body that declares itself too large is refused before it is read."""
    reply = wire.post(server, path, b"x" * HUNDRED_MB)

    check(reply, TooLarge, "the body is over 16777216 bytes; send fewer or shorter texts .*")


@pytest.mark.parametrize("path", [wire.V1, wire.V2, "/predict"])
def test_chunked_100_mb(server: RunningServer, path: str) -> None:
    """A body of undeclared length is read up to the limit and no further."""
    sent = 0

    def chunks() -> Iterator[bytes]:
        nonlocal sent
        while sent < HUNDRED_MB:
            sent += 1_000_000
            yield b" " * 1_000_000

    reply = wire.http(server, "POST", path, chunks(), wire.JSON)

    check(reply, TooLarge, "the body is over 16777216 bytes; send fewer or shorter texts .*")


def test_100_mb_over_grpc(server: RunningServer) -> None:
    """gRPC's own limit refuses a message that is too large."""
    reply = wire.call(server, wire.message([b"x" * HUNDRED_MB], parameters=ASKED))

    assert reply.status == TooLarge.grpc
    assert "16777216" in reply.error


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ("0", DeadlineExceeded, "not finished within 0 s; .*"),
        ("-1", DeadlineExceeded, "not finished within 0 s; .*"),
        ("1e-9", DeadlineExceeded, "not finished within 0 s; .*"),
        ("500ms", InvalidRequest, "x-request-timeout: must be seconds .*2.5, got '500ms'"),
        ("nan", InvalidRequest, "x-request-timeout: must be seconds .*2.5, got 'nan'"),
    ],
)
def test_time(server: RunningServer, given: str, error: type[NerError], says: str) -> None:
    """A caller's time that is over, or that cannot be read, is the same over every protocol."""
    headers = {"x-request-timeout": given}
    v2 = {"inputs": [wire.tensor("text", [TEXT])], "parameters": {"labels": '["person"]'}}
    found = [
        wire.post(server, wire.V1, {"instances": [TEXT], "parameters": ASKED}, headers),
        wire.post(server, wire.V2, v2, headers),
        wire.post(server, "/predict", {"text": TEXT, "labels": ["person"]}, headers),
        wire.call(server, wire.message([TEXT], parameters=ASKED), metadata=headers),
    ]

    for reply in found:
        check(reply, error, says)


@pytest.mark.parametrize("method", ["ModelInfer", "ModelReady"])
def test_no_protobuf_over_grpc(server: RunningServer, method: str) -> None:
    """Bytes that are no message get the one form, and their line in the log."""
    reply = wire.call(server, b"\xff\xff\xff", method)

    check(
        reply,
        InvalidRequest,
        f"the message is not valid protobuf; {method} takes a {method}Request",
    )
    [line] = [one for one in server.log_lines() if one.get("request_id") == reply.asked_id]
    assert (line["level"], line["status"]) == ("INFO", "INVALID_ARGUMENT")
    assert (line["endpoint"], line["error"]) == (method, "invalid_request")


@pytest.mark.parametrize(
    ("method", "path", "error"),
    [
        ("GET", "/nowhere", NotFound),
        ("GET", "/page/nothing.js", NotFound),
        ("GET", "/page/..%2fsettings.py", NotFound),
        ("GET", "/v1/models/bert", NotFound),
        ("GET", "/v2/models/bert", NotFound),
        ("GET", "/v2/models/bert/ready", NotFound),
        ("GET", f"/v2/models/{'a' * 30_000}/ready", NotFound),
        ("GET", "/v2/models/%ff%00/ready", NotFound),
        ("GET", "/v1/models/gliner:predict", MethodNotAllowed),
        ("GET", "/v2/models/gliner/infer", MethodNotAllowed),
        ("PUT", "/predict", MethodNotAllowed),
        ("DELETE", "/v2/models/gliner", MethodNotAllowed),
        ("OPTIONS", "/v1/models/gliner:predict", MethodNotAllowed),
        ("POST", "/", MethodNotAllowed),
        ("POST", "/v1/models/gliner:explain", Unsupported),
        ("GET", "/v2/models/gliner/versions/1", Unsupported),
        ("GET", "/v2/models/gliner/versions/1/ready", Unsupported),
        ("POST", "/v2/models/gliner/versions/1/infer", Unsupported),
        ("POST", "/v2/repository/models/gliner/load", Forbidden),
        ("POST", "/v2/repository/models/gliner/unload", Forbidden),
    ],
)
def test_addresses(server: RunningServer, method: str, path: str, error: type[NerError]) -> None:
    """Unknown addresses, wrong methods and parts of the protocol that are shut say so."""
    body = b'{"instances": ["a"]}' if method == "POST" else None

    reply = wire.http(server, method, path, body, wire.JSON)

    check(reply, error)
    if error is MethodNotAllowed:
        assert reply.headers["allow"] in reply.error


@pytest.mark.parametrize(
    ("method", "request_", "error"),
    [
        ("RepositoryModelLoad", pb.RepositoryModelLoadRequest(model_name="gliner"), Forbidden),
        ("RepositoryModelUnload", pb.RepositoryModelUnloadRequest(model_name="gliner"), Forbidden),
        ("ModelReady", pb.ModelReadyRequest(name="bert"), NotFound),
        ("ModelMetadata", pb.ModelMetadataRequest(name="bert"), NotFound),
        ("ModelReady", pb.ModelReadyRequest(name="gliner", version="1"), Unsupported),
        ("ModelMetadata", pb.ModelMetadataRequest(name="gliner", version="1"), Unsupported),
        ("ModelInfer", pb.ModelInferRequest(model_name="gliner", model_version="1"), Unsupported),
    ],
)
def test_grpc_methods(
    server: RunningServer, method: str, request_: Any, error: type[NerError]
) -> None:
    """gRPC refuses what REST refuses."""
    reply = wire.call(server, request_, method)

    check(reply, error)


def test_refused_unload_leaves_the_model(server: RunningServer) -> None:
    """After attempts to unload it, the model serves on."""
    wire.http(server, "POST", "/v2/repository/models/gliner/unload")
    wire.call(server, pb.RepositoryModelUnloadRequest(model_name="gliner"), "RepositoryModelUnload")

    assert wire.http(server, "GET", "/v2/models/gliner/ready").ok
    assert wire.post(server, wire.V1, {"instances": [TEXT], "parameters": ASKED}).ok


EVENT = {"ce-id": "1", "ce-source": "test", "ce-specversion": "1.0", "ce-type": "text"}
STRUCTURED = {"id": "1", "source": "test", "specversion": "1.0", "type": "text"}


@pytest.mark.parametrize(
    ("payload", "headers", "says"),
    [
        ({}, {**EVENT, "ce-specversion": "7"}, "ce-specversion: must be 1.0 or 0.3, got '7'"),
        ({}, {"ce-type": "text"}, "ce-id: is required in a CloudEvent: a string"),
        (b"", EVENT, "the body is empty; send a JSON object"),
        (b"\xff", EVENT, "the body is not valid JSON: .*"),
        ({}, {**EVENT, "ce-contenttype": "application/json"}, "instances: is required"),
        ({**STRUCTURED, "id": 1, "data": {}}, {}, "id: is required in a CloudEvent: a string"),
        (STRUCTURED, {}, "data: is required in a CloudEvent: the V1 body"),
        ({**STRUCTURED, "data": {}}, {}, "instances: is required"),
        (
            [],
            {"content-type": "application/cloudevents+json"},
            "a CloudEvent must be a JSON object",
        ),
    ],
)
def test_malformed_events(
    server: RunningServer, payload: Any, headers: dict[str, str], says: str
) -> None:
    """A CloudEvent that is none says which attribute it lacks."""
    reply = wire.post(server, wire.V1, payload, headers)

    check(reply, InvalidRequest, says)
