"""V2 REST bodies: JSON, or JSON with raw tensors behind it, to KServe's request."""

from __future__ import annotations

from collections.abc import Mapping

from kserve import InferInput, InferRequest
from kserve.protocol.infer_type import RequestedOutput
from pydantic import ValidationError

from predictor.errors import InvalidRequest
from predictor.protocol import check_content_type, load_json
from predictor.schemas import InferBody, TensorIn, explain

LENGTH_HEADER = "inference-header-content-length"


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
    try:
        request = InferBody.model_validate(payload)
    except ValidationError as error:
        raise explain(error) from None
    return InferRequest(
        model_name=model_name,
        request_id=request.id,
        parameters=request.parameters,
        infer_inputs=_inputs(request.inputs, memoryview(body)[length:]),
        request_outputs=[
            RequestedOutput(one.name, one.parameters) for one in request.outputs or ()
        ],
    )


def _json_length(header: str | None, total: int) -> int:
    if header is None:
        return total
    if not header.isdecimal() or int(header) > total:
        raise InvalidRequest(
            f"must be the length of the JSON part in bytes, at most {total}", LENGTH_HEADER
        )
    return int(header)


def _inputs(given: list[TensorIn], raw: memoryview) -> list[InferInput]:
    inputs = []
    for one in given:
        size = (one.parameters or {}).get("binary_data_size")
        tensor = InferInput(one.name, one.shape, one.datatype, one.data)
        if one.data is None:
            if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= len(raw):
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
