"""Starting the rollout of a version: once for each time that its review was asked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import kubeflow_api
import pytest
from kubeflow_api import Kubeflow

from pipeline.errors import PipelineError, Unavailable
from pipeline.registry import Registry, RunTag, Tag, Version, now
from pipeline.runs import launch
from pipeline.runs import local as localrun
from pipeline.runs.outcome import FAILED
from pipeline.settings import Settings


@pytest.fixture
def version(monkeypatch: pytest.MonkeyPatch) -> Version:
    """A version whose review was asked, as the registry gives it."""
    found = _version("2026-01-01T00:00:00+00:00")
    monkeypatch.setattr(Registry, "version", lambda _self, _number: found)
    return found


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kubeflow]:
    """Kubeflow's API with nothing in it."""
    monkeypatch.setattr("kfp.Client._LOCAL_KFP_CONTEXT", str(tmp_path / "context.json"))
    with kubeflow_api.running() as started:
        yield started


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Local runs, noted and not made; each comes to what `outcomes` says."""
    found: list[str] = []

    def run(graph: str, arguments: dict[str, Any], _settings: Settings, *, job: str) -> Any:
        assert (graph, arguments) == ("rollout", {"version": 3})
        found.append(job)
        failed = len(found) == 1 and "fails" in job
        return localrun.Result(
            job, FAILED if failed else "promoted", 0, "", "", 3, "", Path("run.log"), 1.0
        )

    monkeypatch.setattr(localrun, "run", run)
    return found


def _version(asked: str) -> Version:
    tags = {Tag.BUNDLE_DIGEST: "abc", Tag.REVIEW_ASKED_AT: asked}
    return Version(3, "run", "model", datetime.now(timezone.utc), "", tags, ())


def test_name_changes_when_the_review_is_asked_again() -> None:
    """An approval is for one question: a new question means a new rollout."""
    first, same, other = (launch.run_name(_version(asked)) for asked in ("a", "a", "b"))

    assert first == same
    assert first != other
    assert first.startswith("rollout-v3-")


def test_kubeflow_is_asked_once(version: Version, server: Kubeflow) -> None:
    """Webhook and polling both lead to the same run."""
    settings = Settings(kfp_host=server.url, http_retries=1)
    first = launch.rollout(3, settings, "approved")
    second = launch.rollout(3, settings, "approved")

    [run] = server.runs.values()
    assert first == second == run["run_id"]
    assert run["runtime_config"]["parameters"] == {"version": 3}
    assert launch.run_name(version) == run["display_name"]


def test_kubeflow_that_is_down_can_be_asked_again(version: Version, server: Kubeflow) -> None:
    """Nothing was started, and the next call starts it."""
    settings = Settings(kfp_host=server.url, http_retries=0)
    server.fail("POST", "/runs", 503)
    with pytest.raises(Unavailable):
        launch.rollout(3, settings)
    launch.rollout(3, settings)

    assert len(server.runs) == 1


def test_this_machine_runs_it_once(version: Version, tmp_path: Path, runs: list[str]) -> None:
    """One that has ended well is not run again."""
    settings = Settings(home=tmp_path)
    first = launch.rollout(3, settings, wait=True)
    second = launch.rollout(3, settings, wait=True)

    assert [launch.run_name(version)] == runs
    assert first == second == runs[0]


def test_failed_rollout_may_be_started_again(
    version: Version,
    tmp_path: Path,
    runs: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The next call tries again, in the same MLflow run; the log says what each came to."""
    monkeypatch.setattr(launch, "run_name", lambda _version: "rollout-fails")
    settings = Settings(home=tmp_path)
    for _ in range(3):
        launch.rollout(3, settings, wait=True)

    assert runs == ["rollout-fails", "rollout-fails"]
    said = capsys.readouterr().out
    assert "rollout-fails: failed; run.log\n" in said
    assert "rollout-fails: promoted; run.log\n" in said


def test_running_rollout_is_left_alone(version: Version, tmp_path: Path, runs: list[str]) -> None:
    """Whoever comes while it runs finds it."""
    from filelock import FileLock

    settings = Settings(home=tmp_path)
    folder = tmp_path / "launches" / launch.run_name(version)
    folder.mkdir(parents=True)
    with FileLock(folder / launch.LOCK):
        launch.rollout(3, settings, wait=True)

    assert runs == []


@pytest.mark.server
def test_missing_version_is_said(settings: Settings) -> None:
    """Before anything is started."""
    with pytest.raises(PipelineError, match="has no version 7"):
        launch.rollout(7, settings)

    assert not settings.home.exists()


@pytest.mark.server
def test_detached_rollout_outlives_its_caller(
    settings: Settings, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    """The real graph runs in a process of its own, and takes a version without files back."""
    run = registry.run("job")
    registry.client.create_registered_model(registry.name)
    registry.client.create_model_version(registry.name, run.info.artifact_uri, run.info.run_id)
    found = registry.version(1)
    assert found
    registry.tag(found, {Tag.REVIEW_ASKED_AT: now(), Tag.BUNDLE_DIGEST: "abc"})

    name = launch.rollout(1, settings, "approved")

    done = settings.home / "launches" / name / launch.DONE
    log = done.with_name(launch.LOG)
    assert f"{name}: started (approved); {log}\n" in capsys.readouterr().out
    end = time.monotonic() + 200
    while not done.exists():
        assert time.monotonic() < end, log.read_text("utf-8")
        time.sleep(0.2)
    assert registry.run(name).data.tags[RunTag.OUTCOME] == "rolled_back"
