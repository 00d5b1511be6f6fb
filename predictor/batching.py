"""The queue between requests and the engine.

A request is admitted if there is room for its work, read, and scored on the lanes of its engine
in batches with windows of other requests. What is as short as a sentence is read on the event
loop, all else on a thread; the loop waits for nothing that takes long. `line` says whose turn it
is, `lanes` scores.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from weakref import WeakKeyDictionary

from predictor import metrics
from predictor.context import current
from predictor.engines import Engine
from predictor.errors import Busy, NotServing
from predictor.extraction import Extraction, Extractor, Query, Reading
from predictor.lanes import Lanes, too_late
from predictor.line import SHORT, Ask, Line, Outcome

_MOST_UNREAD = 20_000
"""Characters of short texts read before it is the next request's turn; of a long text, a part."""
_AT_ONCE = 256
"""Positions, as estimated, up to which a request is read where it comes, on the event loop: that
takes a tenth of a millisecond, and to wake another thread takes as long again."""
_ALL = object()
_SLACK = 0.1
"""What part of the most work may wait where a request comes that is about as much by itself."""


class WorkQueue:
    """Finds entities for many callers at once, in batches that they share.

    A lone request is dispatched at once. Models that serve side by side during a swap have
    lanes of their own.

    Args:
        max_pending: most requests waiting or at work; one more is refused.
        max_seconds: most seconds of work waiting or running, as estimated; a request that
            would go above that is refused. A queue that is nearly empty takes any.
        timeout_seconds: longest time for a request that brings no deadline of its own.
    """

    def __init__(self, *, max_pending: int, max_seconds: float, timeout_seconds: float) -> None:
        self._max_pending = max_pending
        self._max_seconds = max_seconds
        self._timeout = timeout_seconds
        # One thread: reading is Python's work, of which two threads do no more than one.
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="reader")
        self._lanes: WeakKeyDictionary[Engine, Lanes] = WeakKeyDictionary()
        self._idle = asyncio.Event()
        self._idle.set()
        self._asks: dict[Ask, Lanes] = {}
        self._closed = False
        metrics.QUEUE_WORK.set_function(self._seconds)

    async def run(self, extractor: Extractor, queries: Sequence[Query]) -> list[Extraction]:
        """Find the entities of each text, in the order given.

        Raises:
            InvalidRequest: labels or thresholds that the model cannot work with.
            Busy: too much is waiting.
            NotServing: the server is stopping, and has no time for it or no time left.
            DeadlineExceeded: the time ran out; work that remained was not done.
        """
        if self._closed:
            raise NotServing
        lanes = self._lanes_of(extractor)
        work = extractor.estimate(queries)
        self._admit(work, lanes.line)
        loop, context = asyncio.get_running_loop(), current()
        answer: asyncio.Future[Outcome] = loop.create_future()
        ask = Ask(
            extractor,
            texts=extractor.read_in_parts(queries),
            settle=_settling(loop, answer),
            queued=time.monotonic(),
            started=context.started,
            deadline=context.ends(self._timeout),
            spans=context.spans,
        )
        if ask.spans:
            ask.spans.ask(extractor, queries)
        lanes.expect(ask, work)
        self._enter(ask, lanes)
        late = too_late(ask)
        alarm = loop.call_later(max(0.0, ask.deadline - ask.queued), lanes.end, ask, late)
        try:
            if work <= _AT_ONCE:
                self._read(lanes, ask)
            else:
                self._reader.submit(self._read, lanes, ask)
            outcome = await answer
        finally:
            alarm.cancel()
            lanes.end(ask, late)  # means something only where the caller went away
            self._leave(ask)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def check_room(self) -> None:
        """Refuse early, where not even the shortest request would be taken.

        Raises:
            Busy: so it is.
        """
        self._admit(0, None)

    def _admit(self, work: int, line: Line | None) -> None:
        if len(self._asks) >= self._max_pending:
            raise Busy(f"{self._max_pending} requests", 1)
        if not self._asks:
            return
        waiting = self._seconds(before_short=work <= SHORT)
        own = work * line.rate if line else 0.0
        # A request that is over the limit by itself would never meet a queue without short ones,
        # which it lets pass.
        room = max(self._max_seconds - own, _SLACK * self._max_seconds)
        if waiting > room:
            raise Busy(f"{waiting:.1f} s of work", max(1, math.ceil(waiting - room)), own)

    def _seconds(self, *, before_short: bool = False) -> float:
        lines = [lanes.line for lanes in self._lanes.values()]
        return sum(line.work(before_short=before_short) * line.rate for line in lines)

    def _lanes_of(self, extractor: Extractor) -> Lanes:
        engine = extractor.engine
        if engine not in self._lanes:
            self._lanes[engine] = Lanes(Line(engine.lanes, extractor.budget))
        return self._lanes[engine]

    def _read(self, lanes: Lanes, ask: Ask) -> None:
        """Read some of a request and put it in line. The rest comes after other requests."""
        readings: list[Reading] = []
        characters, last = 0, False
        started = time.monotonic()
        try:
            while characters <= _MOST_UNREAD and not last and not lanes.ended(ask):
                reading = next(ask.texts, _ALL)
                if reading is None:
                    break
                if isinstance(reading, Reading):
                    readings.append(reading)
                    characters += len(reading.query.text)
                else:
                    last = True
            if ask.spans:
                ask.spans.read(started, readings, last=last)
            if readings or last:
                lanes.add(ask, readings, last=last)
            if not last and not ask.over:
                self._reader.submit(self._read, lanes, ask)
        except Exception as error:  # noqa: BLE001 -- whatever it is, it is this request's
            if ask.spans:
                ask.spans.read(started, readings, last=True, error=error)
            lanes.end(ask, error)

    def _enter(self, ask: Ask, lanes: Lanes) -> None:
        self._asks[ask] = lanes
        metrics.PENDING.set(len(self._asks))
        self._idle.clear()

    def _leave(self, ask: Ask) -> None:
        del self._asks[ask]
        metrics.PENDING.set(len(self._asks))
        if not self._asks:
            self._idle.set()

    def close(self) -> None:
        """Refuse what comes from now on."""
        self._closed = True

    def end(self) -> None:
        """End the requests that are left, with `NotServing`."""
        for ask, lanes in self._asks.items():
            lanes.end(ask, NotServing())

    async def drained(self, seconds: float) -> bool:
        """Wait until no request is left.

        Returns:
            Whether that was so within the time.
        """
        if self._idle.is_set():  # which a wait of no seconds would not see
            return True
        try:
            await asyncio.wait_for(self._idle.wait(), seconds)
        except asyncio.TimeoutError:
            return False
        return True


def _settling(
    loop: asyncio.AbstractEventLoop, answer: asyncio.Future[Outcome]
) -> Callable[[Outcome], None]:
    """What gives a request its outcome, from any thread."""

    def settle(outcome: Outcome) -> None:
        if not answer.done():
            answer.set_result(outcome)

    def settle_soon(outcome: Outcome) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(settle, outcome)

    return settle_soon
