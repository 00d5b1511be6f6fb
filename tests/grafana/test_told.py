"""From a change in MLflow's database to a message: the evaluator in Grafana's place, a real
Alertmanager on our routes, and a local Slack and mail server."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import alertmanagers
import grafana_stories as stories
import mail_server
import programs
import pytest
import slack_server
from alertmanagers import Alertmanager
from followed import until
from grafana_history import History
from grafana_rules import Alert, evaluate, named
from grafana_stories import Story
from mail_server import Mail
from slack_server import Slack

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(not programs.ALERTMANAGER, reason=programs.NO_ALERTMANAGER),
]

DOCS = "https://gliner-kserve.example/docs/alerts.md#"
BOARDS = "https://gliner-kserve.example/grafana/d/"
FACTOR = 600
HOUR_SECONDS = 3600 / FACTOR
"""In which a critical alert is told again."""


@dataclass(frozen=True)
class Watch:
    """What sends messages, and where they arrive. It serves all tests."""

    manager: Alertmanager
    slack: Slack
    mail: Mail


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watch]:
    folder = tmp_path_factory.mktemp("told")
    with slack_server.running() as slack, mail_server.running() as mail:
        awake = alertmanagers.at_any_hour()
        file = alertmanagers.on_this_machine(folder, FACTOR, slack.url, awake, mail=mail.address)
        with alertmanagers.serving(folder, file) as manager:
            yield Watch(manager, slack, mail)


class Grafana:
    """Evaluates one rule, and tells Alertmanager as Grafana does: again after each evaluation for
    as long as it fires, and once that it is over."""

    def __init__(self, name: str, manager: Alertmanager) -> None:
        self._rule = named(name)
        self._manager = manager
        self._fired: Alert | None = None

    def evaluate(self, connection: Any, now: float, model: str = "") -> str:
        """One evaluation, of what is about a model; one that is not mentioned is well."""
        found = evaluate(self._rule, connection, now)
        about = [one for one in found if one.labels.get("model", "") == model]
        fires = next((one for one in about if one.state == "Alerting"), None)
        if told := fires or self._fired:
            self._manager.post([(told.labels, words(told))], ended=fires is None)
        self._fired = fires
        return "Alerting" if fires else "Normal"


def words(alert: Alert) -> dict[str, str]:
    """Its annotations; Grafana makes an address of the dashboard's uid."""
    return {**alert.annotations, "dashboard_url": BOARDS + alert.annotations["__dashboardUid__"]}


QUALITY, PIPELINE = "gliner-model-quality", "gliner-pipeline"
CASES = [
    (
        "GlinerNoNewVersion",
        stories.goes_stale,
        "warning",
        "No new version of {} for 36 hours",
        "passed 1.0 hours ago",
        QUALITY,
    ),
    (
        "GlinerNoEvaluation",
        stories.goes_stale,
        "warning",
        "No successful evaluation of {} for 36 hours",
        "passed 1.0 hours ago",
        QUALITY,
    ),
    (
        "GlinerF1BelowFloor",
        lambda past: stories.is_measured(past, 0.8, 0.6, 0.8),
        "critical",
        "F1 of {} version 1 is below 0.7",
        "its F1 as last measured is 0.100 below the floor of 0.7.",
        QUALITY,
    ),
    (
        "GlinerF1Regression",
        lambda past: stories.is_measured(past, 0.9, 0.85, 0.9),
        "warning",
        "F1 of {} fell by more than 0.03 within a week",
        "has lost 0.020 more than the 0.03 that are allowed",
        QUALITY,
    ),
    (
        "GlinerLabelCollapsed",
        stories.loses_a_label,
        "warning",
        "F1 of label person of {} collapsed",
        "of version 1 of {} is below 0.5 of its best in the last seven days, by 0.100.",
        QUALITY,
    ),
    (
        "GlinerPipelineFailing",
        stories.fails,
        "warning",
        "The last 3 pipeline runs of {} failed",
        "At least 3 runs in a row ended as FAILED",
        PIPELINE,
    ),
    (
        "GlinerReviewWaiting",
        stories.waits_for_its_review,
        "warning",
        "Version 1 of {} has waited 24 hours for its review",
        "The limit of 24 hours was passed 1.0 hours ago.",
        PIPELINE,
    ),
    (
        "GlinerRollback",
        stories.is_rolled_back,
        "warning",
        "Version 1 of {} was rolled back",
        "The version before it serves. This alert ends by itself.",
        PIPELINE,
    ),
]


