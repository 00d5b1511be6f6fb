"""Alerts on runs, reviews, rollbacks and the database itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from grafana_history import HOUR, History
from grafana_rules import Alert, evaluate, load, named

from pipeline.registry import Tag

pytestmark = pytest.mark.server
MINUTE = 60
Begin = Callable[..., History]
FAILING, REVIEW = "GlinerPipelineFailing", "GlinerReviewWaiting"
ROLLBACK, DATABASE = "GlinerRollback", "GlinerDatabaseSilent"


def alerts(rule: str, reader: Any, past: History, later: float = 0) -> list[Alert]:
    """A rule's alerts about this model, that many seconds from now."""
    found = evaluate(named(rule), reader(), past.now + later)
    return [one for one in found if one.labels.get("model") == past.name]


def said(rule: str, reader: Any, past: History, later: float = 0) -> list[str]:
    """Their states."""
    return [one.state for one in alerts(rule, reader, past, later)]


@pytest.mark.parametrize(
    ("ended", "state"),
    [
        (["FINISHED", "FAILED", "FAILED"], "Normal"),
        (["FINISHED", "FAILED", "FAILED", "FAILED"], "Alerting"),
        (["FAILED", "FAILED", "FAILED"], "Alerting"),
        (["FAILED", "FAILED", "FAILED", "FINISHED"], "Normal"),
        (["FAILED", "FAILED", "KILLED", "KILLED"], "Normal"),
    ],
)
def test_runs_in_a_row(history: Begin, reader: Any, ended: list[str], state: str) -> None:
    """Three failures with no success since fire; runs stopped by hand count for nothing."""
    past = history()
    past.version()
    for place, status in enumerate(ended):
        past.run(status, ago=(len(ended) - place) * HOUR)

    assert [state] == said(FAILING, reader, past)


def test_someone_elses_run(history: Begin, reader: Any) -> None:
    """A run in the experiment that no pipeline made hides no failures."""
    past = history()
    past.version()
    for ago in (4, 3, 2):
        past.run("FAILED", ago=ago * HOUR)
    client = past.registry.client
    experiment = client.get_experiment_by_name(past.name)
    assert experiment is not None
    made = client.create_run(experiment.experiment_id)
    client.set_terminated(made.info.run_id, "FINISHED")

    assert said(FAILING, reader, past) == ["Alerting"]


@pytest.mark.parametrize(
    ("ago", "state"), [(24 * HOUR - MINUTE, "Normal"), (24 * HOUR + MINUTE, "Alerting")]
)
def test_review_waits_too_long(history: Begin, reader: Any, ago: int, state: str) -> None:
    """A review fires a day after it was asked, a minute before it does not."""
    past = history()
    number = past.asked(ago)

    [alert] = alerts(REVIEW, reader, past)

    assert (state, str(number)) == (alert.state, alert.labels["version"])


def test_decided_review(history: Begin, reader: Any) -> None:
    """Once somebody decided, nothing waits."""
    from pipeline.review import answers

    past = history()
    number = past.asked(30 * HOUR)
    assert said(REVIEW, reader, past) == ["Alerting"]

    answers.reject(number, by="Ada", reason="no", settings=past.registry.settings)

    assert said(REVIEW, reader, past) == []


def test_review_of_a_deleted_version(history: Begin, reader: Any) -> None:
    """A version that was deleted waits for nobody, although its tags are still there."""
    past = history()
    past.delete(past.asked(30 * HOUR))

    assert said(REVIEW, reader, past) == []


def test_rollback_fires_for_a_day(history: Begin, reader: Any) -> None:
    """A rollback fires at once and ends by itself after its hours."""
    past = history()
    number = past.version()
    assert said(ROLLBACK, reader, past) == []

    past.registry.event(past.found(number), "rolled back: errors")

    assert said(ROLLBACK, reader, past, MINUTE) == ["Alerting"]
    assert said(ROLLBACK, reader, past, 24 * HOUR - MINUTE) == ["Alerting"]
    assert said(ROLLBACK, reader, past, 24 * HOUR + 2 * MINUTE) == ["Normal"]


def test_promotion_is_no_rollback(history: Begin, reader: Any) -> None:
    """Other lines of a version's history fire nothing."""
    past = history()
    found = past.found(past.version())
    past.registry.event(found, "rollout promoted")
    past.registry.tag(found, {Tag.ROLLOUT: "promoted"})

    assert said(ROLLBACK, reader, past) == []


def test_no_rows_at_all(copy_of_mlflow: Callable[[str], str], reader: Any) -> None:
    """On an empty database staleness fires, and nothing else does."""
    connection = reader(copy_of_mlflow("empty"))

    found = {rule.name: [one.state for one in evaluate(rule, connection, 0)] for rule in load()}

    stale = {"GlinerNoNewVersion", "GlinerNoEvaluation"}
    assert {name: ["Alerting" if name in stale else "Normal"] for name in found} == found


def test_database_without_mlflow(root: Any, reader: Any) -> None:
    """A database that is not MLflow's is one that does not answer; the others show an error."""
    with root.cursor() as cursor:
        cursor.execute("CREATE DATABASE IF NOT EXISTS mlflow_bare")
        for host in ("%", "localhost"):
            cursor.execute("GRANT SELECT ON mlflow_bare.* TO grafana@%s", (host,))
    connection = reader("mlflow_bare")

    found = {rule.name: [one.state for one in evaluate(rule, connection, 0)] for rule in load()}

    assert {name: ["Alerting" if name == DATABASE else "Error"] for name in found} == found


def test_lost_connection(reader: Any) -> None:
    """A database that went away fires its alert, and says why."""
    connection = reader()
    connection.close()

    [alert] = evaluate(named(DATABASE), connection, 0)

    assert alert.state == "Alerting"
    assert alert.labels["severity"] == "critical"
    assert alert.annotations["error"] == "(0, '')"
