"""Alerts on a model that is no longer renewed, on data that MLflow itself wrote."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from grafana_history import DAY, HOUR, History
from grafana_rules import evaluate, named, states

pytestmark = pytest.mark.server
MINUTE = 60
Begin = Callable[..., History]
VERSION, EVALUATION = "GlinerNoNewVersion", "GlinerNoEvaluation"


def said(rule: str, reader: Any, past: History) -> list[str]:
    """The states of a rule's alerts about this model."""
    return states(evaluate(named(rule), reader(), past.now), model=past.name)


@pytest.mark.parametrize(
    ("ago", "state"),
    [(0, "Normal"), (36 * HOUR - MINUTE, "Normal"), (36 * HOUR + MINUTE, "Alerting")],
)
def test_version_stale_by_a_minute(history: Begin, reader: Any, ago: int, state: str) -> None:
    """36 hours after the newest version it fires, a minute before it does not."""
    past = history()
    past.version(ago)

    assert [state] == said(VERSION, reader, past)


@pytest.mark.parametrize(
    ("ago", "state"),
    [(0, "Normal"), (36 * HOUR - MINUTE, "Normal"), (36 * HOUR + MINUTE, "Alerting")],
)
def test_evaluation_stale_by_a_minute(history: Begin, reader: Any, ago: int, state: str) -> None:
    """36 hours after the newest F1 it fires, a minute before it does not."""
    past = history()
    past.version(3 * DAY)
    past.evaluated(0.8, ago=ago)

    assert [state] == said(EVALUATION, reader, past)


def test_deleted_version_is_none(history: Begin, reader: Any) -> None:
    """A version that was deleted again does not make the model fresh."""
    past = history()
    past.version(2 * DAY)
    number = past.version()
    past.change("UPDATE registered_models SET creation_time = %s WHERE name = %s", 0)
    assert said(VERSION, reader, past) == ["Normal"]

    past.delete(number)

    assert said(VERSION, reader, past) == ["Alerting"]


def test_all_versions_deleted(history: Begin, reader: Any) -> None:
    """A model whose versions are all gone is stale, it does not vanish from the alert."""
    past = history()
    past.delete(past.version(2 * DAY))

    assert said(VERSION, reader, past) == ["Alerting"]


def test_nan_is_no_evaluation(history: Begin, reader: Any) -> None:
    """An F1 that is not a number leaves the clock where it was."""
    past = history()
    past.version(2 * DAY)
    past.evaluated(math.nan)

    assert said(EVALUATION, reader, past) == ["Alerting"]


def test_failed_run_with_an_evaluation(history: Begin, reader: Any) -> None:
    """What was measured was measured, also where a later step failed."""
    past = history()
    past.version(2 * DAY)
    past.evaluated(0.8, status="FAILED")

    assert said(EVALUATION, reader, past) == ["Normal"]


def test_models_have_alerts_of_their_own(history: Begin, reader: Any) -> None:
    """Of two models one is stale, and only that one's alert fires."""
    fresh, stale = history(), history()
    fresh.version()
    stale.version(2 * DAY)

    assert said(VERSION, reader, fresh) == ["Normal"]
    assert said(VERSION, reader, stale) == ["Alerting"]


@pytest.mark.parametrize(
    ("hours", "state"), [("24", "Alerting"), ("72", "Normal"), ("?", "Alerting")]
)
def test_limit_is_a_tag_of_the_model(history: Begin, reader: Any, hours: str, state: str) -> None:
    """A tag moves the limit; one that is no number leaves it at 36 hours."""
    past = history()
    past.version(48 * HOUR if hours != "24" else 30 * HOUR)
    past.setting("alert.stale_hours", hours)

    assert [state] == said(VERSION, reader, past)


def test_other_peoples_models(history: Begin, reader: Any) -> None:
    """A model of another name is watched once its tag asks for it, and ours until it objects."""
    theirs, ours = history("churn"), history()
    theirs.version(2 * DAY)
    ours.version(2 * DAY)
    assert said(VERSION, reader, theirs) == []

    theirs.setting("alerts", "on")
    ours.setting("alerts", "off")

    assert said(VERSION, reader, theirs) == ["Alerting"]
    assert said(VERSION, reader, ours) == []


def test_annotations_name_model_and_hours(history: Begin, reader: Any) -> None:
    """Who reads the message knows which model, which limit and since when."""
    past = history()
    past.version(40 * HOUR)

    [alert] = [
        one
        for one in evaluate(named(VERSION), reader(), past.now)
        if one.labels.get("model") == past.name
    ]

    assert f"No new version of {past.name} for 36 hours" == alert.annotations["summary"]
    assert "passed 4.0 hours ago" in alert.annotations["description"]
