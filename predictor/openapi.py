"""The OpenAPI document: FastAPI's, with what it cannot see of KServe's raw endpoints."""

from __future__ import annotations

import warnings
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from predictor import __version__
from predictor.errors import TABLE
from predictor.protocol import INPUTS, OUTPUTS
from predictor.schemas import ErrorBody, InferBody, Options, PredictRequest, PredictResponse

_REF = "#/components/schemas/{model}"
_MODELS: tuple[type[BaseModel], ...] = (
    PredictRequest,
    PredictResponse,
    InferBody,
    Options,
    ErrorBody,
)
_GONE = (":explain", "/repository/", "/versions/")
"""Routes of KServe's that this server has no use for and answers with an error."""

_DESCRIPTION = """Zero-shot named entity recognition with GLiNER behind KServe.

Offsets count Unicode code points: `text[start:end]` is the entity. Every error has the same
body whatever the address: `error` says what was wrong and what would be right, `code` is a
stable word, `request_id` finds the line in the server's log."""

_TEXT = "Ada Lovelace was born in London on 10 December 1815."


def document(app: FastAPI) -> dict[str, Any]:
    """Describe every endpoint with its body, its answer and its errors."""
    if app.openapi_schema:
        return app.openapi_schema
    with warnings.catch_warnings():
        # Our infer route stands before KServe's of the same address.
        warnings.filterwarnings("ignore", "Duplicate Operation ID")
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
        path: {method: _with_errors(one) for method, one in methods.items()}
        for path, methods in described["paths"].items()
        if not any(part in path for part in _GONE)
    }
    for path, change in _changes().items():
        described["paths"][path]["post"].update(change)
    app.openapi_schema = described
    return described


def _with_errors(operation: dict[str, Any]) -> dict[str, Any]:
    responses = operation.setdefault("responses", {})
    responses.pop("422", None)
    for error in TABLE:
        responses[str(error.http)] = {
            "description": (error.__doc__ or "").split("\n")[0],
            "content": {"application/json": {"schema": _ref("ErrorBody")}},
        }
    return operation


def _changes() -> dict[str, dict[str, Any]]:
    web: dict[str, Any] = {
        "type": "object",
        "required": ["text"],
        "additionalProperties": False,
        "properties": {
            "text": {"type": "string"},
            "labels": {
                "description": "A list, a comma-separated string, or a preset's name.",
                "anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}],
            },
            "threshold": {"type": "number", "minimum": 0, "maximum": 1},
            "thresholds": {"type": "object", "additionalProperties": {"type": "number"}},
            "flat_ner": {"type": "boolean"},
            "multi_label": {"type": "boolean"},
        },
        "example": {"text": _TEXT, "labels": "person, location, date"},
    }
    api = {**web, "properties": {**web["properties"], "entity_type": web["properties"]["labels"]}}
    entity = {"type": "object", "required": ["text", "start", "end", "score"]}
    return {
        "/v1/models/{model_name}:predict": {
            "summary": "Find entities (V1)",
            "requestBody": _body(_ref("PredictRequest")),
            "responses": _with_answer(_ref("PredictResponse")),
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
                }
            ),
            "responses": _with_answer(_ref("InferenceResponse")),
        },
        "/predict": {
            "summary": "Find entities, grouped by label (JSON or form)",
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {"schema": web},
                    "application/x-www-form-urlencoded": {
                        "schema": {
                            **web,
                            "properties": {
                                **web["properties"],
                                "labels": {"type": "string"},
                                "thresholds": {"type": "string", "description": "JSON"},
                            },
                        }
                    },
                },
            },
            "responses": _with_answer(
                {
                    "type": "object",
                    "required": ["entities"],
                    "properties": {
                        "entities": {
                            "type": "object",
                            "additionalProperties": {"type": "array", "items": entity},
                        }
                    },
                }
            ),
        },
        "/api/v1/predict": {
            "summary": "Find entities of one text",
            "requestBody": _body({**api, "example": {"text": _TEXT, "entity_type": "person"}}),
            "responses": _with_answer(
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


def _with_answer(schema: dict[str, Any]) -> dict[str, Any]:
    answer = {"description": "What was found.", "content": {"application/json": {"schema": schema}}}
    return {"200": answer, **_with_errors({})["responses"]}


def _body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": _REF.format(model=name)}
