"""The compiled graph on this machine, with kfp's local runner: what runs is what Kubeflow runs.

kfp's runner prints a lot, swaps the root logger's handlers and leaves a step running when it is
killed. So it has a process of its own (this module as a program), whose output is a log file;
the caller reads that file and shows what the steps say.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import SecretStr
from rich.text import Text

from pipeline import arguments as arguments_of
from pipeline import parameters
from pipeline.errors import PipelineError
from pipeline.local.process import Process
from pipeline.progress import MARK
from pipeline.runs import folder as folder_of
from pipeline.runs import outcome as outcome_of
from pipeline.runs.log import SAID, Failure, Watcher, lines
from pipeline.runs.outcome import FAILED, Outcome

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.settings import Settings

GRACE_SECONDS = 30
"""Longest that a step may take to end when the run is stopped."""

_JOB = "{{$.pipeline_job_uuid}}"


@dataclass(frozen=True, slots=True)
class Result:
    """What a run came to.

    Attributes:
        job: its id, which is the tag `pipeline.job` of its MLflow run.
        outcome: as in `RunTag.OUTCOME`; `failed` when a step could not do its work.
        exit_code: what the command line ends with.
        reason: why, in one line; empty when there is nothing to explain.
        step: the step that failed; empty when none did.
        version: what it registered or moved.
        url: its MLflow run in the UI; empty when MLflow did not answer.
        log: everything that was printed.
    """

    job: str
    outcome: str
    exit_code: int
    reason: str
    step: str
    version: int | None
    url: str
    log: Path
    seconds: float


def run(
    graph: str,
    arguments: Mapping[str, Any],
    settings: Settings,
    console: Console | None = None,
    *,
    job: str = "",
) -> Result:
    """Run a compiled graph to its end.

    Args:
        graph: `refresh` or `rollout`.
        arguments: what differs from the graph's defaults.
        console: shows the steps as they run; None shows nothing.
        job: the run's id, where it should go on in the MLflow run of an earlier one.

    Raises:
        SettingsError: the graph has no such parameter, or needs one that is not given; or
            `PIPELINE_HOME` cannot be used.
    """
    arguments_of.check(graph, arguments)
    job = job or f"local-{datetime.now(timezone.utc):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    with folder_of.opened(job, settings) as folder:
        result = _run_in(folder, graph, arguments, settings, console, job)
    if console:
        _tell(console, graph, result)
    return result


def _run_in(
    folder: Path,
    graph: str,
    arguments: Mapping[str, Any],
    settings: Settings,
    console: Console | None,
    job: str,
) -> Result:
    (folder / "graph.yaml").write_text(_prepared(graph, job), encoding="utf-8")
    (folder / "arguments.json").write_text(json.dumps(dict(arguments)), encoding="utf-8")
    log = folder / "run.log"
    log.touch()
    command = [sys.executable, "-m", "pipeline.runs.local", str(folder)]
    own = {MARK: SAID, "PYTHONUNBUFFERED": "1", "TMPDIR": str(folder)}
    process = Process(f"the run {job}", command, log, environment(settings) | own)
    watcher = Watcher(console)
    started = time.monotonic()
    begin = log.stat().st_size
    try:
        process.start()
        for line in lines(log, begin, lambda: _ended(process)):
            watcher.read(line)
    except KeyboardInterrupt:
        watcher.stopping(GRACE_SECONDS)
        raise
    finally:
        watcher.close()
        code = process.stop()
    failure = watcher.failure
    if code and not failure:
        failure = Failure("", PipelineError.exit_code, f"kfp's runner ended with code {code}")
    result = _result(job, failure, settings, log, time.monotonic() - started)
    if not failure:
        # What the steps handed to each other is in MLflow; after a failure it stays for a look.
        for left in folder.iterdir():
            if left.is_dir():
                shutil.rmtree(left)
            elif left != log:
                left.unlink()
    return result


def environment(settings: Settings) -> dict[str, str]:
    """The settings as the variables that another process reads them from."""
    found: dict[str, str] = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        found[f"PIPELINE_{name.upper()}"] = text
    found["PIPELINE_HOME"] = str(settings.home.resolve())
    # MLflow's own functions know its own variable only.
    found["MLFLOW_TRACKING_URI"] = settings.tracking_uri
    return found


def _prepared(graph: str, job: str) -> str:
    """The compiled graph as it runs here.

    The run has its id, which Kubeflow's driver would fill in, and steps are not tried again
    by the runner: that is for pods that are lost, while steps try again by themselves
    (`pipeline.runs.attempt`) and know when there is no point.
    """
    text = (parameters.COMPILED / f"{graph}.yaml").read_text("utf-8").replace(_JOB, job)
    # The second document is for Kubernetes: secrets, timeouts, limits.
    spec = next(yaml.safe_load_all(text))
    for component in (spec["root"], *spec["components"].values()):
        for task in component.get("dag", {}).get("tasks", {}).values():
            task.pop("retryPolicy", None)
    return yaml.safe_dump(spec, sort_keys=False, allow_unicode=True)


def _result(
    job: str, failure: Failure | None, settings: Settings, log: Path, seconds: float
) -> Result:
    came_to = Outcome()
    try:
        came_to = outcome_of.of(job, settings)
    except PipelineError as error:
        failure = failure or Failure("", error.exit_code, str(error))
    return Result(
        job=job,
        outcome=FAILED if failure else came_to.name,
        exit_code=failure.exit_code if failure else came_to.exit_code,
        reason=failure.reason if failure else came_to.reason,
        step=failure.step if failure else "",
        version=came_to.version,
        url=came_to.url,
        log=log,
        seconds=seconds,
    )


def _tell(console: Console, graph: str, result: Result) -> None:
    well = result.exit_code == 0
    words = Outcome(result.outcome, version=result.version)
    console.print(
        Text.assemble(
            (f"{graph}: {words}", "bold green" if well else "bold red"),
            (f"  {result.seconds:.0f} s", "dim"),
        )
    )
    if result.reason:
        where = f"{result.step}: " if result.step else ""
        console.print(Text(f"  {where}{result.reason}"), soft_wrap=True)
    if result.outcome == FAILED:
        console.print(Text(f"  log: {result.log}", "dim"), soft_wrap=True)


def _ended(process: Process) -> bool:
    try:
        process.check()
    except PipelineError:
        return True
    return False


def _end_steps(_number: int, _frame: FrameType | None) -> None:
    """End the step that runs, which kfp would leave behind, and then the run.

    A rollout takes its candidate back when it is asked to end, so it gets some time.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, lambda _number, _frame: os.killpg(0, signal.SIGKILL))
    signal.alarm(GRACE_SECONDS)
    os.killpg(0, signal.SIGTERM)


def main(folder: Path) -> int:
    """Run the graph in a folder that `run` prepared: the process behind it.

    Returns:
        1 when a step failed, else 0.
    """
    from kfp import components, local

    if os.getpgrp() == os.getpid():  # never the group of whoever started this by hand
        signal.signal(signal.SIGTERM, _end_steps)
    # kfp makes a workspace beside its own temporary files otherwise, and takes only this one away.
    workspace = folder / "workspace"
    workspace.mkdir(exist_ok=True)
    local.init(
        local.SubprocessRunner(use_venv=False),
        pipeline_root=str(folder / "outputs"),
        workspace_root=str(workspace),
    )
    graph = components.load_component_from_file(str(folder / "graph.yaml"))
    try:
        graph(**json.loads((folder / "arguments.json").read_text("utf-8")))
    except RuntimeError as error:  # kfp's only way to say that a step failed
        sys.stdout.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
