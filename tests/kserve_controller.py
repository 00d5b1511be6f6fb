"""What KServe's controller and the parts below it make of an InferenceService, in small steps.

One `tick` is one round of reconciling. News travels one level a tick, as between real controllers:
the InferenceService to the Knative service or the deployments, from there to revisions and routes,
and back into the status. Read from kserve/kserve (0.20 and after); `kserve_knative` and
`kserve_standard` say what of it they keep to.

The validating webhook (`inference_service_validation.go`): the deployment mode never changes once
the status has it; `predictor.name` changes only together with the model; canaries need Standard
mode, unique names, shares that sum up to 100 at most, no autoscaling and no more replicas than the
stable predictor.
"""

from __future__ import annotations

from kserve_knative import KnativeService
from kserve_parts import Failure, Object, Pods, Workload
from kserve_standard import Deployments

MODE = "serving.kserve.io/deploymentMode"


class Denied(Exception):
    """What the validating webhook says no to."""


class Controller:
    """KServe's controller for one namespace.

    Attributes:
        ready_after: ticks that a model takes to load.
        failures: by storage address.
        stuck: it never does anything.
        headless, port: of the Services in Standard mode.
        history: each split of the traffic that was ever in force, as shares by storage address;
            traffic that nobody would answer is counted under the empty address.
    """

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.ready_after = 2
        self.failures: dict[str, Failure] = {}
        self.stuck = False
        self.headless = False
        self.port = 80
        self.history: list[dict[str, float]] = []
        self._made: dict[str, Workload] = {}

    def admit(self, fresh: Object, old: Object | None) -> None:
        """What the validating webhook checks."""
        mode = (fresh["metadata"].get("annotations") or {}).get(MODE)
        if old is not None:
            was = (old.get("status") or {}).get("deploymentMode")
            if was and mode and mode != was:
                raise Denied(
                    f"update rejected: deploymentMode cannot be changed from '{was}' to '{mode}'"
                )
            before, after = old["spec"]["predictor"], fresh["spec"]["predictor"]
            if before.get("name") != after.get("name") and _uri(before) == _uri(after):
                raise Denied("predictor.name change requires a model change (e.g. storageUri)")
        if "name" in fresh["spec"]["predictor"].get("model", {}):
            raise Denied("the 'name' field is not allowed in standard predictor")
        if canaries := fresh["spec"].get("canary"):
            _admit_canaries(fresh["spec"]["predictor"], canaries, mode)

    def tick(self, isvc: Object) -> Object | None:
        """One round; returns the status, None as long as there is nothing to say."""
        if self.stuck:
            return None
        name = isvc["metadata"]["name"]
        if name not in self._made:
            mode = (isvc["metadata"].get("annotations") or {}).get(MODE, "Knative")
            kind = Deployments if mode == "Standard" else KnativeService
            self._made[name] = kind(self, isvc)
        status = self._made[name].tick(isvc)
        split = self._made[name].split()
        if split and (not self.history or self.history[-1] != split):
            self.history.append(split)
        return status

    def forget(self, name: str) -> None:
        """The InferenceService was deleted."""
        self._made.pop(name, None)

    def backends(self, host: str) -> list[tuple[float, str]]:
        """Who answers for a host: shares and storage addresses."""
        return next(filter(None, (one.backends(host) for one in self._made.values())), [])

    def pods(self) -> list[Object]:
        """All pods, as the API gives them."""
        return [pod for one in self._made.values() for pod in one.pods()]

    def service(self, name: str) -> Object | None:
        """The Kubernetes Service before a deployment."""
        if not any(name in one.services() for one in self._made.values()):
            return None
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {
                "clusterIP": "None" if self.headless else "10.0.0.10",
                "ports": [{"port": self.port, "targetPort": 8080}],
            },
        }

    def failure(self, pods: Pods) -> Failure | None:
        """How these pods fail just now."""
        found = self.failures.get(pods.uri)
        return found if found and pods.age < found.ticks else None

    def up(self, pods: Pods) -> bool:
        """Whether these pods take requests."""
        return pods.age >= self.ready_after and not self.failure(pods)

    def pod(self, isvc: str, name: str, pods: Pods) -> Object:
        """A pod as the API gives it."""
        failure = self.failure(pods)
        state: Object = {"running": {}}
        last: Object = {}
        if failure and failure.reason == "ModelLoadFailed":
            state = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 20s"}}
            last = {"terminated": {"exitCode": 1, "message": failure.message}}
        elif failure:
            state = {"waiting": {"reason": failure.reason, "message": failure.message}}
        container = {
            "name": "kserve-container",
            "ready": self.up(pods),
            "restartCount": 0,
            "image": "predictor:1",
            "imageID": "",
            "state": state,
            "lastState": last,
        }
        labels = {**pods.template["labels"], "serving.kserve.io/inferenceservice": isvc}
        return {
            "metadata": {"name": f"{name}-0", "labels": labels},
            "status": {"phase": "Pending" if failure else "Running"}
            | {"containerStatuses": [container]},
        }


def _admit_canaries(stable: Object, canaries: list[Object], mode: str | None) -> None:
    if mode != "Standard":
        raise Denied("canary is only supported in Standard deployment mode")
    names: set[str] = set()
    for index, one in enumerate(canaries):
        predictor = one["predictor"]
        name = predictor.get("name")
        if not name:
            raise Denied(f"canary[{index}] predictor.name is required")
        if name in names:
            raise Denied(f'canary predictor.name "{name}" is duplicated')
        if name == stable.get("name"):
            raise Denied(f'canary predictor.name "{name}" conflicts with stable predictor name')
        names.add(name)
        if not 0 <= one["trafficPercent"] <= 100:
            raise Denied(f'canary "{name}" trafficPercent must be between 0 and 100')
        if "model" not in predictor:
            raise Denied(f'canary "{name}" predictor: exactly one implementation is required')
        for extension in ("maxReplicas", "scaleTarget", "scaleMetric", "autoScaling"):
            if extension in predictor:
                raise Denied(f'canary "{name}" must not set {extension}')
        if predictor.get("minReplicas", 0) > stable.get("minReplicas", 1):
            raise Denied(
                f'canary "{name}" minReplicas ({predictor["minReplicas"]}) must not exceed stable '
                f"predictor minReplicas ({stable.get('minReplicas', 1)})"
            )
    if sum(one["trafficPercent"] for one in canaries) > 100:
        raise Denied("sum of canary trafficPercent values must be <= 100")


def _uri(predictor: Object) -> str:
    return str(predictor.get("model", {}).get("storageUri", ""))
