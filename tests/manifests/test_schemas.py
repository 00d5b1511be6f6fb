"""Every object that is built is one that its API takes, without a field that it does not know."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import kustomized
import manifest_schemas
import pytest
from kustomized import Object


@pytest.mark.parametrize("name", kustomized.names())
def test_each_object_is_valid(name: str) -> None:
    """No unknown field, no value of another type, nothing required missing."""
    found = [
        f"{kustomized.title(one)}: {problem}"
        for one in kustomized.build(name)
        for problem in manifest_schemas.problems(one)
    ]

    assert found == []


@pytest.mark.parametrize("name", kustomized.names())
def test_no_object_is_there_twice(name: str) -> None:
    """kustomize would let two of a name through where their API versions differ."""
    found = [
        (one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"])
        for one in kustomized.build(name)
    ]

    assert len(found) == len(set(found))


def _typo(one: Object) -> None:
    one["spec"]["typo"] = 1


def _no_type(one: Object) -> None:
    one["spec"] = "text"


@pytest.mark.parametrize("mistake", [_typo, _no_type])
@pytest.mark.parametrize(
    "kind",
    [
        "AuthorizationPolicy",
        "DestinationRule",
        "EnvoyFilter",
        "ExternalSecret",
        "Gateway",
        "InferenceGraph",
        "InferenceService",
        "LimitRange",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "PodMonitor",
        "PrometheusRule",
        "ResourceQuota",
        "ServingRuntime",
        "VirtualService",
    ],
)
def test_mistakes_are_found(kind: str, mistake: Callable[[Object], None]) -> None:
    """An unknown field, and a spec that is none, in each kind that has a spec."""
    one = deepcopy(kustomized.of(kustomized.build("+gpu+istio+kpa+spread+ab+monitoring"), kind)[0])
    mistake(one)

    assert manifest_schemas.problems(one)


def test_a_typo_deep_in_a_container_is_found() -> None:
    """Typed models are walked to the end."""
    runtime = deepcopy(kustomized.of(kustomized.build("+"), "ServingRuntime")[0])
    runtime["spec"]["containers"][0]["readinessProbe"]["periodSecond"] = 5

    assert manifest_schemas.problems(runtime)


def _no_port(built: list[Object]) -> Object:
    one = kustomized.of(built, "PodMonitor")[0]
    del one["spec"]["podMetricsEndpoints"][0]["portNumber"]
    return one


def _minutes(built: list[Object]) -> Object:
    one = kustomized.of(built, "PrometheusRule")[0]
    next(rule for rule in _rules(one) if "for" in rule)["for"] = "5 minutes"
    return one


def _both(built: list[Object]) -> Object:
    one = kustomized.of(built, "PrometheusRule")[0]
    _rules(one)[0]["alert"] = "GlinerOther"
    return one


def _rules(one: Object) -> list[Object]:
    return [rule for group in one["spec"]["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("mistake", [_no_port, _minutes, _both])
def test_mistakes_of_monitoring_are_found(mistake: Callable[[list[Object]], Object]) -> None:
    """A port that is missing, a duration in words, and a rule that both alerts and records."""
    built = deepcopy(kustomized.build("+monitoring"))

    assert manifest_schemas.problems(mistake(built))
