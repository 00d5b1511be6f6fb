"""The OpenAPI document is true: each endpoint answers what it says, to good and bad requests."""

from __future__ import annotations

import json
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from servers import RunningServer

pytestmark = [pytest.mark.server, pytest.mark.slow]

OPERATIONS = (
    ("GET", "/"),
    ("GET", "/metrics"),
    ("GET", "/api/v1/config"),
    ("POST", "/api/v1/predict"),
    ("POST", "/predict"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/{model_name}"),
    ("POST", "/v1/models/{model_name}:predict"),
    ("GET", "/v2"),
    ("GET", "/v2/health/live"),
    ("GET", "/v2/health/ready"),
    ("GET", "/v2/models"),
    ("GET", "/v2/models/{model_name}"),
    ("POST", "/v2/models/{model_name}/infer"),
    ("GET", "/v2/models/{model_name}/ready"),
)
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
GOOD, BAD = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE


@pytest.fixture(scope="module")
def document(server: RunningServer) -> Any:
    """The OpenAPI document as schemathesis reads it."""
    return schemathesis.openapi.from_url(f"{server.url}/api/openapi.json")


def test_document_lists_every_endpoint(document: Any) -> None:
    """The endpoints fuzzed here are those of the document."""
    listed = {
        (method.upper(), path)
        for path, methods in document.raw_schema["paths"].items()
        for method in methods
    }

    assert listed == set(OPERATIONS)


def test_document_is_whole(document: Any) -> None:
    """Each reference leads to a schema, and each schema is one that validates."""
    text = json.dumps(document.raw_schema)
    names = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}

    document.validate()
    assert names <= set(document.raw_schema["components"]["schemas"])


@pytest.mark.parametrize(
    ("method", "path", "mode"),
    [
        *((method, path, GOOD) for method, path in OPERATIONS),
        # An address alone has nothing in it to get wrong.
        *((method, path, BAD) for method, path in OPERATIONS if method == "POST"),
    ],
)
def test_endpoint_is_as_documented(document: Any, method: str, path: str, mode: Any) -> None:
    """Statuses, content types and bodies are those of the document, for good and bad requests."""
    operation = document[path][method]

    @settings(
        max_examples=60 if method == "POST" else 4,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), known=st.booleans())
    def run(case: Any, known: bool) -> None:
        if known and case.path_parameters:
            case.path_parameters = {"model_name": "gliner"}
        case.call_and_validate(checks=CHECKS, timeout=60)

    run()
