"""The threads that score for one engine."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from predictor import metrics
from predictor.errors import DeadlineExceeded
from predictor.extraction import Reading
from predictor.line import Ask, Line, Outcome, Waiting
from predictor.logs import OURS

_log = logging.getLogger(OURS)


class Lanes:
    """Takes batches from an engine's line and scores them, on as many threads as it has lanes.

    May be called from any thread. It holds no engine: one that nobody else holds goes, and
    takes its lanes along, with the threads and what OpenMP keeps for each.

    Attributes:
        line: the requests that wait; its methods are called with the lock held.
    """

    def __init__(self, line: Line) -> None:
        self.line = line
        # Never held while a text is read or scored.
        self._lock = threading.Lock()
        self._idle = line.lanes
        self._threads = ThreadPoolExecutor(line.lanes, thread_name_prefix="engine")

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
            if last:  # until now its work was a guess
                unscored = sum(one.positions for one in ask.waiting.values())
                self.line.owe(ask, unscored + ask.running)
            share = self.line.share()
            while self._idle and (batch := self._take(share)):
                self._idle -= 1
                self._threads.submit(self._work, batch)
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

    def _take(self, share: int) -> list[Waiting]:
        """The next batch, less what is too late by now."""
        while taken := self.line.take(share):
            for ask in {one.ask for one in taken}:
                if not self._ended(ask) and not ask.dispatched:
                    ask.dispatched = True
                    metrics.QUEUE.observe(time.monotonic() - ask.queued)
            if batch := [one for one in taken if not one.ask.over]:
                return batch
        return []

    # ------------------------------------------------------------ on a lane's thread

    def _work(self, batch: list[Waiting]) -> None:
        """Score batches until none waits."""
        while batch:
            positions = [one.positions for one in batch]
            metrics.count_batch(positions)
            started = time.monotonic()
            self._score(batch)
            seconds = time.monotonic() - started
            with self._lock:
                self.line.took(sum(positions), seconds)
                finished = self._back(batch)
            for ask in finished:
                self._finish(ask)
            with self._lock:
                batch = self._take(self.line.share())
                self._idle += not batch

    def _score(self, batch: Sequence[Waiting]) -> None:
        """Score windows together; where that fails, each alone."""
        try:
            scored = _scores(batch)
        except Exception as error:  # noqa: BLE001 -- whatever an engine raises
            if len(batch) == 1:
                self.end(batch[0].ask, error)
                return
            _log.warning("a batch failed; its windows are tried alone", exc_info=error)
            for one in batch:
                if not self.ended(one.ask):
                    self._score([one])
            return
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
        outcome: Outcome
        try:
            outcome = [reading.result() for reading in ask.readings]
        except Exception as error:  # noqa: BLE001 -- whatever it is, it is this request's
            outcome = error
        self.end(ask, outcome)


def too_late(ask: Ask) -> DeadlineExceeded:
    """What a request ends with whose time is up."""
    return DeadlineExceeded(round(ask.deadline - ask.started, 3))


def _scores(batch: Sequence[Waiting]) -> list[NDArray[np.float32]]:
    scored = batch[0].ask.extractor.engine.score([one.row.window for one in batch])
    if len(scored) != len(batch):
        raise RuntimeError(f"the engine gave {len(scored)} scores for {len(batch)} windows")
    return scored
