"""The OpenAPI document: FastAPI's, with what it cannot see of KServe's raw endpoints."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from predictor import __version__
from predictor.errors import (
    TABLE,
    Busy,
    DeadlineExceeded,
    Internal,
    InvalidRequest,
    NerError,
    NotFound,
    NotServing,
    TooLarge,
    Unauthenticated,
)
from predictor.forms import TYPES as FORM_TYPES
from predictor.keys import open_to_all
from predictor.schemas import (
    ErrorBody,
    InferAnswer,
    InferBody,
    Options,
    PredictRequest,
    PredictResponse,
)
from predictor.tensors import INPUTS, OUTPUTS

_REF = "#/components/schemas/{model}"
_MODELS: tuple[type[BaseModel], ...] = (
    PredictRequest,
    PredictResponse,
    InferBody,
    InferAnswer,
    Options,
    ErrorBody,
)
_GONE = (":explain", "/repository/", "/versions/")
"""Routes of KServe's that this server has no use for and answers with an error."""

_WHILE_STOPPING = ("ready", ":predict", "/infer", "/predict", "/v1/models/{model_name}")
"""Ends of addresses that answer 503 once the server is about to stop."""

_SCHEMES: dict[str, dict[str, str]] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
"""Two ways to show an API key, where the server asks for one."""

_DESCRIPTION = """Zero-shot named entity recognition with GLiNER behind KServe.

Offsets count Unicode code points: `text[start:end]` is the entity. Every error has the same
body whatever the address: `error` says what was wrong and what would be right, `code` is a
stable word, `request_id` finds the line in the server's log."""

_TEXT = "Ada Lovelace was born in London on 10 December 1815."


def document(app: FastAPI, *, keyed: bool = False) -> dict[str, Any]:
    """Describe every endpoint with its body, its answer and its errors.

    Args:
        app: the application with all of its routes.
        keyed: whether API keys are asked for.
    """
    if app.openapi_schema:
        return app.openapi_schema
    described = get_openapi(
        title="gliner-kserve",
        version=__version__,
        description=_DESCRIPTION,
        routes=app.routes,
    )
    schemas = described.setdefault("components", {}).setdefault("schemas", {})
    _, definitions = models_json_schema(
        [(model, "validation") for model in _MODELS], ref_template=_REF
    )
    schemas.update(definitions["$defs"])
    described["paths"] = {
        path: methods
        for path, methods in described["paths"].items()
        if not any(part in path for part in _GONE)
    }
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            operation.update(_changes().get(path, {}))
            operation["responses"] = {
                "200": operation["responses"]["200"],
                **_errors(path, method, keyed=keyed),
            }
            if keyed and not open_to_all(path):
                operation["security"] = [{name: []} for name in _SCHEMES]
            # KServe reads a version from the query too, only to say that there are none.
            operation["parameters"] = [
                one for one in operation.get("parameters", ()) if one["in"] == "path"
            ]
    if keyed:
        described["components"]["securitySchemes"] = _SCHEMES
    app.openapi_schema = described
    return described


def _errors(path: str, method: str, *, keyed: bool) -> dict[str, Any]:
    """The errors that one operation can answer with."""
    kinds: set[type[NerError]] = {Internal}
    if keyed and not open_to_all(path):
        kinds.add(Unauthenticated)
    if method == "post":
        kinds |= {InvalidRequest, TooLarge, Busy, DeadlineExceeded}
    if "{model_name}" in path:
        kinds.add(NotFound)
    if path.endswith(_WHILE_STOPPING):
        kinds.add(NotServing)
    return {
        str(error.http): {
            "description": (error.__doc__ or "").split("\n")[0],
            "content": {"application/json": {"schema": _ref("ErrorBody")}},
        }
        for error in TABLE
        if error in kinds
    }


