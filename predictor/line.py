"""The line before one engine: whose windows are next, and how much work that is.

Nothing here knows threads or time: `lanes` holds its lock around every call.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from predictor.budget import Budget
from predictor.extraction import Extraction, Extractor, Reading, Row

if TYPE_CHECKING:
    from predictor.spans import RequestSpans

Outcome = list[Extraction] | Exception
"""What a request ends with."""

SHORT = 1024
"""Positions up to which a request is short. A longer one counts for no more than this when a
short one asks whether there is room, for the short one goes ahead of the rest of it."""

_FIRST_RATE, _FIRST_POSITIONS = 2e-4, 1000
"""Seconds a position, of a model of medium size on two cores, and how many positions' weight
that has until measured ones have taken over."""

_MEMORY = 0.95
"""What a batch's time and size still count for after the next batch."""


@dataclass(slots=True, eq=False)
class Ask:
    """One request on its way.

    Attributes:
        extractor: of the model that answers it.
        texts: its texts, each read when it is asked for, long ones in parts (None).
        settle: takes its outcome.
        queued: `time.monotonic()` when it came.
        started: when the request came to the server.
        deadline: when its time is up.
        work: positions that are left to do, as far as known.
        readings: those that have been read.
        read: whether that is all of them.
        waiting: its windows in line, oldest first.
        running: positions of those that are in the engine.
        had: whether it has had a turn.
        dispatched: when its first window went into the model; 0 before.
        turn: the line's clock at which its next window's turn is.
        over: whether it has results or an error, or nobody waits for them.
        spans: where it is traced.
    """

    extractor: Extractor
    texts: Iterator[Reading | None]
    settle: Callable[[Outcome], None]
    queued: float
    started: float
    deadline: float
    work: int = 0
    readings: list[Reading] = field(default_factory=list)
    read: bool = False
    waiting: dict[int, Waiting] = field(default_factory=dict)
    running: int = 0
    had: bool = False
    dispatched: float = 0.0
    turn: float = 0.0
    over: bool = False
    spans: RequestSpans | None = None

    @property
    def done(self) -> bool:
        """Whether all of it has been through the engine."""
        return self.read and not self.waiting and not self.running


class Waiting(NamedTuple):
    """A window in line. Sorts by length, then by arrival."""

    positions: int
    number: int
    row: Row
    ask: Ask


class Line:
    """The requests of one engine, in fair order.

    The order is start-time fair queueing. The line has a clock that counts positions of work;
    each request has a turn on it, which its work moves on. Who comes takes the clock's time,
    which is before the second turn of whoever has had one: a short request passes a long
    document. The clock runs at the share of one among those who are in the middle of their
    work, so a stream of short requests, however thick, leaves each long one that share.

    Args:
        lanes: batches that run at once.
        budget: of one batch.
    """

    def __init__(self, lanes: int, budget: Budget) -> None:
        self.lanes = lanes
        self._budget = budget
        self._asks: dict[Ask, None] = {}
        self._windows: list[Waiting] = []
        self._clock = 0.0
        self._next_number = 0
        self._work = self._short_work = 0
        self._seconds = _FIRST_RATE * _FIRST_POSITIONS
        self._positions = float(_FIRST_POSITIONS)
        self._passes = 1.0

    @property
    def rate(self) -> float:
        """Seconds that a position takes while all lanes are at work."""
        return self._seconds / self._positions / self.lanes

    @property
    def pass_seconds(self) -> float:
        """Seconds that a batch takes."""
        return self._seconds / self._passes

    def work(self, *, before_short: bool = False) -> int:
        """Positions left to do of all requests.

        Args:
            before_short: as a short request meets it, which long ones let pass.
        """
        return self._short_work if before_short else self._work

    def owe(self, ask: Ask, work: int) -> None:
        """Note how much of a request is left to do."""
        work = max(0, work)
        self._work += work - ask.work
        self._short_work += min(work, SHORT) - min(ask.work, SHORT)
        ask.work = work

    def join(self, ask: Ask, rows: Iterable[Row]) -> None:
        """Put windows of a request in line."""
        for row in rows:
            one = Waiting(row.positions, self._next_number, row, ask)
            self._next_number += 1
            ask.waiting[one.number] = one
            insort(self._windows, one)
        if ask.waiting and ask not in self._asks:
            ask.turn = max(ask.turn, self._clock)
            self._asks[ask] = None

    def leave(self, ask: Ask) -> None:
        """Take a request out, with what it has in line."""
        self.owe(ask, 0)
        self._asks.pop(ask, None)
        if ask.waiting:
            ask.waiting.clear()
            self._windows = [one for one in self._windows if one.ask is not ask]

    @property
    def waiting(self) -> int:
        """Windows in line."""
        return len(self._windows)

    def take(self, most: int) -> list[Waiting]:
        """The next batch: the window whose turn it is, and others of a like length.

        Returns:
            No windows where none wait.
        """
        if not self._asks:
            return []
        ask = min(self._asks, key=lambda one: one.turn)
        head = next(iter(ask.waiting.values()))
        at = bisect_left(self._windows, head)
        first, end = self._budget.around(self._windows, at, most)
        batch = self._windows[first:end]
        del self._windows[first:end]
        self._serve(batch, ask.turn)
        return batch

    def _serve(self, batch: list[Waiting], turn: float) -> None:
        for one in batch:
            ask = one.ask
            del ask.waiting[one.number]
            ask.running += one.positions
            ask.turn += one.positions
            ask.had = True
            if not ask.waiting:
                del self._asks[ask]
        begun = sum(ask.had for ask in self._asks)
        served = sum(one.positions for one in batch)
        self._clock = max(turn, self._clock + served / (1 + begun))

    def took(self, positions: int, seconds: float) -> None:
        """Learn from a batch how fast the engine is."""
        self._positions = _MEMORY * self._positions + positions
        self._seconds = _MEMORY * self._seconds + seconds
        self._passes = _MEMORY * self._passes + 1
