"""Alerts on what the champion scores, on data that MLflow itself wrote."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from grafana_history import DAY, HOUR, History
from grafana_rules import Alert, evaluate, named, states

pytestmark = pytest.mark.server
Begin = Callable[..., History]
FLOOR, CEILING = "GlinerF1BelowFloor", "GlinerF1AboveCeiling"
REGRESSION, COLLAPSE = "GlinerF1Regression", "GlinerLabelCollapsed"


def alerts(rule: str, reader: Any, past: History) -> list[Alert]:
    """A rule's alerts about this model."""
    found = evaluate(named(rule), reader(), past.now)
    assert states(found).count("Error") == 0, found
    return [one for one in found if one.labels.get("model") == past.name]


def said(rule: str, reader: Any, past: History) -> list[str]:
    """Their states."""
    return [one.state for one in alerts(rule, reader, past)]


@pytest.fixture
def serving(history: Begin) -> Callable[[float], History]:
    """A model whose version 1 serves, measured with this F1 an hour ago."""

    def begin(f1: float, **options: Any) -> History:
        past = history()
        past.champion(past.version())
        past.evaluated(f1, ago=HOUR, version=1, **options)
        return past

    return begin


@pytest.mark.parametrize(
    ("f1", "floor", "ceiling"),
    [(0.69, "Alerting", "Normal"), (0.7, "Normal", "Normal"), (0.99, "Normal", "Alerting")],
)
def test_floor_and_ceiling(serving: Any, reader: Any, f1: float, floor: str, ceiling: str) -> None:
    """Below 0.7 one fires, above 0.98 the other."""
    past = serving(f1)

    assert [floor] == said(FLOOR, reader, past)
    assert [ceiling] == said(CEILING, reader, past)


def test_newest_measurement_counts(serving: Any, reader: Any) -> None:
    """The champion that scores worse beside a later candidate is what counts."""
    past = serving(0.9)
    past.evaluated(0.95, champion=(1, 0.6))

    [alert] = alerts(FLOOR, reader, past)

    assert alert.state == "Alerting"
    assert "0.100 below the floor of 0.7" in alert.annotations["description"]


def test_candidate_is_not_the_champion(serving: Any, reader: Any) -> None:
    """A bad candidate that was never promoted fires nothing."""
    past = serving(0.9)
    past.version()
    past.evaluated(0.1, version=2, champion=(1, 0.9))

    assert said(FLOOR, reader, past) == ["Normal"]


def test_promoted_version_brings_its_own_score(serving: Any, reader: Any) -> None:
    """After a promotion the alert is about the new champion, from the run that made it."""
    past = serving(0.6)
    past.version()
    past.evaluated(0.9, version=2, champion=(1, 0.6))
    assert said(FLOOR, reader, past) == ["Alerting"]

    past.champion(2)

    [alert] = alerts(FLOOR, reader, past)
    assert (alert.state, alert.labels["version"]) == ("Normal", "2")


def test_nan_is_skipped(serving: Any, reader: Any) -> None:
    """NaN, which MLflow stores as 0, is not an F1 of 0: the one before counts."""
    past = serving(0.9)
    past.evaluated(math.nan, version=1)

    assert said(FLOOR, reader, past) == ["Normal"]


def test_deleted_champion(serving: Any, reader: Any) -> None:
    """A champion that was deleted is none."""
    past = serving(0.1)
    assert said(FLOOR, reader, past) == ["Alerting"]

    past.delete(1)

    assert said(FLOOR, reader, past) == []


def test_two_models_with_champions(serving: Any, reader: Any) -> None:
    """Each model is judged by its own experiment and its own tag."""
    good, bad = serving(0.75), serving(0.65)
    good.setting("alert.f1_floor", "0.8")
    bad.setting("alert.f1_floor", "0.6")

    assert said(FLOOR, reader, good) == ["Alerting"]
    assert said(FLOOR, reader, bad) == ["Normal"]


@pytest.mark.parametrize(("now", "state"), [(0.86, "Alerting"), (0.88, "Normal")])
def test_regression_within_a_week(serving: Any, reader: Any, now: float, state: str) -> None:
    """Losing more than 0.03 against the best of the week fires, losing less does not."""
    past = serving(0.5)
    past.evaluated(0.5, ago=6 * DAY, champion=(1, 0.9))
    past.evaluated(0.5, champion=(1, now))

    assert [state] == said(REGRESSION, reader, past)


def test_regression_of_more_than_a_week(serving: Any, reader: Any) -> None:
    """What the champion scored eight days ago is not held against it."""
    past = serving(0.86)
    past.evaluated(0.5, ago=8 * DAY, champion=(1, 0.9))

    assert said(REGRESSION, reader, past) == ["Normal"]


def test_regression_by_promotion(serving: Any, reader: Any) -> None:
    """A new champion that is worse than the one before fires."""
    past = serving(0.9)
    past.version()
    past.evaluated(0.8, version=2, champion=(1, 0.9))
    assert said(REGRESSION, reader, past) == ["Normal"]

    past.champion(2)

    assert said(REGRESSION, reader, past) == ["Alerting"]


def test_collapsed_label(serving: Any, reader: Any) -> None:
    """A label below half of its best fires under its own name; its neighbour stays quiet."""
    past = serving(0.9, labels={"person": 0.9, "date of birth": 0.8})
    past.evaluated(0.9, champion=(1, 0.88), champion_labels={"person": 0.5, "date of birth": 0.39})

    found = {one.labels["entity_label"]: one for one in alerts(COLLAPSE, reader, past)}

    assert {name: one.state for name, one in found.items()} == {
        "person": "Normal",
        "date of birth": "Alerting",
    }
    assert "label date of birth" in found["date of birth"].annotations["summary"]


def test_label_that_was_never_good(serving: Any, reader: Any) -> None:
    """A label that was never above 0.2 cannot collapse."""
    past = serving(0.9, labels={"rare": 0.15})
    past.evaluated(0.9, champion=(1, 0.9), champion_labels={"rare": 0.0})

    assert said(COLLAPSE, reader, past) == []


def test_summaries_are_no_labels(serving: Any, reader: Any) -> None:
    """`f1_macro` and the bounds of the interval are not taken for labels."""
    past = serving(0.9, labels={"person": 0.9})

    assert [one.labels["entity_label"] for one in alerts(COLLAPSE, reader, past)] == ["person"]
