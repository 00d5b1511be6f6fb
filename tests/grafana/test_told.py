"""From a database in which time goes by to a message: the evaluator in Grafana's place, a real
Alertmanager on our routes, and a local Slack."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import alertmanagers
import programs
import pytest
import slack_server
from alertmanagers import Alertmanager
from grafana_history import HOUR, History
from grafana_rules import Alert, evaluate, named
from slack_server import Slack

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(not programs.ALERTMANAGER, reason=programs.NO_ALERTMANAGER),
]

BOARDS = "https://gliner-kserve.example/grafana/d/"
STALE = [
    ("GlinerNoNewVersion", "No new version of {} for 36 hours"),
    ("GlinerNoEvaluation", "No successful evaluation of {} for 36 hours"),
]
OLDER = (
    "UPDATE registered_models SET creation_time = creation_time - %s WHERE name = %s",
    "UPDATE model_versions SET creation_time = creation_time - %s WHERE name = %s",
    "UPDATE latest_metrics SET timestamp = timestamp - %s WHERE run_uuid IN (SELECT run_uuid "
    "FROM runs JOIN experiments USING (experiment_id) WHERE experiments.name = %s)",
)
"""What makes all that a model has older, by milliseconds."""


@pytest.fixture
def slack() -> Iterator[Slack]:
    with slack_server.running() as started:
        yield started


class Grafana:
    """Evaluates one rule about one model, and tells Alertmanager as Grafana does: again after each
    evaluation for as long as it fires, and once that it is over."""

    def __init__(self, name: str, reader: Any, past: History, manager: Alertmanager) -> None:
        self._rule = named(name)
        self._reader = reader
        self._past = past
        self._manager = manager
        self._firing = False

    def evaluate(self) -> str:
        """One evaluation; the alert's state after it."""
        found = evaluate(self._rule, self._reader(), self._past.now)
        [alert] = [one for one in found if one.labels.get("model") == self._past.name]
        if alert.state == "Alerting":
            self._firing = True
            self._manager.post([(alert.labels, words(alert))])
        elif self._firing:
            self._firing = False
            self._manager.post([(alert.labels, words(alert))], ended=True)
        return alert.state


def words(alert: Alert) -> dict[str, str]:
    """Its annotations; Grafana makes an address of the dashboard's uid."""
    return {**alert.annotations, "dashboard_url": BOARDS + alert.annotations["__dashboardUid__"]}


@pytest.mark.parametrize(("name", "summary"), STALE)
def test_a_model_goes_stale(
    history: Callable[..., History],
    reader: Any,
    slack: Slack,
    tmp_path: Path,
    name: str,
    summary: str,
) -> None:
    """It is told once, with what to do, however often it is evaluated; and once that it is over."""
    past = history()
    past.version(35 * HOUR)
    past.evaluated(0.8, ago=35 * HOUR)
    file = alertmanagers.on_this_machine(tmp_path, 600, slack.url, alertmanagers.at_any_hour())
    with alertmanagers.serving(tmp_path, file) as manager:
        grafana = Grafana(name, reader, past, manager)
        states = [grafana.evaluate()]
        for statement in OLDER:
            past.change(statement, 2 * HOUR * 1000)
        states += [grafana.evaluate() for _ in range(3)]
        alertmanagers.until(slack.taken, 1)
        past.version()
        past.evaluated(0.8)
        states.append(grafana.evaluate())
        alertmanagers.until(slack.taken, 2)

    assert states == ["Normal", *["Alerting"] * 3, "Normal"]
    assert slack.titles == [f"1 firing: {name}", f"Over: {name}"]
    fired, over = slack.shown(0), slack.shown(1)
    docs = f"https://gliner-kserve.example/docs/alerts.md#{name.lower()}"
    assert f"*[warning]* {summary.format(past.name)}\n" in fired
    assert "passed 1.0 hours ago" in fired
    assert f"<{docs}|What to do> · <{BOARDS}gliner-model-quality|Dashboard>" in fired
    assert over.strip().endswith(summary.format(past.name))
    assert slack.wrong == []
