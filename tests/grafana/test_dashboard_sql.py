"""The dashboards' SQL on data that MLflow itself wrote."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import grafana_boards as boards
import pytest
from grafana_history import DAY, HOUR, History
from grafana_sql import Series, Window, expand, query, series

from pipeline.registry import CHALLENGER, RunTag

pytestmark = pytest.mark.server
QUERIES = {one.where: one for one in boards.queries("gliner-mlflow-mysql")}
WEEK = 7 * DAY


def run(connection: Any, where: str, model: str, now: int, bucket: int = DAY) -> Any:
    """What a panel gets for the last 30 days."""
    values = {"model": model, "bucket": str(bucket)}
    text = boards.filled(QUERIES[where].text, values)
    return query(connection, expand(text, Window(now - 30 * DAY, now + 60)))


def drawn(connection: Any, where: str, past: History, bucket: int = DAY) -> dict[str, Series]:
    """The series of a panel by their names."""
    found = series(*run(connection, where, past.name, past.now, bucket))
    assert len({one.name for one in found}) == len(found)
    return {one.name: one for one in found}


def rows(connection: Any, where: str, past: History) -> list[dict[str, Any]]:
    """The rows of a table."""
    columns, found = run(connection, where, past.name, past.now)
    return [dict(zip(columns, row, strict=True)) for row in found]


@pytest.fixture(scope="module")
def past(request: pytest.FixtureRequest) -> History:
    """A model with two versions, a review, a rollback and failures."""
    begin: Callable[..., History] = request.getfixturevalue("begin_history")
    made = begin()
    made.champion(made.version(10 * DAY))
    made.evaluated(0.8, ago=9 * DAY, version=1, labels={"person": 0.7})
    made.version(5 * HOUR)
    made.evaluated(
        0.9, ago=5 * HOUR, version=2, champion=(1, 0.82), champion_labels={"person": 0.75}
    )
    made.evaluated(math.nan, ago=4 * HOUR, champion=(1, math.nan))
    made.registry.event(made.found(2), "rolled back: errors")
    made.registry.point(CHALLENGER, made.found(made.asked(30 * HOUR)), "its review was asked")
    failed = made.run("FAILED", ago=HOUR, version=3)
    made.registry.note(failed, {RunTag.STEP: "train", RunTag.REASON: "no disk"})
    made.registry.client.log_metric(failed, "data_age_hours", 3.5)
    made.delete(made.version())
    return made


def test_there_are_queries() -> None:
    """All of the two dashboards on MLflow are looked at, their variables and annotations too."""
    assert len(QUERIES) >= 20
    assert {"model-quality/$model", "pipeline/$model", "model-quality/Versions"} <= set(QUERIES)


@pytest.mark.parametrize("where", QUERIES)
def test_runs_and_shows_something(past: History, reader: Any, where: str) -> None:
    """Each statement runs and finds rows; one for a graph has a time and ascends in it."""
    columns, found = run(reader(), where, past.name, past.now)

    assert found
    if QUERIES[where].format == "time_series":
        assert series(columns, found)


@pytest.mark.parametrize("where", QUERIES)
def test_empty_database(reader: Any, copy_of_mlflow: Callable[[str], str], where: str) -> None:
    """A database with nothing in it draws nothing, and no error."""
    _, found = run(reader(copy_of_mlflow("empty")), where, "gliner-ner", 1_800_000_000)

    assert ([(1_800_000_060, 1)] if "Database answers" in where else []) == [
        tuple(row) for row in found
    ]


def test_clocks(past: History, reader: Any) -> None:
    """Both clocks count from what is still there: no deleted version, no NaN."""
    [version] = drawn(reader(), "model-quality/2 Since the newest version", past).values()
    [evaluation] = drawn(reader(), "model-quality/3 Since the last evaluation", past).values()

    assert version.points[0][1] == pytest.approx(0, abs=0.3)  # the version under review
    assert evaluation.points[0][1] == pytest.approx(5, abs=0.1)


def test_champion_now(past: History, reader: Any) -> None:
    """The F1 of the champion is the last that was a number."""
    [found] = drawn(reader(), "model-quality/4 F1 of the champion", past).values()

    assert found.points[-1][1] == 0.82


@pytest.mark.parametrize("bucket", [HOUR, DAY, WEEK])
def test_averages(past: History, reader: Any, bucket: int) -> None:
    """Points lie at the beginning of their hour, day or week from Monday."""
    where = "model-quality/5 F1, precision and recall of the champion"

    found = drawn(reader(), where, past, bucket)

    assert {"f1", "precision", "recall"} == set(found)
    assert [value for _, value in found["f1"].points] == [0.8, 0.82]
    for stamp, _ in found["f1"].points:
        begins = datetime.fromtimestamp(stamp, timezone.utc)
        assert 0 == begins.minute == begins.second
        assert bucket == HOUR or begins.hour == 0
        assert bucket != WEEK or begins.weekday() == 0


def test_labels_and_candidates(past: History, reader: Any) -> None:
    """Labels are told from summaries, candidates from the champion."""
    labels = drawn(reader(), "model-quality/6 F1 of the champion by label", past)
    versus = drawn(reader(), "model-quality/7 Champion against candidate", past)

    assert [(name, [value for _, value in one.points]) for name, one in labels.items()] == [
        ("person", [0.7, 0.75])
    ]
    assert [value for _, value in versus["candidate"].points] == [0.8, 0.9]
    assert [value for _, value in versus["champion"].points] == [0.82]


def test_versions(past: History, reader: Any) -> None:
    """Versions with their aliases; the deleted one is gone."""
    found = rows(reader(), "model-quality/8 Versions", past)

    assert [(one["version"], one["alias"]) for one in found] == [
        (3, "challenger"),
        (2, None),
        (1, "champion"),
    ]


def test_what_waits_and_what_failed(past: History, reader: Any) -> None:
    """The pipeline's tables say since when, which step and why."""
    [waiting] = rows(reader(), "pipeline/4 Waiting for a review", past)
    [rolled_back] = rows(reader(), "pipeline/5 Rollbacks", past)
    running, last, *_ = rows(reader(), "pipeline/8 Last runs", past)
    steps = drawn(reader(), "pipeline/10 Failures by step", past)

    assert waiting["version"] == 3
    assert float(waiting["hours"]) == pytest.approx(30, abs=0.1)
    assert (rolled_back["version"], rolled_back["what"]) == (2, "rolled back: errors")
    assert running["status"] == "RUNNING"  # the one that asked for the review
    assert (last["status"], last["failed_step"], last["reason"]) == ("FAILED", "train", "no disk")
    assert list(steps) == ["train"]


