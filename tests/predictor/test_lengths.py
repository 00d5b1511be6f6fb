"""Positions of words, counted once."""

from __future__ import annotations

from collections.abc import Sequence

import fakes
import pytest

from predictor import lengths
from predictor.lengths import WordLengths


class Counting(fakes.FakeEngine):
    """Notes how many words it counts."""

    def __init__(self) -> None:
        super().__init__(fakes.names_and_numbers)
        self.counted = 0

    def subwords(self, words: Sequence[str]) -> list[int]:
        self.counted += len(words)
        return super().subwords(words)


def test_words_are_counted_once() -> None:
    """A word that comes again costs no tokenizer."""
    engine = Counting()
    known = WordLengths(engine)

    first = known.of(["a", "longword", "a"])
    again = known.of(["longword", "a", "another"])

    assert (first, again) == ([1, 2, 1], [2, 1, 2])
    assert engine.counted == 3


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Words of a caller's invention do not pile up."""
    monkeypatch.setattr(lengths, "_MOST_WORDS", 10)
    engine = Counting()
    known = WordLengths(engine)

    counts = [known.of(["common", f"word{number}"]) for number in range(100)]

    assert counts == [[2, 2]] * 100
    assert len(known._known) <= 10
    assert known.of([f"{number}" for number in range(50)]) == [1] * 50
