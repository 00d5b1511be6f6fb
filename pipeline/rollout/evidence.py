"""What a rollout knows of its candidate while it holds a step: requests, errors, latency."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pipeline.rollout import Route


@dataclass(frozen=True, slots=True)
class Sample:
    """How one version answered.

    Attributes:
        requests: answers that say something about the version: successes and its own errors.
            A caller's mistake (4xx) says nothing.
        errors: those of them that failed.
        p95_ms: 95 % of the successful answers came within this; None where nothing is known.
        throttled: answers with 429: too much load, nobody's error, not among `requests`.
        detail: the first error, in a few words.
    """

    requests: int = 0
    errors: int = 0
    p95_ms: float | None = None
    throttled: int = 0
    detail: str = ""

    @property
    def error_rate(self) -> float:
        """Failed share of the requests; 0 without any."""
        return self.errors / self.requests if self.requests else 0.0


@dataclass(frozen=True, slots=True)
class Reading:
    """The candidate beside the champion; None where there is no champion."""

    candidate: Sample
    champion: Sample | None


class Evidence(Protocol):
    """A source of readings: Prometheus, or the rollout's own probes."""

    name: str
    """What people call it."""

    pause_seconds: float
    """How long to wait between two readings."""

    patient: bool
    """Whether real traffic may bring the requests: only when it did not, `read` is asked to."""

    def begin(self, candidate: Route, champion: Route | None) -> None:
        """Forget the candidate's requests so far: a step begins, with these routes.

        Raises:
            Unavailable: the source does not answer.
        """
        ...

    def read(self, missing: int) -> Reading:
        """What is known: of the candidate since `begin`, of the champion since the first one.

        Args:
            missing: how many requests the candidate lacks; a source that can send some does.

        Raises:
            Unavailable: the source does not answer.
            RolloutFailed: the candidate's route leads to another version.
        """
        ...
