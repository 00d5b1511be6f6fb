"""Curves over thresholds and the reliability of scores."""

from __future__ import annotations

import random

import pytest

from pipeline import scoring
from pipeline.measuring.curves import THRESHOLDS, calibration_error, curve, reliability
from pipeline.scoring import Found, Mention


def test_a_curve_is_what_counting_at_each_threshold_gives() -> None:
    """From one reading at the lowest threshold."""
    rng = random.Random(3)
    true: list[set[Mention]] = [{(0, 1, "a"), (2, 3, "a")} for _ in range(40)]
    found = [
        tuple(Found(at, at + 1, "a", rng.random()) for at in (0, 2, 4) if rng.random() < 0.8)
        for _ in true
    ]

    points = curve(true, found)

    assert [point.threshold for point in points] == list(THRESHOLDS)
    for point in points:
        given = [scoring.given(one, point.threshold) for one in found]
        counts = scoring.tally(true, given, ["a"]).micro
        assert point.precision == pytest.approx(scoring.precision(counts))
        assert point.recall == pytest.approx(scoring.recall(counts))
        assert point.f1 == pytest.approx(scoring.f1(counts))


def test_reliability_holds_scores_against_the_share_that_is_right() -> None:
    """Nine of ten right at 0.9 is calibrated; none right at 0.6 is off by 60 points."""
    true: list[set[Mention]] = [{(0, 1, "a")}] * 9 + [set()] * 11
    found = [(Found(0, 1, "a", 0.9),)] * 10 + [(Found(0, 1, "a", 0.6),)] * 10

    bins = reliability(true, found)

    assert [(one.low, one.count, one.right) for one in bins] == [(0.6, 10, 0.0), (0.9, 10, 0.9)]
    assert calibration_error(bins) == pytest.approx(0.3)


def test_a_score_of_one_and_a_silent_model_have_a_place() -> None:
    """The last bin is closed; where nothing was given there is no bin and no error."""
    [last] = reliability([{(0, 1, "a")}], [(Found(0, 1, "a", 1.0),)])

    assert (last.high, last.right) == (1.0, 1.0)
    assert reliability([{(0, 1, "a")}], [()]) == ()
    assert calibration_error(()) == 0
    assert curve([set()], [()])[0].f1 == 0
