"""The exit handler."""

from __future__ import annotations

import pytest
import reviewed
from pydantic import SecretStr
from slack_server import Slack, Trouble

from pipeline.local.process import free_port
from pipeline.registry import CHAMPION, Registry, Tag
from pipeline.settings import Settings
from pipeline.steps import notify, review

pytestmark = pytest.mark.server
SCORES = {"precision": 0.9, "recall": 0.7}


@pytest.fixture
def settings(settings: Settings, slack: Slack) -> Settings:
    update = {
        "slack_webhook_url": SecretStr(slack.url),
        "dashboard_url": "https://grafana.example/d/gliner",
        "http_retries": 0,
    }
    return settings.model_copy(update=update)


def outcome(registry: Registry, **tags: object) -> str:
    """What steps before left on the run; returns its id."""
    run_id = str(registry.run("job-1").info.run_id)
    registry.note(run_id, {f"pipeline.{name}": value for name, value in tags.items()})
    return run_id


def status(registry: Registry) -> str:
    return str(registry.run("job-1").info.status)


def test_a_promotion_is_told_with_scores_against_the_one_before(
    settings: Settings, registry: Registry, slack: Slack
) -> None:
    """With links to version, run and dashboard, once however often the step is tried."""
    old = reviewed.register(registry, f1=0.80, **SCORES)
    new = reviewed.register(registry, f1=0.82, **SCORES, **{Tag.ROLLOUT_PREVIOUS: old})
    registry.point(CHAMPION, reviewed.version(registry, new), "promoted")
    outcome(registry, outcome="promoted", version=new)

    for _ in range(2):
        notify.run(job="job-1", state="SUCCEEDED", settings=settings)

    assert slack.titles == [f":white_check_mark: {registry.name} version 2 serves"]
    assert "*F1*\n0.820 (+0.020)" in slack.shown()
    for link in (
        registry.version_url(new),
        registry.run_url(registry.run("job-1")),
        settings.dashboard_url,
    ):
        assert f"<{link}|" in slack.shown()
    assert status(registry) == "FINISHED"


@pytest.mark.parametrize(
    ("tags", "state", "title", "shown", "ended"),
    [
        (
            {"outcome": "refused", "reason": "F1 0.61 is below 0.80; person lost 0.05"},
            "SUCCEEDED",
            ":no_entry: {} version 1 was refused",
            "• F1 0.61 is below 0.80\n• person lost 0.05",
            "FINISHED",
        ),
        (
            {"outcome": "rolled_back", "reason": "golden request 3 failed at 10 %"},
            "FAILED",
            ":rewind: {} version 1 was rolled back",
            "Reason: golden request 3 failed at 10 %",
            "FAILED",
        ),
        (
            {"outcome": "failed", "step": "train", "reason": "the disk is full"},
            "FAILED",
            ":x: {} version 1: run failed at step train",
            "the disk is full",
            "FAILED",
        ),
        ({}, "CANCELLED", ":x: {} version 1: run was stopped", "", "KILLED"),
        (
            {"outcome": "evaluated"},
            "SUCCEEDED",
            ":white_check_mark: {} version 1: run finished, nothing to roll out",
            "",
            "FINISHED",
        ),
    ],
    ids=["refused", "rolled back", "failed", "cancelled", "evaluated"],
)
def test_each_outcome_has_its_message(
    settings: Settings,
    registry: Registry,
    slack: Slack,
    tags: dict[str, str],
    state: str,
    title: str,
    shown: str,
    ended: str,
) -> None:
    """And the MLflow run ends as the pipeline run did."""
    outcome(registry, version=reviewed.register(registry), **tags)

    notify.run(job="job-1", state=state, settings=settings)

    assert slack.titles == [title.format(registry.name)]
    assert shown in slack.shown()
    assert status(registry) == ended


