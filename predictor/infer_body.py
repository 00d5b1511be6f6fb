"""V2 requests in each of their forms: JSON, JSON with raw tensors behind it, protobuf.

All are held against `InferBody`, so that the same mistake gets the same message.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

from kserve import InferInput, InferRequest
from kserve.protocol.infer_type import RequestedOutput
from pydantic import ValidationError

from predictor.errors import InvalidRequest
from predictor.json_body import check_content_type, load_json
from predictor.schemas import InferBody, TensorIn, explain
from predictor.tensors import check_inputs, check_outputs

LENGTH_HEADER = "inference-header-content-length"
_MOST = 101
"""Inputs, outputs and parameters of a message that are looked at: one beyond any bound."""


def read(body: bytes, headers: Mapping[str, str], model_name: str) -> InferRequest:
    """Read the body of an infer request.

    Args:
        body: the whole body.
        headers: lower-case; `inference-header-content-length` gives the length of the JSON
            part where raw tensors follow it.
        model_name: the model asked for.

    Raises:
        InvalidRequest: what is wrong, in which field.
    """
    check_content_type(headers.get("content-type", ""))
    length = _json_length(headers.get(LENGTH_HEADER), len(body))
    payload = load_json(body[:length])
    if not isinstance(payload, dict):
        raise InvalidRequest('the body must be a JSON object with "inputs"')
    request = _checked(payload)
    if request.model_name not in (None, model_name):
        raise InvalidRequest("is not the model in the address", field="model_name")
    return InferRequest(
        model_name=model_name,
        request_id=request.id,
        parameters=request.parameters,
        infer_inputs=_inputs(request.inputs, memoryview(body)[length:]),
        request_outputs=[
            RequestedOutput(one.name, one.parameters and one.parameters.model_dump())
            for one in request.outputs or ()
        ],
    )


def check_message(request: Any) -> None:
    """Hold a gRPC `ModelInferRequest` against the same rules, before it is taken apart.

    Raises:
        InvalidRequest: what is wrong, in which field.
    """
    _checked(
        {
            "inputs": [
                {
                    "name": one.name,
                    "shape": list(one.shape[:9]),
                    "datatype": one.datatype,
                    "parameters": _plain(one.parameters),
                }
                for one in islice(request.inputs, _MOST)
            ],
            "outputs": [
                {"name": one.name, "parameters": _plain(one.parameters)}
                for one in islice(request.outputs, _MOST)
            ],
            "parameters": _plain(request.parameters),
        }
    )


def _checked(payload: Mapping[str, Any]) -> InferBody:
    try:
        request = InferBody.model_validate(payload)
    except ValidationError as error:
        raise explain(error) from None
    check_inputs((one.name, one.datatype) for one in request.inputs)
    check_outputs([one.name for one in request.outputs or ()])
    if not isinstance((request.parameters or {}).get("binary_data_output", False), bool):
        raise InvalidRequest("must be true or false", field="binary_data_output")
    return request


def _plain(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: getattr(value, value.WhichOneof("parameter_choice") or "string_param")
        for key, value in islice(parameters.items(), _MOST)
    }


def _json_length(header: str | None, total: int) -> int:
    if header is None:
        return total
    # Python refuses to read a number of thousands of digits with an error of its own.
    if not header.isdecimal() or len(header) > 18 or int(header) > total:
        raise InvalidRequest(
            f"must be the length of the JSON part in bytes, at most {total}", LENGTH_HEADER
        )
    return int(header)


def _inputs(given: list[TensorIn], raw: memoryview) -> list[InferInput]:
    inputs = []
    for one in given:
        tensor = InferInput(one.name, one.shape, one.datatype, one.data)
        if one.data is None:
            size = one.parameters.binary_data_size if one.parameters else None
            if size is None or size > len(raw):
                raise InvalidRequest(
                    "needs data, or the parameter binary_data_size and as many bytes behind "
                    "the JSON part",
                    field=one.name,
                )
            tensor._raw_data, raw = bytes(raw[:size]), raw[size:]
        inputs.append(tensor)
    if len(raw):
        raise InvalidRequest(f"{len(raw)} bytes behind the JSON part belong to no input")
    return inputs
