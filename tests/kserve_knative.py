"""KServe's Knative mode, with Knative below it.

Kept to `reconcilers/knative/ksvc_reconciler.go` and `PropagateStatus` of kserve/kserve:

- labels and annotations of the service and of its predictor go into the revision template, so
  changing one makes a new revision; restoring an old template does not bring the old revision back;
- `canaryTrafficPercent` counts only once a revision had all traffic: the newest ready revision gets
  it with tag `latest` (with the annotation `enable-tag-routing`), `latestRolledoutRevision` the
  rest with tag `prev`; at 100 there is no `prev`; without it the newest has everything;
- at 100 % the newest ready revision becomes `latestRolledoutRevision`, the one before
  `previousRolledoutRevision`; a share below 100 for the revision that is rolled out already goes
  back to the previous one;
- `observedGeneration` is the Knative service's and not the InferenceService's.
"""

from __future__ import annotations

import copy
import json

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

_TAGS = "serving.kserve.io/enable-tag-routing"


class KnativeService:
    """A Knative service with its revisions and its route."""

    def __init__(self, controller: Cluster, isvc: Object) -> None:
        self.controller = controller
        self.isvc = isvc["metadata"]["name"]
        self.name = f"{self.isvc}-predictor"
        self.template: Object | None = None
        self.wanted: list[Object] = []
        self.generation = 0
        self.revisions: dict[str, Pods] = {}
        self.created = self.ready = ""
        self.traffic: list[Object] = []

    def tick(self, isvc: Object) -> Object:
        """Upwards first, so that news needs a tick for each level."""
        status: Object = isvc.get("status") or {}
        if self.template is not None:
            status = self._propagate(copy.deepcopy(status))
        self._route()
        for name, revision in self.revisions.items():
            revision.age += 1
            if self.controller.up(revision) and name > self.ready:
                self.ready = name
        if self.template is not None and (
            not self.created or self.revisions[self.created].template != self.template
        ):
            self.created = f"{self.name}-{len(self.revisions) + 1:05d}"
            self.revisions[self.created] = Pods(copy.deepcopy(self.template))
        self._desire(isvc, status)
        return {**status, "deploymentMode": "Knative"}

    def _desire(self, isvc: Object, status: Object) -> None:
        """The Knative service, as KServe writes it."""
        pods = template(isvc, isvc["spec"]["predictor"])
        # Scale bounds become annotations of the template.
        pods["annotations"] |= {
            f"autoscaling.knative.dev/{key}": json.dumps(isvc["spec"]["predictor"][key])
            for key in ("minReplicas", "maxReplicas")
            if key in isvc["spec"]["predictor"]
        }
        tags = pods["annotations"].get(_TAGS) == "true"
        percent = isvc["spec"]["predictor"].get("canaryTrafficPercent")
        rolled = component(status).get("latestRolledoutRevision")
        split = percent is not None and rolled
        newest: Object = {"latestRevision": True, "percent": percent if split else 100}
        if tags:
            newest["tag"] = "latest"
        wanted = [newest]
        if split and percent < 100:
            wanted.append(
                {
                    "revisionName": rolled,
                    "latestRevision": False,
                    "percent": 100 - percent,
                    "tag": "prev",
                }
            )
        if (pods, wanted) != (self.template, self.wanted):
            self.generation += 1
        self.template, self.wanted = pods, wanted

    def _route(self) -> None:
        if not self.ready:
            return
        self.traffic = [
            {
                **one,
                "revisionName": self.ready if one["latestRevision"] else one["revisionName"],
                **({"url": f"http://{self._tag(one['tag'])}"} if "tag" in one else {}),
            }
            for one in self.wanted
        ]

    def _propagate(self, status: Object) -> Object:
        """`PropagateStatus` and `PropagateModelStatus`."""
        part = component(status)
        part["latestCreatedRevision"] = self.created
        shares: dict[str, int] = {}
        for one in self.traffic:
            shares[one["revisionName"]] = shares.get(one["revisionName"], 0) + one["percent"]
        for one in self.traffic:
            if not one["latestRevision"] or one["revisionName"] != self.ready:
                continue
            if part.get("latestRolledoutRevision") != self.ready:
                if one["percent"] == 100:
                    before = part.get("latestRolledoutRevision", "")
                    part["previousRolledoutRevision"] = before
                    part["latestRolledoutRevision"] = self.ready
            elif (
                self.ready == self.created
                and one["percent"] < 100
                and shares[self.ready] == 100
                and part.get("previousRolledoutRevision")
            ):
                part["latestRolledoutRevision"] = part["previousRolledoutRevision"]
        part["latestReadyRevision"] = self.ready
        part["traffic"] = copy.deepcopy(self.traffic)
        pods = self.revisions.get(self.created)
        failure = self.controller.failure(pods) if pods else None
        configured, why, text = "Unknown", "", ""
        if failure:
            configured, why = "False", "RevisionFailed"
            text = f'Revision "{self.created}" failed with message: {failure.message}.'
        elif self.created and self.created == self.ready:
            configured = "True"
        routed = "True" if self.traffic else "Unknown"
        ready = min((configured, routed), key=["False", "Unknown", "True"].index)
        status["url"] = f"http://{self._public()}"
        if ready == "True":
            part["url"] = f"http://{self.name}.{self.controller.namespace}.{DOMAIN}"
        status["conditions"] = [
            condition("IngressReady", routed),
            condition("LatestDeploymentReady", configured, why),
            condition("PredictorConfigurationReady", configured, why, text),
            condition("PredictorReady", ready, why, text),
            condition("PredictorRouteReady", routed),
            condition("Ready", ready, why, text),
        ]
        status["modelStatus"] = model_status(failure, ready == "True")
        status["observedGeneration"] = self.generation
        status["components"] = {"predictor": part}
        return status

    def split(self) -> dict[str, float]:
        return total(self._serving(one) for one in self.traffic)

    def backends(self, host: str) -> list[tuple[float, str]]:
        if host == self._public():
            return [self._serving(one) for one in self.traffic]
        for one in self.traffic:
            if "tag" in one and host == self._tag(one["tag"]):
                return [(100, self._serving(one)[1])]
        return []

    def services(self) -> set[str]:
        return set()

    def pods(self) -> list[Object]:
        return [self.controller.pod(self.isvc, name, pods) for name, pods in self.revisions.items()]

    def _serving(self, target: Object) -> tuple[float, str]:
        return target["percent"], self.revisions[target["revisionName"]].uri

    def _public(self) -> str:
        return f"{self.isvc}.{self.controller.namespace}.{DOMAIN}"

    def _tag(self, tag: str) -> str:
        return f"{tag}-{self.name}.{self.controller.namespace}.{DOMAIN}"
