"""What is asked: sentences of made-up words, the same for every system."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass

LABELS = ("person", "organization", "location", "date", "product")
"""What every sentence is asked for; each is one subword for the medium model."""
SYLLABLES = tuple("".join(pair) for pair in itertools.product("bcdfghjklmnprstvz", "aeiou"))
"""What made-up words are made of; each is one subword for the medium model."""
MANY, EACH = 2000, 64
"""Sentences that callers go through, and texts of one kind."""
_SYLLABLES_A_WORD = {1: 28, 2: 37, 3: 22, 4: 11, 5: 2}
"""In per cent: 2.22 on average, as many as subwords of an English word with a rare name here and
there, and 4.4 letters."""
_SHORTEST, _LONGEST, _PEAK = 12, 40, 29
"""Words of a sentence: 27 on average."""


@dataclass(frozen=True, slots=True)
class Question:
    """One text and what to look for in it."""

    text: str
    labels: tuple[str, ...]


def sentences(count: int, seed: int) -> list[Question]:
    """Sentences of 12 to 40 words, 27 on average, with the five labels."""
    source = random.Random(seed)
    return [
        Question(_text(round(source.triangular(_SHORTEST, _LONGEST, _PEAK)), source), LABELS)
        for _ in range(count)
    ]


def of_length(words: int, count: int, seed: int) -> list[Question]:
    """Texts of so many words, with the five labels."""
    source = random.Random(seed)
    return [Question(_text(words, source), LABELS) for _ in range(count)]


def with_labels(labels: int, count: int, seed: int) -> list[Question]:
    """Texts of 27 words, asked for so many labels."""
    source = random.Random(seed)
    made = [f"{one}{other}" for one, other in itertools.product(SYLLABLES, SYLLABLES)]
    names = (*LABELS, *source.sample(made, max(0, labels - len(LABELS))))[:labels]
    return [Question(_text(27, source), names) for _ in range(count)]


def _text(words: int, source: random.Random) -> str:
    counts = source.choices(
        list(_SYLLABLES_A_WORD), weights=list(_SYLLABLES_A_WORD.values()), k=words
    )
    return " ".join("".join(source.choices(SYLLABLES, k=count)) for count in counts)
