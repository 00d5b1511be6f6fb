"""What one forward pass may hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

ALIKE = 0.75
"""Windows share a pass when the shortest is at least this part of the longest: the rest is
padding, which costs as much as text."""

NEAR = 64
"""Or when they differ by no more positions than this: a pass of its own costs what about a
hundred positions cost, whatever is in it."""


class Sized(Protocol):
    """Whatever takes positions of a forward pass."""

    @property
    def positions(self) -> int:
        """Positions of prompt and text."""
        ...


@dataclass(frozen=True, slots=True)
class Budget:
    """Bounds on one forward pass.

    Attributes:
        windows: most windows.
        positions: most positions, padding included, above a single window.
    """

    windows: int
    positions: int

    def around(self, windows: Sequence[Sized], at: int, most: int) -> tuple[int, int]:
        """Choose what shares a pass with one window: those nearest to it in length.

        Args:
            windows: by rising length.
            at: index of the one that must be in it.
            most: windows to choose at most, it included.

        Returns:
            Index of the first and behind the last of the chosen ones.
        """
        first, end = at, at + 1
        while end - first < min(most, self.windows):
            shorter, longer = (first - 1, end), (first, end + 1)
            grown = [one for one in (longer, shorter) if self._fit(windows, *one)]
            if not grown:
                break
            first, end = min(
                grown, key=lambda one: windows[one[1] - 1].positions - windows[one[0]].positions
            )
        return first, end

    def _fit(self, windows: Sequence[Sized], first: int, end: int) -> bool:
        if first < 0 or end > len(windows):
            return False
        shortest, longest = windows[first].positions, windows[end - 1].positions
        alike = shortest >= ALIKE * longest or longest - shortest <= NEAR
        return alike and longest * (end - first) <= self.positions
