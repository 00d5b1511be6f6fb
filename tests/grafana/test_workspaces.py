"""MLflow's workspaces: the same name twice is two models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from grafana_rules import evaluate, load, named

pytestmark = pytest.mark.server
NOW = 1_800_000_000
HOUR = 3600
FILL = """
INSERT INTO registered_models (workspace, name, creation_time)
  VALUES ('a', 'gliner-ner', 0), ('b', 'gliner-ner', 0);
INSERT INTO registered_model_tags (workspace, name, `key`, value)
  VALUES ('b', 'gliner-ner', 'alert.f1_floor', '0.5');
INSERT INTO model_versions (workspace, name, version, creation_time, current_stage)
  VALUES ('a', 'gliner-ner', 1, {fresh}, 'None'), ('b', 'gliner-ner', 1, {stale}, 'None');
INSERT INTO registered_model_aliases (workspace, name, alias, version)
  VALUES ('a', 'gliner-ner', 'champion', 1), ('b', 'gliner-ner', 'champion', 1);
INSERT INTO model_version_tags (workspace, name, version, `key`, value)
  VALUES ('b', 'gliner-ner', 1, 'review_decision', 'open'),
    ('a', 'gliner-ner', 1, 'review_asked_at', '2020-01-01T00:00:00+00:00'),
    ('b', 'gliner-ner', 1, 'review_asked_at', '2020-01-01T00:00:00+00:00'),
    ('b', 'gliner-ner', 1, 'event.{fresh}', 'rolled back: errors');
INSERT INTO experiments (experiment_id, name, workspace, lifecycle_stage)
  VALUES (1, 'gliner-ner', 'a', 'active'), (2, 'gliner-ner', 'b', 'active');
INSERT INTO runs (run_uuid, status, start_time, lifecycle_stage, experiment_id)
  VALUES ('1', 'FINISHED', {fresh}, 'active', 1), ('2', 'FAILED', {stale}, 'active', 2),
    ('3', 'FAILED', {stale} + 1, 'active', 2), ('4', 'FAILED', {stale} + 2, 'active', 2);
INSERT INTO tags (run_uuid, `key`, value)
  VALUES ('1', 'pipeline.job', 'x'), ('2', 'pipeline.job', 'x'), ('3', 'pipeline.job', 'x'),
    ('4', 'pipeline.job', 'x'), ('1', 'pipeline.version', '1'), ('2', 'pipeline.version', '1');
INSERT INTO latest_metrics (run_uuid, `key`, value, timestamp, step, is_nan)
  VALUES ('1', 'f1', 0.6, {fresh}, 0, 0), ('2', 'f1', 0.6, {stale}, 0, 0)
"""
# By rule: the states in workspace a and in b; None where there is no alert at all.
EXPECTED = {
    "GlinerNoNewVersion": ("Normal", "Alerting"),
    "GlinerNoEvaluation": ("Normal", "Alerting"),
    "GlinerF1BelowFloor": ("Alerting", "Normal"),
    "GlinerF1AboveCeiling": ("Normal", "Normal"),
    "GlinerF1Regression": ("Normal", "Normal"),
    "GlinerLabelCollapsed": (None, None),
    "GlinerPipelineFailing": ("Normal", "Alerting"),
    "GlinerReviewWaiting": (None, "Alerting"),
    "GlinerRollback": (None, "Alerting"),
}


@pytest.fixture(scope="module")
def two_workspaces(root: Any, request: pytest.FixtureRequest) -> str:
    """The name of a database in which two workspaces have a model of the same name."""
    copied: Callable[[str], str] = request.getfixturevalue("copy_of_mlflow")
    name = copied("workspaces")
    root.select_db(name)
    times = {"fresh": (NOW - HOUR) * 1000, "stale": (NOW - 40 * HOUR) * 1000}
    with root.cursor() as cursor:
        for statement in FILL.format(**times).split(";\n"):
            cursor.execute(statement)
    return name


def test_all_rules_are_expected() -> None:
    """No rule about a model is left out."""
    assert {rule.name for rule in load()} - {"GlinerDatabaseSilent"} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_same_name_in_two_workspaces(two_workspaces: str, reader: Any, name: str) -> None:
    """Each workspace's model is judged by its own rows, and has an alert of its own."""
    found = evaluate(named(name), reader(two_workspaces), NOW)

    by_workspace = {
        one.labels["workspace"]: one.state for one in found if "workspace" in one.labels
    }
    assert EXPECTED[name] == (by_workspace.get("a"), by_workspace.get("b"))
