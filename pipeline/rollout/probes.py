"""Requests that a rollout sends itself: measured, and held to the version that must answer."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import cycle, islice
from typing import Any

import httpx

from pipeline.errors import RolloutFailed
from pipeline.rollout import Route
from pipeline.rollout.evidence import Reading, Sample

DIGEST_HEADER = "x-model-digest"
CONCURRENCY = 2
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0

Instance = Mapping[str, Any]
"""One text with its labels, as V1 takes it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one request.

    Attributes:
        status: HTTP status; 0 when no answer came.
        seconds: from sending to the whole answer.
        digest: of the bundle that answered, empty where it was not named.
        body: the JSON answer, None where it was none.
        detail: what went wrong, in a few words without the caller's data.
    """

    status: int
    seconds: float
    digest: str = ""
    body: Any = field(default=None, repr=False)
    detail: str = ""


class Caller:
    """Sends requests along one route. Safe to share between threads; close it at the end."""

    def __init__(self, route: Route, timeout_seconds: float) -> None:
        self.route = route
        # Never through a proxy: the route is where callers go, and a proxy hides its failures.
        self._http = httpx.Client(
            base_url=route.url.rstrip("/"),
            headers=dict(route.headers),
            timeout=timeout_seconds,
            trust_env=False,
        )

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def predict(self, instance: Instance) -> Answer:
        """Ask for the entities of one text over V1. Never raises for what the server does."""
        path = f"/v1/models/{self.route.model}:predict"
        return self._send("POST", path, json={"instances": [dict(instance)]})

    def config(self) -> Answer:
        """Ask for `/api/v1/config`: the facts of the model that serves."""
        return self._send("GET", "/api/v1/config")

    def _send(self, method: str, path: str, **content: Any) -> Answer:
        started = time.monotonic()
        try:
            given = self._http.request(method, path, **content)
        except httpx.HTTPError as error:
            return Answer(0, time.monotonic() - started, detail=type(error).__name__)
        seconds = time.monotonic() - started
        digest = given.headers.get(DIGEST_HEADER, "")
        try:
            body = given.json()
        except ValueError:
            body = None
        detail = "" if given.is_success else f"HTTP {given.status_code}"
        return Answer(given.status_code, seconds, digest, body, detail)


class Tally:
    """Counts the answers of the version that should have given them."""

    def __init__(self, digest: str) -> None:
        self.digest = digest
        self.answers: list[Answer] = []

    def add(self, answers: Sequence[Answer]) -> None:
        """Count some more."""
        self.answers += [replace(one, body=None) for one in answers]

    def failed(self) -> list[Answer]:
        """Answers other than 200; a 429 is too much load and not a failure."""
        return [one for one in self.answers if one.status not in (200, 429)]

    def unseen(self) -> int:
        """Failures on the way: the version itself knows nothing of them."""
        return sum(one.digest != self.digest for one in self.failed())

    def sample(self) -> Sample:
        """The count so far."""
        good = [one.seconds for one in self.answers if one.status == 200]
        failed = self.failed()
        return Sample(
            requests=len(good) + len(failed),
            errors=len(failed),
            p95_ms=quantile(good, 0.95) * 1000 if good else None,
            throttled=len(self.answers) - len(good) - len(failed),
            detail=failed[0].detail if failed else "",
        )


class Prober:
    """Sends the same texts to the candidate and the champion.

    Both get the same number at the same time, so that a busy machine slows both alike.

    Args:
        instances: what is asked, over and over.
        candidate: digest of the version on trial.
        champion: digest of the one that serves; empty when none does.
    """

    def __init__(
        self, instances: Sequence[Instance], candidate: str, champion: str, timeout_seconds: float
    ) -> None:
        self._instances = cycle(instances)
        self._timeout_seconds = timeout_seconds
        self._pool = ThreadPoolExecutor(2 * CONCURRENCY, thread_name_prefix="probe")
        self._to_candidate: Caller | None = None
        self._to_champion: Caller | None = None
        self._pause = 0.0
        self.candidate = Tally(candidate)
        self.champion = Tally(champion) if champion else None

    def begin(self, candidate: Route, champion: Route | None) -> None:
        """Start the candidate's count anew, along these routes from now on.

        The champion's count goes on: at 100 % it may be out of reach, and is compared with all
        the same.
        """
        self._hang_up()
        self._to_candidate = Caller(candidate, self._timeout_seconds)
        self._to_champion = Caller(champion, self._timeout_seconds) if champion else None
        self.candidate = Tally(self.candidate.digest)

    def send(self, count: int) -> None:
        """Send this many probes to each; fewer while the servers answer 429.

        Raises:
            RolloutFailed: another version answered on the candidate's route.
        """
        to_candidate, to_champion = self._to_candidate, self._to_champion
        while to_candidate and count > 0:
            chosen = list(islice(self._instances, min(count, CONCURRENCY)))
            count -= len(chosen)
            new = [self._pool.submit(to_candidate.predict, one) for one in chosen]
            old = [self._pool.submit(to_champion.predict, one) for one in chosen if to_champion]
            answers = [one.result() for one in new]
            references = [one.result() for one in old]
            for answer in answers:
                check_digest(answer, self.candidate.digest)
            self.candidate.add(answers)
            if self.champion:
                self.champion.add(references)
            if any(one.status == 429 for one in (*answers, *references)):
                self._pause = min(_LONGEST_PAUSE_SECONDS, 2 * self._pause or _FIRST_PAUSE_SECONDS)
                time.sleep(self._pause)
                return
            self._pause = 0.0

    def close(self) -> None:
        """End its threads and connections."""
        # Not waited for: when a signal ends a rollout, taking the candidate back comes first.
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._hang_up()

    def _hang_up(self) -> None:
        for caller in (self._to_candidate, self._to_champion):
            if caller:
                caller.close()


class ProbeEvidence:
    """Readings from the rollout's own probes: no monitoring needed, no real traffic judged."""

    name = "own probes"
    pause_seconds = 0.25
    patient = False

    def __init__(self, prober: Prober) -> None:
        self._prober = prober

    def begin(self, candidate: Route, champion: Route | None) -> None:
        """Start the candidate's count anew."""
        self._prober.begin(candidate, champion)

    def read(self, missing: int) -> Reading:
        """Send what is missing and count."""
        self._prober.send(missing)
        champion = self._prober.champion
        return Reading(self._prober.candidate.sample(), champion.sample() if champion else None)


def check_digest(answer: Answer, digest: str) -> None:
    """Raise `RolloutFailed` where another version gave a successful answer, or an unnamed one."""
    if answer.status == 200 and answer.digest != digest:
        raise RolloutFailed(
            f"the route led to {answer.digest[:12] or 'a server that does not name its model'}, "
            f"not to {digest[:12]} ({DIGEST_HEADER})"
        )


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that this share of all does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
