"""From scored spans to entities: GLiNER's greedy search, in time that stays bounded.

GLiNER compares each span with every span kept so far, which takes minutes when a low
threshold leaves many. Spans are at most `width` words long, so only neighbours can clash:
the same result comes from looking at those alone. `tests/test_decoding.py` holds the two
against each other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple


class Candidate(NamedTuple):
    """A span above its label's threshold: words `start` to `end` inclusive."""

    start: int
    end: int
    label: int
    score: float


def select(
    candidates: Iterable[Candidate], *, flat_ner: bool, multi_label: bool
) -> list[Candidate]:
    """Keep the best spans that do not clash.

    The highest score wins; of equal scores the first given. Flat: no two kept spans share a
    word. Nested: one may lie inside another, but not straddle its edge. With `multi_label`
    the very same span may be kept once for each label.

    Args:
        candidates: spans in any order.
        flat_ner: whether nested spans clash.
        multi_label: whether a span may have several labels.

    Returns:
        The kept spans by position: by start, then the longer first, then by score.
    """
    clash = _flat_clash if flat_ner else _nested_clash
    # Kept spans by start, as a bit mask of their widths less one.
    kept_widths: defaultdict[int, int] = defaultdict(int)
    widest = 0
    kept: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda one: -one.score):
        start, width = candidate.start, candidate.end - candidate.start
        if kept_widths[start] >> width & 1:
            if multi_label:
                kept.append(candidate)
            continue
        if clash(kept_widths, start, width, widest):
            continue
        kept_widths[start] |= 1 << width
        widest = max(widest, width)
        kept.append(candidate)
    kept.sort(key=lambda one: (one.start, -one.end, -one.score))
    return kept


def _flat_clash(kept: defaultdict[int, int], start: int, width: int, widest: int) -> bool:
    """Whether a kept span shares a word with words `start` to `start + width`."""
    # From before, those that reach `start`; from within, any.
    return any(kept.get(start - back, 0) >> back for back in range(1, widest + 1)) or any(
        kept.get(at, 0) for at in range(start, start + width + 1)
    )


def _nested_clash(kept: defaultdict[int, int], start: int, width: int, widest: int) -> bool:
    """Whether a kept span straddles an edge of words `start` to `start + width`."""
    inside = (1 << width) - 1  # ends at one of the words but the last
    return any(kept.get(start - back, 0) >> back & inside for back in range(1, widest + 1)) or any(
        kept.get(start + ahead, 0) >> (width - ahead + 1) for ahead in range(1, width + 1)
    )
