"""How scores change with the threshold, and whether they can be taken as probabilities."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.scoring import Found, Mention

THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))
BINS = 10


@dataclass(frozen=True, slots=True)
class Point:
    """Micro scores at one threshold."""

    threshold: float
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True)
class Bin:
    """Mentions whose scores are alike.

    Attributes:
        low, high: the scores in it.
        count: mentions in it.
        score: their mean score.
        right: the share of them that are right.
    """

    low: float
    high: float
    count: int
    score: float
    right: float


def curve(
    true: Sequence[Collection[Mention]], found: Sequence[Collection[Found]]
) -> tuple[Point, ...]:
    """Precision and recall at each threshold, from what was given at the lowest."""
    scores, right = _judged(true, found)
    support = sum(map(len, true))
    points = []
    for threshold in THRESHOLDS:
        kept = scores > np.float32(threshold)
        hits, all_given = int(right[kept].sum()), int(kept.sum())
        points.append(
            Point(
                threshold,
                hits / max(1, all_given),
                hits / max(1, support),
                2 * hits / max(1, all_given + support),
            )
        )
    return tuple(points)


def reliability(
    true: Sequence[Collection[Mention]], found: Sequence[Collection[Found]]
) -> tuple[Bin, ...]:
    """Scores against the share that is right, in ten bins of equal width; empty ones left out."""
    scores, right = _judged(true, found)
    places = np.minimum((scores * BINS).astype(int), BINS - 1)
    return tuple(
        Bin(
            index / BINS,
            (index + 1) / BINS,
            int(inside.sum()),
            float(scores[inside].mean()),
            float(right[inside].mean()),
        )
        for index in range(BINS)
        if (inside := places == index).any()
    )


def calibration_error(bins: Sequence[Bin]) -> float:
    """Expected calibration error: how far scores are from the share right, by mentions; 0 to 1."""
    total = sum(one.count for one in bins)
    return sum(one.count * abs(one.score - one.right) for one in bins) / max(1, total)


def _judged(
    true: Sequence[Collection[Mention]], found: Sequence[Collection[Found]]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The score of each mention given, and whether it is right."""
    pairs = [
        (one.score, one[:3] in expected)
        for expected, have in zip(true, found, strict=True)
        for one in have
    ]
    scores = np.array([score for score, _ in pairs], dtype=np.float32)
    return scores, np.array([right for _, right in pairs], dtype=bool)
