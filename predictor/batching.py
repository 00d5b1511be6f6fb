"""The queue between requests and the engine.

One worker thread runs the model, a step (one forward pass) of one request at a time, in
turn: a short request gets its step beside a long document's. The event loop never waits for
it. What is missing yet is one forward pass for the windows of several requests.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

from predictor import metrics
from predictor.context import current
from predictor.errors import Busy, DeadlineExceeded, NotServing
from predictor.extraction import Extraction, Steps


class WorkQueue:
    """Runs the steps of requests, first come first served, one step at a time.

    Args:
        max_pending: most requests waiting or at work; one more is refused.
        timeout_seconds: longest time for a request that brings no deadline of its own.
    """

    def __init__(self, *, max_pending: int, timeout_seconds: float) -> None:
        self._max_pending = max_pending
        self._timeout = timeout_seconds
        # One thread: two would fight for the same cores and caches.
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine")
        self._idle = asyncio.Event()
        self._idle.set()
        self._pending = 0
        self._closed = False

    async def run(self, steps: Steps) -> list[Extraction]:
        """Find the entities of each text, in the order given.

        Args:
            steps: `Extractor.steps` of the request's queries, not begun.

        Raises:
            InvalidRequest: labels or thresholds that the model cannot work with.
            Busy: too many requests are waiting.
            NotServing: the server is stopping.
            DeadlineExceeded: the time ran out; steps that remained were not done.
        """
        if self._closed:
            raise NotServing
        if self._pending >= self._max_pending:
            raise Busy(self._max_pending)
        self._enter()
        try:
            return await self._run(steps)
        finally:
            self._leave()

    async def _run(self, steps: Steps) -> list[Extraction]:
        loop = asyncio.get_running_loop()
        context = current()
        queued = time.monotonic()
        deadline = min(context.deadline or float("inf"), context.started + self._timeout)

        def step() -> list[Extraction] | None:
            if time.monotonic() > deadline:
                raise DeadlineExceeded(round(deadline - context.started, 3))
            try:
                next(steps)
            except StopIteration as done:
                found: list[Extraction] = done.value
                return found
            return None

        def first_step() -> list[Extraction] | None:
            metrics.QUEUE.observe(time.monotonic() - queued)
            return step()

        try:
            found = await loop.run_in_executor(self._worker, first_step)
            while found is None:
                found = await loop.run_in_executor(self._worker, step)
            return found
        finally:
            # A caller who went away leaves the rest of the work undone.
            loop.run_in_executor(self._worker, steps.close)

    def _enter(self) -> None:
        self._pending += 1
        metrics.PENDING.set(self._pending)
        self._idle.clear()

    def _leave(self) -> None:
        self._pending -= 1
        metrics.PENDING.set(self._pending)
        if not self._pending:
            self._idle.set()

    def close(self) -> None:
        """Refuse what comes from now on."""
        self._closed = True

    async def drained(self, seconds: float) -> bool:
        """Wait until no request is left.

        Returns:
            Whether that was so within the time.
        """
        try:
            await asyncio.wait_for(self._idle.wait(), seconds)
        except asyncio.TimeoutError:
            return False
        return True
