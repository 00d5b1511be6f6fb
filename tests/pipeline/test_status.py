"""What `status` says, against a real MLflow server."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import canned
import pytest
import servers
from rich.console import Console

from pipeline import status
from pipeline.errors import Unavailable
from pipeline.local.process import free_port
from pipeline.registry import Registry
from pipeline.registry.versions import CHALLENGER, CHAMPION, RunTag, Tag, Version, now
from pipeline.settings import Settings
from predictor import bundle

pytestmark = pytest.mark.server
FIRST, SECOND, FOREIGN = "a" * 64, "b" * 64, "c" * 64


@pytest.fixture
def add(registry: Registry) -> Any:
    """Registers a version with a digest and tags; its files do not matter here."""

    def add(digest: str, **tags: str) -> Version:
        if not registry.versions():
            registry.client.create_registered_model(registry.name)
        made = registry.client.create_model_version(
            registry.name,
            source="s3://mlflow/nothing",
            tags={Tag.BUNDLE_DIGEST: digest, "f1": "0.806", Tag.EVALUATED_AT: now(), **tags},
        )
        found = registry.version(int(made.version))
        assert found
        return found

    return add


@pytest.fixture
def predictor(settings: Settings) -> Iterator[Any]:
    """Settings whose predictor serves the model with a digest: `predictor(digest)`."""
    stack: list[Any] = []

    def serve(digest: str, **more: Any) -> Settings:
        body = {"model": {"id": "some/model", "digest": digest}}
        running = canned.server({"/api/v1/config": canned.Answer(body=body)})
        url, _ = running.__enter__()
        stack.append(running)
        return settings.model_copy(update={"predictor_url": url, **more})

    yield serve
    for running in stack:
        running.__exit__(None, None, None)


def shown(found: status.Status, *, as_json: bool = False, width: int = 110) -> str:
    """What it prints."""
    console = Console(file=io.StringIO(), width=width)
    status.show(found, console, as_json=as_json)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_a_champion_that_serves_is_well(registry: Registry, add: Any, predictor: Any) -> None:
    """With the champion served and everything new, all lines are fine and so is the exit code."""
    registry.point(CHAMPION, add(FIRST), "first version")

    found = status.collect(predictor(FIRST))

    assert found.exit_code == 0
    assert found.champion
    assert (found.champion.number, found.champion.f1) == (1, 0.806)
    assert found.champion.since is not None
    assert (found.serving.version, found.serving.agrees) == (1, True)
    assert [clock.stale for clock in found.clocks] == [False, False]
    assert (found.challenger, found.rollout) == (None, None)


def test_the_real_predictor_is_understood(
    registry: Registry, add: Any, settings: Settings, server: servers.RunningServer
) -> None:
    """A real predictor's own digest is the one that the registry knows."""
    digest = bundle.locate("embedded").digest
    registry.point(CHAMPION, add(digest), "first version")

    found = status.collect(settings.model_copy(update={"predictor_url": server.url}))

    assert found.exit_code == 0
    assert found.serving.digest == digest


def test_another_model_at_the_route_is_a_mismatch(
    registry: Registry, add: Any, predictor: Any
) -> None:
    """A predictor that serves the version before, or an unknown model, has its own exit code."""
    add(FIRST)
    registry.point(CHAMPION, add(SECOND), "better")

    old = status.collect(predictor(FIRST))
    foreign = status.collect(predictor(FOREIGN))

    assert old.exit_code == foreign.exit_code == status.MISMATCH
    assert old.serving.detail == "serves version 1 and not the champion, version 2"
    assert "not registered (some/model)" in foreign.serving.detail


@pytest.mark.parametrize(
    ("state", "words"), [("running", "running"), ("rolling_back", "rolling back")]
)
def test_during_a_rollout_the_candidate_may_serve(
    state: str, words: str, registry: Registry, add: Any, predictor: Any
) -> None:
    """What a rollout under way brings up is no mismatch, and its share is shown."""
    registry.point(CHAMPION, add(FIRST), "first version")
    moving = add(SECOND, **{Tag.ROLLOUT: state, Tag.ROLLOUT_PERCENT: "50"})
    registry.tag(moving, {Tag.ROLLOUT_PREVIOUS: 1})

    found = status.collect(predictor(SECOND))

    assert found.exit_code == 0
    assert found.rollout == status.Rollout(version=2, state=state, percent=50, previous=1)
    assert f"version 2 {words} at 50 %, beside version 1" in shown(found)


def test_what_a_person_rolled_back_is_shown_until_something_newer_serves(
    registry: Registry, add: Any, predictor: Any
) -> None:
    """Nightly runs leave it alone, so the line says why and what brings it back."""
    registry.point(CHAMPION, add(FIRST), "first version")
    add(SECOND, **{Tag.STATUS: "rolled_back", Tag.ROLLED_BACK_BY: "ada"})

    found = status.collect(predictor(FIRST))
    registry.point(CHAMPION, add(FOREIGN), "better")
    later = status.collect(predictor(FOREIGN))

    assert [(one.version, one.by) for one in found.held] == [(2, "ada")]
    assert "version 2 was rolled back by ada" in shown(found, width=200)
    assert "`python -m pipeline approve 2` brings it back" in shown(found, width=200)
    assert later.held == ()


