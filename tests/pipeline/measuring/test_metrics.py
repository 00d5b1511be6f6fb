"""Metrics by name, which MLflow and its database must take."""

from __future__ import annotations

import labelled
from mlflow.utils.validation import _validate_metric_name

from pipeline.measuring import metrics


def test_candidate_champion_and_difference_have_their_metrics() -> None:
    """The champion's begin with its name."""
    found = metrics.of(
        labelled.evaluation(labelled.measured(0.8), labelled.measured(0.85), loss=0.05)
    )

    assert (found["f1"], found["champion_f1"]) == (0.8, 0.85)
    assert (found["f1_city"], found["champion_f1_city"]) == (0.8, 0.85)
    assert found["f1_difference"] == -0.05
    assert found["size_mb"] == 25


def test_without_a_champion_there_is_nothing_of_it() -> None:
    """Not even a zero."""
    found = metrics.of(labelled.evaluation())

    assert not [name for name in found if "champion" in name or "difference" in name]


def test_any_label_has_a_name_of_its_own_that_mlflow_takes() -> None:
    """Also labels of marks alone, of other scripts, and those called like another metric."""
    labels = ["a+b", "a/b", "A b", "macro", "low", "人名", "../..", "x" * 400, "phone number"]

    names = metrics.names(labels)

    for name in names.values():
        _validate_metric_name(name)  # type: ignore[no-untyped-call] # MLflow's own check
    assert len({name.casefold() for name in names.values()}) == len(labels)
    assert not {"f1_macro", "f1_low"} & set(names.values())
    assert names["phone number"] == "f1_phone number"
