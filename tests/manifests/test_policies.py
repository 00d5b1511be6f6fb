"""Rules that hold for every environment and every combination, each shown to find a mistake."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import kustomized
import manifest_policies as policies
import manifest_references as references
import pytest
from kustomized import Object
from manifest_policies import Rule

RULES = (*policies.RULES, *references.RULES)


@pytest.mark.parametrize("name", kustomized.names())
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_holds_everywhere(rule: Rule, name: str) -> None:
    """No build breaks it."""
    assert list(rule(kustomized.build(name))) == []


def test_production_runs_by_digest() -> None:
    """What was tested is what runs: a tag could be moved."""
    assert list(policies.by_digest(kustomized.build("production"))) == []
    assert list(policies.by_digest(kustomized.build("dev")))


def _container(objects: list[Object]) -> Object:
    return next(one for _, one in kustomized.containers(objects))


def _one(objects: list[Object], kind: str) -> Object:
    return kustomized.of(objects, kind)[0]


def _spec(objects: list[Object]) -> Object:
    spec: Object = _one(objects, "InferenceService")["spec"]["predictor"]
    return spec


def _drop(*kinds: str) -> Callable[[list[Object]], None]:
    def mistake(objects: list[Object]) -> None:
        objects[:] = [one for one in objects if one["kind"] not in kinds]

    return mistake


MISTAKES: list[tuple[Rule, Callable[[list[Object]], object]]] = [
    (policies.unprivileged, lambda built: _container(built)["securityContext"].pop("runAsNonRoot")),
    (policies.unprivileged, lambda built: _container(built)["securityContext"].update(runAsUser=0)),
    (
        policies.unprivileged,
        lambda built: _one(built, "ServingRuntime")["spec"].update(hostIPC=True),
    ),
    (policies.bounded, lambda built: _container(built)["resources"]["limits"].pop("memory")),
    (policies.probed, lambda built: _container(built).pop("livenessProbe")),
    (
        policies.probed,
        lambda built: _container(built)["readinessProbe"]["httpGet"].update(path="/"),
    ),
    (policies.probed, lambda built: _container(built)["ports"][0].update(containerPort=80)),
    (policies.ports_of_the_mode, lambda built: _container(built).update(startupProbe={})),
    (policies.ports_of_the_mode, lambda built: _container(built)["ports"].append({})),
    (
        policies.pinned,
        lambda built: _container(built).update(image="ghcr.io/gliner-kserve/predictor"),
    ),
    (policies.pinned, lambda built: _container(built).update(image="docker.io/x/y:1")),
    (
        policies.pinned,
        lambda built: _container(built).update(image="ghcr.io/gliner-kserve/predictor:latest"),
    ),
    (
        policies.no_secret_values,
        lambda built: _container(built)["env"].append(
            {"name": "AWS_SECRET_ACCESS_KEY", "value": "x"}
        ),
    ),
    (
        policies.no_secret_values,
        lambda built: _one(built, "ConfigMap")["data"].update(API_TOKEN="x"),
    ),
    (policies.labelled, lambda built: _one(built, "Gateway")["metadata"].pop("labels")),
    (
        policies.not_exposed,
        lambda built: _one(built, "InferenceService")["metadata"]["labels"].clear(),
    ),
    (
        policies.scaled_as_kserve_allows,
        lambda built: _one(built, "InferenceService")["metadata"]["annotations"].update(
            {"serving.kserve.io/autoscalerClass": "hpa"}
        ),
    ),
    (policies.scaled_as_kserve_allows, lambda built: _spec(built).update(minReplicas=20)),
    (
        policies.scaled_as_kserve_allows,
        lambda built: _one(built, "InferenceService")["metadata"]["annotations"].update(
            {"serving.kserve.io/deploymentMode": "Standard"}
        ),
    ),
    (policies.in_time, lambda built: _spec(built).update(timeout=60)),
    (
        policies.in_time,
        lambda built: _container(built)["env"].append(
            {"name": "GLINER_LINGER_SECONDS", "value": "600"}
        ),
    ),
    (
        policies.in_time,
        lambda built: _one(built, "VirtualService")["spec"]["http"][0].update(timeout="15s"),
    ),
    (references.accounts_and_runtimes, _drop("ServingRuntime")),
    (references.accounts_and_runtimes, _drop("ServiceAccount")),
    (references.accounts_and_runtimes, _drop("Role")),
    (
        references.accounts_and_runtimes,
        lambda built: _spec(built).update(serviceAccountName="other"),
    ),
    (references.at_home, lambda built: _one(built, "Namespace")["metadata"].update(name="other")),
    (references.at_home, lambda built: _one(built, "Role")["metadata"].update(namespace="other")),
    (references.inside_a_pod, lambda built: _one(built, "ServingRuntime")["spec"].pop("volumes")),
    (
        references.doors,
        lambda built: _one(built, "VirtualService")["spec"].update(gateways=["other"]),
    ),
    (references.doors, lambda built: _one(built, "VirtualService")["spec"].update(hosts=["other"])),
    (references.doors, lambda built: _one(built, "Namespace")["metadata"].update(name="other")),
    (references.shut_from_outside, _drop("AuthorizationPolicy")),
    (
        references.shut_from_outside,
        lambda built: _one(built, "AuthorizationPolicy")["metadata"].update(namespace="gliner"),
    ),
    (references.covered, _drop("PodDisruptionBudget")),
    (
        references.covered,
        lambda built: built.remove(
            next(one for one in built if one["metadata"]["name"] == "default-deny")
        ),
    ),
    (
        references.covered,
        lambda built: built.remove(
            next(one for one in built if kustomized.title(one) == "NetworkPolicy predictor")
        ),
    ),
    (references.reachable_ports, _drop("NetworkPolicy")),
    (references.deployments, _drop("ServiceAccount")),
    (references.deployments, _drop("Service")),
    (
        references.deployments,
        lambda built: _one(built, "Service")["spec"]["ports"][0].update(targetPort="grpc"),
    ),
    (
        references.deployments,
        lambda built: next(
            one
            for where, one in kustomized.containers(built)
            if where == "Deployment gliner-reviews: reviews"
        ).update(image="dev.local/gliner-kserve/pipeline:0.2.0"),
    ),
    (references.within_quota, lambda built: _spec(built).update(maxReplicas=40)),
]


@pytest.mark.parametrize(("rule", "mistake"), MISTAKES)
def test_mistakes_are_found(rule: Rule, mistake: Callable[[list[Object]], object]) -> None:
    """A broken manifest breaks its rule."""
    # Only `local` has a Deployment and a Service of its own.
    name = "local" if rule is references.deployments else "production"
    objects = deepcopy(kustomized.build(name))
    mistake(objects)

    assert list(rule(objects))


def test_a_door_that_asks_for_no_token_is_found() -> None:
    """Checking tokens alone lets everybody in who has none."""
    objects = deepcopy(kustomized.build("+s3-outside+istio+jwt+pipeline+spread+monitoring"))
    objects[:] = [one for one in objects if one["metadata"]["name"] != "gliner-needs-token"]

    assert list(references.tokens_asked_for(objects))


def test_a_canary_of_two_models_that_are_not_there_is_found() -> None:
    """A graph names services that exist, and shares out all of the traffic."""
    objects = deepcopy(kustomized.build("+ab"))
    graph = _one(objects, "InferenceGraph")
    graph["spec"]["nodes"]["root"]["steps"][1].update(serviceName="other", weight=20)

    assert len(list(references.accounts_and_runtimes(objects))) == 2
