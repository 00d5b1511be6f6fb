"""The right to move traffic, as a Lease that one holder renews and others watch.

As in client-go's leader election, nobody compares clocks of two machines: a lease is over when its
record has not changed for its duration on the watcher's own clock. What the holder writes as time
is for people.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from datetime import datetime, timezone
from types import TracebackType
from typing import Any
from uuid import uuid4

from pipeline.errors import PipelineError, RolloutBusy
from pipeline.progress import say
from pipeline.rollout.cluster import Cluster, Conflict
from pipeline.rollout.objects import Object
from pipeline.settings import Settings

SECONDS = 30
"""How long a lease holds after its last renewal."""


class Lease:
    """A lease to hold with `with`.

    Args:
        settings: name the InferenceService that it is for.
        owner: who holds it, for people; a process of its own each time.
        seconds: its duration.

    Raises:
        RolloutBusy: on entering, somebody else holds it; the text names who.
    """

    def __init__(self, settings: Settings, owner: str, *, seconds: float = SECONDS) -> None:
        self._cluster = Cluster(settings)
        # A renewal that hangs, or waits between attempts, would let the lease run out.
        hasty = {"http_timeout_seconds": seconds / 6, "http_retries": 0}
        self._hasty = Cluster(settings.model_copy(update=hasty))
        self._name = f"{settings.inference_service}-rollout"
        # A run that was killed and tried again has the same owner, and may not be dead yet.
        self._holder = f"{owner[:200]}_{uuid4().hex[:8]}"
        self._seconds = seconds
        self._renewed = 0.0
        self._seen: object = None
        self._since = 0.0
        self._lost = ""
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="rollout-lease", daemon=True)

    def __enter__(self) -> Lease:
        self._acquire()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end.set()
        self._thread.join()
        # One that cannot be given back ends by itself.
        with suppress(PipelineError):
            self._give_back()

    def check(self) -> None:
        """Make sure that it is still held.

        Raises:
            RolloutBusy: it is not.
        """
        if not self._lost and time.monotonic() - self._renewed > self._seconds:
            self._lost = "it could not be renewed in time"
        if self._lost:
            raise RolloutBusy(f"this rollout has lost its lease {self._name}: {self._lost}")

    def _acquire(self) -> None:
        asked = 0.0
        while True:
            found = self._cluster.lease(self._name)
            holder = found.spec.holder_identity if found else ""
            if holder == self._holder:
                # It was written, and the answer to that was lost.
                self._renewed = asked
                return
            if not holder or self._is_over(found):
                asked = time.monotonic()
                # Somebody who was quicker is seen in the next round.
                with suppress(Conflict):
                    self._write(self._cluster, found, self._holder)
                    self._renewed = asked
                    return
            time.sleep(self._seconds / 15)

    def _is_over(self, found: Any) -> bool:
        """Whether a lease of somebody else has not changed for its duration, by our clock.

        Raises:
            RolloutBusy: it changed since the last call, so its holder lives.
        """
        spec = found.spec
        record = (spec.holder_identity, spec.renew_time, spec.lease_transitions)
        if self._seen is None:
            self._seen, self._since = record, time.monotonic()
            say(f"{_owner(record[0])} held the rollout lease last; watching whether it lives")
        if record != self._seen:
            raise RolloutBusy(
                f"{_owner(record[0])} rolls out just now (lease {self._name}); wait for it to end"
            )
        seconds = spec.lease_duration_seconds or self._seconds
        return time.monotonic() - self._since > seconds

    def _renew(self) -> None:
        pause = self._seconds / 3
        while not self._end.wait(pause):
            asked = time.monotonic()
            try:
                found = self._hasty.lease(self._name)
                holder = (found.spec.holder_identity or "") if found else ""
                if holder != self._holder:
                    self._lost = f"{_owner(holder)} holds it now" if holder else "it was taken away"
                    return
                self._write(self._hasty, found, self._holder)
                self._renewed = asked
                pause = self._seconds / 3
            except PipelineError:
                # `check` gives up when the lease is over; until then the API may come back.
                pause = self._seconds / 15

    def _give_back(self) -> None:
        found = self._hasty.lease(self._name)
        if found and found.spec.holder_identity == self._holder:
            self._write(self._hasty, found, "")

    def _write(self, cluster: Cluster, found: Any | None, holder: str) -> None:
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        metadata: Object = {"name": self._name, "namespace": cluster.namespace}
        spec: Object = {
            "holderIdentity": holder,
            "leaseDurationSeconds": max(1, round(self._seconds)),
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": 0,
        }
        if found is None:
            cluster.create_lease(_lease(metadata, spec))
            return
        # With the version that was read, the API refuses to write over somebody else.
        metadata["resourceVersion"] = found.metadata.resource_version
        metadata["labels"] = found.metadata.labels
        spec["leaseTransitions"] = found.spec.lease_transitions or 0
        if found.spec.holder_identity == holder and found.spec.acquire_time:
            spec["acquireTime"] = found.spec.acquire_time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        else:
            spec["leaseTransitions"] += 1
        cluster.replace_lease(self._name, _lease(metadata, spec))


def _lease(metadata: Object, spec: Object) -> Object:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": metadata,
        "spec": spec,
    }


def _owner(holder: str) -> str:
    return holder.rpartition("_")[0] or holder
