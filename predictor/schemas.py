"""The wire format of a request, as pydantic models: they check it and they document it.

Only shapes and bounds that never change stand here; bounds that an operator sets, and what
labels mean, are checked in `protocol`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    WithJsonSchema,
)

from predictor.errors import InvalidRequest

Score = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]

Labels = Annotated[
    Any,
    WithJsonSchema(
        {
            "description": (
                "A list of labels, an object of labels with their descriptions (or null), or "
                "the name of a preset."
            ),
            "anyOf": [
                {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1},
                {
                    "type": "object",
                    "additionalProperties": {"type": ["string", "null"]},
                    "minProperties": 1,
                },
                {"type": "string", "minLength": 1},
            ],
        }
    ),
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Options(_Strict):
    """What to look for and how. A text's own options come before the request's parameters,
    and these before the server's defaults."""

    labels: Labels = None
    threshold: Score | None = Field(
        None, description="An entity's score must be above this, 0 to 1."
    )
    thresholds: dict[str, Score] | None = Field(
        None, description="A threshold for single labels, by label."
    )
    flat_ner: bool | None = Field(None, description="false allows entities inside entities.")
    multi_label: bool | None = Field(
        None, description="true allows several labels for the same span."
    )


class Instance(Options):
    """One text with options of its own."""

    text: str


def _kind_of_instance(value: Any) -> str | None:
    if isinstance(value, (dict, Instance)):
        return "object"
    return "text" if isinstance(value, str) else None


class PredictRequest(_Strict):
    """The body of `POST /v1/models/{model_name}:predict`."""

    instances: list[
        Annotated[
            Annotated[str, Tag("text")] | Annotated[Instance, Tag("object")],
            Discriminator(_kind_of_instance),
        ]
    ] = Field(min_length=1)
    parameters: Options | None = Field(None, description="Options for all texts.")

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "instances": ["Ada Lovelace was born in London on 10 December 1815."],
                    "parameters": {"labels": ["person", "location", "date"], "threshold": 0.5},
                }
            ]
        }
    )


class TensorIn(_Strict):
    """One input of a V2 request."""

    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] | None = None
    data: list[Any] | None = None


class OutputWanted(_Strict):
    """One output that a V2 request asks for."""

    name: str
    parameters: dict[str, Any] | None = None


class InferBody(_Strict):
    """The JSON part of `POST /v2/models/{model_name}/infer`."""

    id: str | None = None
    parameters: dict[str, Any] | None = None
    inputs: list[TensorIn]
    outputs: list[OutputWanted] | None = None


class EntityOut(BaseModel):
    """One entity; `start` and `end` count Unicode code points."""

    text: str
    label: str
    start: int
    end: int
    score: float


class Prediction(BaseModel):
    """What was found in one text, and how it was read."""

    entities: list[EntityOut]
    words: int
    windows: int


class PredictResponse(BaseModel):
    """The answer, in the order asked."""

    predictions: list[Prediction]


class ErrorBody(BaseModel):
    """What every error looks like."""

    error: str = Field(description="What was wrong, which field, what would be right.")
    code: str = Field(description="A stable word for the kind of error.")
    request_id: str = Field(description="The id under which the server logged the request.")


def explain(error: ValidationError) -> InvalidRequest:
    """Say in one line what the first thing wrong with a request is."""
    # An unknown field is often a misspelt one that is then missing: say the cause first.
    errors = sorted(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    first = errors[0]
    instance, path = _where(first["loc"])
    kind, value, bounds = first["type"], first.get("input"), first.get("ctx", {})
    match kind:
        case "missing":
            reason = "is required"
        case "extra_forbidden":
            known = ", ".join(_fields_beside(first["loc"]))
            reason = f"unknown field; the fields here are {known}"
        case "union_tag_not_found" | "union_tag_invalid":
            reason = f"must be a string or an object with a text, got {_name(value)}"
        case "greater_than_equal":
            reason = f"must be at least {bounds['ge']:g}, got {_name(value)}"
        case "less_than_equal":
            reason = f"must be at most {bounds['le']:g}, got {_name(value)}"
        case "finite_number":
            reason = "must be a finite number"
        case "too_short":
            reason = "must not be empty"
        case "model_type" | "model_attributes_type" | "dict_type":
            reason = f"must be an object, got {_name(value)}"
        case _ if kind in _TYPES:
            reason = f"must be {_TYPES[kind]}, got {_name(value)}"
        case _:
            reason = first["msg"]
    return InvalidRequest(reason, ".".join(path) or None, instance)


_TYPES = {
    "string_type": "a string",
    "string_unicode": "valid Unicode",
    "float_type": "a number",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "list_type": "a list",
}


def _where(loc: Iterable[int | str]) -> tuple[int | None, list[str]]:
    """An error's place: the index of the instance, if it is in one, and the path within."""
    path = list(loc)
    instance = None
    if len(path) >= 2 and path[0] == "instances" and isinstance(path[1], int):
        instance = path[1]
        # Behind the index stands the tag of the union, which no caller wrote.
        path = path[3:]
    elif path and path[0] == "parameters" and len(path) > 1:
        path = path[1:]
    return instance, [str(part) for part in path]


def _fields_beside(loc: tuple[int | str, ...]) -> list[str]:
    parent: type[BaseModel] = PredictRequest
    match loc[:-1]:
        case ("instances", _, _):
            parent = Instance
        case ("parameters",):
            parent = Options
        case ("inputs", _):
            parent = TensorIn
        case ("outputs", _):
            parent = OutputWanted
    return sorted(parent.model_fields)


def _name(value: Any) -> str:
    """A value's kind, or a short number or word itself, for an error message."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case int() | float():
            return f"{value:g}" if isinstance(value, float) or abs(value) < 10**9 else "a number"
        case str():
            return "a string"
        case list() | tuple():
            return "a list"
        case dict():
            return "an object"
        case bytes():
            return "bytes"
    return "a value of another type"
