"""What shares a forward pass."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from predictor.budget import Budget


@dataclass(frozen=True)
class Sized:
    positions: int


def around(budget: Budget, lengths: list[int], at: int, most: int = 99) -> list[int]:
    first, end = budget.around([Sized(length) for length in lengths], at, most)
    return lengths[first:end]


@pytest.mark.parametrize(
    ("lengths", "at", "chosen"),
    [
        ([100], 0, [100]),
        ([10, 20, 100, 110, 400], 2, [100, 110]),
        ([10, 20, 74, 80], 0, [10, 20, 74]),  # near enough, though not alike
        ([296, 400], 1, [400]),
        ([300, 400], 1, [300, 400]),
        ([320, 400, 480, 520], 1, [400, 480, 520]),  # the nearest first: 320 no longer fits
        ([2000, 2000], 0, [2000]),  # above the budget, but single
    ],
)
def test_like_lengths(lengths: list[int], at: int, chosen: list[int]) -> None:
    """Windows of like length, nearest first, until padding would be more than a quarter."""
    assert around(Budget(windows=8, positions=1999), lengths, at) == chosen


def test_bounds() -> None:
    """Neither windows nor padded positions go over their limits, nor over what was asked."""
    lengths = [90] * 5 + [100] * 5

    assert len(around(Budget(windows=3, positions=1000), lengths, 5)) == 3
    assert len(around(Budget(windows=8, positions=399), lengths, 5)) == 3
    assert len(around(Budget(windows=8, positions=1000), lengths, 5, most=2)) == 2
