"""A canary in Knative mode: `canaryTrafficPercent` between the newest revision and the last one.

KServe sends the rest to the last revision that had all the traffic. It copies the split, the
revisions and the addresses of their tags into the status. Its `observedGeneration` is that of the
Knative service, so it says nothing about the InferenceService's own generation: what was written
is recognised by the revision that came after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pipeline.rollout.modes import Address, Trial
from pipeline.rollout.objects import (
    AFTER,
    TAG_ROUTING,
    Model,
    Object,
    annotation,
    component,
    fields,
    host,
    model_of,
    predictor,
    previous_of,
)

_PERCENT = "canaryTrafficPercent"


class Knative:
    """See `modes.Mode`."""

    annotations: Mapping[str, str] = MappingProxyType({TAG_ROUTING: "true"})

    def trial(self, isvc: Object) -> Trial:
        """Who serves, by its spec."""
        spec = predictor(isvc)
        current, previous, percent = model_of(spec), previous_of(spec), spec.get(_PERCENT)
        # The model before, brought up again by a roll back, is no trial.
        if percent is None or previous is None or previous.same_as(current):
            return Trial(current)
        return Trial(previous, current, int(percent))

    def start(self, isvc: Object, candidate: Model, stable: Model | None) -> Object | None:
        """One patch changes model and share together: the new revision never gets a request."""
        spec = predictor(isvc)
        current, percent = model_of(spec), spec.get(_PERCENT)
        if current.same_as(candidate):
            return None if percent in (None, 0) else _share(0)
        previous = current if percent in (None, 100) else previous_of(spec) or current
        if stable and not previous.digest:
            previous = Model(stable.version, stable.digest, previous.uri)
        status = component(isvc)
        # Before the first revision had all traffic, KServe ignores the share.
        served = bool(status.get("latestRolledoutRevision"))
        written = fields(candidate, previous, status.get("latestCreatedRevision", ""))
        return {
            "metadata": {"annotations": dict(self.annotations)},
            "spec": {"predictor": {**written, _PERCENT: 0 if served else None}},
        }

    def step(self, isvc: Object, percent: int) -> Object | None:
        """Give the newest revision this share."""
        found = self.trial(isvc)
        return None if found.canary is None or found.percent == percent else _share(percent)

    def promote(self, isvc: Object) -> Object | None:
        """Without the field, the newest revision has all the traffic and is the stable one."""
        return _share(None) if _PERCENT in predictor(isvc) else None

    def silence(self, isvc: Object, stable: Model) -> Object | None:
        """At 0 %, KServe goes back to the revision that had all the traffic before."""
        spec = predictor(isvc)
        if model_of(spec).same_as(stable) or spec.get(_PERCENT) == 0:
            return None
        before = previous_of(spec)
        known = before is not None and before.same_as(stable)
        return _share(0) if _PERCENT in spec or known else None

    def waits_for(self, isvc: Object) -> str:
        """What is still missing until the split in the status is the one in the spec."""
        status, spec = component(isvc), predictor(isvc)
        created, ready = status.get("latestCreatedRevision"), status.get("latestReadyRevision")
        if not created or created == annotation(spec, AFTER):
            return "KServe has made no revision of it"
        if created != ready:
            return f"revision {created} is not ready"
        asked = spec.get(_PERCENT)
        want = 100 if asked is None else int(asked)
        newest, rest = _targets(status)
        if newest.get("revisionName") != created or newest.get("percent", 0) != want:
            return f"revision {created} does not have {want} % of the traffic"
        if want < 100 and not any(_holds(one, created, 100 - want) for one in rest):
            return f"no revision before {created} has {100 - want} % of the traffic"
        return ""

    def noise(self, isvc: Object) -> str:
        """What still gives traffic to the newest revision, which need not be ready."""
        status = component(isvc)
        created = status.get("latestCreatedRevision")
        newest, rest = _targets(status)
        if newest.get("percent", 0) or not any(_holds(one, created, 100) for one in rest):
            return f"revision {created} still has traffic"
        return ""

    def address(self, isvc: Object, *, canary: bool) -> Address | None:
        """The tag of the revision. At 100 % the stable one has none."""
        tag = "latest" if canary or self.trial(isvc).canary is None else "prev"
        for one in component(isvc).get("traffic") or []:
            if one.get("tag") == tag and one.get("url"):
                return Address(host=host(one["url"]))
        return None


def _share(percent: int | None) -> Object:
    return {"spec": {"predictor": {_PERCENT: percent}}}


def _targets(status: Object) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The traffic target that follows the newest revision, and the others."""
    targets = status.get("traffic") or []
    newest: dict[str, Any] = next((one for one in targets if one.get("latestRevision")), {})
    return newest, [one for one in targets if one is not newest]


def _holds(target: dict[str, Any], newest: object, percent: int) -> bool:
    return target.get("revisionName") != newest and target.get("percent", 0) == percent
