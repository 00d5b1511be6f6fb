"""Graphs on this machine, run by kfp for real."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from uuid import uuid4

import little_graph
import pytest
from rich.console import Console

from pipeline import parameters
from pipeline.errors import SettingsError
from pipeline.registry import Registry, RunTag
from pipeline.runs import local as localrun
from pipeline.settings import Settings

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the little graph under the name `refresh`."""
    folder = tmp_path_factory.mktemp("compiled")
    little_graph.write(folder / "refresh.yaml")
    return folder


@pytest.fixture(autouse=True)
def _little(compiled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parameters, "COMPILED", compiled)


def _run(settings: Settings, folder: Path, what: str) -> tuple[localrun.Result, str]:
    console = Console(file=StringIO(), width=200)
    arguments = {"folder": str(folder), "what": what}
    result = localrun.run("refresh", arguments, settings, console)
    assert isinstance(console.file, StringIO)
    return result, console.file.getvalue()


def test_what_the_steps_say_is_shown(settings: Settings, tmp_path: Path) -> None:
    """Steps, their lines and their end are shown; what libraries print is in the log alone."""
    result, shown = _run(settings, tmp_path, "work")

    lines = [line.split("  0.")[0] for line in shown.splitlines()]
    said = [line for line in lines if not line.startswith("  ok")]
    assert said[:5] == ["work", "  asked to work", "more", "  more of work", "tell"]
    assert said[5].startswith("refresh: promoted, version 3")
    assert (
        result.outcome,
        result.version,
        result.exit_code,
        result.reason,
    ) == ("promoted", 3, 0, "")
    assert "noise of a library" not in shown
    assert "noise of a library" in result.log.read_text("utf-8")
    assert f"/runs/{Registry(settings).run(result.job).info.run_id}" in result.url
    # Models that steps handed to each other would fill the disk.
    assert [result.log] == list(result.log.parent.iterdir())


def test_no_is_not_a_failure(settings: Settings, tmp_path: Path) -> None:
    """A refused version is an outcome, with an exit code of its own."""
    result, shown = _run(settings, tmp_path, "say no")

    assert (
        result.outcome,
        result.exit_code,
        result.reason,
    ) == ("refused", 4, "F1 0.4 is below 0.5")
    assert (tmp_path / "told").read_text() == "SUCCEEDED"
    assert "F1 0.4 is below 0.5" in shown


def test_failure_is_one_line_with_its_step(settings: Settings, tmp_path: Path) -> None:
    """The error's own exit code and words; no second try, no traceback; the exit handler runs."""
    result, shown = _run(settings, tmp_path, "find fault")

    reason = "eval.jsonl line 3: spans must be numbers"
    assert ("failed", 3, "work", reason) == (
        result.outcome,
        result.exit_code,
        result.step,
        result.reason,
    )
    assert f"  work: {reason}\n  log: {result.log}" in shown
    assert "more\n" not in shown
    assert "Traceback" not in result.log.read_text("utf-8")
    assert (tmp_path / "told").read_text() == "FAILED"
    assert len(list(tmp_path.glob("try-*"))) == 1
    assert reason == Registry(settings).run(result.job).data.tags[RunTag.REASON]


def test_bug_tells_no_text_of_a_user(settings: Settings, tmp_path: Path) -> None:
    """Its traceback is in the log; what is shown is the kind of error."""
    result, shown = _run(settings, tmp_path, "stumble")

    assert result.reason == "a bug: ValueError; its traceback is in the step's log"
    assert "a secret text" not in shown
    assert "Traceback" in result.log.read_text("utf-8")


def test_step_that_was_killed_is_named(settings: Settings, tmp_path: Path) -> None:
    """A step that ends without a word, as when memory runs out."""
    result, _ = _run(settings, tmp_path, "die")

    assert (result.outcome, result.step, result.reason) == ("failed", "work", "it was killed")


def test_server_that_is_away_for_a_moment(settings: Settings, tmp_path: Path) -> None:
    """The step itself tries again, and says so."""
    result, shown = _run(settings, tmp_path, "try twice")

    assert result.outcome == "promoted"
    assert "  MLflow does not answer; again in 2 s" in shown


def test_killed_run_leaves_no_step_behind(
    settings: Settings, tmp_path: Path, compiled: Path
) -> None:
    """kill -9 for whoever started it ends the step as well: a second run is alone."""
    program = (
        "import json, sys; from pathlib import Path; from pipeline import parameters, "
        "settings; from pipeline.runs import local as localrun; "
        "parameters.COMPILED = Path(sys.argv[1]); "
        "localrun.run('refresh', json.loads(sys.argv[2]), settings.load())"
    )
    arguments = json.dumps({"folder": str(tmp_path), "what": "wait"})
    starter = subprocess.Popen(
        [sys.executable, "-c", program, str(compiled), arguments],
        env={**os.environ, **localrun.environment(settings)},
    )
    _until((tmp_path / "pid").exists)
    starter.kill()
    starter.wait()
    step = int((tmp_path / "pid").read_text() or 0)

    _until(lambda: not Path(f"/proc/{step}").exists())


def test_stopping_a_run_says_at_once_what_is_stopped(
    settings: Settings, tmp_path: Path, compiled: Path
) -> None:
    """Ctrl-C is answered before the step has ended, which may take its time."""
    program = (
        "import json, sys; from pathlib import Path; from rich.console import Console; "
        "from pipeline import parameters, settings; from pipeline.runs import local as localrun; "
        "parameters.COMPILED = Path(sys.argv[1]); "
        "localrun.run('refresh', json.loads(sys.argv[2]), settings.load(), Console(width=200))"
    )
    arguments = json.dumps({"folder": str(tmp_path), "what": "wait"})
    starter = subprocess.Popen(
        [sys.executable, "-c", program, str(compiled), arguments],
        env={**os.environ, **localrun.environment(settings)},
        stdout=subprocess.PIPE,
        text=True,
    )
    _until((tmp_path / "pid").exists)
    starter.send_signal(signal.SIGINT)
    said, _ = starter.communicate(timeout=60)

    assert "stopping work: it has up to 30 s to end; a rollout is taken back first" in said
    step = int((tmp_path / "pid").read_text())
    _until(lambda: not Path(f"/proc/{step}").exists())


def test_same_job_goes_on_in_the_same_mlflow_run(settings: Settings, tmp_path: Path) -> None:
    """Two runs of one job share their MLflow run; others do not."""
    job = f"job-{uuid4().hex[:8]}"
    for what in ("find fault", "work"):
        result = localrun.run("refresh", {"folder": str(tmp_path), "what": what}, settings, job=job)

    assert result.outcome == "promoted"
    assert len(Registry(settings).runs()) == 1


def test_wrong_argument_is_refused_before_anything_starts(settings: Settings) -> None:
    """It names what there is."""
    with pytest.raises(SettingsError, match="has no parameter fodler; it has folder, number, what"):
        localrun.run("refresh", {"fodler": "x"}, settings)

    assert not settings.home.exists()


def test_environment_holds_every_setting(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a step reads is what the caller has, secrets included."""
    ours = Settings(**{**settings.model_dump(), "slack_webhook_url": "https://hooks.example.com/x"})
    for name, value in localrun.environment(ours).items():
        monkeypatch.setenv(name, value)

    read = Settings()

    assert ours.model_copy(update={"home": ours.home.resolve()}) == read
    assert read.slack_webhook_url.get_secret_value() == "https://hooks.example.com/x"


def _until(true: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.1)
