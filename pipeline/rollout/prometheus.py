"""Readings from Prometheus: how real traffic fared, by the digest of the model that answered.

The predictor counts requests by status and exports `gliner_model_info` with its digest; both
carry the label `instance`, which joins them. Counters are read twice and subtracted here.
PromQL's `increase` would miss what a counter holds when Prometheus first sees it, and a counter
of errors first appears with its first errors.
"""

from __future__ import annotations

import math
import re
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import httpx
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from pipeline.errors import PipelineError, Unavailable
from pipeline.rollout import Route
from pipeline.rollout.evidence import Reading, Sample
from pipeline.rollout.probes import Prober

_ENDPOINTS = "predict|infer|/predict|/api/v1/predict|ModelInfer"
_REQUESTS = "gliner_requests_total"
_BUCKETS = "gliner_request_seconds_bucket"
_BEFORE_SECONDS = 300
"""How far back the first value of a counter may lie; Prometheus's own look-back is as long."""
_OWN_ERRORS = re.compile(r"5\d\d|INTERNAL|UNAVAILABLE|UNKNOWN|DEADLINE_EXCEEDED|DATA_LOSS")
_SUCCESSES = re.compile(r"[123]\d\d|OK")
_TOO_MUCH = ("429", "RESOURCE_EXHAUSTED")

Series = Mapping[tuple[str, str], float]
"""Counters by instance and one more label."""


class Prometheus:
    """A Prometheus server's HTTP API."""

    def __init__(self, url: str, timeout_seconds: float, retries: int) -> None:
        self.url = url.rstrip("/")
        self._retries = retries
        self._http = httpx.Client(timeout=timeout_seconds)

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def query(self, promql: str) -> list[tuple[dict[str, str], float]]:
        """The labels and values of an instant vector as of the server's own now, NaN left out.

        Raises:
            Unavailable: it does not answer.
            PipelineError: it refuses the query.
        """
        tries = Retrying(
            retry=retry_if_exception_type(Unavailable),
            stop=stop_after_attempt(self._retries + 1),
            wait=wait_random_exponential(multiplier=0.2, max=5),
            reraise=True,
        )
        data: dict[str, Any] = tries(self._ask, promql)
        rows = [(dict(row["metric"]), float(row["value"][1])) for row in data["result"]]
        return [(labels, value) for labels, value in rows if math.isfinite(value)]

    def _ask(self, promql: str) -> dict[str, Any]:
        try:
            answer = self._http.post(f"{self.url}/api/v1/query", data={"query": promql})
            body: dict[str, Any] = answer.json()
            status, data = body["status"], body.get("data") or {}
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise Unavailable(
                f"Prometheus at {self.url} does not answer: {type(error).__name__}"
            ) from error
        if status == "success":
            return data
        reason = f"{body.get('errorType', 'error')}: {str(body.get('error', ''))[:300]}"
        if answer.status_code >= 500 or answer.status_code == 429:
            raise Unavailable(f"Prometheus at {self.url} does not answer: {reason}")
        raise PipelineError(f"Prometheus at {self.url} refused: {reason}")


class Counted:
    """The counters of one version, from a moment on.

    Counters are compared instance by instance: one that went down was started anew, and one
    that is new began at zero. Where an instance went away, its last values count.
    """

    def __init__(self, server: Prometheus, digest: str) -> None:
        self._server = server
        self._digest = digest
        self.begin()

    def begin(self) -> None:
        """Count from now on."""
        self._since = time.monotonic()
        self._requests = self._values(_REQUESTS, "status")
        self._buckets = self._values(_BUCKETS, "le")

    def sample(self) -> Sample:
        """What was counted."""
        by_status = _grown(self._requests, self._values(_REQUESTS, "status"))
        errors = {key: n for key, n in by_status.items() if n and _OWN_ERRORS.fullmatch(key)}
        good = sum(n for key, n in by_status.items() if _SUCCESSES.fullmatch(key))
        failed = sum(errors.values())
        return Sample(
            requests=round(good + failed),
            errors=round(failed),
            p95_ms=_quantile(0.95, _grown(self._buckets, self._values(_BUCKETS, "le"))),
            throttled=round(sum(by_status.get(key, 0) for key in _TOO_MUCH)),
            detail=" and ".join(
                f"HTTP {key}" if key.isdigit() else f"gRPC {key}" for key in sorted(errors)
            ),
        )

    def _values(self, metric: str, label: str) -> Series:
        """The newest value of each counter, also of instances that have gone meanwhile."""
        # Rounded down: what ended before the first reading's window stays out of this one too.
        window = f"[{math.floor(time.monotonic() - self._since) + _BEFORE_SECONDS}s]"
        info = f'gliner_model_info{{digest="{self._digest}"}}'
        gone = f"last_over_time({info}{window}) unless on (instance) gliner_model_info"
        rows = self._server.query(
            f"sum by (instance, {label}) ("
            f'last_over_time({metric}{{endpoint=~"{_ENDPOINTS}"}}{window}) '
            f"* on (instance) group_left () max by (instance) ({info} or ({gone})))"
        )
        return {(labels.get("instance", ""), labels.get(label, "")): n for labels, n in rows}


class PrometheusEvidence:
    """Readings of real traffic, topped up by probes where that is too little.

    Probes are ordinary requests: the predictor counts them, and so they come back through
    Prometheus. Only those that never reached the predictor (an ingress without a backend) are
    added here.

    Args:
        server: where the metrics are.
        candidate: digest of the version on trial.
        champion: digest of the one that serves; empty when none does.
        prober: sends requests where real ones lack.
    """

    name = "Prometheus"
    pause_seconds = 1.0
    patient = True

    def __init__(self, server: Prometheus, candidate: str, champion: str, prober: Prober) -> None:
        self._candidate = Counted(server, candidate)
        self._champion = Counted(server, champion) if champion else None
        self._prober = prober
        self._sent = 0

    def begin(self, candidate: Route, champion: Route | None) -> None:
        """Count the candidate's requests from now on."""
        self._candidate.begin()
        self._prober.begin(candidate, champion)
        self._sent = 0

    def read(self, missing: int) -> Reading:
        """Query; send what is missing once, since the next scrape is yet to see it."""
        if (lacking := missing - self._sent) > 0:
            self._prober.send(lacking)
            self._sent = missing
        counted = self._candidate.sample()
        unseen = self._prober.candidate.unseen()
        candidate = Sample(
            requests=counted.requests + unseen,
            errors=counted.errors + unseen,
            p95_ms=counted.p95_ms,
            throttled=counted.throttled,
            detail=counted.detail or self._prober.candidate.sample().detail,
        )
        return Reading(candidate, self._champion.sample() if self._champion else None)


def _grown(before: Series, now: Series) -> dict[str, float]:
    """How much each counter has grown, all instances together."""
    total: dict[str, float] = defaultdict(float)
    for key, value in now.items():
        start = before.get(key, 0.0)
        total[key[1]] += value - start if value >= start else value
    return total


def _quantile(share: float, buckets: Mapping[str, float]) -> float | None:
    """A quantile of a histogram in milliseconds, straight lines within a bucket; None without
    observations. Above the last bound it is that bound."""
    bounds = sorted((float(le), count) for le, count in buckets.items())
    total = bounds[-1][1] if bounds else 0.0
    if total <= 0:
        return None
    rank = share * total
    low, below = 0.0, 0.0
    for bound, count in bounds:
        if count >= rank:
            if math.isinf(bound):
                return low * 1000
            return (low + (bound - low) * (rank - below) / (count - below)) * 1000
        low, below = bound, count
    return low * 1000
