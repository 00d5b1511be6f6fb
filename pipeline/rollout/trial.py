"""A candidate on trial: holds each step until enough is known, and says what was seen."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pipeline.errors import RolloutFailed, Unavailable
from pipeline.registry import Registry, Version
from pipeline.rollout import Backend
from pipeline.rollout.evidence import Evidence, Reading, Sample
from pipeline.rollout.golden import DEFAULT, Golden
from pipeline.rollout.plan import Plan
from pipeline.rollout.probes import Caller, ProbeEvidence, Prober
from pipeline.rollout.prometheus import Prometheus, PrometheusEvidence
from pipeline.settings import Settings

_READY_EVERY_SECONDS = 5.0
_IN_A_ROW = 3


@dataclass(frozen=True, slots=True)
class Passed:
    """A step that the candidate got through.

    Attributes:
        percent: its share of the traffic.
        reading: what it was judged by.
        golden: golden requests that gave their answers.
        seconds: how long the step was held.
        source: where the reading is from.
    """

    percent: int
    reading: Reading
    golden: int
    seconds: float
    source: str

    def __str__(self) -> str:
        new, old = self.reading.candidate, self.reading.champion
        beside = f" (champion {_milliseconds(old)})" if old else ""
        golden = f", {self.golden} golden answers" if self.golden else ""
        return (
            f"{new.requests} requests, {new.error_rate:.1%} errors, p95 {_milliseconds(new)}"
            f"{beside}{golden}, {self.seconds:.0f} s by {self.source}"
        )


class Trial:
    """Judges one candidate, step by step."""

    def __init__(
        self,
        plan: Plan,
        backend: Backend,
        candidate: Version,
        champion: Version | None,
        golden: Golden,
        evidence: Evidence,
        timeout_seconds: float,
    ) -> None:
        self._plan = plan
        self._backend = backend
        self._candidate = candidate
        self._champion = champion
        self._golden = golden
        self._evidence = evidence
        self._timeout_seconds = timeout_seconds

    def hold(self, percent: int) -> Passed:
        """Hold a step until the candidate has shown what the plan asks for.

        Raises:
            RolloutFailed: it misbehaved, or the step's time is over.
        """
        began = time.monotonic()
        self._check_ready()
        checked = self._check_golden()
        reading = self._watch(began)
        self._check_ready()
        seconds = time.monotonic() - began
        return Passed(percent, reading, checked, seconds, self._evidence.name)

    def _watch(self, began: float) -> Reading:
        plan, reading, trouble = self._plan, Reading(Sample(), None), ""
        stable = self._backend.stable() if self._champion else None
        self._evidence.begin(self._backend.candidate(), stable)
        looked = time.monotonic()
        while True:
            elapsed = time.monotonic() - began
            try:
                reading = self._evidence.read(self._missing(elapsed, reading))
                trouble = ""
            except Unavailable as error:  # for a moment, perhaps
                trouble = f": {error}"
            if fault := plan.errors(reading):
                raise RolloutFailed(fault)
            count = reading.candidate.requests
            if not trouble and count >= plan.min_requests and elapsed >= plan.hold_seconds:
                if fault := plan.latency(reading):
                    raise RolloutFailed(fault)
                return reading
            if elapsed >= plan.max_seconds:
                throttled = reading.candidate.throttled
                busy = f", {throttled} met a 429: the servers are at their limit" * bool(throttled)
                raise RolloutFailed(
                    f"{count} of {plan.min_requests} requests after {elapsed:.0f} s by "
                    f"{self._evidence.name}{busy}{trouble}"
                )
            if time.monotonic() - looked >= _READY_EVERY_SECONDS:
                self._check_ready()
                looked = time.monotonic()
            time.sleep(self._evidence.pause_seconds)

    def _missing(self, elapsed: float, reading: Reading) -> int:
        """How many requests to send: spread over the time that the step is held anyway, or, where
        real traffic may bring them, what that failed to bring in this time."""
        plan = self._plan
        share = min(1.0, elapsed / plan.hold_seconds) if plan.hold_seconds else 1.0
        if self._evidence.patient and share < 1:
            return 0
        return max(0, round(share * plan.min_requests) - reading.candidate.requests)

    def _check_golden(self) -> int:
        if not self._plan.golden:
            return 0
        route = self._backend.candidate()
        return self._golden.check(route, self._candidate.digest, self._timeout_seconds)

    def _check_ready(self) -> None:
        state = self._backend.state()
        if not state.ready:
            raise RolloutFailed(f"not ready: {state.reason or 'no reason given'}")


@contextmanager
def on_trial(
    registry: Registry, backend: Backend, plan: Plan, candidate: Version, champion: Version | None
) -> Iterator[Trial]:
    """A trial of a version that the backend has started.

    Raises:
        RolloutFailed: golden answers are wanted and the bundle has none.
        Unavailable: the registry, or Prometheus where it is configured, does not answer.
    """
    settings = registry.settings
    timeout = settings.http_timeout_seconds
    golden = Golden.fetch(registry, candidate) if plan.golden else DEFAULT
    digest = champion.digest if champion else ""
    prober = Prober(golden.instances(), candidate.digest, digest, timeout)
    server = _prometheus(settings) if settings.prometheus_url else None
    try:
        evidence: Evidence = ProbeEvidence(prober)
        if server:
            evidence = PrometheusEvidence(server, candidate.digest, digest, prober)
        yield Trial(plan, backend, candidate, champion, golden, evidence, timeout)
    finally:
        prober.close()
        if server:
            server.close()


def check_public(registry: Registry, backend: Backend, plan: Plan, version: Version) -> None:
    """Make sure that callers get this version's answers.

    A route may lead elsewhere for a moment more; what is waited for is several answers of the
    version in a row, and then its golden answers.

    Raises:
        RolloutFailed: they do not, within a step's time.
    """
    timeout = registry.settings.http_timeout_seconds
    golden = Golden.fetch(registry, version) if plan.golden else DEFAULT
    route = backend.public()
    caller = Caller(route, timeout)
    until = time.monotonic() + plan.max_seconds
    instance, right = golden.instances()[0], 0
    try:
        while right < _IN_A_ROW:
            answer = caller.predict(instance)
            if answer.status == 200 and answer.digest == version.digest:
                right += 1
                continue
            right = 0
            if time.monotonic() > until:
                got = answer.detail or f"answers of {answer.digest[:12] or 'an unnamed model'}"
                raise RolloutFailed(f"after the promotion callers still get {got}")
            time.sleep(0.2)
    finally:
        caller.close()
    if plan.golden:
        golden.check(route, version.digest, timeout)


def check_sources(settings: Settings) -> None:
    """Raise `Unavailable` where a trial could not be judged, before anything is begun."""
    if settings.prometheus_url:
        server = _prometheus(settings)
        try:
            server.query("vector(1)")
        finally:
            server.close()


def _prometheus(settings: Settings) -> Prometheus:
    return Prometheus(settings.prometheus_url, settings.http_timeout_seconds, settings.http_retries)


def _milliseconds(sample: Sample) -> str:
    return "unknown" if sample.p95_ms is None else f"{sample.p95_ms:.0f} ms"
