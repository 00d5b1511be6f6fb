"""The gate's conditions, each met and not met."""

from __future__ import annotations

import math
from typing import Any

import labelled
import pytest

from pipeline.errors import SettingsError
from pipeline.evaluation import Check, Evaluation
from pipeline.limits import GateLimits, checks


def failed(evaluation: Evaluation, **limits: Any) -> list[Check]:
    return [one for one in checks(evaluation, GateLimits(**limits)) if not one.passed]


@pytest.mark.parametrize(
    ("limit", "met", "missed", "detail"),
    [
        ("min_f1", 0.8, 0.81, "F1: 0.800 is below 0.810"),
        ("min_precision", 0.8, 0.81, "precision: 0.800 is below 0.810"),
        ("min_recall", 0.8, 0.81, "recall: 0.800 is below 0.810"),
        ("min_label_f1", {"city": 0.8}, {"city": 0.9}, "F1 of 'city': 0.800 is below 0.900"),
        ("min_label_f1", {}, {"date": 0.1}, "label 'date' has a limit and does not occur"),
        (
            "max_p95_ms",
            20,
            19.5,
            "milliseconds for 95 % of texts with torch fp32: 20 is above 19.5",
        ),
        ("max_size_mb", 25, 24, "MB of weights: 25 is above 24"),
        ("min_rows", 50, 51, "texts in the data: 50 is below 51"),
    ],
)
def test_each_limit_passes_at_its_value_and_fails_beyond(
    limit: str, met: Any, missed: Any, detail: str
) -> None:
    """The detail is a sentence with both numbers."""
    evaluation = labelled.evaluation()

    assert failed(evaluation, **{limit: met}) == []
    [check] = failed(evaluation, **{limit: missed})
    assert check.name.startswith(limit)
    assert check.detail.startswith(detail)


@pytest.mark.parametrize(
    ("loss", "tolerated", "refused"),
    [
        (-0.1, 0.0, False),
        (0.015, 0.0, False),  # the interval holds 0
        (0.025, 0.0, True),
        (0.025, 0.01, False),
        (0.035, 0.01, True),
    ],
)
def test_a_loss_is_refused_when_its_interval_lies_beyond_what_is_tolerated(
    loss: float, tolerated: float, refused: bool
) -> None:
    """A loss that may be chance is let through."""
    evaluation = labelled.evaluation(champion=labelled.measured(), loss=loss)

    found = [one.name for one in failed(evaluation, max_regression=tolerated)]

    assert found == (["regression"] if refused else [])


def test_a_protected_label_may_not_fall() -> None:
    """Also when all labels together rise."""
    evaluation = labelled.evaluation(
        champion=labelled.measured(), loss=-0.1, label_losses={"person": 0.2}
    )

    [check] = failed(evaluation, protected_labels=("city", "person"))

    assert check.name == "regression:person"
    assert "-0.200 (-0.220 to -0.180) is a significant loss" in check.detail
    assert failed(evaluation) == []


def test_a_protected_label_must_be_measured() -> None:
    """Also before there is a champion to lose against: a misspelt one would protect nothing."""
    with_champion = labelled.evaluation(champion=labelled.measured())

    for evaluation in (with_champion, labelled.evaluation()):
        [check] = failed(evaluation, protected_labels=("city", "date"))
        assert check.name == "regression:date"
        assert check.detail == (
            "label 'date' is protected and does not occur in the data, which has 'city', 'person'"
        )


def test_data_without_mentions_refuses() -> None:
    """Nothing was measured, whatever the limits are."""
    empty = labelled.measured().model_copy(update={"micro": labelled.score(0, support=0)})

    [check] = failed(labelled.evaluation(empty))

    assert "no labelled mention" in check.detail


def test_what_is_no_number_passes_nothing() -> None:
    """Not the lowest limit either."""
    broken = labelled.measured().model_copy(update={"micro": labelled.score(math.nan)})

    assert [one.name for one in failed(labelled.evaluation(broken))] == [
        "min_f1",
        "min_precision",
        "min_recall",
    ]


@pytest.mark.parametrize(
    "values",
    [
        {"min_f1": 1.5},
        {"min_f1": math.nan},
        {"max_p95_ms": -1},
        {"min_f2": 0.5},
        {"min_recall": "x"},
        {"min_label_f1": {"person": 80}},
        {"min_label_f1": {"person": math.nan}},
    ],
)
def test_limits_out_of_bounds_are_refused_by_name(values: dict[str, Any]) -> None:
    """Before anything is measured."""
    with pytest.raises(SettingsError, match=rf"^{next(iter(values))}[:.]"):
        GateLimits.parse(**values)
