"""The text side of a GLiNER model: texts to words, words to positions, windows to arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from predictor.engines import Window

Splitter = Callable[[str], Iterable[tuple[str, int, int]]]
"""Gives each word of a text with its offsets."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows as one forward pass of a rewritten model takes them.

    Their subwords stand one behind the other, `total` of them; only attention, and what words
    go through, is laid out as rows that are padded to a common length.

    Attributes:
        ids: subwords, int64 of shape (total).
        offsets: place of each subword in its window, int64 of shape (total).
        places: which subword stands at each position of each row, int64 of shape (rows,
            positions).
        back: where each subword stands among all rows' positions, int64 of shape (total).
        bias: what attention adds for each position, float32 of shape (rows, 1, 1, positions):
            0 for a subword, far below for padding.
        rows: for each distance between two positions, from the largest to the smallest, its
            row in the table of relative positions; int64 of shape (2 positions - 1).
        kept: the subwords that prompts and words are read from, int64 of shape (kept).
        prompts: which of those is each prompt's marker, int64 of shape (rows, prompts).
        subwords: which of those words are made of, int64 of shape (rows, subwords).
        pool: how words are made of those, float32 of shape (rows, words, subwords).
        reverse: each row's words from last to first, int64 of shape (rows, words).
    """

    ids: NDArray[np.int64]
    offsets: NDArray[np.int64]
    places: NDArray[np.int64]
    back: NDArray[np.int64]
    bias: NDArray[np.float32]
    rows: NDArray[np.int64]
    kept: NDArray[np.int64]
    prompts: NDArray[np.int64]
    subwords: NDArray[np.int64]
    pool: NDArray[np.float32]
    reverse: NDArray[np.int64]

    def inputs(self) -> tuple[NDArray[Any], ...]:
        """All arrays in the order in which a rewritten model takes them."""
        return tuple(getattr(self, one.name) for one in fields(self))


@dataclass(frozen=True, slots=True)
class Distances:
    """DeBERTa's table of relative positions: near distances have a row each, far ones share
    them by their logarithm.

    Attributes:
        span: half the rows of the table.
        buckets: rows for one direction, 0 or less for a row for each distance.
        furthest: the distance at which the logarithm ends.
    """

    span: int
    buckets: int
    furthest: int

    def rows(self, positions: int) -> NDArray[np.int64]:
        """Rows for the distances `positions - 1` to `1 - positions`.

        Computed in float32, as transformers does: the rounding decides where a row begins.
        """
        distance = np.arange(positions - 1, -positions, -1)
        if self.buckets > 0 and self.furthest > 0:
            middle = self.buckets // 2
            size = np.abs(distance).astype(np.float32)
            far = np.maximum(size, np.float32(middle))
            steps = np.log(far / np.float32(middle)) / np.log(
                np.float32((self.furthest - 1) / middle)
            )
            shared = np.ceil(steps * np.float32(middle - 1)) + middle
            distance = np.where(size <= middle, distance, shared * np.sign(distance))
        rows: NDArray[np.int64] = np.clip(
            distance.astype(np.int64) + self.span, 0, 2 * self.span - 1
        )
        return rows


@dataclass(frozen=True, slots=True)
class Layout:
    """What of a model's configuration decides how its input is laid out.

    Attributes:
        entity: the marker before each prompt.
        separator: the marker between prompts and text.
        marked: whether a prompt is read at its marker, else at the subword behind it.
        pooling: which subwords make a word: `first`, `last` or `mean`.
        distances: None for an encoder without relative positions.
    """

    entity: str
    separator: str
    marked: bool
    pooling: str
    distances: Distances | None


_MASKED = -1e9
"""As good as minus infinity for a softmax, and a number in bf16 too."""

_FEW = 512
"""Characters for which the tokenizer takes a quarter of a millisecond; one and a half at worst."""


class Reader:
    """Reads texts and prompts the way a model was trained to.

    Args:
        tokenizer: the model's own; neither truncates nor pads from here on.
        splitter: the model's own.
        layout: where things are in the model's input.
    """

    def __init__(self, tokenizer: Tokenizer, splitter: Splitter, layout: Layout) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self.layout = layout
        self.tokenizer = tokenizer
        self.markers: tuple[str, str] = (layout.entity, layout.separator)
        self._splitter = splitter
        self._prompt_positions = lru_cache(maxsize=1024)(self._count_prompt)

    def split(self, text: str) -> Iterator[tuple[str, int, int]]:
        """Split a text. See `Engine.split`."""
        return iter(self._splitter(text))

    def subwords(self, words: Sequence[str]) -> list[int]:
        """Count the positions of each word. See `Engine.subwords`."""
        given = list(words)
        # Of the two, `encode` keeps the interpreter: a long text would stop the event loop. What is
        # done sooner than the interpreter would be back keeps it.
        if sum(map(len, given)) <= _FEW:
            encoded = self.tokenizer.encode(given, is_pretokenized=True, add_special_tokens=False)
        else:
            [encoded] = self.tokenizer.encode_batch(
                [given], is_pretokenized=True, add_special_tokens=False
            )
        counts = Counter(encoded.word_ids)
        return [counts[index] for index in range(len(words))]

    def prompt_positions(self, prompts: Sequence[str]) -> int:
        """Count the positions that prompts take. See `Engine.prompt_positions`."""
        return self._prompt_positions(tuple(prompts))

    def _count_prompt(self, prompts: tuple[str, ...]) -> int:
        return sum(self.subwords(self._prompt(prompts))) + int(
            self.tokenizer.num_special_tokens_to_add(False)
        )

    def _prompt(self, prompts: Iterable[str]) -> list[str]:
        words = [word for prompt in prompts for word in (self.layout.entity, prompt)]
        return [*words, self.layout.separator]

    def batch(self, windows: Sequence[Window], step: int = 1) -> Batch:
        """Lay windows out for one forward pass.

        Args:
            windows: at least one, each with a word and a prompt at least.
            step: sizes are padded up to multiples of this.
        """
        rows = [self._row(window) for window in windows]
        most = [_up(max(len(row[part]) for row in rows), step) for part in range(4)]
        positions, prompts, subwords = most[:3]
        words = _up(max(len(window.words) for window in windows), step)
        total = _up(sum(len(row[0]) for row in rows), 2 * step)
        ids, offsets, back = (np.zeros(total, dtype=np.int64) for _ in range(3))
        places = np.zeros((len(rows), positions), dtype=np.int64)
        bias = np.full((len(rows), 1, 1, positions), _MASKED, dtype=np.float32)
        kept = np.zeros(_up(sum(len(row[1]) + len(row[2]) for row in rows), 2 * step), np.int64)
        at_prompt = np.zeros((len(rows), prompts), dtype=np.int64)
        at_subword = np.zeros((len(rows), subwords), dtype=np.int64)
        pool = np.zeros((len(rows), words, subwords), dtype=np.float32)
        reverse = np.tile(np.arange(words), (len(rows), 1))
        first = first_kept = 0
        for index, (tokens, asked, found, owners) in enumerate(rows):
            size, end = len(tokens), first + len(tokens)
            ids[first:end] = tokens
            offsets[first:end] = np.arange(size)
            places[index, :size] = np.arange(first, end)
            back[first:end] = index * positions + np.arange(size)
            bias[index, ..., :size] = 0
            for part, table in ((asked, at_prompt), (found, at_subword)):
                kept[first_kept : first_kept + len(part)] = np.add(part, first)
                table[index, : len(part)] = np.arange(first_kept, first_kept + len(part))
                first_kept += len(part)
            pool[index, owners, np.arange(len(found))] = 1
            count = len(windows[index].words)
            reverse[index, :count] = np.arange(count)[::-1]
            first = end
        if self.layout.pooling == "mean":
            pool /= np.maximum(pool.sum(axis=2, keepdims=True), 1)
        distances = self.layout.distances
        table = distances.rows(positions) if distances else np.zeros(1, dtype=np.int64)
        return Batch(
            ids, offsets, places, back, bias, table, kept, at_prompt, at_subword, pool, reverse
        )

    def _row(self, window: Window) -> tuple[list[int], list[int], list[int], list[int]]:
        """A window's subwords; where its prompts and words are among them; and whose they are."""
        prompt = self._prompt(window.prompts)
        encoded = self.tokenizer.encode([*prompt, *window.words], is_pretokenized=True)
        first: dict[int, int] = {}
        places: list[int] = []
        owners: list[int] = []
        for position, word in enumerate(encoded.word_ids):
            if word is None:
                continue
            began = first.setdefault(word, position) == position
            if word < len(prompt) or (self.layout.pooling == "first" and not began):
                continue
            if self.layout.pooling == "last" and not began:
                places[-1] = position
                continue
            places.append(position)
            owners.append(word - len(prompt))
        shift = 0 if self.layout.marked else 1
        asked = [first[2 * number] + shift for number in range(len(window.prompts))]
        return encoded.ids, asked, places, owners


class Reading:
    """The half of an engine that is its reader's.

    Attributes:
        reader: its text side.
        markers: see `Engine.markers`.
    """

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.markers: tuple[str, ...] = reader.markers

    def split(self, text: str) -> Iterator[tuple[str, int, int]]:
        """Split a text as the model was trained to. See `Engine.split`."""
        return self.reader.split(text)

    def subwords(self, words: Sequence[str]) -> list[int]:
        """Count the positions of each word. See `Engine.subwords`."""
        return self.reader.subwords(words)

    def prompt_positions(self, prompts: Sequence[str]) -> int:
        """Count the positions that prompts take. See `Engine.prompt_positions`."""
        return self.reader.prompt_positions(prompts)


def cut(scores: NDArray[np.float32], windows: Sequence[Window]) -> list[NDArray[np.float32]]:
    """Each window's own part of a batch's scores.

    Args:
        scores: of shape (rows, words, widths, prompts), padded.
    """
    return [
        scores[row, : len(window.words), :, : len(window.prompts)]
        for row, window in enumerate(windows)
    ]


def _up(size: int, step: int) -> int:
    return -(-size // step) * step
