"""Texts in, entities out: windows over long texts, the model, and the merge."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictor import windows
from predictor.decoding import Candidate, select
from predictor.engines import Engine, Window, Words
from predictor.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Label:
    """What to look for.

    Attributes:
        name: what the answer calls it.
        prompt: what the model reads: the caller's description, else the name.
        threshold: an entity's score must be above this.
    """

    name: str
    prompt: str
    threshold: float


@dataclass(frozen=True, slots=True)
class Query:
    """One text with its labels and options."""

    text: str
    labels: tuple[Label, ...]
    flat_ner: bool
    multi_label: bool


@dataclass(frozen=True, slots=True)
class Entity:
    """A found entity; offsets count Unicode code points, `text[start:end]` is its text."""

    text: str
    label: str
    start: int
    end: int
    score: float

    def row(self) -> dict[str, Any]:
        """The entity as JSON shows it, wherever it is shown."""
        # `dataclasses.asdict` takes seconds for the many entities that a low threshold finds.
        return {
            "text": self.text,
            "label": self.label,
            "start": self.start,
            "end": self.end,
            "score": self.score,
        }


@dataclass(frozen=True, slots=True)
class Extraction:
    """What was found in one text, by position, and how the text was read."""

    entities: tuple[Entity, ...]
    words: int
    windows: int


@dataclass(slots=True)
class _Reading:
    """A text on its way through the model."""

    query: Query
    words: Words
    slices: list[windows.Slice]
    prompt_positions: int
    thresholds: NDArray[np.float32]
    candidates: dict[tuple[int, int, int], float] = field(default_factory=dict)

    def window(self, piece: windows.Slice) -> Window:
        return Window(
            self.words.tokens[piece.start : piece.end],
            tuple(label.prompt for label in self.query.labels),
        )

    def collect(self, piece: windows.Slice, scores: NDArray[np.float32], limit: int) -> None:
        """Take up the spans of one window that are above their label's threshold."""
        starts, widths, labels = np.nonzero(scores > self.thresholds)
        inside = starts + widths < piece.end - piece.start
        inside &= piece.owned(starts + piece.start, widths)
        starts, widths, labels = starts[inside], widths[inside], labels[inside]
        if len(self.candidates) + len(starts) > limit:
            raise InvalidRequest(
                f"more than {limit} spans are above the threshold; "
                "raise it, or send fewer labels or a shorter text",
                field="threshold",
            )
        values = scores[starts, widths, labels].tolist()
        first = (starts + piece.start).tolist()
        last = (starts + piece.start + widths).tolist()
        for span, score in zip(zip(first, last, labels.tolist(), strict=True), values, strict=True):
            self.candidates.setdefault(span, score)

    def result(self) -> Extraction:
        kept = select(
            (Candidate(*span, score) for span, score in self.candidates.items()),
            flat_ner=self.query.flat_ner,
            multi_label=self.query.multi_label,
        )
        return Extraction(
            entities=tuple(map(self._entity, kept)),
            words=len(self.words),
            windows=len(self.slices),
        )

    def _entity(self, found: Candidate) -> Entity:
        start, end = self.words.starts[found.start], self.words.ends[found.end]
        return Entity(
            text=self.query.text[start:end],
            label=self.query.labels[found.label].name,
            start=start,
            end=end,
            score=found.score,
        )


_Job = tuple[int, windows.Slice]
"""A window to score: the index of its text, and where in the text it is."""

_MOST_UNREAD = 20_000
"""Characters split into words in one step, about as long as a forward pass takes."""

Steps = Generator[None, None, list[Extraction]]
"""Work cut into short steps, so that a long text does not hold up the short ones."""


class Extractor:
    """Finds entities with one engine. Knows neither HTTP nor KServe.

    Args:
        engine: the model.
        window_words: longest window in words; 0 takes the model's limit.
        window_overlap: words that windows share, raised to twice the widest span.
        batch_size: most windows in one forward pass.
        batch_positions: most positions in one, padding included, above a single window.
        max_candidates: most spans above the threshold in one text.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        window_words: int = 0,
        window_overlap: int = 48,
        batch_size: int = 8,
        batch_positions: int = 1024,
        max_candidates: int = 200_000,
    ) -> None:
        self.engine = engine
        self._longest = min(window_words or engine.limits.words, engine.limits.words)
        # Each span must lie whole in the window that owns it: half an overlap, at least
        # a span's width.
        self._overlap = max(window_overlap, 2 * engine.limits.width)
        self._batch_size = batch_size
        self._batch_positions = batch_positions
        self._max_candidates = max_candidates

    def extract(self, queries: Sequence[Query]) -> list[Extraction]:
        """Find the entities of each text, in the order given.

        Raises:
            InvalidRequest: labels or thresholds that the model cannot work with.
        """
        steps = self.steps(queries)
        while True:
            try:
                next(steps)
            except StopIteration as done:
                found: list[Extraction] = done.value
                return found

    def steps(self, queries: Sequence[Query]) -> Steps:
        """The same as `extract`, stopping for breath between forward passes.

        A request of one pass is one step: a stop costs a turn of everybody else's.
        """
        readings: list[_Reading] = []
        unread = 0
        for index, query in enumerate(queries):
            if unread > _MOST_UNREAD:
                unread = 0
                yield
            readings.append(self._read(index, query))
            unread += len(query.text)
        jobs = [(index, piece) for index, one in enumerate(readings) for piece in one.slices]
        # Windows of a like length share a pass: padding is work for nothing.
        jobs.sort(key=lambda job: -job[1].positions)
        batches = self._batches(jobs, [reading.prompt_positions for reading in readings])
        for number, batch in enumerate(batches):
            if number:
                yield
            scored = self.engine.score([readings[index].window(piece) for index, piece in batch])
            for (index, piece), scores in zip(batch, scored, strict=True):
                with _blame(index):
                    readings[index].collect(piece, scores, self._max_candidates)
        return [reading.result() for reading in readings]

    def _read(self, index: int, query: Query) -> _Reading:
        """Split one text into words and windows."""
        with _blame(index):
            room = windows.room_for_text(self.engine, [label.prompt for label in query.labels])
        words, counts = windows.visible_words(self.engine, query.text, room)
        slices = windows.cut(counts, len(words), self._longest, self._overlap, room)
        prompt_positions = self.engine.limits.positions - room
        thresholds = np.array([label.threshold for label in query.labels], dtype=np.float32)
        return _Reading(query, words, slices, prompt_positions, thresholds)

    def _batches(self, jobs: Sequence[_Job], prompts: Sequence[int]) -> Iterator[Sequence[_Job]]:
        """Cut jobs, longest first, into forward passes of a bounded size."""
        start = 0
        while start < len(jobs):
            rows, widest = 0, 0
            while start + rows < len(jobs) and rows < self._batch_size:
                index, piece = jobs[start + rows]
                widest = max(widest, prompts[index] + piece.positions)
                if rows and widest * (rows + 1) > self._batch_positions:
                    break
                rows += 1
            yield jobs[start : start + rows]
            start += rows


@contextmanager
def _blame(index: int) -> Iterator[None]:
    """Say of an invalid request which text it was about."""
    try:
        yield
    except InvalidRequest as error:
        raise error.at(index) from None
