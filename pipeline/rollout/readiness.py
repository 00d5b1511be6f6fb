"""Why an InferenceService is not ready, in one line, from what KServe and Kubernetes report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.rollout.objects import Object

# The first that is not true says most; Ready only sums up.
_CONDITIONS = (
    "PredictorConfigurationReady",
    "CanaryPredictorReady",
    "PredictorReady",
    "PredictorRouteReady",
    "IngressReady",
    "Ready",
)
_STUCK = ("BlockedByFailedLoad", "InvalidSpec")
_PODS_STUCK = (
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
)


def is_ready(isvc: Object) -> bool:
    """Whether KServe calls the service ready."""
    return _condition(isvc, "Ready").get("status") == "True"


def failure(isvc: Object, pods: Sequence[Any] = ()) -> str:
    """What keeps the newest model from coming up; empty as long as it may still come.

    It may pass all the same: a store that was away for a moment is tried again by Kubernetes.
    """
    model = (isvc.get("status") or {}).get("modelStatus") or {}
    if model.get("transitionStatus") in _STUCK:
        info = model.get("lastFailureInfo") or {}
        return _line(info.get("reason") or model["transitionStatus"], info.get("message"))
    # A deployment's conditions are also false while it starts; a Knative configuration's are not.
    configuration = _condition(isvc, "PredictorConfigurationReady")
    if configuration.get("status") == "False":
        return _line(configuration.get("reason"), configuration.get("message"))
    return next(filter(None, map(_pod, pods)), "")


def reason(isvc: Object) -> str:
    """The first condition that is not true; empty when all are."""
    status = isvc.get("status") or {}
    if not status.get("conditions"):
        return "KServe has written no status: is its controller running?"
    for name in _CONDITIONS:
        found = _condition(isvc, name)
        if found and found.get("status") != "True":
            return _line(name, found.get("reason"), found.get("message"))
    return ""


def _condition(isvc: Object, name: str) -> dict[str, Any]:
    conditions = (isvc.get("status") or {}).get("conditions") or []
    return next((one for one in conditions if one.get("type") == name), {})


def _pod(pod: Any) -> str:
    """Why a container of a pod does not start."""
    status = pod.status
    for one in [*(status.init_container_statuses or ()), *(status.container_statuses or ())]:
        waiting = one.state.waiting if one.state else None
        if waiting and waiting.reason in _PODS_STUCK:
            ended = one.last_state.terminated if one.last_state else None
            return _line(waiting.reason, (ended and ended.message) or waiting.message)
    return ""


def _line(*parts: str | None) -> str:
    return " ".join(": ".join(filter(None, parts)).split())[:300]