@pytest.mark.parametrize(
    ("panel", "minutes", "colour"),
    [
        *(("2 Since the newest version", at, colour) for at, colour in ((-1, 1), (1, 2))),
        *(("3 Since the last evaluation", at, colour) for at, colour in ((-1, 1), (1, 2))),
    ],
)
def test_clock_turns_red(
    history: Callable[..., History], reader: Any, panel: str, minutes: int, colour: int
) -> None:
    """A minute before 36 hours it is yellow, a minute after it is red."""
    aged = history()
    # The time range of `run` ends a minute from now.
    ago = 36 * HOUR + (minutes - 1) * 60
    aged.version(ago)
    aged.evaluated(0.9, ago=ago, version=1)
    [board] = [one for file, one in boards.boards() if file.stem == "model-quality"]
    [found] = [one for one in board["panels"] if panel == f"{one['id']} {one['title']}"]
    steps = found["fieldConfig"]["defaults"]["thresholds"]["steps"]

    [hours] = drawn(reader(), f"model-quality/{panel}", aged).values()

    value = hours.points[-1][1]
    assert value is not None
    passed = [step["color"] for step in steps if value >= (step["value"] or 0)]
    assert ["green", "yellow", "red"][colour] == passed[-1]


def test_other_models_change_nothing(
    past: History, history: Callable[..., History], reader: Any
) -> None:
    """What a dashboard shows of one model is the same beside another with a past of its own."""
    # The variable lists all models, and every version of the database answers alike.
    about = [where for where in QUERIES if "/$" not in where]
    before = {where: run(reader(), where, past.name, past.now) for where in about}
    other = history()
    other.champion(other.version(40 * HOUR))
    other.evaluated(0.1, ago=HOUR, version=1, labels={"person": 0.1})
    other.run("FAILED", ago=HOUR)
    other.registry.event(other.found(1), "rolled back: errors")
    other.delete(other.version())

    after = {where: run(reader(), where, past.name, past.now) for where in about}

    assert before == after


def test_steps(past: History, reader: Any) -> None:
    """A step's end is counted from the start of its run."""
    found = drawn(reader(), "pipeline/11 Steps", past)

    assert found["data fetched"].points[-1][1] == pytest.approx(60, abs=2)
    assert {"data fetched", "measured"} == set(found)


def test_name_with_a_quote(past: History, reader: Any) -> None:
    """A model's name is quoted, whatever is in it."""
    _, found = run(reader(), "model-quality/8 Versions", "x' OR '1'='1", past.now)

    assert found == []
