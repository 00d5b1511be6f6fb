"""The threads that score for one engine."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from predictor import memory, metrics
from predictor.errors import DeadlineExceeded
from predictor.extraction import Extraction, Reading
from predictor.line import Ask, Line, Outcome, Waiting
from predictor.logs import OURS

PATIENCE = 0.1
"""What part of a pass a lane waits at most for callers that were just answered to ask again: else
the first of them would have a pass to itself and the others would wait for the next."""
_PAUSE = PATIENCE / 3
"""What part of a pass without anyone ends that."""

_MANY = 5_000
"""Spans above the threshold, to choose among which takes longer than a pass: 30 ms."""

_log = logging.getLogger(OURS)


class Lanes:
    """Takes batches from an engine's line and scores them, on as many threads as it has lanes.

    Callers come back when they are answered. A lane that is free then waits for as many as make
    up its share of all, for a moment; where nobody was answered just now it waits for nobody.

    May be called from any thread. It holds no engine: one that nobody else holds goes, and
    takes its lanes along, with the threads and what OpenMP keeps for each.

    Attributes:
        line: the requests that wait; its methods are called with the lock held.
    """

    def __init__(self, line: Line) -> None:
        self.line = line
        # Never held while a text is read or scored.
        self._lock = threading.Lock()
        self._complete = threading.Condition(self._lock)
        self._came = 0.0
        self._idle = line.lanes
        self._running = 0
        self._due = 0
        self._due_until = 0.0
        self._threads = ThreadPoolExecutor(line.lanes, thread_name_prefix="engine")
        self._merging = ThreadPoolExecutor(1, thread_name_prefix="merge")

    def expect(self, ask: Ask, work: int) -> None:
        """Count the work of a request that is on its way."""
        with self._lock:
            self.line.owe(ask, work)

    def add(self, ask: Ask, readings: Sequence[Reading], *, last: bool) -> None:
        """Put the windows of some texts in line, and start lanes that are idle.

        Args:
            last: whether that is all of the request.
        """
        rows = [row for reading in readings for row in reading.rows]
        with self._lock:
            if ask.over:
                return
            ask.readings.extend(readings)
            ask.read = last
            self.line.join(ask, rows)
            self._came = time.monotonic()
            if last:  # until now its work was a guess
                unscored = sum(one.positions for one in ask.waiting.values())
                self.line.owe(ask, unscored + ask.running)
                self._due -= 1
            self._start()
            done = ask.done
        if done:  # there was not a word in it
            self._finish(ask)

    def end(self, ask: Ask, outcome: Outcome) -> None:
        """Give a request its results or its error, unless it has some; drop what is left of it."""
        with self._lock:
            self._end(ask, outcome)

    def ended(self, ask: Ask) -> bool:
        """Whether nobody waits for a request; one that is too late ends here."""
        with self._lock:
            return self._ended(ask)

    # ------------------------------------------------------------ with the lock held

    def _end(self, ask: Ask, outcome: Outcome) -> None:
        if not ask.over:
            ask.over = True
            self.line.leave(ask)
            ask.settle(outcome)

    def _ended(self, ask: Ask) -> bool:
        if time.monotonic() > ask.deadline:
            self._end(ask, too_late(ask))
        return ask.over

    def _start(self) -> None:
        """Start as many idle lanes as there is work for; tell those that wait for more."""
        for _ in range(min(self._idle, self.line.waiting)):
            self._idle -= 1
            self._threads.submit(self._work, [] if self._hopes() else self._take())
        # A lane that was woken by each who comes would take the interpreter from the event loop
        # just when that has most to do.
        if not self._hopes():
            self._complete.notify_all()

    def _gather(self) -> list[Waiting]:
        """The next batch, once it is as large as is fair or nobody more is about to come."""
        began = time.monotonic()
        while self._hopes():
            now = time.monotonic()
            quiet = max(began, self._came) + _PAUSE * self.line.pass_seconds
            left = min(self._due_until, quiet) - now
            if left <= 0:
                self._due = 0
            else:
                self._complete.wait(left)
        return self._take()

    def _hopes(self) -> bool:
        """Whether a batch is worth waiting for: callers are about to come who belong in it."""
        return self._due > 0 and 0 < self.line.waiting < self._share()

    def _share(self) -> int:
        """How many windows are one lane's part of those that wait, run and are about to come."""
        return -(-(self.line.waiting + self._running + max(0, self._due)) // self.line.lanes)

    def _take(self) -> list[Waiting]:
        """The next batch, less what is too late by now."""
        while taken := self.line.take(self._share()):
            for ask in {one.ask for one in taken}:
                if not self._ended(ask) and not ask.dispatched:
                    ask.dispatched = time.monotonic()
                    metrics.QUEUE.observe(ask.dispatched - ask.queued)
                    if ask.spans:
                        ask.spans.queued(ask.queued)
            if batch := [one for one in taken if not one.ask.over]:
                self._running += len(batch)
                return batch
        return []

    # ------------------------------------------------------------ on a lane's thread

    def _work(self, batch: list[Waiting]) -> None:
        """Score batches, this one first, until none waits."""
        while True:
            if not batch:
                with self._lock:
                    batch = self._gather()
                    if not batch:
                        self._idle += 1
                        return
            positions = [one.positions for one in batch]
            metrics.count_batch(positions)
            started = time.monotonic()
            self._score(batch)
            ended = time.monotonic()
            with self._lock:
                self._running -= len(batch)
                self.line.took(sum(positions), ended - started)
                finished = self._back(batch)
                self._due = max(0, self._due) + len(finished)
                self._due_until = ended + PATIENCE * self.line.pass_seconds
            for ask in finished:
                metrics.IN_MODEL.observe(ended - ask.dispatched)
                self._finish(ask)
            memory.trim()
            batch, finished = [], []  # a lane that waits holds nobody's text

    def _score(self, batch: Sequence[Waiting]) -> None:
        """Score windows together; where that fails, each alone."""
        started = time.monotonic()
        try:
            scored = _scores(batch)
        except Exception as error:  # noqa: BLE001 -- whatever an engine raises
            _show(batch, started, error)
            if len(batch) == 1:
                self.end(batch[0].ask, error)
                return
            _log.warning("a batch failed; its windows are tried alone", exc_info=error)
            for one in batch:
                if not self.ended(one.ask):
                    self._score([one])
            return
        _show(batch, started)
        for one, scores in zip(batch, scored, strict=True):
            try:
                one.row.collect(scores)
            except Exception as error:  # noqa: BLE001 -- whatever it is, it is this request's
                self.end(one.ask, error)

    def _back(self, batch: Sequence[Waiting]) -> list[Ask]:
        """Count windows as scored.

        Returns:
            The requests whose last ones they were.
        """
        asks: dict[Ask, None] = {}
        for one in batch:
            one.ask.running -= one.positions
            if not one.ask.over:
                self.line.owe(one.ask, one.ask.work - one.positions)
                asks[one.ask] = None
        return [ask for ask in asks if ask.done]

    def _finish(self, ask: Ask) -> None:
        """Merge what was found, on this thread unless it is so much that the lane would stand."""
        if sum(reading.held for reading in ask.readings) > _MANY:
            self._merging.submit(self._merge, ask)
        else:
            self._merge(ask)

    def _merge(self, ask: Ask) -> None:
        outcome: Outcome
        started = time.monotonic()
        try:
            found: list[Extraction] = []
            for reading in ask.readings:
                if self.ended(ask):
                    return
                found.append(reading.result())
            outcome = found
        except Exception as error:  # noqa: BLE001 -- whatever it is, it is this request's
            outcome = error
        if ask.spans:
            ask.spans.merged(started, outcome)
        self.end(ask, outcome)


def too_late(ask: Ask) -> DeadlineExceeded:
    """What a request ends with whose time is up."""
    return DeadlineExceeded(round(ask.deadline - ask.started, 3))


def _scores(batch: Sequence[Waiting]) -> list[NDArray[np.float32]]:
    scored = batch[0].ask.extractor.engine.score([one.row.window for one in batch])
    if len(scored) != len(batch):
        raise RuntimeError(f"the engine gave {len(scored)} scores for {len(batch)} windows")
    return scored


def _show(batch: Sequence[Waiting], started: float, error: Exception | None = None) -> None:
    """Show a forward pass in the traces of the requests in it."""
    own = Counter(one.ask.spans for one in batch if one.ask.spans)
    if own:
        positions = len(batch) * max(one.positions for one in batch)
        next(iter(own)).passed(own, started, positions, error)
