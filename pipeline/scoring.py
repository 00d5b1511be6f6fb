"""Entity-level precision, recall and F1: a mention counts when its span and label are both right.

Offsets are in characters of a row's words joined by single spaces, which is the text that a
model is asked about.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset import Row, text_of
from pipeline.evaluation import Comparison, Difference, Score
from pipeline.measuring import bootstrap

THRESHOLD = 0.5
"""A mention is given when its score is above this."""
LENGTHS = (10, 20, 40, 80, 160)
"""Upper ends of the groups of texts by length, in words."""

Mention = tuple[int, int, str]
"""First character, character behind the last, label."""
Counts = NDArray[np.int64]
"""Right, wrong and missed mentions in the last axis."""


class Found(NamedTuple):
    """A mention that a model gave, with its score."""

    start: int
    end: int
    label: str
    score: float


def truth(row: Row, labels: Collection[str]) -> set[Mention]:
    """The row's mentions with these labels, in characters."""
    ranges = text_of(row.words)[1]
    return {
        (ranges[span.start][0], ranges[span.end][1], span.label)
        for span in row.spans
        if span.label in labels
    }


def given(found: Iterable[Found], threshold: float = THRESHOLD) -> set[Mention]:
    """What a model would have given at a threshold, from what it gave at a lower one.

    This is exact: whether the search keeps a span depends on spans with higher scores alone.
    """
    # Scores and thresholds are compared in single precision, as the extractor compares them.
    limit = float(np.float32(threshold))
    return {(one.start, one.end, one.label) for one in found if one.score > limit}


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of right, wrong and missed mentions, by text and label.

    Attributes:
        counts: shape (texts, labels, 3).
    """

    labels: tuple[str, ...]
    counts: Counts

    @property
    def micro(self) -> Counts:
        """All texts and labels together."""
        return np.asarray(self.counts.sum(axis=(0, 1)))

    def of(self, label: str) -> Counts:
        """One label over all texts."""
        return np.asarray(self.counts[:, self.labels.index(label)].sum(axis=0))

    def of_texts(self, chosen: NDArray[np.bool_]) -> Tally:
        """Some of the texts."""
        return Tally(self.labels, self.counts[chosen])


def tally(
    true: Sequence[Collection[Mention]], found: Sequence[Collection[Mention]], labels: Iterable[str]
) -> Tally:
    """Count mentions of texts given in the same order; each label must be one of `labels`."""
    names = tuple(labels)
    place = {label: index for index, label in enumerate(names)}
    counts = np.zeros((len(true), len(names), 3), dtype=np.int64)
    for row, (expected, have) in enumerate(zip(true, found, strict=True)):
        for mention in {*expected, *have}:
            kind = 0 if mention in expected and mention in have else 1 if mention in have else 2
            counts[row, place[mention[2]], kind] += 1
    return Tally(names, counts)


def precision(counts: Counts) -> float:
    """Share of the given that are right; 0 when nothing was given."""
    right, wrong, _ = counts.tolist()
    return float(right / max(1, right + wrong))


def recall(counts: Counts) -> float:
    """Share of the true that were found; 0 when there is nothing to find."""
    right, _, missed = counts.tolist()
    return float(right / max(1, right + missed))


def f1(counts: Counts) -> float:
    """Harmonic mean of precision and recall; 0 when there is nothing to find and nothing given."""
    right, wrong, missed = counts.tolist()
    return float(2 * right / max(1, 2 * right + wrong + missed))


@dataclass(frozen=True, slots=True)
class Scores:
    """A model's scores with their intervals: together, their mean over labels, and each label."""

    micro: Score
    macro_f1: float
    labels: dict[str, Score]


def scores(counted: Tally) -> Scores:
    """Scores and 95 % bootstrap intervals over texts; the same counts give the same intervals."""
    samples = bootstrap.f1(counted.counts)
    low, high = bootstrap.interval(samples)
    by_label = {
        label: _score(counted.of(label), low[index + 1], high[index + 1])
        for index, label in enumerate(counted.labels)
    }
    macro = float(np.mean([one.f1 for one in by_label.values()])) if by_label else 0.0
    return Scores(_score(counted.micro, low[0], high[0]), macro, by_label)


def compare(candidate: Tally, champion: Tally) -> Comparison:
    """Candidate minus champion in F1, over the same texts and labels.

    The intervals are paired: each resample takes the same texts of both, so what makes a text
    hard for both does not widen them.
    """
    if candidate.labels != champion.labels or len(candidate.counts) != len(champion.counts):
        raise ValueError("only counts of the same texts and labels can be compared")
    low, high = bootstrap.interval(bootstrap.f1(candidate.counts) - bootstrap.f1(champion.counts))

    def difference(ours: Counts, theirs: Counts, at: int) -> Difference:
        return Difference(value=f1(ours) - f1(theirs), low=low[at], high=high[at])

    return Comparison(
        micro=difference(candidate.micro, champion.micro, 0),
        labels={
            label: difference(candidate.of(label), champion.of(label), index + 1)
            for index, label in enumerate(candidate.labels)
        },
    )


def by_length(counted: Tally, words: Sequence[int]) -> dict[str, Score]:
    """Micro scores of groups of texts by their length in words; empty groups are left out."""
    groups = np.searchsorted(LENGTHS, words)
    found = {}
    for group in sorted(set(groups.tolist())):
        first = LENGTHS[group - 1] + 1 if group else 1
        name = f"{first}-{LENGTHS[group]}" if group < len(LENGTHS) else f"over {LENGTHS[-1]}"
        found[name] = scores(counted.of_texts(groups == group)).micro
    return found


def _score(counts: Counts, low: float, high: float) -> Score:
    right, wrong, missed = counts.tolist()
    return Score(
        precision=precision(counts),
        recall=recall(counts),
        f1=f1(counts),
        f1_low=float(low),
        f1_high=float(high),
        support=right + missed,
        found=right + wrong,
    )
