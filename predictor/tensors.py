"""V2 tensors and parameters: which there are, what they hold, what is wrong with others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from predictor.errors import InvalidRequest, quote
from predictor.extraction import Extraction
from predictor.json_body import load_json


class Tensor(NamedTuple):
    """One V2 tensor; `data` is flat, BYTES elements are `str` or UTF-8 `bytes`. Data that is
    `bytes` itself came raw: elements with their lengths before them."""

    name: str
    datatype: str
    shape: list[int]
    data: Sequence[Any]


INPUTS: Mapping[str, str] = {
    "text": "the texts",
    "labels": "labels for all texts; not with the parameter `labels`",
    "options": "for each text a JSON object with options of its own, as a V1 instance has them",
}
OUTPUTS: Mapping[str, str] = {
    "entities": "BYTES",
    "words": "INT32",
    "windows": "INT32",
    "row": "INT32",
    "start": "INT32",
    "end": "INT32",
    "label": "BYTES",
    "text": "BYTES",
    "score": "FP32",
}
"""The output tensors and their datatypes. The first three hold an element a text, the others
one an entity."""

_JSON_PARAMETERS = ("labels", "thresholds")
PROTOCOL_PARAMETERS = ("binary_data_output", "binary_data", "binary_data_size")


def answer(results: Sequence[Extraction], wanted: Sequence[str]) -> list[Tensor]:
    """The V2 output tensors.

    Args:
        results: one for each text, in the order asked.
        wanted: names out of `OUTPUTS`; none asks for `entities`.
    """
    found = [(row, one) for row, result in enumerate(results) for one in result.entities]
    columns: dict[str, list[Any]] = {
        "entities": [
            orjson.dumps([one.row() for one in result.entities]).decode() for result in results
        ],
        "words": [result.words for result in results],
        "windows": [result.windows for result in results],
        "row": [row for row, _ in found],
        "start": [one.start for _, one in found],
        "end": [one.end for _, one in found],
        "label": [one.label for _, one in found],
        "text": [one.text for _, one in found],
        "score": [one.score for _, one in found],
    }
    return [
        Tensor(name, OUTPUTS[name], [len(columns[name])], columns[name])
        for name in (wanted or ["entities"])
    ]


def check_outputs(wanted: Sequence[str]) -> None:
    """Refuse outputs that do not exist, before any work is done.

    Raises:
        InvalidRequest: names the output and those there are.
    """
    for index, name in enumerate(wanted):
        if name not in OUTPUTS:
            raise InvalidRequest(
                f"unknown output; the outputs are {', '.join(OUTPUTS)}", field=name
            )
        if name in wanted[:index]:
            raise InvalidRequest("is asked for twice", field=name)


def check_inputs(given: Iterable[tuple[str, str]]) -> None:
    """Refuse inputs that do not exist or cannot be text, before they are taken apart.

    Args:
        given: names and datatypes.

    Raises:
        InvalidRequest: names the input and what there is.
    """
    seen: set[str] = set()
    for name, datatype in given:
        if name not in INPUTS:
            raise InvalidRequest(f"unknown input; the inputs are {', '.join(INPUTS)}", field=name)
        if name in seen:
            raise InvalidRequest("is given twice", field=name)
        if datatype != "BYTES":
            raise InvalidRequest(f"must have the datatype BYTES, got {quote(datatype)}", field=name)
        seen.add(name)
    if "text" not in seen:
        raise InvalidRequest("is required: an input of datatype BYTES", field="text")


def _declared(shape: Sequence[int]) -> int | None:
    """How many elements a shape speaks of; None where it is not one of a list's."""
    # [N] is ours; [N, 1] and [1, N] are what some clients make of a list.
    wide = [size for size in shape[:8] if size != 1]
    if not 0 < len(shape) <= 8 or len(wide) > 1:
        return None
    return wide[0] if wide else 1


def _elements(tensor: Tensor, most: int) -> Sequence[Any]:
    """A tensor's elements; of raw ones no more than one beyond the most that are taken."""
    raw = tensor.data
    if not isinstance(raw, bytes):
        return raw
    elements: list[bytes] = []
    start = 0
    while start < len(raw) and len(elements) <= most:
        begin = start + 4
        start = begin + int.from_bytes(raw[start:begin], "little")
        if start > len(raw):
            raise InvalidRequest(
                "the raw bytes do not hold elements with their lengths before them",
                field=tensor.name,
            )
        elements.append(raw[begin:start])
    return elements


def strings(tensor: Tensor, most: int, check: Callable[[int], None]) -> list[str]:
    """A BYTES tensor's elements as text.

    Args:
        tensor: one of `INPUTS`.
        most: elements beyond this one need not be taken apart.
        check: refuses a count of elements that is over the bound.

    Raises:
        InvalidRequest: elements are not text, or not as many as the shape says.
    """
    declared = _declared(tensor.shape)
    check(declared or 0)  # before millions of elements are taken apart
    elements = _elements(tensor, most)
    if declared != len(elements):
        raise InvalidRequest(
            f"has the shape {tensor.shape[:8]} for {len(elements)} elements; it must be "
            f"[{len(elements)}]",
            field=tensor.name,
        )
    if not elements and tensor.name != "text":  # no texts are refused as V1 refuses them
        raise InvalidRequest("must not be empty", field=tensor.name)
    return [_text(tensor.name, index, element) for index, element in enumerate(elements)]


def _text(name: str, index: int, element: Any) -> str:
    # Rows of these two belong to a text each.
    instance = index if name in ("text", "options") else None
    if isinstance(element, bytes):
        try:
            return element.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InvalidRequest(
                f"is not valid UTF-8 at byte {error.start}", field=name, instance=instance
            ) from None
    if not isinstance(element, str):
        raise InvalidRequest("must be a string", field=name, instance=instance)
    return element


def options_of(index: int, raw: str) -> dict[str, Any]:
    """One element of the input `options`: an instance without its text."""
    try:
        value = load_json(raw.encode())
    except InvalidRequest:
        value = None
    if not isinstance(value, dict):
        raise InvalidRequest("must be a JSON object", field="options", instance=index)
    if "text" in value:
        raise InvalidRequest(
            "unknown field; the text stands in the input text", field="text", instance=index
        )
    return value


def from_parameter(key: str, value: Any) -> Any:
    """A V2 parameter, which is a scalar, as the V1 field of that name."""
    if key in _JSON_PARAMETERS and isinstance(value, str) and value[:1] in ("[", "{"):
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError as error:
            raise InvalidRequest(f"is not valid JSON: {error}", field=key) from None
    if key == "threshold" and isinstance(value, str):
        # gRPC parameters have no floating point: a threshold travels as text.
        try:
            return float(value)
        except ValueError:
            return value
    return value
