"""A canary in Standard mode: an entry of `spec.canary`, a deployment of its own beside the stable.

KServe fills what the entry leaves out from the stable predictor. The service's route follows the
shares, and leaves out a canary that is not ready. A canary has a fixed number of replicas, at most
the stable predictor's `minReplicas`: a service that an autoscaler has grown beyond that wants a
higher `minReplicas` before a rollout.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from types import MappingProxyType

from pipeline.errors import PipelineError
from pipeline.rollout.modes import Address, Trial
from pipeline.rollout.objects import (
    AFTER,
    MODEL,
    NOTHING,
    Model,
    Object,
    annotation,
    component,
    fields,
    model_of,
    predictor,
)


class Standard:
    """See `modes.Mode`."""

    annotations: Mapping[str, str] = MappingProxyType({})

    def trial(self, isvc: Object) -> Trial:
        """Who serves, by its spec."""
        stable, canary = model_of(predictor(isvc)), _canary(isvc)
        if canary is None:
            return Trial(stable)
        return Trial(stable, model_of(canary["predictor"]), int(canary["trafficPercent"]))

    def start(self, isvc: Object, candidate: Model, stable: Model | None) -> Object | None:
        """Add the canary with no share, and with one replica: a share of 0 would give it none."""
        spec, canary = predictor(isvc), _canary(isvc)
        current = model_of(spec)
        if current.same_as(candidate):
            return {"spec": {"canary": None}} if canary else None
        if canary and model_of(canary["predictor"]).same_as(candidate):
            return self.step(isvc, 0)
        if stable and not current.digest:
            current = Model(stable.version, stable.digest, current.uri)
        if not _serves(isvc):
            after = str((isvc.get("status") or {}).get("observedGeneration", ""))
            return {"spec": {"predictor": fields(candidate, current, after), "canary": None}}
        name = f"v{candidate.version}"
        written = fields(candidate, current, "")
        entry = {
            **written,
            # The stable predictor may be another model that was set under this name.
            "name": name if spec.get("name") != name else f"{name}r",
            "minReplicas": _replicas(spec, 0),
            "model": {"modelFormat": spec["model"]["modelFormat"], **written["model"]},
        }
        return {"spec": {"canary": [{"trafficPercent": 0, "predictor": entry}]}}

    def step(self, isvc: Object, percent: int) -> Object | None:
        """Give the canary this share, and its share of the replicas."""
        canary = _canary(isvc)
        if canary is None:
            return None
        replicas = _replicas(predictor(isvc), percent)
        if (canary["trafficPercent"], canary["predictor"].get("minReplicas")) == (
            percent,
            replicas,
        ):
            return None
        changed = {**canary["predictor"], "minReplicas": replicas}
        return {"spec": {"canary": [{"trafficPercent": percent, "predictor": changed}]}}

    def promote(self, isvc: Object) -> Object | None:
        """The stable predictor takes the canary's name and model: its pods go on, none restarts."""
        canary = _canary(isvc)
        if canary is None:
            return None
        taken = canary["predictor"]
        return {
            "spec": {
                "canary": None,
                "predictor": {
                    "name": taken["name"],
                    "annotations": taken["annotations"],
                    "labels": taken["labels"],
                    "model": {"storageUri": taken["model"]["storageUri"]},
                },
            }
        }

    def silence(self, isvc: Object, stable: Model) -> Object | None:
        """Without its entry the canary is gone, unless it is the one to go back to."""
        canary = _canary(isvc)
        if canary is None or model_of(canary["predictor"]).same_as(stable):
            return None
        return {"spec": {"canary": None}}

    def waits_for(self, isvc: Object) -> str:
        """What is still missing until the status tells of the same canary as the spec."""
        status, canary = isvc.get("status") or {}, _canary(isvc)
        told = {one["name"]: one for one in status.get("canaryStatuses") or []}
        if canary is None:
            if told:
                return "the canary is still there"
            after = annotation(predictor(isvc), AFTER) or NOTHING
            if int(status.get("observedGeneration", 0)) <= int(after):
                return "KServe has not taken the change up"
            return "" if component(isvc) else "KServe has made no deployment of it"
        name, percent = canary["predictor"]["name"], canary["trafficPercent"]
        seen = told.get(name)
        if seen is None:
            return f"KServe has not taken canary {name} up"
        if not seen.get("ready"):
            return f"canary {name} is not ready"
        if seen.get("trafficPercent", 0) != percent:
            return f"canary {name} does not have {percent} % of the traffic"
        return ""

    def noise(self, isvc: Object) -> str:
        """What still gives traffic to a canary."""
        return self.waits_for(isvc)

    def address(self, isvc: Object, *, canary: bool) -> Address | None:
        """The Kubernetes Service of the deployment."""
        entry = _canary(isvc) if canary else None
        name = (entry["predictor"] if entry else predictor(isvc)).get("name")
        return Address(
            service="-".join(filter(None, (isvc["metadata"]["name"], name, "predictor")))
        )


def _canary(isvc: Object) -> Object | None:
    """Our canary's entry.

    Raises:
        PipelineError: there are others, which a rollout must not take away.
    """
    entries: list[Object] = isvc["spec"].get("canary") or []
    others = [one for one in entries if not annotation(one["predictor"], MODEL)]
    if others or len(entries) > 1:
        names = ", ".join(str(one["predictor"].get("name")) for one in others or entries)
        raise PipelineError(
            f"InferenceService {isvc['metadata']['name']} has a canary that no rollout made "
            f"({names}): promote it or take it away first"
        )
    return entries[0] if entries else None


def _serves(isvc: Object) -> bool:
    """Whether the stable predictor has ever been up: its address is written then."""
    return bool(component(isvc).get("url"))


def _replicas(spec: Object, percent: int) -> int:
    stable = int(spec.get("minReplicas", 1))
    if stable < 1:
        raise PipelineError(
            "spec.predictor.minReplicas is 0: a canary in Standard mode may have no more replicas "
            "than that, so set it to 1 or more before a rollout"
        )
    return max(1, ceil(stable * percent / 100))