def test_a_run_that_left_nothing_is_told_as_failed(
    settings: Settings, registry: Registry, slack: Slack
) -> None:
    """Its pod was killed before it could write a reason; another's words are not quoted."""
    error = "Traceback\n  File x\nValueError: Ada Lovelace lives in London\n"

    notify.run(job="job-1", state="FAILED", error=error, settings=settings)

    assert slack.titles == [f":x: {registry.name}: run failed"]
    assert "ValueError; the step's log says more" in slack.shown()
    assert "Ada" not in slack.shown()


@pytest.mark.parametrize(
    ("error", "quoted"),
    [
        ("x\npipeline.errors.DataError: eval.jsonl:3: no `ner`\n", "eval.jsonl:3: no `ner`"),
        (
            "Unavailable: MLflow does not answer",
            "MLflow does not answer",
        ),
        ("torch.cuda.OutOfMemoryError: 3 GB", "OutOfMemoryError; the step's log says more"),
        ("The DAG failed", "the step's log says more"),
        ("", "the step's log says more"),
    ],
)
def test_only_our_own_errors_are_quoted(error: str, quoted: str) -> None:
    """Another error's text could hold what users sent."""
    assert notify.quotable(error) == quoted


def test_a_review_that_slack_missed_is_told_at_the_end(
    settings: Settings, registry: Registry, slack: Slack
) -> None:
    """Slack was down at the review step; told there, it is not told again."""
    number = reviewed.register(registry)
    slack.troubles = [Trouble(500)]
    review.run(number, job="job-1", mode="required", settings=settings)

    for _ in range(2):
        notify.run(job="job-1", state="SUCCEEDED", settings=settings)

    assert slack.titles == [f":eyes: {registry.name} version 1 waits for your review"]


def test_crossing_a_threshold_is_told_once_each_time(
    settings: Settings, registry: Registry, slack: Slack
) -> None:
    """Staying below is no news; coming back and falling again is."""
    alert = settings.model_copy(update={"alert_f1_below": 0.8, "alert_f1_above": 0.9})
    number = reviewed.register(registry)
    registry.point(CHAMPION, reviewed.version(registry, number), "promoted")

    for job, f1 in enumerate([0.85, 0.75, 0.7, 0.85, 0.75, 0.95]):
        registry.tag(reviewed.version(registry, number), {"f1": f1})
        notify.run(job=f"job-{job}", state="SUCCEEDED", settings=alert)

    crossed = [title for title in slack.titles if "F1" in title]
    serves = f"{registry.name} version 1, which serves"
    assert crossed == [
        f":chart_with_downwards_trend: F1 (0.750) is below 0.8: {serves}",
        f":chart_with_downwards_trend: F1 (0.750) is below 0.8: {serves}",
        f":chart_with_upwards_trend: F1 (0.950) is above 0.9: {serves}",
    ]


@pytest.mark.parametrize("state", ["SUCCEEDED", "FAILED", "CANCELLED"])
def test_with_mlflow_down_there_is_a_short_message(
    settings: Settings,
    slack: Slack,
    state: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Somebody hears of the run all the same, and nothing is raised."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    down = settings.model_copy(update={"tracking_uri": f"http://127.0.0.1:{free_port()}"})

    notify.run(job="job-1", state=state, error="Unavailable: no MLflow", settings=down)

    assert len(slack.taken) == 1
    assert ("no MLflow" in slack.shown()) is (state == "FAILED")
    assert "MLflow could not be asked about this run" in capsys.readouterr().out


def test_with_slack_down_the_run_ends_all_the_same(
    settings: Settings, registry: Registry, slack: Slack, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message is told when the step is tried again."""
    outcome(registry, outcome="promoted", version=reviewed.register(registry))
    slack.troubles = [Trouble(503)]

    notify.run(job="job-1", state="SUCCEEDED", settings=settings)
    said = capsys.readouterr().out
    notify.run(job="job-1", state="SUCCEEDED", settings=settings)

    assert "Slack was not told of promoted: it answered 503" in said
    assert status(registry) == "FINISHED"
    assert len(slack.taken) == 1
    assert "told.promoted" in registry.run("job-1").data.tags
