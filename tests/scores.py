"""Windows to score, and how far apart the scores of two engines are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from predictor.engines import Window

WINDOWS = (
    Window(("Ada", "Lovelace", "was", "born", "in", "London", "."), ("person", "location")),
    Window(("so", "it", "goes"), ("person", "location", "date of birth")),
    Window(("Grace", "Hopper", "met", "Alan", "Turing", "in", "Oslo", ".") * 9, ("person",)),
)


def worst(
    ours: Sequence[NDArray[np.float32]],
    theirs: Sequence[NDArray[np.float32]],
    windows: Sequence[Window] = WINDOWS,
) -> float:
    """The largest difference between scores of spans that lie in the text."""
    found = []
    for window, one, other in zip(windows, ours, theirs, strict=True):
        assert one.shape == other.shape
        words, width, _ = one.shape
        inside = np.arange(words)[:, None] + np.arange(width) < words
        assert len(window.words) == words
        found.append(float(np.abs(one[inside] - other[inside]).max()))
    return max(found)
