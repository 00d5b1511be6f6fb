"""The load: callers who wait for their answer, or arrivals that do not."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import aiohttp

from benchmarks.systems import System
from benchmarks.texts import Question

_TIMEOUT = aiohttp.ClientTimeout(total=120)
_DRAIN_SECONDS = 60.0
"""How long answers to a load are waited for that has ended; later ones count as lost."""
_MOST_TIMES = 3
LOST = 0
"""In place of a status: no answer, or none in time."""


@dataclass(frozen=True, slots=True)
class Load:
    """What came of a load.

    Attributes:
        seconds: how long it was measured.
        latencies: of answers with status 200, in seconds; from the moment at which the request
            was due, so a late sender hides nothing.
        statuses: how many answers had which status.
    """

    seconds: float
    latencies: tuple[float, ...]
    statuses: dict[int, int]

    @property
    def rate(self) -> float:
        """Texts answered in a second."""
        return len(self.latencies) / self.seconds

    def percentile(self, percent: int) -> float:
        """In seconds; NaN where nothing was answered."""
        if len(self.latencies) < 2:
            return self.latencies[0] if self.latencies else float("nan")
        return statistics.quantiles(self.latencies, n=100, method="inclusive")[percent - 1]

    def row(self) -> dict[str, Any]:
        """As results have it: milliseconds."""
        return {
            "texts_per_second": round(self.rate, 2),
            **{f"p{one}_ms": round(1000 * self.percentile(one), 1) for one in (50, 95, 99)},
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
        }


def closed(
    system: System,
    url: str,
    questions: Sequence[Question],
    *,
    callers: int,
    seconds: float,
    warm_up: float,
    answers: int = 0,
) -> Load:
    """So many callers, each of whom asks again when it has its answer.

    Args:
        seconds: how long at least.
        warm_up: seconds before it counts.
        answers: how many for each caller at least, unless that takes three times as long.
    """

    async def run() -> Load:
        meter = _Meter(system, url, answers * callers)
        bodies = _bodies(system, questions)
        began = time.perf_counter() + warm_up
        over = asyncio.Event()

        async def call(session: aiohttp.ClientSession) -> None:
            while not over.is_set():
                await meter.ask(session, next(bodies), time.perf_counter(), began)

        async with _session(callers) as session:
            calls = [asyncio.create_task(call(session)) for _ in range(callers)]
            await asyncio.sleep(warm_up + seconds)
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(meter.enough.wait(), (_MOST_TIMES - 1) * seconds)
            found = meter.load(time.perf_counter() - began)
            over.set()
            # To the end: what is left in a server's queue would be the next load's burden.
            await asyncio.gather(*calls)
        return found

    return asyncio.run(run())


def opened(
    system: System,
    url: str,
    questions: Sequence[Question],
    *,
    rate: float,
    seconds: float,
    seed: int,
) -> Load:
    """Arrivals at random (a Poisson process), whether or not the others were answered.

    Args:
        rate: arrivals in a second.
    """

    async def run() -> Load:
        meter = _Meter(system, url)
        bodies = _bodies(system, questions)
        source = random.Random(seed)
        asked: set[asyncio.Task[None]] = set()
        due = began = time.perf_counter()
        async with _session(0) as session:
            while (due := due + source.expovariate(rate)) < began + seconds:
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                asked.add(asyncio.create_task(meter.ask(session, next(bodies), due, began)))
            _, late = await asyncio.wait(asked, timeout=_DRAIN_SECONDS)
            for one in late:
                one.cancel()
            meter.statuses[LOST] += len(late)
        return meter.load(max(seconds, meter.last - began))

    return asyncio.run(run())


class _Meter:
    def __init__(self, system: System, url: str, wanted: int = 0) -> None:
        self.enough = asyncio.Event()
        self._wanted = wanted
        self._url = f"{url}{system.path}"
        self.statuses: Counter[int] = Counter()
        self.last = 0.0
        self._latencies: list[float] = []

    async def ask(
        self, session: aiohttp.ClientSession, body: bytes, due: float, began: float
    ) -> None:
        try:
            async with session.post(
                self._url, data=body, headers={"content-type": "application/json"}
            ) as answer:
                await answer.read()
                status = answer.status
        except (aiohttp.ClientError, asyncio.TimeoutError):
            status = LOST
        now = time.perf_counter()
        if now < began:
            return
        self.statuses[status] += 1
        if status == 200:
            self.last = max(self.last, now)
            self._latencies.append(now - due)
        if len(self._latencies) >= self._wanted:
            self.enough.set()

    def load(self, seconds: float) -> Load:
        found = {status: count for status, count in self.statuses.items() if count}
        return Load(seconds, tuple(self._latencies), found)


def _session(connections: int) -> aiohttp.ClientSession:
    """Connections that stay open; 0 for as many as it takes."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections), timeout=_TIMEOUT
    )


def _bodies(system: System, questions: Sequence[Question]) -> Iterator[bytes]:
    return itertools.cycle([json.dumps(system.body(one)).encode() for one in questions])
