"""Texts in, entities out: windows over long texts, the model, and the merge."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictor import windows
from predictor.budget import Budget
from predictor.decoding import Candidate, select
from predictor.engines import Engine, Window, Words
from predictor.errors import InvalidRequest
from predictor.lengths import WordLengths


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


@dataclass(frozen=True, slots=True)
class _Spans:
    """The spans of one window that are above their label's threshold, one to a row."""

    first: NDArray[np.intp]
    last: NDArray[np.intp]
    labels: NDArray[np.intp]
    scores: NDArray[np.float32]

    def candidates(self) -> Iterator[Candidate]:
        columns = (self.first, self.last, self.labels, self.scores)
        return map(Candidate, *(column.tolist() for column in columns))


@dataclass(slots=True, eq=False)
class Held:
    """Spans above the threshold that a request's texts hold, counted on several threads.

    Attributes:
        most: what is too many.
        count: how many there are so far.
    """

    most: int
    count: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(slots=True, eq=False)
class Reading:
    """A text on its way through the model. Its windows may come back on several threads."""

    index: int
    """Which text of its request it is."""
    query: Query
    words: Words
    slices: list[windows.Slice]
    prompts: tuple[str, ...]
    prompt_positions: int
    thresholds: NDArray[np.float32]
    of_request: Held
    """What all texts of its request hold."""
    found: dict[int, _Spans] = field(default_factory=dict)
    held: int = 0
    """Spans in `found`."""

    @property
    def rows(self) -> Iterator[Row]:
        """The windows to score."""
        for number, piece in enumerate(self.slices):
            yield Row(self, number, self.prompt_positions + piece.positions)

    def result(self) -> Extraction:
        """The entities, once every window has been collected."""
        # By window, whatever order they came in: of equal scores the first given wins.
        ordered = (self.found[number] for number in range(len(self.slices)))
        kept = select(
            (one for spans in ordered for one in spans.candidates()),
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


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One window of a text.

    Attributes:
        positions: of its prompt and words.
    """

    reading: Reading
    number: int
    positions: int

    @property
    def window(self) -> Window:
        """What the engine scores."""
        piece = self.reading.slices[self.number]
        return Window(self.reading.words.tokens[piece.start : piece.end], self.reading.prompts)

    def collect(self, scores: NDArray[np.float32]) -> None:
        """Take up what the engine gave for it.

        Raises:
            InvalidRequest: too many spans of the text, or of its request, are above the threshold.
        """
        reading, piece = self.reading, self.reading.slices[self.number]
        starts, widths, labels = np.nonzero(scores > reading.thresholds)
        inside = starts + widths < piece.end - piece.start
        inside &= piece.owned(starts + piece.start, widths)
        starts, widths, labels = starts[inside], widths[inside], labels[inside]
        first = starts + piece.start
        spans = _Spans(first, first + widths, labels, scores[starts, widths, labels])
        held = reading.of_request
        with held.lock:
            reading.found[self.number] = spans
            reading.held += len(first)
            held.count += len(first)
        if reading.held > held.most:
            raise InvalidRequest(
                f"more than {held.most} spans are above the threshold; "
                "raise it, or send fewer labels or a shorter text",
                field="threshold",
                instance=reading.index,
            )
        if held.count > held.most:
            raise InvalidRequest(
                f"more than {held.most} spans of all texts are above the threshold; "
                "raise it, or send fewer labels or texts",
                field="threshold",
            )


_CHARACTERS = 3
"""Characters that take a position, in texts and labels of languages with spaces."""


class Extractor:
    """Finds entities with one engine. Knows neither HTTP nor KServe.

    Args:
        engine: the model.
        window_words: longest window in words; 0 takes the model's limit.
        window_overlap: words that windows share, raised to twice the widest span.
        batch_size: most windows in one forward pass.
        batch_positions: most positions in one, padding included, above a single window.
        max_candidates: most spans above the threshold in the texts of one request.

    Attributes:
        budget: of one forward pass.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        window_words: int = 0,
        window_overlap: int = 48,
        batch_size: int = 16,
        batch_positions: int = 1024,
        max_candidates: int = 200_000,
    ) -> None:
        self.engine = engine
        self.budget = Budget(batch_size, batch_positions)
        self._lengths = WordLengths(engine)
        self._longest = min(window_words or engine.limits.words, engine.limits.words)
        # Each span must lie whole in the window that owns it: half an overlap, at least
        # a span's width.
        self._overlap = max(window_overlap, 2 * engine.limits.width)
        self._max_candidates = max_candidates

    def extract(self, queries: Sequence[Query]) -> list[Extraction]:
        """Find the entities of each text, in the order given, on this thread.

        Raises:
            InvalidRequest: labels or thresholds that the model cannot work with.
        """
        readings = list(self.read(queries))
        # Windows of a like length share a pass: padding is work for nothing.
        rows = sorted(
            (row for reading in readings for row in reading.rows), key=lambda row: row.positions
        )
        while rows:
            first, _ = self.budget.around(rows, len(rows) - 1, len(rows))
            batch = rows[first:]
            del rows[first:]
            scored = self.engine.score([row.window for row in batch])
            for row, scores in zip(batch, scored, strict=True):
                row.collect(scores)
        return [reading.result() for reading in readings]

    def read(self, queries: Sequence[Query]) -> Iterator[Reading]:
        """Split texts into words and windows, each when it is asked for.

        Raises:
            InvalidRequest: the labels of a text leave no room for it.
        """
        return (one for one in self.read_in_parts(queries) if one)

    def read_in_parts(self, queries: Sequence[Query]) -> Iterator[Reading | None]:
        """As `read`, with None for each part of a long text: whoever reads may stop there.

        Raises:
            InvalidRequest: the labels of a text leave no room for it.
        """
        held = Held(self._max_candidates)
        for index, query in enumerate(queries):
            prompts = tuple(label.prompt for label in query.labels)
            try:
                room = windows.room_for_text(self.engine, prompts)
            except InvalidRequest as error:
                raise error.at(index) from None
            words, counts = yield from windows.visible_words(self.engine, query.text, room)
            if counts is None:
                counts = self._lengths.of(words.tokens)
            yield Reading(
                index,
                query,
                words,
                windows.cut(counts, len(words), self._longest, self._overlap, room),
                prompts,
                self.engine.limits.positions - room,
                np.array([label.threshold for label in query.labels], dtype=np.float32),
                held,
            )

    def estimate(self, queries: Sequence[Query]) -> int:
        """About how many positions queries will take, without reading them."""
        whole = self.engine.limits.positions
        positions = 0
        for query in queries:
            text = len(query.text) // _CHARACTERS
            prompt = sum(2 + len(label.prompt) // _CHARACTERS for label in query.labels)
            room = max(windows.LEAST_ROOM, whole - prompt)
            positions += text + prompt * (1 + text // room)
        return positions
