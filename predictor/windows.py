"""A text's windows: which words the model sees together, and which spans each window owns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from predictor.engines import Engine, Words
from predictor.errors import InvalidRequest

LEAST_ROOM = 64
"""Positions that the labels must leave for the text."""


@dataclass(frozen=True, slots=True)
class Slice:
    """One window over a text, in words.

    Windows overlap, so a span may lie in two of them. The one in whose territory the span's
    centre falls owns it, for that is where it has the most words around it; the other's
    score of it is dropped. That is how an entity at a boundary is found once.

    Attributes:
        start: index of the first word.
        end: index behind the last word.
        left: twice the word position where the territory begins, 0 at the first window.
        right: twice the word position where it ends; beyond the text at the last window.
        previous_end: end of the window before, 0 at the first window.
        next_start: start of the window behind; beyond the text at the last window.
        positions: subwords of its words.
    """

    start: int
    end: int
    left: int
    right: int
    previous_end: int
    next_start: int
    positions: int

    def owned(self, starts: NDArray[np.intp], widths: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Which spans this window owns, given starts (in the text) and widths less one."""
        ends = starts + widths
        centre = starts + ends + 1  # twice the centre, to stay in whole numbers
        to_previous = (centre < self.left) & (ends < self.previous_end)
        to_next = (centre >= self.right) & (starts >= self.next_start)
        owned: NDArray[np.bool_] = ~(to_previous | to_next)
        return owned


def visible_words(engine: Engine, text: str, room: int) -> tuple[Words, list[int] | None]:
    """Split a text into the words that the model can see.

    Some words leave no subword: control characters, zero-width joiners. GLiNER counts its
    way through words by their subwords, so one such word would shift every entity behind it;
    they are dropped, and the offsets of the others stay exact. A word with more subwords than
    fit into a window (a text in a script without spaces is one word) is split into pieces.

    Args:
        engine: the model.
        text: any text.
        room: positions that a window has for text.

    Returns:
        The words, and the positions of each; None where every word takes its length at most
        and all of them fit, which needs no counting.
    """
    words = engine.split(text)
    plain = text.isascii() and text.replace("\n", " ").replace("\t", " ").isprintable()
    # A printable ASCII word is one subword at least and one a character at most, and some
    # tokenizers mark a word's beginning with one more.
    if plain and len(text) + len(words) <= room:
        return words, None
    counts = engine.subwords(words.tokens)
    rows: list[tuple[str, int, int, int]] = []
    for token, start, end, count in zip(
        words.tokens, words.starts, words.ends, counts, strict=True
    ):
        if 0 < count <= room:
            rows.append((token, start, end, count))
        elif count:
            rows.extend(_pieces(engine, token, start, count, room))
    if not rows:
        return Words((), (), ()), []
    tokens, starts, ends, kept = zip(*rows, strict=True)
    return Words(tokens, starts, ends), list(kept)


def _pieces(
    engine: Engine, token: str, start: int, count: int, room: int
) -> list[tuple[str, int, int, int]]:
    """Split one word that is too long for a window into pieces that are not."""
    # Half the room, for pieces rarely break where subwords do.
    size = max(1, len(token) * room // (2 * count))
    while True:
        parts = [token[at : at + size] for at in range(0, len(token), size)]
        counts = engine.subwords(parts)
        if size == 1 or max(counts) <= room:
            break
        size = max(1, size // 2)
    offsets = range(start, start + len(token), size)
    return [
        (part, at, at + len(part), positions)
        for part, at, positions in zip(parts, offsets, counts, strict=True)
        if 0 < positions <= room
    ]


def room_for_text(engine: Engine, prompts: Sequence[str]) -> int:
    """Positions that the prompts leave for text.

    Raises:
        InvalidRequest: they leave too few.
    """
    taken = engine.prompt_positions(prompts)
    room = engine.limits.positions - taken
    if room < LEAST_ROOM:
        raise InvalidRequest(
            f"{len(prompts)} labels take {taken} of the model's {engine.limits.positions} "
            f"positions and leave {max(room, 0)} for the text, which needs {LEAST_ROOM}; "
            "send fewer or shorter labels and descriptions",
            field="labels",
        )
    return room


def cut(counts: Sequence[int], words: int, longest: int, overlap: int, room: int) -> list[Slice]:
    """Cut a text into overlapping windows on word boundaries.

    Args:
        counts: positions of each word.
        words: how many words there are.
        longest: most words in a window.
        overlap: words that neighbours share; fewer where windows are short.
        room: most positions in a window.

    Returns:
        The windows in order; none for a text without words.
    """
    bounds: list[tuple[int, int]] = []
    start = 0
    while start < words:
        end = min(start + longest, words)
        used = 0
        for index in range(start, end):
            used += counts[index]
            if used > room:
                end = index
                break
        bounds.append((start, end))
        if end == words:
            break
        start = end - min(overlap, (end - start) // 2)
    beyond = 2 * words + 1
    # Neighbours share the words from the later one's start to the earlier one's end; the
    # border of their territories is the middle of that, here times two.
    borders = [
        0,
        *(later[0] + earlier[1] for earlier, later in pairwise(bounds)),
        beyond,
    ]
    return [
        Slice(
            start=start,
            end=end,
            left=borders[index],
            right=borders[index + 1],
            previous_end=bounds[index - 1][1] if index else 0,
            next_start=bounds[index + 1][0] if index + 1 < len(bounds) else beyond,
            positions=sum(counts[start:end]),
        )
        for index, (start, end) in enumerate(bounds)
    ]
