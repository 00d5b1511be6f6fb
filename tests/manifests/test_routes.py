"""The door's routes: what callers need leads to the predictor, all else nowhere."""

from __future__ import annotations

import re

import kustomized
import pytest

_PREDICT = [
    "/v1/models/gliner:predict",
    "/v2/models/gliner/infer",
    "/predict",
    "/api/v1/predict",
]
_READ = [
    "/",
    "/page/page.js",
    "/page/page.css",
    "/v1/models",
    "/v1/models/gliner",
    "/v2",
    "/v2/health/live",
    "/v2/health/ready",
    "/v2/models",
    "/v2/models/gliner",
    "/v2/models/gliner/ready",
    "/api/v1/config",
    "/api/docs",
    "/api/redoc",
    "/api/openapi.json",
    "/api/assets/redoc.standalone.js",
]
_SHUT = [
    "/metrics",
    "/metrics/",
    "//metrics",
    "/v2/repository/index",
    "/v2/repository/models/gliner/load",
    "/v2/repository/models/gliner/unload",
    "/v2/models/repository/x/unload",
    "/v1/models/gliner:explain",
    "/debug",
    "/predict/more",
]


def route(method: str, path: str, name: str = "production") -> str | None:
    """The name of the route that Istio takes: the first one that matches."""
    [service] = kustomized.of(kustomized.build(name), "VirtualService")
    for one in service["spec"]["http"]:
        for match in one["match"]:
            [(kind, text)] = match["uri"].items()
            found = {
                "exact": path == text,
                "prefix": path.startswith(text),
                "regex": re.fullmatch(text, path) is not None,
            }
            if found[kind] and match["method"] == {"exact": method}:
                return str(one["name"])
    return None


@pytest.mark.parametrize("path", _PREDICT)
def test_predictions_have_a_route(path: str) -> None:
    """With the time and the tries that a prediction needs."""
    assert route("POST", path) == "predict"


@pytest.mark.parametrize("path", _READ)
def test_what_is_only_read_has_a_route(path: str) -> None:
    """The page with its files, the docs, the models."""
    assert route("GET", path) == "read"


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", _SHUT)
def test_all_else_has_none(path: str, method: str) -> None:
    """Metrics, and loading and unloading, are not for callers."""
    assert route(method, path) is None


def test_a_prediction_is_not_tried_again_when_it_was_slow() -> None:
    """Nor when it was refused: both would add to the load."""
    [service] = kustomized.of(kustomized.build("production"), "VirtualService")
    for one in service["spec"]["http"]:
        tried = set(one["retries"]["retryOn"].split(","))

        assert tried <= {"connect-failure", "refused-stream", "503"}


def test_grpc_has_the_only_route_where_there_is_no_http() -> None:
    """The port behind the door speaks one protocol."""
    name = "+istio+kpa+grpc"

    assert route("POST", "/inference.GRPCInferenceService/ModelInfer", name) == "predict"
    assert {route(method, path, name) for method in ("GET", "POST") for path in _PREDICT} == {None}


@pytest.mark.parametrize("call", ["RepositoryModelLoad", "RepositoryModelUnload"])
def test_grpc_leads_to_no_loading(call: str) -> None:
    """A caller from outside cannot take the model away over gRPC either."""
    assert route("POST", f"/inference.GRPCInferenceService/{call}", "+istio+kpa+grpc") is None


def test_gateways_know_the_pods_where_they_break_the_circuit() -> None:
    """By default Knative puts its activator behind each revision's Service until so many requests
    more would find room; that many pods there never are."""
    default, free = 211, "autoscaling.knative.dev/target-burst-capacity"
    for name in ("dev", "staging", "production"):
        built = kustomized.build(name)
        [service] = kustomized.of(built, "InferenceService")
        spec = service["spec"]["predictor"]

        assert kustomized.of(built, "DestinationRule")
        assert spec["maxReplicas"] * spec["scaleTarget"] < default
        assert spec["annotations"][free] == "0"
