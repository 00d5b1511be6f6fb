"""What a rollout on KServe needs of a cluster, checked without changing anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from kubernetes import client

from pipeline.errors import PipelineError
from pipeline.rollout.cluster import Cluster
from pipeline.rollout.objects import GROUP, MODE, PLURAL, VERSION, mode_of
from pipeline.settings import Settings


def check(settings: Settings) -> list[tuple[str, bool, str]]:
    """For each thing its name, whether it is well, and what was found or what to do."""
    try:
        cluster = Cluster(settings)
        version = cluster.get("/version")
    except PipelineError as error:
        return [("Kubernetes", False, str(error))]
    found = [("Kubernetes", True, f"{version.get('gitVersion', '')} at {cluster.host}")]
    parts: tuple[Callable[[Cluster, Settings], Iterator[tuple[str, bool, str]]], ...] = (
        _namespace,
        _rights,
        _types,
        _service,
    )
    for part in parts:
        try:
            found += part(cluster, settings)
        except PipelineError as error:
            found.append((part.__name__.strip("_"), False, str(error)))
    return found


def _namespace(cluster: Cluster, settings: Settings) -> Iterator[tuple[str, bool, str]]:
    name = settings.namespace
    if not _may(cluster, "get", "", "namespaces"):
        yield "namespace", True, f"{name} (may not be read: not checked)"
        return
    path = f"/api/v1/namespaces/{name}"
    there = cluster.optional(f"read namespace {name}", lambda: cluster.get(path)) is not None
    yield "namespace", there, name if there else f"{name} is missing: kubectl create ns {name}"


def _rights(cluster: Cluster, settings: Settings) -> Iterator[tuple[str, bool, str]]:
    wanted = [
        (GROUP, PLURAL, ("get", "create", "patch", "delete")),
        ("coordination.k8s.io", "leases", ("get", "create", "update")),
    ]
    if settings.deployment_mode == "Standard":
        wanted.append(("", "services", ("get",)))
    for group, resource, verbs in wanted:
        refused = [verb for verb in verbs if not _may(cluster, verb, group, resource)]
        yield (
            f"right to {resource}",
            not refused,
            f"may not {', '.join(refused)} {resource} in {settings.namespace}: "
            "bind the role of the pipeline's service account"
            if refused
            else ", ".join(verbs),
        )
    reads_pods = _may(cluster, "list", "", "pods")
    yield (
        "right to pods",
        True,
        "list" if reads_pods else "may not list: failures will name no container (optional)",
    )


def _types(cluster: Cluster, settings: Settings) -> Iterator[tuple[str, bool, str]]:
    name = "InferenceService"
    path = f"/openapi/v3/apis/{GROUP}/{VERSION}"
    described = cluster.optional(f"read {path}", lambda: cluster.get(path))
    if described is None:
        yield name, False, f"the cluster has no {GROUP}/{VERSION}: install KServe"
        return
    spec = _schema(described).get("spec", {}).get("properties", {})
    if settings.deployment_mode == "Standard":
        known = "canary" in spec
        yield (
            name,
            known,
            "has spec.canary"
            if known
            else "this KServe has no spec.canary: update it to 0.20 or newer, or use Knative mode",
        )
    else:
        predictor = spec.get("predictor", {}).get("properties", {})
        known = "canaryTrafficPercent" in predictor
        yield name, known, "has canaryTrafficPercent" if known else "has no canaryTrafficPercent"


def _service(cluster: Cluster, settings: Settings) -> Iterator[tuple[str, bool, str]]:
    name = f"InferenceService {settings.inference_service}"
    found = cluster.find()
    if found is None:
        yield name, True, "not there yet: the first rollout makes it"
        return
    mode = mode_of(found)
    if mode == settings.deployment_mode:
        yield name, True, f"{mode} mode"
    elif not mode:
        yield name, False, f"KServe has not said its mode yet; set its annotation {MODE}"
    else:
        yield (
            name,
            False,
            f"{mode} mode, but PIPELINE_DEPLOYMENT_MODE={settings.deployment_mode}: set it to "
            f"{mode}, since a service never changes its mode",
        )


def _may(cluster: Cluster, verb: str, group: str, resource: str) -> bool:
    """Whether this account may, by Kubernetes' own word."""
    asked = client.V1SelfSubjectAccessReview(
        spec=client.V1SelfSubjectAccessReviewSpec(
            resource_attributes=client.V1ResourceAttributes(
                namespace=cluster.namespace, verb=verb, group=group, resource=resource
            )
        )
    )
    review = client.AuthorizationV1Api(cluster.api)
    answer = cluster.call(
        "ask for its own rights",
        lambda: review.create_self_subject_access_review(asked, _request_timeout=cluster.timeout),
    )
    return bool(answer.status.allowed)


def _schema(described: dict[str, Any]) -> dict[str, Any]:
    """The properties of InferenceService in an OpenAPI document."""
    for schema in described.get("components", {}).get("schemas", {}).values():
        for kind in schema.get("x-kubernetes-group-version-kind", ()):
            if (kind.get("group"), kind.get("kind")) == (GROUP, "InferenceService"):
                properties: dict[str, Any] = schema.get("properties", {})
                return properties
    return {}
