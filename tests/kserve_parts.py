"""What both deployment modes of the tests' KServe are made of: pods, failures, status."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Protocol

Object = dict[str, Any]

DOMAIN = "example.com"
_DROPPED = "kubectl.kubernetes.io/last-applied-configuration"
_EXTENSIONS = ("canaryTrafficPercent", "minReplicas", "maxReplicas", "scaleTarget", "scaleMetric")


@dataclass(frozen=True)
class Failure:
    """How pods of a model fail.

    Attributes:
        reason: `ModelLoadFailed` or a container's waiting reason, such as `ImagePullBackOff`.
        ticks: for how long; then they come up.
    """

    reason: str
    message: str
    ticks: int = 1_000_000


@dataclass
class Pods:
    """The pods of one revision or one deployment's template."""

    template: Object
    age: int = 0

    @property
    def uri(self) -> str:
        """The model that they serve."""
        return str(self.template["spec"]["model"].get("storageUri", ""))


class Cluster(Protocol):
    """What a deployment mode asks of the controller."""

    namespace: str

    def failure(self, pods: Pods) -> Failure | None:
        """How these pods fail just now."""
        ...

    def up(self, pods: Pods) -> bool:
        """Whether these pods take requests."""
        ...

    def pod(self, isvc: str, name: str, pods: Pods) -> Object:
        """A pod as the API gives it."""
        ...


class Workload(Protocol):
    """What a deployment mode makes of an InferenceService."""

    def tick(self, isvc: Object) -> Object:
        """One round; returns the status."""
        ...

    def split(self) -> dict[str, float]:
        """Shares by storage address, empty before anything serves."""
        ...

    def backends(self, host: str) -> list[tuple[float, str]]:
        """Who answers for a host."""
        ...

    def services(self) -> set[str]:
        """Names of Kubernetes Services."""
        ...

    def pods(self) -> list[Object]:
        """The pods."""
        ...


def template(isvc: Object, predictor: Object) -> Object:
    """What pods are made of: any change of it replaces them."""
    metadata = isvc["metadata"]
    spec = {
        key: value
        for key, value in predictor.items()
        if key not in (*_EXTENSIONS, "name", "labels", "annotations")
    }
    annotations = {**(metadata.get("annotations") or {}), **(predictor.get("annotations") or {})}
    annotations.pop(_DROPPED, None)
    return copy.deepcopy(
        {
            "labels": {**(metadata.get("labels") or {}), **(predictor.get("labels") or {})},
            "annotations": annotations,
            "spec": spec,
        }
    )


def component(status: Object) -> Object:
    return copy.deepcopy(status.get("components", {}).get("predictor", {}))


def condition(kind: str, status: str, reason: str = "", message: str = "") -> Object:
    found = {"type": kind, "status": status}
    return found | {key: text for key, text in (("reason", reason), ("message", message)) if text}


def model_status(failure: Failure | None, ready: bool) -> Object:
    if failure and failure.reason == "ModelLoadFailed":
        info = {"reason": "ModelLoadFailed", "message": failure.message, "exitCode": 1}
        return {"transitionStatus": "BlockedByFailedLoad", "lastFailureInfo": info}
    return {"transitionStatus": "UpToDate" if ready else "InProgress"}


def total(shares: Any) -> dict[str, float]:
    found: dict[str, float] = {}
    for share, uri in shares:
        if share:
            found[uri] = found.get(uri, 0) + share
    return found
