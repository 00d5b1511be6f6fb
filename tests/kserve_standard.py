"""KServe's Standard mode: deployments, Services and a weighted route.

Kept to `components/predictor.go` and `ingress/httproute_reconciler.go` of kserve/kserve:

- `canaryTrafficPercent` is ignored; each `spec.canary` is a deployment `<isvc>-<name>-predictor`
  made of the stable predictor with the canary's fields over it, with `minReplicas` replicas, or its
  share of the stable ones, which at 0 % is none;
- a canary without an available replica is not ready and gets no traffic;
- deployments that nothing names any more are deleted before new ones are made;
- the route keeps its old backends while the stable predictor is not ready.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from typing import Any

from kserve_parts import (
    DOMAIN,
    Cluster,
    Object,
    Pods,
    component,
    condition,
    model_status,
    template,
    total,
)


@dataclass
class Deployment:
    """A deployment that rolls from one template to the next without a gap.

    Attributes:
        rollouts: how often its pods were replaced.
        old: the pods that serve until the new ones do.
    """

    new: Pods
    replicas: int
    generation: int = 1
    rollouts: int = 0
    old: Pods | None = None
    observed: int = field(default=0)


class Deployments:
    """Deployments, Services and the route of Standard mode."""

    def __init__(self, controller: Cluster, isvc: Object) -> None:
        self.controller = controller
        self.isvc = isvc["metadata"]["name"]
        self.all: dict[str, Deployment] = {}
        self.route: list[tuple[float, str]] = []
        self.stable = ""

    def tick(self, isvc: Object) -> Object:
        """In the order of the real reconciler: canaries, orphans, the stable one, the route."""
        status: Object = copy.deepcopy(isvc.get("status") or {})
        spec, canaries = isvc["spec"]["predictor"], isvc["spec"].get("canary") or []
        self.stable = self._name(spec)
        for one in canaries:
            self._ensure(
                self._name(one["predictor"]),
                template(isvc, _over(spec, one["predictor"])),
                _canary_replicas(spec, one),
            )
        told = [
            {
                "name": one["predictor"]["name"],
                "ready": self._up(self._name(one["predictor"])),
                "trafficPercent": one["trafficPercent"],
                "modelStatus": {"transitionStatus": ""},
            }
            for one in canaries
        ]
        status.pop("canaryStatuses", None)
        if told:
            status["canaryStatuses"] = told
        for name in set(self.all) - {self.stable, *(self._name(c["predictor"]) for c in canaries)}:
            del self.all[name]
        self._ensure(self.stable, template(isvc, spec), self._stable_replicas(spec, canaries, told))
        for one in self.all.values():
            one.observed = one.generation
            if self.controller.up(one.new):
                one.old = None
            one.new.age += 1
        self._propagate(status, canaries, told)
        return {**status, "deploymentMode": "Standard"}

    def _ensure(self, name: str, template: Object, replicas: int) -> None:
        found = self.all.get(name)
        if found is None:
            self.all[name] = Deployment(Pods(template), replicas)
            return
        if found.new.template != template:
            if self.controller.up(found.new):
                found.old = found.new
            found.new = Pods(template)
            found.rollouts += 1
            found.generation += 1
        if found.replicas != replicas:
            found.replicas = replicas
            found.generation += 1

    def _propagate(self, status: Object, canaries: list[Object], told: list[Object]) -> None:
        ready = self._up(self.stable)
        failure = self.controller.failure(self.all[self.stable].new)
        part = component(status)
        if ready:
            part["url"] = f"http://{self.stable}-{self.controller.namespace}.{DOMAIN}"
            self._weigh(canaries, told)
        status["components"] = {"predictor": part}
        if self.route:
            status["url"] = f"http://{self._public()}"
        state = "True" if ready else "False"
        why = "" if ready else "MinimumReplicasUnavailable"
        text = "" if ready else "Deployment does not have minimum availability."
        status["conditions"] = [
            condition("IngressReady", state, why and "Predictor ingress not created"),
            condition("PredictorReady", state, why, text),
            condition("Ready", state, why, text),
        ]
        if told:
            up = all(one["ready"] for one in told)
            status["conditions"].append(
                condition(
                    "CanaryPredictorReady",
                    "True" if up else "False",
                    "AllCanariesReady" if up else "CanariesNotReady",
                )
            )
        status["modelStatus"] = model_status(failure, ready)
        status["observedGeneration"] = self.all[self.stable].observed

    def _weigh(self, canaries: list[Object], told: list[Object]) -> None:
        """`applyCanaryWeights`: by Service, without the canaries that are not ready."""
        shares = [
            (float(one["trafficPercent"]), self._name(one["predictor"]))
            for one, seen in zip(canaries, told, strict=True)
            if seen["ready"]
        ]
        self.route = [(100 - sum(share for share, _ in shares), self.stable), *shares]

    def split(self) -> dict[str, float]:
        return total(self._serving(share, name) for share, name in self.route)

    def backends(self, host: str) -> list[tuple[float, str]]:
        if host == self._public():
            return [self._serving(share, name) for share, name in self.route]
        service, _, rest = host.partition(".")
        if rest == f"{self.controller.namespace}.svc" and service in self.all:
            return [self._serving(100, service)]
        return []

    def services(self) -> set[str]:
        return set(self.all)

    def pods(self) -> list[Object]:
        return [
            self.controller.pod(self.isvc, name, one.new)
            for name, one in self.all.items()
            if one.replicas
        ]

    def _serving(self, share: float, name: str) -> tuple[float, str]:
        found = self.all.get(name)
        if found is None or not self._up(name):
            return share, ""
        return share, (found.old or found.new).uri

    def _up(self, name: str) -> bool:
        found = self.all[name]
        return found.replicas > 0 and (found.old is not None or self.controller.up(found.new))

    def _stable_replicas(self, spec: Object, canaries: list[Object], told: list[Object]) -> int:
        replicas = int(spec.get("minReplicas", 1))
        taken = sum(
            _canary_replicas(spec, one)
            for one, seen in zip(canaries, told, strict=True)
            if seen["ready"]
        )
        return max(replicas - taken, 1) if taken and "minReplicas" in spec else replicas

    def _name(self, predictor: Object) -> str:
        return "-".join(filter(None, (self.isvc, predictor.get("name"), "predictor")))

    def _public(self) -> str:
        return f"{self.isvc}-{self.controller.namespace}.{DOMAIN}"


def _canary_replicas(stable: Object, canary: Object) -> int:
    if "minReplicas" in canary["predictor"]:
        return int(canary["predictor"]["minReplicas"])
    share = int(canary["trafficPercent"]) / 100
    return math.ceil(int(stable.get("minReplicas", 1)) * share)


def _over(stable: Any, canary: Any) -> Any:
    """mergo's Merge with override: objects are merged, all else is replaced; empty values lose."""
    if isinstance(stable, dict) and isinstance(canary, dict):
        merged = {key: _over(stable.get(key), value) for key, value in canary.items()}
        return {**stable, **merged}
    return stable if canary in (None, "", 0, [], {}) else canary
