"""Bootstrap intervals: how far a score may be off, given the texts that it was measured on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1_000
SEED = 20_260
LEVEL = 95
_MOST_DRAWS = 4_000_000
"""Texts drawn at once, which bounds the memory that many texts take."""

Floats = NDArray[np.float64]


def f1(counts: NDArray[np.int64], resamples: int = RESAMPLES, seed: int = SEED) -> Floats:
    """F1 of texts drawn with replacement, as often as there are texts.

    Args:
        counts: right, wrong and missed mentions, shape (texts, labels, 3).
        seed: decides which texts are drawn; the same one draws the same of as many texts,
            which makes differences between two models paired.

    Returns:
        Shape (resamples, 1 + labels): all labels together, then each; 0 where a resample has
        nothing to find and nothing was given.
    """
    texts, labels, _ = counts.shape
    flat = np.concatenate([counts.sum(axis=1, keepdims=True), counts], axis=1)
    flat = flat.reshape(texts, (labels + 1) * 3).astype(np.float64)
    sums = np.concatenate([weights @ flat for weights in _draws(texts, resamples, seed)])
    right, wrong, missed = np.moveaxis(sums.reshape(resamples, labels + 1, 3), -1, 0)
    return np.asarray(2 * right / np.maximum(1, 2 * right + wrong + missed))


def interval(samples: Floats) -> tuple[list[float], list[float]]:
    """The lower and upper ends of the middle 95 % of each column."""
    outside = (100 - LEVEL) / 2
    low, high = np.percentile(samples, [outside, 100 - outside], axis=0)
    return low.tolist(), high.tolist()


def _draws(texts: int, resamples: int, seed: int) -> Iterator[Floats]:
    """How often each text is drawn in each resample, some resamples at a time."""
    rng = np.random.default_rng(seed)
    at_once = max(1, _MOST_DRAWS // max(1, texts))
    for start in range(0, resamples, at_once):
        yield _weights(rng, texts, min(at_once, resamples - start))


def _weights(rng: np.random.Generator, texts: int, resamples: int) -> Floats:
    weights = np.zeros((resamples, texts))
    if texts:
        drawn = rng.integers(0, texts, (resamples, texts))
        for one, row in zip(weights, drawn, strict=True):
            one[:] = np.bincount(row, minlength=texts)
    return weights
