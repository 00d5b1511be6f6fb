"""Every mistake a caller can make in a request, each in the form of every protocol that can
express it, with what the server must say."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from wire import binary, message, pack, tensor

from predictor.errors import InvalidRequest, NerError

TEXT = "Ada Lovelace was born in London."
ASKED: Mapping[str, Any] = {"labels": ["person", "location"]}
OPTIONS = "flat_ner, labels, multi_label, threshold, thresholds"


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake.

    Attributes:
        name: what it is.
        says: a regular expression for the whole message.
        v1: the V1 payload, or its bytes.
        v2: the V2 REST payload, or its bytes.
        grpc: builds the gRPC request.
        headers: for HTTP, beside the JSON content type.
        model: the name in the address.
        error: the kind of error.
    """

    name: str
    says: str
    v1: Any = None
    v2: Any = None
    grpc: Callable[[], pb.ModelInferRequest] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    model: str = "gliner"
    error: type[NerError] = InvalidRequest


def everywhere(
    name: str,
    says: str,
    /,
    *,
    texts: Sequence[str] = (TEXT,),
    own: Sequence[Mapping[str, Any]] = (),
    **parameters: Any,
) -> Mistake:
    """In the texts, in a text's own options or in the parameters for all texts."""
    # V2's parameters are scalars: lists and objects travel as JSON.
    scalars = {
        key: json.dumps(value) if isinstance(value, (list, dict)) else value
        for key, value in parameters.items()
    }
    options: dict[str, Any] = {"options": [json.dumps(one) for one in own]} if own else {}
    instances: list[Any] = [
        {**one, "text": text} for one, text in zip(own, texts, strict=bool(own))
    ]
    return Mistake(
        name,
        says,
        v1={"instances": instances or list(texts), "parameters": parameters},
        v2={
            "inputs": [tensor(key, one) for key, one in ({"text": texts} | options).items()],
            "parameters": scalars,
        },
        grpc=lambda: message(texts, parameters=scalars, **options),
    )


def in_parameters(name: str, says: str, /, **parameters: Any) -> Mistake:
    """In the parameters for all texts, with labels that are right."""
    return everywhere(name, says, **ASKED, **parameters)


def in_v1(name: str, says: str, /, **payload: Any) -> Mistake:
    """In the form of a V1 body."""
    return Mistake(name, says, v1=payload)


def in_json(name: str, says: str, body: bytes, **headers: str) -> Mistake:
    """In what every JSON body has in common."""
    return Mistake(name, says, v1=body, v2=body, headers=headers)


def in_tensor(name: str, says: str, /, **changes: Any) -> Mistake:
    """In the one input of a V2 request."""
    given = tensor("text", [TEXT]) | changes

    def build() -> pb.ModelInferRequest:
        request = message([TEXT], parameters=ASKED)
        request.inputs[0].name = given["name"]
        request.inputs[0].datatype = given["datatype"]
        request.inputs[0].shape[:] = given["shape"]
        return request

    return Mistake(
        name,
        says,
        v2={"inputs": [given], "parameters": ASKED},
        grpc=build if set(changes) <= {"name", "datatype", "shape"} else None,
    )


def in_raw(name: str, says: str, raw: bytes) -> Mistake:
    """In the raw bytes of a V2 input."""
    given = tensor("text", [TEXT], parameters={"binary_data_size": len(raw)})
    del given["data"]
    body, headers = binary({"inputs": [given], "parameters": ASKED}, raw)

    def build() -> pb.ModelInferRequest:
        request = message([TEXT], parameters=ASKED, raw=True)
        request.raw_input_contents[0] = raw
        return request

    return Mistake(name, says, v2=body, grpc=build, headers=headers)


def in_inputs(name: str, says: str, outputs: Sequence[str] = (), **inputs: Any) -> Mistake:
    """In which V2 inputs and outputs there are."""
    texts = inputs.pop("text", ())
    named = {"text": texts} if texts else {}
    payload: dict[str, Any] = {
        "inputs": [tensor(key, one) for key, one in (named | inputs).items()],
        "outputs": [{"name": one} for one in outputs],
        "parameters": ASKED if "labels" not in inputs else {},
    }

    def build() -> pb.ModelInferRequest:
        request = message(texts, parameters=payload["parameters"], outputs=outputs, **inputs)
        if not texts:
            del request.inputs[0]
        return request

    return Mistake(name, says, v2=payload, grpc=build)


def in_binary(name: str, says: str, /, **changes: Any) -> Mistake:
    """In how V2's JSON and its raw tensors are put together."""
    raw = pack([TEXT.encode()])
    size = changes.pop("size", len(raw))
    given = tensor("text", [TEXT], parameters={"binary_data_size": size})
    del given["data"]
    body, headers = binary(
        {"inputs": [given | changes.pop("given", {})], "parameters": ASKED},
        raw + changes.pop("behind", b""),
        changes.pop("length", None),
    )
    return Mistake(name, says, v2=body, headers=headers)