def heard(watch: Watch, title: str) -> None:
    """Wait until Slack has a message of this title."""
    until(lambda: title in watch.slack.titles)


@pytest.mark.parametrize(
    ("name", "story", "severity", "summary", "description", "board"),
    CASES,
    ids=[one[0] for one in CASES],
)
def test_a_model_in_trouble(
    history: Callable[..., History],
    reader: Any,
    watch: Watch,
    name: str,
    story: Callable[[History], Story],
    severity: str,
    summary: str,
    description: str,
    board: str,
) -> None:
    """It is told once, with what to do, however often it is evaluated; and once that it is over."""
    past, grafana = history(), Grafana(name, watch.manager)
    states: list[str] = []
    began = time.monotonic()
    for later, title in zip(story(past), ("", f"1 firing: {name}", f"Over: {name}"), strict=True):
        times = 3 if "firing" in title else 1
        states += [grafana.evaluate(reader(), past.now + later, past.name) for _ in range(times)]
        if title:
            heard(watch, title)
    often = 1 + int((time.monotonic() - began) // HOUR_SECONDS) if severity == "critical" else 1
    count = Counter(watch.slack.titles)

    assert states == ["Normal", *["Alerting"] * 3, "Normal"]
    assert 1 <= count[f"1 firing: {name}"] <= often
    assert count[f"Over: {name}"] == 1
    fired, over = (
        watch.slack.shown(watch.slack.titles.index(f"{word}: {name}"))
        for word in ("1 firing", "Over")
    )
    assert f"*[{severity}]* {summary.format(past.name)}\n" in fired
    assert description.format(past.name) in fired
    assert f"<{DOCS}{name.lower()}|What to do> · <{BOARDS}{board}|Dashboard>" in fired
    assert over.strip().endswith(summary.format(past.name))
    assert watch.slack.wrong == []


def test_a_score_that_is_too_good(
    history: Callable[..., History], reader: Any, watch: Watch
) -> None:
    """What is merely of note is mailed, and nobody is told that it is over."""
    name = "GlinerF1AboveCeiling"
    past, grafana = history(), Grafana(name, watch.manager)
    states = []
    for later in stories.is_too_good(past):
        states.append(grafana.evaluate(reader(), past.now + later, past.name))
        if states[-1] == "Alerting":
            until(lambda: bool(watch.mail.to("team@")))

    assert states == ["Normal", "Alerting", "Normal"]
    [mail] = [one for one in watch.mail.to("team@") if name in one["Subject"]]
    body = mail.get_body(("plain",))
    assert body is not None
    text = body.get_content().replace("\r\n", "\n")
    assert f"[info] F1 of {past.name} version 1 is above 0.98\n" in text
    assert "has an F1 0.010 above 0.98." in text
    assert f"What to do: {DOCS}{name.lower()}\n" in text
    assert f"Dashboard: {BOARDS}{QUALITY}\n" in text
    assert not [one for one in watch.slack.titles if name in one]


def test_a_database_that_is_silent(root: Any, reader: Any, watch: Watch) -> None:
    """The server ends Grafana's connection, and takes another."""
    name = "GlinerDatabaseSilent"
    grafana, now = Grafana(name, watch.manager), time.time()
    lost = reader()
    states = [grafana.evaluate(lost, now)]
    with root.cursor() as cursor:
        cursor.execute("KILL CONNECTION %s", (lost.thread_id(),))
    states.append(grafana.evaluate(lost, now))
    heard(watch, f"1 firing: {name}")
    states.append(grafana.evaluate(reader(), now))
    heard(watch, f"Over: {name}")

    assert states == ["Normal", "Alerting", "Normal"]
    fired = watch.slack.shown(watch.slack.titles.index(f"1 firing: {name}"))
    assert "<!here>\n" in fired
    assert "*[critical]* MLflow's database does not answer Grafana\n" in fired
    assert "no other alert about the model can be trusted until it does." in fired
    assert f"<{DOCS}{name.lower()}|What to do> · <{BOARDS}{PIPELINE}|Dashboard>" in fired
