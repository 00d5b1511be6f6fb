"""What a model gets wrong: which labels it confuses, and single mentions for a person to read."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.scoring import Found, Mention, given

Kind = Literal["wrong label", "wrong boundary", "wrong label and boundary", "spurious", "missed"]
_AROUND = 60
"""Characters of text shown on each side of a mention."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """A mention that was wrong or missed.

    Attributes:
        row: index of its text.
        start, end: characters of what was given; of the true mention when it was missed.
        true_label: empty when nothing is there.
        given_label: empty when nothing was given.
        score: the model's own of what it gave; of a missed one its score below the
            threshold, 0 where it was not seen at all.
    """

    row: int
    kind: Kind
    start: int
    end: int
    true_label: str
    given_label: str
    score: float


def confusion(
    true: Sequence[Collection[Mention]],
    found: Sequence[Collection[Mention]],
    labels: Sequence[str],
) -> NDArray[np.int64]:
    """How often mentions of one label were given another, over exactly the same span.

    Returns:
        Shape (labels + 1, labels + 1): a true label by row, a given one by column. The last
        column counts those missed, the last row those given where nothing is.
    """
    place = {label: index for index, label in enumerate(labels)}
    none = len(labels)
    counts = np.zeros((none + 1, none + 1), dtype=np.int64)
    for expected, have in zip(true, found, strict=True):
        of_true = {(start, end): place[label] for start, end, label in expected}
        of_given = {(start, end): place[label] for start, end, label in have}
        for span in of_true.keys() | of_given.keys():
            counts[of_true.get(span, none), of_given.get(span, none)] += 1
    return counts


def mistakes(
    true: Sequence[Collection[Mention]], found: Sequence[Collection[Found]]
) -> list[Mistake]:
    """All mistakes at the usual threshold, the worst first.

    The worst are those that the model was surest of: wrong ones by score from the top, then
    missed ones by score from the bottom.

    Args:
        found: what was given at a lower threshold, so that a missed mention has its score.
    """
    all_of_them = [
        mistake
        for row, (expected, have) in enumerate(zip(true, found, strict=True))
        for mistake in _of_text(row, set(expected), have)
    ]
    return sorted(all_of_them, key=_sureness)


def _of_text(row: int, expected: set[Mention], have: Collection[Found]) -> list[Mistake]:
    kept = given(have)
    missed = expected - kept
    found = []
    wrong = [one for one in have if one[:3] in kept and one[:3] not in expected]
    for one in sorted(wrong, key=lambda one: -one.score):
        about = max(missed, key=lambda mention: _likeness(mention, one), default=None)
        if about is None or not _likeness(about, one)[0]:
            found.append(Mistake(row, "spurious", one.start, one.end, "", one.label, one.score))
            continue
        missed.remove(about)
        found.append(
            Mistake(row, _kind(about, one), one.start, one.end, about[2], one.label, one.score)
        )
    scores = {one[:3]: one.score for one in have}
    found += [
        Mistake(row, "missed", *mention, "", scores.get(mention, 0.0)) for mention in sorted(missed)
    ]
    return found


def _likeness(true: Mention, one: Found) -> tuple[int, bool]:
    """Characters in common, and whether the label is the same."""
    return max(0, min(true[1], one.end) - max(true[0], one.start)), true[2] == one.label


def _kind(true: Mention, one: Found) -> Kind:
    if true[:2] == (one.start, one.end):
        return "wrong label"
    return "wrong boundary" if true[2] == one.label else "wrong label and boundary"


def _sureness(mistake: Mistake) -> tuple[bool, float, int, int]:
    is_missed = mistake.kind == "missed"
    score = mistake.score if is_missed else -mistake.score
    return is_missed, score, mistake.row, mistake.start


def snippet(text: str, start: int, end: int) -> tuple[str, str, str]:
    """The text before a mention, the mention, and the text behind it, cut to be read at once."""
    before, after = text[max(0, start - _AROUND) : start], text[end : end + _AROUND]
    if start > _AROUND:
        before = f"…{before}"
    if end + _AROUND < len(text):
        after = f"{after}…"
    return before, text[start:end], after
