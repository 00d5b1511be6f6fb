"""The wire format of a request, as pydantic models: they check it and they document it.

Only shapes and bounds that never change stand here; bounds that an operator sets, and what
labels mean, are checked in `protocol`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    FailFast,
    Field,
    Tag,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from predictor.errors import InvalidRequest

# Validation runs on the event loop and pydantic collects every mistake it finds: a body of
# millions of them would hold up the health probes for a minute. Hence `FailFast` on lists,
# the first unknown field ends it, and lengths have bounds.

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


_MOST_THRESHOLDS = 1_000


def _few(value: Any) -> Any:
    if isinstance(value, dict) and len(value) > _MOST_THRESHOLDS:
        raise PydanticCustomError("too_many", f"must have at most {_MOST_THRESHOLDS} entries")
    return value


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _know_fields(cls, value: Any) -> Any:
        """Name the first unknown field before any other mistake: it is often a misspelt one
        that is then missing."""
        if isinstance(value, dict):
            for name in value:
                if name not in cls.model_fields:
                    known = ", ".join(sorted(cls.model_fields))
                    raise PydanticCustomError(
                        "unknown_field",
                        "unknown field; the fields here are {known}",
                        {"name": name, "known": known},
                    )
        return value


class Options(_Strict):
    """What to look for and how. A text's own options come before the request's parameters,
    and these before the server's defaults."""

    labels: Labels = None
    threshold: Score | None = Field(
        None, description="An entity's score must be above this, 0 to 1."
    )
    thresholds: Annotated[dict[str, Score] | None, BeforeValidator(_few)] = Field(
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

    instances: Annotated[
        list[
            Annotated[
                Annotated[str, Tag("text")] | Annotated[Instance, Tag("object")],
                Discriminator(_kind_of_instance),
            ]
        ],
        FailFast(),
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


class InputParameters(_Strict):
    """What may be said of a V2 input."""

    binary_data_size: int | None = Field(
        None, ge=0, description="Bytes of this input behind the JSON part, in place of data."
    )
    content_type: Literal["str"] | None = Field(
        None, description="MLServer's clients say here that BYTES are text."
    )


class OutputParameters(_Strict):
    """How a V2 output is wanted."""

    binary_data: bool | None = Field(
        None, description="true sends the output as raw bytes behind the JSON part."
    )


class TensorIn(_Strict):
    """One input of a V2 request."""

    name: str
    shape: Annotated[list[int], FailFast()] = Field(max_length=8)
    datatype: str
    parameters: InputParameters | None = None
    data: list[Any] | None = None


class OutputWanted(_Strict):
    """One output that a V2 request asks for."""

    name: str
    parameters: OutputParameters | None = None


class InferBody(_Strict):
    """The JSON part of `POST /v2/models/{model_name}/infer`."""

    id: str | None = None
    model_name: str | None = Field(None, description="As in the address; KServe's client says it.")
    parameters: dict[str, Any] | None = None
    inputs: Annotated[list[TensorIn], FailFast()] = Field(max_length=100)
    outputs: list[OutputWanted] | None = Field(None, max_length=100)


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


class TensorOut(BaseModel):
    """One output of a V2 answer: with data, or with raw bytes behind the JSON part."""

    name: str
    shape: list[int]
    datatype: Literal["BYTES", "INT32", "FP32"]
    data: list[str | int | float] | None = None
    parameters: InputParameters | None = None


class InferAnswer(BaseModel):
    """The answer to a V2 request, its outputs in the order asked."""

    id: str
    model_name: str
    model_version: str = Field(description="The version of the model that answered.")
    outputs: list[TensorOut]


class ErrorBody(BaseModel):
    """What every error looks like."""

    error: str = Field(description="What was wrong, which field, what would be right.")
    code: str = Field(description="A stable word for the kind of error.")
    request_id: str = Field(description="The id under which the server logged the request.")


def explain(error: ValidationError) -> InvalidRequest:
    """Say in one line what the first thing wrong with a request is."""
    first = error.errors()[0]
    kind, value, bounds = first["type"], first.get("input"), first.get("ctx", {})
    unknown = (bounds["name"],) if kind == "unknown_field" else ()
    instance, path = _where((*first["loc"], *unknown))
    match kind:
        case "missing":
            reason = "is required"
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
        case "too_long":
            reason = f"must have at most {bounds['max_length']} elements"
        case "literal_error":
            reason = f"must be {bounds['expected']}"
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
