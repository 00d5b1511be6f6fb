"""A text's windows: which words the model sees together, and which spans each window owns."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from predictor.engines import Engine, Words
from predictor.errors import InvalidRequest

LEAST_ROOM = 64
"""Positions that the labels must leave for the text."""

_PART = 1_000
"""Words that are counted at a time. The tokenizer takes some 20 µs for one."""
_LONGEST_WORD = 1_000
"""Characters of a word that is counted whole, far more than a language has: a text in a script
without spaces may be one word."""
_USUAL_WORD = 10
"""Characters of a word, above which fewer words are counted at a time."""

_Word = tuple[str, int, int]
"""With the offsets of its first character and behind its last."""


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


def visible_words(
    engine: Engine, text: str, room: int
) -> Generator[None, None, tuple[Words, list[int] | None]]:
    """Split a text into the words that the model can see.

    Some words leave no subword: control characters, zero-width joiners. GLiNER counts its
    way through words by their subwords, so one such word would shift every entity behind it;
    they are dropped, and the offsets of the others stay exact. A word with more subwords than
    fit into a window (a text in a script without spaces is one word) is split into pieces.

    Args:
        engine: the model.
        text: any text.
        room: positions that a window has for text.

    Yields:
        None between the parts of a long text, so that whoever reads may do something else.

    Returns:
        The words, and the positions of each; None where every word takes its length at most
        and all of them fit, which needs no counting.
    """
    words = engine.split(text)
    plain = len(text) <= room and text.isascii()
    if plain and text.replace("\n", " ").replace("\t", " ").isprintable():
        found = list(words)
        # A printable ASCII word is one subword at least and one a character at most, and some
        # tokenizers mark a word's beginning with one more.
        if len(text) + len(found) <= room:
            return _columns(found), None
        words = iter(found)
    rows: list[_Word] = []
    counts: list[int] = []
    for number, part in enumerate(_parts(words)):
        if number:
            yield
        for word, count in zip(part, engine.subwords([word for word, _, _ in part]), strict=True):
            if 0 < count <= room:
                rows.append(word)
                counts.append(count)
            elif count:
                for piece, positions in _pieces(engine, word, count, room):
                    rows.append(piece)
                    counts.append(positions)
    return _columns(rows), counts


def _columns(rows: Sequence[_Word]) -> Words:
    tokens, starts, ends = zip(*rows, strict=True) if rows else ((), (), ())
    return Words(tokens, starts, ends)


def _parts(words: Iterable[_Word]) -> Iterator[list[_Word]]:
    """Words in parts of about a like size, those beyond all bounds cut up."""
    part: list[_Word] = []
    size = 0
    for word in words:
        length = len(word[0])
        part += [word] if length <= _LONGEST_WORD else _cut_up(word, _LONGEST_WORD)
        size += length
        if len(part) >= _PART or size >= _PART * _USUAL_WORD:
            yield part
            part, size = [], 0
    if part:
        yield part


def _cut_up(word: _Word, size: int) -> list[_Word]:
    token, start, end = word
    return [
        (token[at : at + size], start + at, min(start + at + size, end))
        for at in range(0, len(token), size)
    ]


def _pieces(engine: Engine, word: _Word, count: int, room: int) -> Iterator[tuple[_Word, int]]:
    """Split one word that is too long for a window into pieces that are not."""
    # Half the room, for pieces rarely break where subwords do.
    size = max(1, len(word[0]) * room // (2 * count))
    while True:
        parts = _cut_up(word, size)
        counts = engine.subwords([token for token, _, _ in parts])
        if size == 1 or max(counts) <= room:
            break
        size = max(1, size // 2)
    return ((part, one) for part, one in zip(parts, counts, strict=True) if 0 < one <= room)


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
        # Before a word that leaves no room for others, windows shrink towards the same end: what
        # they hold, the first has with more around it.
        if not bounds or end > bounds[-1][1]:
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