def test_a_waiting_review_shows_when_it_expires(
    registry: Registry, add: Any, predictor: Any
) -> None:
    """The challenger's line says how long there is left to decide."""
    registry.point(CHAMPION, add(FIRST), "first version")
    asked = datetime.now(timezone.utc) - timedelta(hours=40)
    waiting = add(
        SECOND, **{Tag.REVIEW: "pending", Tag.REVIEW_ASKED_AT: asked.isoformat(timespec="seconds")}
    )
    registry.point(CHALLENGER, waiting, "waits for review")

    found = status.collect(predictor(FIRST, review_hours=50))

    assert found.challenger
    assert found.challenger.expires_at
    left = found.challenger.expires_at - found.at
    assert left.total_seconds() == pytest.approx(36_000, abs=60)
    assert "review pending, expires in 10 h" in shown(found, width=200)


@pytest.mark.parametrize(
    ("hours", "stale"), [(35.9, False), (36.1, True)], ids=["just in time", "just too late"]
)
def test_an_evaluation_older_than_the_limit_is_stale(
    hours: float, stale: bool, registry: Registry, add: Any, predictor: Any
) -> None:
    """The clock of evaluations turns at the limit, on either side of it."""
    evaluated = datetime.now(timezone.utc) - timedelta(hours=hours)
    version = add(FIRST, **{Tag.EVALUATED_AT: evaluated.isoformat()})
    registry.point(CHAMPION, version, "first version")

    found = status.collect(predictor(FIRST))

    assert [clock.stale for clock in found.clocks] == [False, stale]
    assert found.exit_code == (status.STALE if stale else 0)


def test_a_version_older_than_the_limit_is_stale(
    registry: Registry, add: Any, predictor: Any
) -> None:
    """An evaluation of the old version does not stop the clock of new ones."""
    registry.point(CHAMPION, add(FIRST), "first version")

    found = status.collect(predictor(FIRST, stale_after_hours=1e-9))

    assert found.clocks[0].stale
    assert found.exit_code == status.STALE


def test_a_registry_with_nothing_in_it_is_stale(registry: Registry, predictor: Any) -> None:
    """Before the first run there is nothing to show, and asking does not make an experiment."""
    found = status.collect(predictor(FOREIGN))

    assert found.exit_code == status.STALE
    assert found.serving.agrees is None
    assert found.runs == ()
    assert registry.client.get_experiment_by_name(registry.settings.experiment) is None
    assert "never" in shown(found)


def test_the_last_runs_come_newest_first(registry: Registry, predictor: Any) -> None:
    """A run shows its outcome, version, reason and duration; one that died shows its state."""
    done = registry.run("job-one")
    registry.note(
        done.info.run_id,
        {RunTag.OUTCOME: "refused", RunTag.VERSION: 3, RunTag.REASON: "F1 [0.5] below 0.8"},
    )
    registry.client.set_terminated(done.info.run_id)
    died = registry.run("job-two")
    registry.client.set_terminated(died.info.run_id, "FAILED")
    registry.run("job-three")

    found = status.collect(predictor(FOREIGN))

    assert [(run.job, run.outcome, run.version) for run in found.runs] == [
        ("job-three", "running", None),
        ("job-two", "failed", None),
        ("job-one", "refused", 3),
    ]
    assert all(run.seconds < 60 for run in found.runs)
    assert "F1 [0.5] below 0.8" in shown(found)


def test_mlflow_down_is_said_and_the_predictor_still_shown(settings: Settings) -> None:
    """Without MLflow the predictor's own line is what is left."""
    body = {"model": {"id": "some/model", "digest": FIRST}}
    with canned.server({"/api/v1/config": canned.Answer(body=body)}) as (url, _):
        down = f"http://127.0.0.1:{free_port()}"
        found = status.collect(
            settings.model_copy(update={"tracking_uri": down, "predictor_url": url})
        )

    assert found.exit_code == Unavailable.exit_code
    assert down in found.mlflow_error
    assert found.serving.digest == FIRST
    assert "unavailable" in shown(found)


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (canned.Answer(503), "answered 503"),
        (canned.Answer(200, "<html>"), "is no predictor of ours"),
        (canned.Answer(200, {"model": 3}), "is no predictor of ours"),
    ],
    ids=["not ready", "a web page", "another service"],
)
def test_a_predictor_that_cannot_be_asked_is_unavailable(
    answer: canned.Answer, detail: str, registry: Registry, add: Any, settings: Settings
) -> None:
    """Whatever answers instead of the predictor is named, and counts as unavailable."""
    registry.point(CHAMPION, add(FIRST), "first version")
    with canned.server({"/api/v1/config": answer}) as (url, _):
        found = status.collect(settings.model_copy(update={"predictor_url": url}))

    assert found.exit_code == Unavailable.exit_code
    assert detail in found.serving.detail
    assert found.champion


def test_the_route_is_asked_with_its_host_header(settings: Settings) -> None:
    """Behind an ingress the predictor is found by its Host."""
    body = {"model": {"id": "some/model", "digest": FIRST}}
    with canned.server({"/api/v1/config": canned.Answer(body=body)}) as (url, seen):
        status.collect(
            settings.model_copy(update={"predictor_url": url, "predictor_host": "ner.example.com"})
        )

    assert seen == [("/api/v1/config", "ner.example.com")]


def test_json_holds_all_of_it(registry: Registry, add: Any, predictor: Any) -> None:
    """Scripts get one JSON object, unwrapped, with the exit code in it."""
    registry.point(CHAMPION, add(FIRST), "first version")

    found = json.loads(shown(status.collect(predictor(SECOND)), as_json=True, width=40))

    assert found["exit_code"] == status.MISMATCH
    assert found["champion"]["number"] == 1
    assert found["serving"]["digest"] == SECOND
    assert [clock["name"] for clock in found["clocks"]] == ["new version", "evaluation"]
