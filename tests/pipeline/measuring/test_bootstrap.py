"""Intervals: reproducible, paired, and about as wide as theory says."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline import scoring
from pipeline.measuring import bootstrap
from pipeline.scoring import Mention, Tally


def counts_of(f1: float, texts: int, seed: int = 0) -> Tally:
    """Texts with one mention each, found with this chance."""
    hit = np.random.default_rng(seed).random(texts) < f1
    counts = np.zeros((texts, 1, 3), dtype=np.int64)
    counts[:, 0, 0], counts[:, 0, 1], counts[:, 0, 2] = hit, ~hit, ~hit
    return Tally(("city",), counts)


def test_the_same_counts_give_the_same_resamples() -> None:
    """The seed decides which texts are drawn; another draws others."""
    counts = counts_of(0.7, 200).counts

    assert np.array_equal(bootstrap.f1(counts), bootstrap.f1(counts))
    assert not np.array_equal(bootstrap.f1(counts, seed=1), bootstrap.f1(counts, seed=2))


def test_cutting_the_work_in_pieces_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded without another result."""
    counts = counts_of(0.7, 50).counts
    whole = bootstrap.f1(counts)

    monkeypatch.setattr(bootstrap, "_MOST_DRAWS", 50 * 7)

    assert np.array_equal(bootstrap.f1(counts), whole)


def test_the_interval_is_as_wide_as_theory_says() -> None:
    """With one mention a text, F1 is a share, whose interval is known."""
    score = scoring.scores(counts_of(0.7, 1_000)).micro
    half = 1.96 * (score.f1 * (1 - score.f1) / 1_000) ** 0.5

    assert score.f1 - score.f1_low == pytest.approx(half, rel=0.15)
    assert score.f1_high - score.f1 == pytest.approx(half, rel=0.15)


def test_a_model_does_not_differ_from_itself() -> None:
    """Paired, the difference is nothing in every resample."""
    one = counts_of(0.6, 100)

    found = scoring.compare(one, one).micro

    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_pairing_sees_what_single_intervals_hide() -> None:
    """A model that is worse on a few of the same texts is worse beyond chance."""
    champion = counts_of(0.7, 300)
    worse = champion.counts.copy()
    hits = np.flatnonzero(worse[:, 0, 0])[:9]
    worse[hits] = [[0, 1, 1]]
    candidate = Tally(champion.labels, worse)

    found = scoring.compare(candidate, champion)

    assert found.micro.value == pytest.approx(-9 / 300)
    assert found.micro.low < found.micro.high < 0
    assert found.labels["city"] == found.micro
    assert scoring.scores(candidate).micro.f1_high > scoring.scores(champion).micro.f1_low


def test_models_measured_on_other_texts_are_not_compared() -> None:
    """Pairs must be pairs."""
    with pytest.raises(ValueError, match="same texts"):
        scoring.compare(counts_of(0.7, 10), counts_of(0.7, 11))


def test_few_texts_leave_a_wide_interval() -> None:
    """Two texts prove little."""
    true: list[set[Mention]] = [{(0, 1, "city")}, {(0, 1, "city")}]
    found: list[set[Mention]] = [{(0, 1, "city")}, set()]

    score = scoring.scores(scoring.tally(true, found, ["city"])).micro

    assert (score.f1_low, score.f1_high) == (0, 1)
