"""DeBERTa's attention as its formula says, and random numbers to try it on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from predictor.engines import attention
from predictor.engines.reading import Distances

Floats = NDArray[np.float32]
DISTANCES = Distances(span=16, buckets=16, furthest=64)
"""32 rows: the distances from 8 on share them."""


def floats(rounded: NDArray[np.uint16]) -> Floats:
    """bf16 as numbers."""
    return (rounded.astype(np.uint32) << 16).view(np.float32)


def attended(
    mixed: Floats, sizes: list[int], heads: int, tables: tuple[Floats, Floats] | None
) -> Floats:
    """DeBERTa's own formula, a text and a head at a time; see `attention.attend`."""
    found = []
    at = 0
    for size in sizes:
        queries, keys, values = np.split(mixed[at : at + size], 3, axis=1)
        at += size
        parts = []
        for head in range(heads):
            query, key, value = (
                np.split(one, heads, axis=1)[head] for one in (queries, keys, values)
            )
            score = query @ key.T
            if tables is not None:
                places = np.arange(size)
                rows = DISTANCES.rows(size)[size - 1 - (places[:, None] - places)]
                ahead, behind = query @ tables[0][head].T, key @ tables[1][head].T
                score += np.take_along_axis(ahead, rows, axis=1)
                score += np.take_along_axis(behind, rows.T, axis=1).T
            weights = np.exp(score - score.max(axis=1, keepdims=True))
            parts.append(weights / weights.sum(axis=1, keepdims=True) @ value)
        found.append(np.concatenate(parts, axis=1))
    return np.concatenate(found)


def drawn(*shape: int, seed: int = 5) -> Floats:
    """Random numbers that bf16 holds."""
    return floats(attention.bf16(np.random.default_rng(seed).standard_normal(shape, np.float32)))
