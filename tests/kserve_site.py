"""A cluster with KServe, a registry with two versions, and somebody who calls all the time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import rollouts
from kserve_ingress import Ingress
from kubernetes_api import KubernetesApi
from rollouts import Manner

from pipeline.registry import Registry, Tag, Version
from pipeline.rollout import controller
from pipeline.rollout.kserve import KServe, Pace
from pipeline.rollout.move import Outcome
from pipeline.rollout.plan import Plan
from pipeline.rollout.probes import Caller
from pipeline.settings import Settings

OLD, NEW = "a" * 64, "b" * 64
PACE = Pace(ready=20, failed=1, poll=0.005, lease=1)
QUICK = Plan(
    steps=(10, 50, 100), min_requests=4, hold_seconds=0, max_seconds=10, latency_floor_ms=60_000
)
BLUE_GREEN = QUICK.model_copy(update={"strategy": "blue_green", "steps": (100,)})


@dataclass
class Site:
    """A cluster that serves version 1, and version 2 in the registry.

    Attributes:
        manner: how version 2 answers.
        refused: what callers got instead of an answer, while `callers` call.
    """

    api: KubernetesApi
    ingress: Ingress
    settings: Settings
    registry: Registry
    folder: Path
    manner: Manner = field(default_factory=Manner)
    refused: list[str] = field(default_factory=list)

    def register(self, digest: str, manner: Manner) -> Version:
        """One more version, whose bundle the cluster can serve."""
        number = rollouts.register(self.settings, self.folder, digest)
        version = self.registry.version(number)
        assert version is not None
        self.ingress.manners[self.registry.bundle_uri(version)] = (digest, manner)
        return version

    def backend(self) -> KServe:
        return KServe(self.settings, pace=PACE)

    def roll_out(self, plan: Plan = QUICK, number: int = 2) -> Outcome:
        return controller.roll_out(
            number, self.registry, self.backend(), plan, report=lambda text: None
        )

    def uri(self, number: int) -> str:
        version = self.registry.version(number)
        assert version is not None
        return self.registry.bundle_uri(version)

    def share(self) -> float:
        """The traffic that version 2 has just now."""
        return self.api.controller.history[-1].get(self.uri_of_new, 0)

    @property
    def shares(self) -> list[float]:
        """All that it ever had."""
        return [one.get(self.uri_of_new, 0) for one in self.api.controller.history]

    @property
    def uri_of_new(self) -> str:
        return next(uri for uri, (digest, _) in self.ingress.manners.items() if digest == NEW)

    def serves(self, number: int) -> bool:
        """Whether cluster, alias and tags all name this version and nothing else."""
        self.api.settle()
        champion = self.registry.champion()
        spec = self.api.isvc()["spec"]
        return (
            champion is not None
            and champion.number == number
            and champion.tags[Tag.STATUS] == "champion"
            and self.api.controller.history[-1] == {self.uri(number): 100}
            and spec["predictor"]["model"]["storageUri"] == self.uri(number)
            and "canaryTrafficPercent" not in spec["predictor"]
            and "canary" not in spec
        )

    @contextmanager
    def callers(self) -> Iterator[None]:
        """Somebody calls all the time."""
        done = threading.Event()
        caller = Caller(self.backend().public(), 5)

        def call() -> None:
            while not done.wait(0.03):
                answer = caller.predict({"text": "Ada", "labels": ["person"]})
                if answer.status != 200:
                    self.refused.append(f"{answer.digest[:1]} {answer.detail}")

        thread = threading.Thread(target=call)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            caller.close()
