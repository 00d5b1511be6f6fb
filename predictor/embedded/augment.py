"""Rows made from rows: other names in the same sentence, other case, several sentences in one."""

import dataclasses
import random
from collections.abc import Mapping, Sequence

from pipeline.dataset import Row, Span


def rename(row: Row, names: Mapping[str, Sequence[tuple[str, ...]]], rng: random.Random) -> Row:
    """The row with some mentions replaced by others of the same label; others stay in place.

    A row whose mentions overlap is left as it is.
    """
    words: list[str] = []
    spans: list[Span] = []
    at = 0
    for span in sorted(row.spans, key=lambda s: (s.start, s.end)):
        if span.start < at:
            return row
        words += row.words[at : span.start]
        mention: Sequence[str] = row.words[span.start : span.end + 1]
        if names.get(span.label) and rng.random() < 0.5:
            mention = rng.choice(names[span.label])
        spans.append(Span(len(words), len(words) + len(mention) - 1, span.label))
        words += mention
        at = span.end + 1
    words += row.words[at:]
    return Row(tuple(words), tuple(spans), row.source)


def recase(row: Row, rng: random.Random, lower: float = 0.07, upper: float = 0.03) -> Row:
    """Now and then the row all in lower or all in upper case."""
    roll = rng.random()
    if roll < lower:
        return dataclasses.replace(row, words=tuple(word.lower() for word in row.words))
    if roll < lower + upper:
        return dataclasses.replace(row, words=tuple(word.upper() for word in row.words))
    return row


def join(rows: Sequence[Row]) -> Row:
    """One row of several from the same source, one after the other."""
    words: list[str] = []
    spans: list[Span] = []
    for row in rows:
        shift = len(words)
        spans += [Span(s.start + shift, s.end + shift, s.label) for s in row.spans]
        words += row.words
    return Row(tuple(words), tuple(spans), rows[0].source)
