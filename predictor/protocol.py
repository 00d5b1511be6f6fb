"""V1 and V2 payloads to queries, and results back.

V2 is turned into the V1 form first, so that one parser checks both and the same mistake gets
the same message over V1, V2 and gRPC.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import orjson
from pydantic import ValidationError

from predictor.errors import InvalidRequest
from predictor.extraction import Extraction, Label, Query
from predictor.presets import Preset
from predictor.schemas import Instance, Options, PredictRequest, explain
from predictor.settings import Settings


class Tensor(NamedTuple):
    """One V2 tensor; `data` is flat, BYTES elements are `str` or UTF-8 `bytes`."""

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
_PROTOCOL_PARAMETERS = ("binary_data_output", "binary_data", "binary_data_size")


def load_json(body: bytes) -> Any:
    """Parse a body.

    Raises:
        InvalidRequest: it is not JSON in UTF-8, nests too deep, or holds NaN.
    """
    if not body.strip():
        raise InvalidRequest("the body is empty; send a JSON object")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"the body is not valid JSON: {error}") from None


def check_content_type(given: str) -> None:
    """Make sure that a body claims to be JSON; with any parameters, or without a claim.

    Raises:
        InvalidRequest: it claims to be something else.
    """
    kind = given.partition(";")[0].strip().lower()
    if kind and not kind.endswith(("/json", "+json")) and kind != "application/octet-stream":
        raise InvalidRequest(
            f"the content type must be application/json, got {_short(kind)}; with curl add "
            "-H 'Content-Type: application/json'"
        )


@dataclass(frozen=True, slots=True)
class Parser:
    """Turns payloads into queries under an operator's settings.

    Attributes:
        settings: bounds and defaults.
        presets: label presets by name.
        markers: the model's own marker tokens, which no label may contain.
    """

    settings: Settings
    presets: Mapping[str, Preset]
    markers: tuple[str, ...] = ()

    def v1(self, payload: Any) -> list[Query]:
        """Parse a V1 body.

        Raises:
            InvalidRequest: what is wrong, in which field of which instance.
        """
        if not isinstance(payload, dict):
            raise InvalidRequest('the body must be a JSON object with "instances"')
        try:
            request = PredictRequest.model_validate(payload)
        except ValidationError as error:
            raise explain(error) from None
        if len(request.instances) > self.settings.max_instances:
            raise InvalidRequest(
                f"{len(request.instances)} texts, at most {self.settings.max_instances} are "
                "taken in one request; split it",
                field="instances",
            )
        shared = request.parameters or Options()
        return [self._query(index, one, shared) for index, one in enumerate(request.instances)]

    def v2(self, tensors: Sequence[Tensor], parameters: Mapping[str, Any]) -> list[Query]:
        """Parse V2 inputs and parameters, REST or gRPC.

        Raises:
            InvalidRequest: what is wrong, in which input or parameter.
        """
        columns = self._columns(tensors)
        options = {
            key: _from_parameter(key, value)
            for key, value in parameters.items()
            if key not in _PROTOCOL_PARAMETERS
        }
        if "labels" in columns:
            if "labels" in options:
                raise InvalidRequest(
                    "are given as an input and as a parameter; send one of them", field="labels"
                )
            options["labels"] = columns["labels"]
        rows = [_options_of(index, raw) for index, raw in enumerate(columns.get("options", ()))]
        if rows and len(rows) != len(columns["text"]):
            raise InvalidRequest(
                f"has {len(rows)} elements for {len(columns['text'])} texts; send one a text",
                field="options",
            )
        own = rows or [{}] * len(columns["text"])
        instances = [{**row, "text": text} for row, text in zip(own, columns["text"], strict=True)]
        return self.v1({"instances": instances, "parameters": options})

    def _columns(self, tensors: Sequence[Tensor]) -> dict[str, list[str]]:
        columns: dict[str, list[str]] = {}
        for tensor in tensors:
            if tensor.name not in INPUTS:
                raise InvalidRequest(
                    f"unknown input; the inputs are {', '.join(INPUTS)}", field=tensor.name
                )
            if tensor.name in columns:
                raise InvalidRequest("is given twice", field=tensor.name)
            columns[tensor.name] = _strings(tensor)
        if "text" not in columns:
            raise InvalidRequest("is required: an input of datatype BYTES", field="text")
        return columns

    def _query(self, index: int, one: str | Instance, shared: Options) -> Query:
        own = Instance(text=one) if isinstance(one, str) else one
        try:
            if len(own.text) > self.settings.max_text_chars:
                raise InvalidRequest(
                    f"{len(own.text)} characters, at most {self.settings.max_text_chars} are "
                    "taken; split the text",
                    field="text",
                )
            return Query(
                text=own.text,
                labels=self._labels(own, shared),
                flat_ner=_first(own.flat_ner, shared.flat_ner, self.settings.flat_ner),
                multi_label=_first(own.multi_label, shared.multi_label, self.settings.multi_label),
            )
        except InvalidRequest as error:
            # Labels that all texts share are not one text's fault.
            is_own = error.field == "text" or own.labels is not None or own.thresholds is not None
            raise (error.at(index) if is_own else error) from None

    def _labels(self, own: Options, shared: Options) -> tuple[Label, ...]:
        prompts = self._prompts(_first(own.labels, shared.labels, self._default_labels()))
        threshold = _first(own.threshold, shared.threshold, self.settings.threshold)
        # One text's thresholds count before those of all texts, label by label.
        single = {**(shared.thresholds or {}), **(own.thresholds or {})}
        # Thresholds for all texts may name labels that only some texts ask for.
        for name in {**(own.thresholds or {}), **({} if own.labels else shared.thresholds or {})}:
            if name not in prompts:
                raise InvalidRequest(f"{name!r} is not one of the labels", field="thresholds")
        return tuple(
            Label(name, prompt, single.get(name, threshold)) for name, prompt in prompts.items()
        )

    def _default_labels(self) -> Any:
        raw = self.settings.labels
        if not raw:
            return None
        return raw if raw in self.presets else [part.strip() for part in raw.split(",")]

    def _prompts(self, labels: Any) -> dict[str, str]:
        """Labels in any of their forms, as names with the prompts that the model reads."""
        match labels:
            case None:
                raise InvalidRequest(
                    "are required: a list of labels, an object of labels with descriptions, or "
                    f"the name of a preset ({', '.join(self.presets)})",
                    field="labels",
                )
            case str():
                if labels not in self.presets:
                    raise InvalidRequest(
                        f"{_short(labels)} is not a preset; the presets are "
                        f"{', '.join(self.presets)}. For one label send a list of one",
                        field="labels",
                    )
                pairs = list(self.presets[labels].labels.items())
            case list():
                pairs = [(name, None) for name in labels]
            case dict():
                pairs = list(labels.items())
            case _:
                raise InvalidRequest(
                    "must be a list of strings, an object of strings, or the name of a preset",
                    field="labels",
                )
        if not pairs:
            raise InvalidRequest("must not be empty", field="labels")
        if len(pairs) > self.settings.max_labels:
            raise InvalidRequest(
                f"{len(pairs)} labels, at most {self.settings.max_labels} are taken for one "
                "text; split the request",
                field="labels",
            )
        prompts: dict[str, str] = {}
        for index, (name, description) in enumerate(pairs):
            self._check_label(index, name, description)
            if name in prompts:
                raise InvalidRequest(f"{_short(name)} stands there twice", field="labels")
            prompts[name] = description or name
        if len(set(prompts.values())) < len(prompts):
            raise InvalidRequest(
                "two labels have the same description; the model could not tell them apart",
                field="labels",
            )
        return prompts

    def _check_label(self, index: int, name: Any, description: Any) -> None:
        for what, value in (("label", name), ("description of label", description)):
            if value is None and what != "label":
                continue
            if not isinstance(value, str):
                raise InvalidRequest(f"{what} {index} must be a string", field="labels")
            # `isprintable` is false for the control characters that tokenizers drop.
            visible = any(letter.isprintable() and not letter.isspace() for letter in value)
            if not visible and (what == "label" or value):
                raise InvalidRequest(f"{what} {index} must not be empty", field="labels")
            if len(value) > self.settings.max_label_chars:
                raise InvalidRequest(
                    f"{what} {index} has {len(value)} characters, at most "
                    f"{self.settings.max_label_chars} are taken",
                    field="labels",
                )
            if any(marker in value for marker in self.markers):
                raise InvalidRequest(
                    f"{what} {index} must not contain {' or '.join(self.markers)}, which the "
                    "model uses between labels",
                    field="labels",
                )


def v1_answer(results: Sequence[Extraction]) -> dict[str, Any]:
    """The V1 body for results in the order asked."""
    return {"predictions": [asdict(result) for result in results]}


def v2_answer(results: Sequence[Extraction], wanted: Sequence[str]) -> list[Tensor]:
    """The V2 output tensors.

    Args:
        results: one for each text, in the order asked.
        wanted: names out of `OUTPUTS`; none asks for `entities`.
    """
    found = [(row, one) for row, result in enumerate(results) for one in result.entities]
    columns: dict[str, list[Any]] = {
        "entities": [
            json.dumps([asdict(one) for one in result.entities], ensure_ascii=False)
            for result in results
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


def _strings(tensor: Tensor) -> list[str]:
    """A BYTES tensor's elements as text."""
    if tensor.datatype != "BYTES":
        raise InvalidRequest(
            f"must have the datatype BYTES, got {_short(tensor.datatype)}", field=tensor.name
        )
    count = len(tensor.data)
    # [N] is ours; [N, 1] and [1, N] are what some clients make of a list.
    wide = [size for size in tensor.shape if size != 1]
    if not tensor.shape or len(wide) > 1 or (wide or [1]) != [count]:
        raise InvalidRequest(
            f"has the shape {tensor.shape} for {count} elements; it must be [{count}]",
            field=tensor.name,
        )
    if not count and tensor.name != "text":  # no texts are refused as V1 refuses them
        raise InvalidRequest("must not be empty", field=tensor.name)
    return [_text(tensor.name, index, element) for index, element in enumerate(tensor.data)]


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


def _options_of(index: int, raw: str) -> dict[str, Any]:
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


def _from_parameter(key: str, value: Any) -> Any:
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


def _first(*values: Any) -> Any:
    """The first that is not None; the last whatever it is."""
    return next((value for value in values if value is not None), None)


def _short(value: str) -> str:
    return repr(value if len(value) <= 40 else value[:39] + "…")