def _changes() -> dict[str, dict[str, Any]]:
    """What FastAPI cannot know of an operation, by address."""
    entity = {
        "type": "object",
        "required": ["text", "start", "end", "score"],
        "properties": {
            name: {"type": kind}
            for name, kind in (
                ("text", "string"),
                ("label", "string"),
                ("start", "integer"),
                ("end", "integer"),
                ("score", "number"),
            )
        },
    }
    grouped = {"type": "object", "additionalProperties": {"type": "array", "items": entity}}
    return {
        "/": {
            "summary": "The page; for clients that do not ask for HTML, whether the server lives",
            "responses": _answer(
                {"type": "object", "properties": {"status": {"const": "alive"}}},
                **{"text/html": {"type": "string"}},
            ),
        },
        "/metrics": {
            "summary": "Prometheus metrics",
            "responses": {
                "200": {
                    "description": "Metrics as text.",
                    "content": {
                        "text/plain": {"schema": {"type": "string"}},
                        "application/openmetrics-text": {"schema": {"type": "string"}},
                    },
                }
            },
        },
        "/v1/models/{model_name}:predict": {
            "summary": "Find entities (V1)",
            "requestBody": _body(_ref("PredictRequest")),
            "responses": _prediction(_ref("PredictResponse")),
        },
        "/v2/models/{model_name}/infer": {
            "summary": "Find entities (V2, Open Inference Protocol)",
            "description": (
                f"Inputs, all BYTES [N]: {', '.join(f'`{k}` ({v})' for k, v in INPUTS.items())}. "
                f"Outputs: {', '.join(f'`{name}`' for name in OUTPUTS)}; `entities` if none is "
                "asked for. Parameters: threshold, thresholds (JSON), flat_ner, multi_label, "
                "labels (JSON or a preset's name)."
            ),
            "requestBody": _body(
                {
                    **_ref("InferBody"),
                    "example": {
                        "inputs": [
                            {"name": "text", "shape": [1], "datatype": "BYTES", "data": [_TEXT]}
                        ],
                        "parameters": {"labels": '["person", "location"]', "threshold": 0.5},
                    },
                },
                **{"application/octet-stream": _BINARY},
            ),
            "responses": _prediction(_ref("InferAnswer"), **{"application/octet-stream": _BINARY}),
        },
        "/predict": {
            "summary": "Find entities, grouped by label (JSON or form)",
            "requestBody": _web_body(),
            "responses": _prediction(
                {"type": "object", "required": ["entities"], "properties": {"entities": grouped}}
            ),
        },
        "/api/v1/predict": {
            "summary": "Find entities of one text (JSON or form)",
            "requestBody": _web_body("entity_type"),
            "responses": _prediction(
                {
                    "type": "object",
                    "required": ["entities", "processing_time"],
                    "properties": {
                        "entities": {"type": "array", "items": entity},
                        "processing_time": {"type": "number", "description": "seconds"},
                    },
                }
            ),
        },
    }


_BINARY = {
    "type": "string",
    "format": "binary",
    "description": (
        "JSON with raw tensors behind it; `inference-header-content-length` is the length of "
        "the JSON part."
    ),
}


def _web_body(*more_names_of_labels: str) -> dict[str, Any]:
    """The body of an endpoint for plain web clients, as JSON and as a form."""
    labels = {
        "description": "A list, a comma-separated string, or a preset's name.",
        "anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}],
    }
    properties: dict[str, Any] = {
        "text": {"type": "string"},
        **dict.fromkeys(("labels", *more_names_of_labels), labels),
        "threshold": {"type": "number", "minimum": 0, "maximum": 1},
        "thresholds": {"type": "object", "additionalProperties": {"type": "number"}},
        "flat_ner": {"type": "boolean"},
        "multi_label": {"type": "boolean"},
    }
    schema = {
        "type": "object",
        "required": ["text"],
        "additionalProperties": False,
        "properties": properties,
        "example": {"text": _TEXT, "labels": "person, location, date"},
    }
    as_json = {"type": "string", "description": "JSON"}
    form = {**schema, "properties": {**properties, "thresholds": as_json}}
    return _body(schema, **dict.fromkeys(FORM_TYPES, form))


def _answer(schema: dict[str, Any], **others: dict[str, Any]) -> dict[str, Any]:
    return {"200": {"description": "The answer.", "content": _content(schema, others)}}


def _prediction(schema: dict[str, Any], **others: dict[str, Any]) -> dict[str, Any]:
    """An answer of the model, which says which model it was."""
    headers = {
        "x-model-digest": "SHA-256 over the files of the model that answered",
        "x-model-version": "Its number in the registry, else its revision or name",
    }
    answer = _answer(schema, **others)
    answer["200"]["headers"] = {
        name: {"description": what, "schema": {"type": "string"}} for name, what in headers.items()
    }
    return answer


def _body(schema: dict[str, Any], **others: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": _content(schema, others)}


def _content(schema: dict[str, Any], others: dict[str, Any]) -> dict[str, Any]:
    kinds = {"application/json": schema, **others}
    return {kind: {"schema": one} for kind, one in kinds.items()}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": _REF.format(model=name)}
